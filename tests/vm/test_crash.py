#!/usr/bin/env python3
"""The power of a QEMU guest fails at a random moment of an apply that installs a small image: the kernel is the
distribution's, with its mdadm, LVM and mkfs. It starts again with the same disks, resumes by the journal on a disk of
its own, or begins anew where there is none yet; then the arrays and volumes are started by the distribution's tools,
checked and compared with the image, and the plan made again is empty.

Tier 1 does not have it: tests/storage/test_crash.py shows the same in User-Mode Linux. FULL=1 has 10 cuts; KILLS=N has N.
SEED=N repeats a run.
Needs: root, CVCTL, what `tests/setup.sh vm` installs.  Time: 40 s a cut.
"""
from __future__ import annotations

import glob
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from vm import Guest  # noqa: E402

CV = os.environ.get("CVCTL") or sys.exit("CVCTL is not set")
KILLS = int(os.environ.get("KILLS") or (10 if os.environ.get("FULL") == "1" else 0))
DOCUMENT = """\
schema: cv.layout/v1
name: crash
disks: {d: {count: 2}}
partitions:
  d/esp: {type: esp, size: 110MiB}
  d/boot: {type: linux-raid, size: 40MiB}
  d/pv: {type: linux-raid, size: rest}
raid:
  boot: {level: 1, members: [d/boot], metadata: "1.0", bitmap: none}
  pv: {level: 1, members: [d/pv]}
lvm: {v: {pvs: [raid/pv], lvs: {r: {size: 60MiB}, w: {size: 16MiB}}}}
filesystems:
  esp: {on: d/esp, type: vfat, label: ESP, mirror: sync, mount: {at: /efi}}
  boot: {on: raid/boot, type: ext4, mount: {at: /boot}}
  root: {on: lvm/v/r, type: ext4, label: root, mount: {at: /}}
  swap: {on: lvm/v/w, type: swap}
"""
# What the kernel starts: it goes on with the tree on the first disk. No udev is there to start arrays by itself.
FIRST = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mkdir -p /proc /sys /dev /tree
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for m in $(cat /modules/order); do insmod /modules/$m; done
mount -t ext4 -o ro /dev/vda /tree
for d in proc sys dev; do mount --move /$d /tree/$d; done
exec switch_root /tree /cv/init
"""
SECOND = r"""#!/bin/bash
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 HOME=/run TMPDIR=/run/tmp MDADM_NO_UDEV=1 DM_DISABLE_UDEV=1
exec > /dev/ttyS0 2>&1 < /dev/null
stty -F /dev/ttyS0 -opost
dmesg -n 1
mount -t tmpfs run /run; mkdir -p /run/tmp /run/lock /run/root /run/journal
cp -r /cv/store /run/store
mount /dev/vdd /run/journal
modprobe -a md_mod raid1 dm_mod vfat nls_iso8859-1 nls_ascii nls_cp437
cv="/cv/cvctl -q --store /run/store layout"
args="/cv/crash.yaml --disk d=/dev/vdb --disk d=/dev/vdc --hostname n1"
how=
[ "$(wc -l < /run/journal/journal)" -lt 1 ] 2>/dev/null || [ ! -e /run/journal/journal ] || how=--resume
echo "@how ${how:-anew}"
echo "@apply"
$cv apply $args --image t --journal /run/journal/journal --yes $how || { echo "@failed apply"; exec sleep 1000; }
sync
echo "@applied"
fails() { echo "@failed $*"; cat /proc/mdstat; exec sleep 1000; }
mdadm --assemble --scan --run --config partitions --quiet || fails assemble
vgchange --config 'activation{udev_sync=0 udev_rules=0} devices{obtain_device_list_from_udev=0}' -qq -ay v || fails vgchange
$cv plan $args -o json > /run/plan.json || fails plan
grep -q '"differences":\[\]' /run/plan.json && grep -q '"steps":\[\]' /run/plan.json || { cat /run/plan.json; fails differences; }
boot=$(blkid -l -o device -t TYPE=ext4 /dev/md/boot /dev/md*)
for d in /dev/mapper/v-r "$boot"; do e2fsck -fn $d || fails e2fsck $d; done
for d in /dev/vdb1 /dev/vdc1; do fsck.vfat -n $d || fails fsck.vfat $d; done
mount /dev/mapper/v-r /run/root && mount "$boot" /run/root/boot && mount /dev/vdb1 /run/root/efi || fails mount
(cd /run/root && sha256sum --quiet -c /cv/sums) || fails content
for m in /sys/block/md*/md/degraded; do [ "$(cat $m)" = 0 ] || fails degraded $m; done
umount -R /run/root
echo "@whole"
sync
exec sleep 1000
"""


def initramfs(root: str, path: str) -> None:
    version = os.listdir(f"{root}/lib/modules")[0]
    with tempfile.TemporaryDirectory() as d:
        for name in ("bin", "modules", "dev"):
            os.makedirs(f"{d}/{name}")
        # The machine's is static, that of the tree need not be.
        shutil.copy(shutil.which("busybox") or f"{root}/bin/busybox", f"{d}/bin/busybox")
        order: list[str] = []
        for module in ("virtio_pci", "virtio_blk", "ext4", "crc32c_generic"):
            needs = subprocess.check_output(["modprobe", "-d", root, "-S", version, "--show-depends", module], text=True)
            for line in needs.splitlines():
                if line.startswith("insmod") and (name := os.path.basename(line.split()[1])) not in order:
                    order.append(name)
                    shutil.copy(line.split()[1], f"{d}/modules")
        for name, text in (("modules/order", "\n".join(order)), ("init", FIRST)):
            with open(f"{d}/{name}", "w", encoding="ascii") as f:
                f.write(text)
        os.chmod(f"{d}/init", 0o755)
        files = "\n".join(sorted(os.path.relpath(os.path.join(at, n), d) for at, ds, fs in os.walk(d) for n in ds + fs))
        with open(path, "wb") as out:
            subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], input=files.encode(), cwd=d, stdout=out, check=True)


def tools(root: str, work: str, rng: random.Random) -> str:
    """A disk with the tree, the program, the document, and a store with a small image."""
    tree = f"{work}/small"
    paths = []
    for n in range(60):
        path = f"{('boot', 'efi', 'usr', 'etc')[n % 4]}/file{n}"
        os.makedirs(os.path.dirname(f"{tree}/{path}"), exist_ok=True)
        with open(f"{tree}/{path}", "wb") as f:
            f.write(rng.randbytes(rng.randrange(1, 200000)))
        paths.append(path)
    sums = subprocess.check_output(["sha256sum", *paths], cwd=tree, text=True)
    own = f"{work}/cv"
    os.makedirs(own)
    for name, text in (("init", SECOND), ("crash.yaml", DOCUMENT), ("sums", sums)):
        with open(f"{own}/{name}", "w", encoding="utf-8") as f:
            f.write(text)
    os.chmod(f"{own}/init", 0o755)
    shutil.copy(CV, f"{own}/cvctl")
    subprocess.run([CV, "-q", "store", "init", f"{own}/store"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([CV, "-q", "--store", f"{own}/store", "image", "capture", tree, "--name", "t"], check=True, stdout=subprocess.DEVNULL)
    disk = f"{work}/tools.img"
    with open(disk, "wb") as f:
        f.truncate(1000 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-d", root, disk], check=True)
    # Beside the tree, which nobody may change.
    inside = [f"mkdir /cv"] + [f"mkdir /cv/{os.path.relpath(at, own)}" for at, _, _ in os.walk(own) if at != own]
    inside += [f"write {at}/{n} /cv/{os.path.relpath(f'{at}/{n}', own)}" for at, _, names in os.walk(own) for n in names]
    inside += [f"set_inode_field /cv/{n} mode 0100755" for n in ("init", "cvctl")]
    done = subprocess.run(["debugfs", "-w", "-f", "-", disk], input="\n".join(inside), capture_output=True, text=True, check=True)
    assert "write:" not in done.stderr, done.stderr
    return disk


def main() -> None:
    if not KILLS:
        print("ok: none in tier 1")
        return
    seed = int(os.environ.get("SEED") or random.randrange(1 << 32))
    print(f"SEED={seed}", flush=True)
    rng = random.Random(seed)
    root = subprocess.check_output([f"{HERE}/../beds/make-root.sh"], text=True).splitlines()[-1]
    with tempfile.TemporaryDirectory(prefix="libcv-crash-", dir="/dev/shm") as work:
        initramfs(root, f"{work}/initrd")
        disks = [tools(root, work, rng), f"{work}/a.img", f"{work}/b.img", f"{work}/journal.img"]
        boot = {"kernel": sorted(glob.glob(f"{root}/boot/vmlinuz-*"))[-1], "initrd": f"{work}/initrd",
                "failure": r"Kernel panic|@failed [^\n]*"}

        def blank() -> None:
            for image, mib in zip(disks[1:], (300, 300, 32)):
                with open(image, "wb") as f:
                    f.truncate(mib << 20)
            subprocess.run(["mkfs.ext4", "-q", "-F", disks[3]], check=True)

        blank()
        with Guest(disks, memory=768, **boot) as g:
            g.wait("@apply\n", 200)
            begin = time.monotonic()
            g.wait("@applied\n", 400)
            takes = time.monotonic() - begin
            g.wait("@whole\n", 200)
        print(f"ok: undisturbed in {takes:.1f} s", flush=True)
        hows = []
        for n in range(KILLS):
            blank()
            after = takes * (n + rng.random()) / KILLS
            with Guest(disks, memory=768, **boot) as g:
                g.wait("@apply\n", 200)
                time.sleep(after)
            # The end of the block is a kill.
            with Guest(disks, memory=768, **boot) as g:
                how = g.wait(r"@how [^\n]*\n", 200).split()[1]
                g.wait("@whole\n", 600)
            hows.append(how)
            print(f"ok: cut after {after:.1f} of {takes:.1f} s: {how}", flush=True)
        print(f"ok: {KILLS} cuts: {json.dumps({how: hows.count(how) for how in sorted(set(hows))})}")


if __name__ == "__main__":
    main()
    print("PASS")

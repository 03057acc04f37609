#!/usr/bin/env python3
"""A Debian tree is deployed with what this machine's kernel may lack: MD, LVM, LUKS, vfat. A guest of User-Mode Linux
partitions and installs, then the disks boot in QEMU, by their own firmware and boot loader, and each mount, array, volume
and swap of the plan is there; a prompt alone proves little.

  mirror   two disks: ESP on both, /boot on RAID1, RAID1 + LVM with xfs root and swap, for UEFI and for BIOS
  plain    one disk: ext4 without LVM, UEFI, also with Secure Boot
  luks     one disk: the root in LUKS, its passphrase typed at the console, UEFI
  parts    one disk: the root with /boot in it and /var in subvolumes of btrfs, UEFI and BIOS
  data     one disk, and five of a RAID10 that is filled, and kept when the node is installed once more, UEFI
With all its disks the running system is what the plan means: a plan made there is empty.
Tier 1 boots `mirror` twice: UEFI with both disks, BIOS without the first. --full boots each firmware with both disks and
without either one, and the others.

Needs: root, CVCTL, what `tests/setup.sh vm storage` installs.  Time: install 40 s, each boot 30 to 90 s.
"""
from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Callable, Sequence

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from vm import Guest  # noqa: E402

CV = os.environ.get("CVCTL") or sys.exit("CVCTL is not set")
UML = f"{HERE}/../storage/uml-run.sh"
FULL = os.environ.get("FULL") == "1"
NODE = "node007"
PASSPHRASE = "correct horse"
CONSOLE = "boot: {loader: grub2, install-on: os, cmdline: ['console=ttyS0,115200n8']}\n"
MIRROR = """\
schema: cv.layout/v1
name: mirror
firmware: [uefi, bios]
disks: {os: {count: 2}}
partitions:
  os/biosboot: {type: bios-boot, size: 1MiB}
  os/esp:      {type: esp, size: 120MiB}
  os/boot:     {type: linux-raid, size: 300MiB}
  os/pv:       {type: linux-raid, size: rest}
raid:
  boot: {level: 1, members: [os/boot], metadata: "1.0", bitmap: none, sync: assume-clean}
  pv:   {level: 1, members: [os/pv], sync: assume-clean}
lvm:
  sys: {pvs: [raid/pv], lvs: {root: {size: 1200MiB}, var: {size: 400MiB}, swap: {size: 64MiB}}}
filesystems:
  esp:  {on: os/esp, type: vfat, label: ESP, mirror: sync, mount: {at: /boot/efi}}
  boot: {on: raid/boot, type: ext4, label: boot, mount: {at: /boot}}
  root: {on: lvm/sys/root, type: xfs, label: root, mount: {at: /}}
  var:  {on: lvm/sys/var, type: ext4, mount: {at: /var}}
  swap: {on: lvm/sys/swap, type: swap}
""" + CONSOLE
PLAIN = """\
schema: cv.layout/v1
name: plain
firmware: [uefi]
disks: {os: {}}
partitions:
  os/esp:  {type: esp, size: 120MiB}
  os/root: {type: root, size: rest}
filesystems:
  esp:  {on: os/esp, type: vfat, mount: {at: /boot/efi}}
  root: {on: os/root, type: ext4, mount: {at: /}}
""" + CONSOLE
PARTS = """\
schema: cv.layout/v1
name: parts
firmware: [uefi, bios]
disks: {os: {}}
partitions:
  os/biosboot: {type: bios-boot, size: 1MiB}
  os/esp:      {type: esp, size: 120MiB}
  os/root:     {type: root, size: rest}
filesystems:
  esp:  {on: os/esp, type: vfat, mount: {at: /boot/efi}}
  root:
    on: os/root
    type: btrfs
    subvolumes: {"@": {mount: {at: /, options: [compress=zstd]}}, "@var": {mount: {at: /var}}}
""" + CONSOLE
LUKS = """\
schema: cv.layout/v1
name: luks
firmware: [uefi]
disks: {os: {}}
partitions:
  os/esp:   {type: esp, size: 120MiB}
  os/boot:  {type: linux, size: 300MiB}
  os/crypt: {type: luks, size: rest}
luks: {root: {on: os/crypt, keys: [{secret: "ref:root"}]}}
filesystems:
  esp:  {on: os/esp, type: vfat, mount: {at: /boot/efi}}
  boot: {on: os/boot, type: ext4, mount: {at: /boot}}
  root: {on: luks/root, type: ext4, mount: {at: /}}
""" + CONSOLE
# Its document, the firmwares to boot with, and what is typed.
ONE_DISK: dict[str, tuple[str, list[str], str | None]] = {
    "plain": (PLAIN, ["uefi", "secure"], None), "parts": (PARTS, ["uefi", "bios"], None), "luks": (LUKS, ["uefi"], PASSPHRASE)}
DATA = """\
schema: cv.layout/v1
name: data
firmware: [uefi]
disks: {os: {}, data: {count: 5, preserve: if-exists}}
partitions:
  os/esp:      {type: esp, size: 120MiB}
  os/root:     {type: root, size: rest}
  data/member: {type: linux-raid, size: rest, leave-free: 8MiB, preserve: if-exists}
raid:
  data: {level: 10, layout: n2, members: [data/member], spares: 1, adopt: {name: any:data}, preserve: if-exists}
filesystems:
  esp:  {on: os/esp, type: vfat, mount: {at: /boot/efi}}
  root: {on: os/root, type: ext4, mount: {at: /}}
  data: {on: raid/data, type: xfs, label: data, preserve: if-exists, mount: {at: /data, options: [noatime]}}
""" + CONSOLE
# What a node does before it is installed once more.
FILL = """set -e
mkdir -p /run/mnt
mdadm --assemble --scan --run
mount LABEL=data /run/mnt
mkdir /run/mnt/deep
for n in $(seq 60); do head -c $((n * 40001)) /dev/urandom > /run/mnt/deep/$n; done
cd /run/mnt && find deep -type f -exec sha256sum {} + > SUMS
cd / && umount /run/mnt
mdadm --stop --scan
"""


def in_guest(work: str, images: list[str], script: str, inside: Sequence[str] = (), network: str = "",
             limit: int = 900) -> None:
    """Runs a script with the disks in User-Mode Linux; `work` is its /mnt. `inside` is a command that runs it elsewhere, `network` what the
    kernel is told of one."""
    with open(f"{work}/script.sh", "w", encoding="utf-8") as f:
        f.write(script)
    flags = [word for image in images for word in ("-d", image)]
    flags += ["-a", network] if network else []
    done = subprocess.run([*inside, UML, "-m", "1500", "-t", str(limit), *flags, "-w", work, "--", "bash", "/mnt/script.sh"],
                          capture_output=True, text=True, check=False)
    if done.returncode == 77:
        print(done.stderr)
        sys.exit(77)
    if done.returncode:
        sys.exit(f"{script}\nexit {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-2000:]}")


def blank(work: str, name: str, sizes: dict[str, list[int]]) -> tuple[list[str], list[str]]:
    """The disks of a layout, `sizes` MiB large; their files, and the set of each."""
    images, sets = [], []
    for key, each in sizes.items():
        for mib in each:
            images.append(f"{work}/{name}-{len(images)}.img")
            sets.append(key)
            with open(images[-1], "wb") as f:
                f.truncate(mib << 20)
    return images, sets


def install(work: str, name: str, text: str, images: list[str], sets: list[str], seed: str = "07" * 16) -> dict:
    """Deploys in a guest; the plan."""
    with open(f"{work}/{name}.yaml", "w", encoding="utf-8") as f:
        f.write(text)
    begin = time.monotonic()
    in_guest(work, images, f"""set -e
cv="/mnt/cvctl -q -o json --store /mnt/store layout"
args="/mnt/{name}.yaml {given(sets, 'ubd')} --image debian --hostname {NODE} --seed {seed}"
$cv plan $args > /run/plan.json
token=$(python3 -c 'import json; print(json.load(open("/run/plan.json"))["token"])')
$cv apply $args --confirm $token --secret root=/mnt/secret
cp /run/plan.json /mnt/{name}.json
""")
    print(f"ok: {name} installed in {time.monotonic() - begin:.0f} s", flush=True)
    with open(f"{work}/{name}.json", encoding="utf-8") as f:
        return json.load(f)


def given(sets: list[str], prefix: str) -> str:
    return " ".join(f"--disk {key}=/dev/{prefix}{chr(ord('a') + n)}" for n, key in enumerate(sets))


def tools(work: str, document: str) -> str:
    """A disk with cvctl and the layout on it, for the node to plan once more."""
    os.mkdir(f"{work}/tools")
    shutil.copy(CV, f"{work}/tools/cvctl")
    shutil.copy(document, f"{work}/tools/layout.yaml")
    subprocess.run(["mkfs.ext4", "-q", "-L", "tools", "-d", f"{work}/tools", f"{work}/tools.img", "300M"], check=True,
                   stdout=subprocess.DEVNULL)
    return f"{work}/tools.img"


def boots(work: str, plan: dict, images: list[str], sets: list[str], firmware: str, missing: int | None = None,
          passphrase: str | None = None, also: Callable[[Guest], None] = lambda _: None, is_last: bool = False) -> None:
    """Boots a copy of the disks, or at last themselves, less a missing one, and compares what runs with the plan; then plans once more."""
    document, node = f"{work}/{plan['layout']}.yaml", plan["hostname"]
    work = tempfile.mkdtemp(prefix="libcv-stacks-", dir="/dev/shm")
    try:
        left = [i for n, i in enumerate(images) if n != missing]
        copies = left if is_last else [f"{work}/{os.path.basename(i)}" for i in left]
        for image, copy in zip(left, [] if is_last else copies):
            subprocess.run(["cp", "--sparse=always", image, copy], check=True)
        what = f"{plan['layout']}, {firmware}" + (f", without disk {missing + 1}" if missing is not None else "")
        with Guest([*copies, tools(work, document)], memory=1024, firmware=firmware) as g:
            if passphrase:
                g.wait(r"Please unlock disk [^:]*: ", 200)
                g.send(passphrase + "\n")
            g.wait(rf"{node} login: ", 300)
            g.login("root", "cv")
            assert g.command("hostname") == node
            check(g, plan, degraded=missing is not None)
            also(g)
            if firmware == "secure":
                state = g.command("od -An -tu1 -j4 /sys/firmware/efi/efivars/SecureBoot-*").strip()
                assert state == "1", f"Secure Boot is {state}"
            if missing is None:
                planned_again(g, sets)
            g.power_off()
            seconds = dict(g.milestones)[rf"{node} login: "]
        print(f"ok: {what}: boots in {seconds:.0f} s", flush=True)
    finally:
        shutil.rmtree(work)


def check(g: Guest, plan: dict, degraded: bool) -> None:
    wanted = {f["mount"]["at"]: f for f in plan["filesystems"] if f.get("mount")}
    parts = {s["mount"]["at"]: s["name"] for f in plan["filesystems"] for s in f["subvolumes"] if s["mount"]}
    for at, name in parts.items():
        wanted[at] = next(f for f in plan["filesystems"] if name in [s["name"] for s in f["subvolumes"]])
        shown = g.command(f"findmnt -rno FSROOT {at}")
        assert shown == f"/{name}", f"{at}: {shown} instead of the subvolume {name}"
    g.command("systemctl is-system-running --wait >/dev/null; true", 200)
    seen = {}
    for line in g.command("findmnt -rno TARGET,FSTYPE,UUID -t ext4,xfs,btrfs,vfat").splitlines():
        target, kind, uuid = line.split()
        seen[target] = (kind, uuid)
    for at, f in wanted.items():
        uuids = {f["uuid"]} | ({m["uuid"] for m in f["mirrors"]} if degraded else set())
        # The ESP that is mounted is the first one; without its disk there is none, and the system runs all the same.
        if degraded and at not in seen and f["mirrors"]:
            continue
        assert at in seen, f"{at} is not mounted: {sorted(seen)}"
        assert seen[at][0] == f["type"] and seen[at][1] in uuids, f"{at}: {seen[at]}, planned {f}"
    swaps = sum(f["type"] == "swap" for f in plan["filesystems"])
    assert int(g.command("tail -n +2 /proc/swaps | wc -l")) == swaps
    status = g.command("cat /proc/mdstat")
    for array in plan["arrays"]:
        shown = g.command(f"mdadm --detail /dev/md/{array['name']}")
        assert array["uuid"] in shown, shown
        assert ("degraded" in shown) == degraded, shown
    states = re.findall(r"\[([U_]+)\]", status)
    assert len(states) == len(plan["arrays"]), status
    for group in plan["groups"]:
        for volume in group["volumes"]:
            size = int(g.command(f"blockdev --getsize64 {volume['device']}"))
            assert size == volume["size"], f"{volume['name']}: {size} instead of {volume['size']}"
    failed = g.command("systemctl --failed --plain --no-legend")
    assert failed == "" or degraded and all("efi" in line for line in failed.splitlines()), failed


def planned_again(g: Guest, sets: list[str]) -> None:
    """The plan made on the running system has nothing to do."""
    g.command("mkdir -p /run/tools && mount -o ro LABEL=tools /run/tools")
    g.command(f"/run/tools/cvctl -q -o json layout plan /run/tools/layout.yaml {given(sets, 'vd')} > /run/plan.json", 120)
    again = json.loads(g.command("cat /run/plan.json"))
    assert again["steps"] == [] and again["differences"] == [], (again["steps"], again["differences"])
    g.command("umount /run/tools")


def main() -> None:
    cases = sys.argv[1:] or (["mirror", *ONE_DISK, "data"] if FULL else ["mirror"])
    root = subprocess.check_output([f"{HERE}/../beds/make-root.sh"], text=True).splitlines()[-1]
    with tempfile.TemporaryDirectory(prefix="libcv-stacks-", dir="/dev/shm") as work:
        shutil.copy(CV, f"{work}/cvctl")
        with open(f"{work}/secret", "w", encoding="utf-8") as f:
            f.write(PASSPHRASE)
        store = [CV, "-q", "--store", f"{work}/store"]
        subprocess.run([*store[:2], "store", "init", f"{work}/store"], check=True)
        subprocess.run([*store, "image", "capture", root, "--name", "debian"], check=True, stdout=subprocess.DEVNULL)
        for case in cases:
            {"mirror": mirror, "data": kept}.get(case, partial(one_disk, case))(work)


def mirror(work: str) -> None:
    images, sets = blank(work, "mirror", {"os": [2600, 2600]})
    plan = install(work, "mirror", MIRROR, images, sets)
    combinations: list[tuple[str, int | None]] = [("uefi", None), ("bios", 0)]
    if FULL:
        combinations += [("bios", None), ("bios", 1), ("uefi", 0), ("uefi", 1)]
    # Two guests at once: an emulated machine keeps little more than one processor busy.
    with ThreadPoolExecutor(2) as pool:
        for boot in [pool.submit(boots, work, plan, images, sets, firmware, missing) for firmware, missing in combinations]:
            boot.result()
    for image in images:
        os.unlink(image)


def one_disk(case: str, work: str) -> None:
    text, firmwares, passphrase = ONE_DISK[case]
    images, sets = blank(work, case, {"os": [2000]})
    plan = install(work, case, text, images, sets)
    with ThreadPoolExecutor(2) as pool:
        for boot in [pool.submit(boots, work, plan, images, sets, firmware, passphrase=passphrase) for firmware in firmwares]:
            boot.result()
    os.unlink(images[0])


def kept(work: str) -> None:
    """A node with a RAID10 is installed, works, and is installed once more: what it wrote there is there."""
    images, sets = blank(work, "data", {"os": [2000], "data": [200] * 5})
    first = install(work, "data", DATA, images, sets)
    in_guest(work, images, FILL)
    again = install(work, "data", DATA.replace("size: 120MiB", "size: 130MiB"), images, sets, seed="08" * 16)
    uuids = [{f["id"]: f["uuid"] for f in plan["filesystems"]} for plan in (first, again)]
    assert uuids[0]["data"] == uuids[1]["data"] and uuids[0]["root"] != uuids[1]["root"], uuids
    boots(work, again, images, sets, "uefi", also=content)


def content(g: Guest) -> None:
    said = g.command("cd /data && sha256sum --check --quiet SUMS && wc -l < SUMS; cd /", 120)
    assert said == "60", said


if __name__ == "__main__":
    main()
    print("PASS")

#!/usr/bin/env python3
"""test_offline.py [CASE...] [--measure]: image files made without MD, DM and loop devices, started by a real kernel.

Each case is a line of CASES. This machine applies it to files with `--backend offline`, by a user without privilege where
nothing is installed; then a guest knows nothing but the disks and the plan. Its kernel must assemble every array complete
and clean without copying anything, find no difference between copies, start the groups, and mount everything; what was
installed must be there with owners, modes, times and attributes.
--measure times both backends on the same two files in a guest.
Needs: root, mtools, tests/beds/uml.sh, CVCTL.    Time: 4 s a case.
"""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

HERE = os.path.dirname(os.path.abspath(__file__))
MIB = 1 << 20
NOBODY = 65534


class Case(NamedTuple):
    """A layout over one set `d`: how many disks of how many MiB, partitions, then what stands on them."""

    name: str
    disks: int
    size: int
    partitions: str
    above: str
    image: bool = False


M = "d/m: {type: linux-raid, size: rest}"
FS = "filesystems: {f: {on: %s, type: %s, label: F, mount: {at: /}}}"
NODE = ('raid: {boot: {level: 1, members: [d/boot], metadata: "1.0", bitmap: none}, pv: {level: 1, members: [d/m]}}\n'
        "lvm: {sys: {pvs: [raid/pv], lvs: {root: {size: 350MiB}, swap: {size: 64MiB}, var-log: {size: rest}}, reserve: 5%}}\n"
        "filesystems: {esp: {on: d/esp, type: vfat, label: ESP, mirror: sync, mount: {at: /boot/efi}}, "
        "boot: {on: raid/boot, type: ext4, mount: {at: /boot}}, root: {on: lvm/sys/root, type: xfs, mount: {at: /}}, "
        "swap: {on: lvm/sys/swap, type: swap}, log: {on: lvm/sys/var-log, type: ext4, mount: {at: /var/log}}}")
NODE_PARTITIONS = "d/esp: {type: esp, size: 300MiB}\n  d/boot: {type: linux-raid, size: 150MiB}\n  " + M
CASES = [
    Case("plain", 1, 200, "d/b: {type: bios-boot, size: 1MiB}\n  d/r: {type: root, size: rest}", FS % ("d/r", "ext4"), image=True),
    Case("node", 2, 1100, NODE_PARTITIONS, NODE, image=True),
    Case("node-empty", 2, 1100, NODE_PARTITIONS, NODE),
    Case("raid1-1.0", 3, 200, M, 'raid: {a: {level: 1, members: [d/m], metadata: "1.0", bitmap: internal}}\n' + FS % ("raid/a", "ext4")),
    Case("raid1-zero", 2, 100, M, "raid: {a: {level: 1, members: [d/m], sync: zero, bitmap: none}}\n" + FS % ("raid/a", "ext4")),
    Case("raid0", 3, 300, M, "raid: {a: {level: 0, members: [d/m], chunk: 64KiB}}\n" + FS % ("raid/a", "xfs"), image=True),
    Case("raid10", 4, 200, M, "raid: {a: {level: 10, members: [d/m]}}\n" + FS % ("raid/a", "ext4"), image=True),
    Case("raid10-odd", 3, 200, M, "raid: {a: {level: 10, members: [d/m], layout: n2, chunk: 64KiB}}\n" + FS % ("raid/a", "btrfs"), image=True),
    Case("lvm", 3, 300, "d/l: {type: linux-lvm, size: rest}",
         "lvm: {v: {pvs: [d/l], lvs: {s: {size: 128MiB, stripes: 2, stripe-size: 32KiB}, a: {size: 400MiB}, r: {size: rest}}}}\n"
         "filesystems: {s: {on: lvm/v/s, type: ext4, mount: {at: /srv}}, a: {on: lvm/v/a, type: ext4, mount: {at: /}}, "
         "r: {on: lvm/v/r, type: swap}}", image=True),
    Case("tower", 4, 300, M, "raid: {a: {level: 10, members: [d/m]}}\n"
         "lvm: {v: {pvs: [raid/a], lvs: {r: {size: 320MiB}, w: {size: 32MiB}}}}\n"
         "filesystems: {r: {on: lvm/v/r, type: xfs, mount: {at: /}}, w: {on: lvm/v/w, type: swap}}", image=True),
]

# What tier 1 runs; --full runs all.
SAMPLE = ("plain", "node", "lvm")


def run(*words: str, **more: object) -> str:
    done = subprocess.run(words, capture_output=True, check=False, **more)
    if done.returncode:
        sys.exit(f"{' '.join(words)}: exit {done.returncode}\n{done.stdout.decode(errors='replace')}{done.stderr.decode(errors='replace')}")
    return done.stdout.decode()


def expect(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        sys.exit(f"{what}: {found!r} instead of {wanted!r}")


def document(case: Case) -> str:
    return (f"schema: cv.layout/v1\nname: offline\ndisks: {{d: {{count: {case.disks}}}}}\n"
            f"partitions:\n  {case.partitions}\n{case.above}\n")


def listing(root: str) -> str:
    """What a tree is: FAT keeps neither owners nor modes, nor odd seconds; what a deployment configures is left out."""
    lines = []
    for directory, names, files in os.walk(root):
        names[:] = sorted(n for n in names if n != "lost+found")
        for name in sorted(names + files):
            path = os.path.join(directory, name)
            inner, s = os.path.relpath(path, root), os.lstat(path)
            if inner in ("etc", "etc/fstab", "etc/mdadm.conf", "etc/crypttab", "boot/efi", "srv", "boot", "var/log"):
                continue
            fat = inner.startswith("boot/efi/")
            attributes = [] if fat else [(x, os.getxattr(path, x, follow_symlinks=False)) for x in sorted(os.listxattr(path, follow_symlinks=False))]
            what = os.readlink(path) if os.path.islink(path) else ""
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as f:
                    what = f"{len(f.read())} {run('b2sum', path).split()[0]}"
            meta = "" if fat else f"{s.st_mode:o} {s.st_uid}:{s.st_gid} {s.st_mtime_ns}"
            lines.append(f"{inner} {meta} {attributes} {what}")
    return "\n".join(lines)


def tree(root: str) -> None:
    for d in ("etc", "usr/bin", "var/log", "boot/efi/EFI/BOOT", "srv/data", "home/u"):
        os.makedirs(f"{root}/{d}")
    for name, text in (("etc/passwd", b"root:x:0:0::/:/bin/sh\n"), ("boot/vmlinuz-6.1.0", os.urandom(3 * MIB)), ("usr/bin/tool", os.urandom(5 * MIB)),
                       ("var/log/messages", b"much\n" * 5000), ("boot/efi/EFI/BOOT/BOOTX64.EFI", os.urandom(900_000)),
                       ("boot/efi/EFI/BOOT/grub.cfg", b"set x=1\n"), ("srv/data/x", os.urandom(2 * MIB))):
        with open(f"{root}/{name}", "wb") as f:
            f.write(text)
    for n in range(300):
        with open(f"{root}/home/u/{n}", "w", encoding="utf-8") as f:
            f.write(f"file {n}\n" * n)
    os.chown(f"{root}/home/u/7", 70000, 4_000_000)
    os.chmod(f"{root}/usr/bin/tool", 0o4755)
    os.setxattr(f"{root}/home/u/8", "user.note", b"\x00kept")
    os.setxattr(f"{root}/home/u/9", "trusted.own", b"1")
    os.link(f"{root}/home/u/10", f"{root}/home/u/same")
    os.symlink("tool", f"{root}/usr/bin/link")
    with open(f"{root}/home/u/holes", "wb") as f:
        f.truncate(40 * MIB)
        f.seek(20 * MIB)
        f.write(b"in the middle")


# In the guest: /mnt has the plan, and a listing of what was installed.

def arrays(plan: dict, control: bool) -> None:
    with open("/run/mdadm.conf", "w", encoding="utf-8") as f:
        f.write("\n".join(plan["mdadm"]) + "\n")
    run("mdadm", "--assemble", "--scan", "--config", "/run/mdadm.conf")
    for array in plan["arrays"]:
        device = os.path.realpath(f"/dev/md/{array['name']}")
        expect(f"size of {array['id']}", int(run("blockdev", "--getsize64", device)), array["size"])
        sysfs = f"/sys/block/{os.path.basename(device)}/md"
        read = lambda name, at=sysfs: open(f"{at}/{name}", encoding="utf-8").read().strip()  # noqa: E731
        if array["level"] == 0:
            continue
        with open("/proc/mdstat", encoding="utf-8") as f:
            text = f.read()
        stat = text[text.index(os.path.basename(device)):].split("\n\n")[0].split("\nmd")[0]
        expect(f"{array['id']} is complete: {stat}", "[" + "U" * array_members(array) + "]" in stat, True)
        expect(f"{array['id']} copies nothing: {stat}", any(w in stat for w in ("resync", "recovery", "PENDING")), False)
        expect(f"degraded of {array['id']}", read("degraded"), "0")
        expect(f"state of {array['id']}", read("array_state") in ("clean", "readonly", "read-auto"), True)
        run("mdadm", "--readwrite", device)
        expect(f"differences in {array['id']}", scrub(sysfs, "check"), 0)
        if control:    # a check that finds nothing could be one that does not look
            path = f"/dev/{os.path.basename(os.path.realpath(f'{sysfs}/rd1/block'))}"
            with open(path, "r+b") as f:
                f.seek(array["data_offset"] + array["size"] - 65536)
                f.write(os.urandom(4096))
                os.fsync(f.fileno())
            expect(f"differences in {array['id']} after one was made", scrub(sysfs, "repair") > 0, True)
            expect(f"differences in {array['id']} after the repair", scrub(sysfs, "check"), 0)


def scrub(sysfs: str, action: str) -> int:
    """Has the kernel compare all copies; how many sectors differ."""
    def read(name: str) -> str:
        with open(f"{sysfs}/{name}", encoding="utf-8") as f:
            return f.read().strip()
    with open(f"{sysfs}/sync_action", "w", encoding="utf-8") as f:
        f.write(action)
    for _ in range(600):
        if read("sync_action") == "idle":
            break
        time.sleep(0.1)
    expect("what was done", (read("sync_action"), read("last_sync_action")), ("idle", action))
    return int(read("mismatch_cnt"))


def array_members(array: dict) -> int:
    return len(array["members"])


def check(case: Case) -> None:
    with open("/mnt/plan.json", encoding="utf-8") as f:
        plan = json.load(f)
    if plan["arrays"]:
        arrays(plan, control=case.name == "raid1-zero")
    for group in plan["groups"]:
        run("vgck", group["name"])
        run("vgchange", "-ay", group["name"])
        found = json.loads(run("vgs", "--reportformat", "json", "-o", "vg_extent_count,vg_free_count", group["name"]))
        row = found["report"][0]["vg"][0]
        expect(f"extents of {group['name']}", int(row["vg_extent_count"]), group["extents"])
        expect(f"free extents of {group['name']}", int(row["vg_free_count"]), group["free"])
    device = lambda uuid: run("blkid", "-o", "device", "-t", f"UUID={uuid}").split()[0]  # noqa: E731
    os.makedirs("/run/m", exist_ok=True)
    mounted = sorted((fs for fs in plan["filesystems"] if fs["mount"]), key=lambda fs: fs["mount"]["at"].rstrip("/").count("/"))
    for fs in plan["filesystems"]:
        if fs["type"] == "swap":
            run("swapon", device(fs["uuid"]))
        if fs["type"] == "ext4":
            run("e2fsck", "-fn", device(fs["uuid"]))
        elif fs["type"] == "xfs":
            run("xfs_repair", "-n", device(fs["uuid"]))
    for fs in mounted:
        at = "/run/m" + fs["mount"]["at"].rstrip("/")
        os.makedirs(at, exist_ok=True)
        run("mount", device(fs["uuid"]), at)
    if case.image:
        with open("/mnt/listing", encoding="utf-8") as f:    # the guest does not see attributes of the share
            wanted, found = f.read().splitlines(), listing("/run/m").splitlines()
        found = [line for line in found if not line.startswith(("var/lib/libcv", "var/lib "))]
        expect("the content", [x for x in found if x not in wanted], [])
        expect("what is missing", [x for x in wanted if x not in found], [])
        for fs in plan["filesystems"]:
            for mirror in fs["mirrors"]:
                os.makedirs("/run/mirror", exist_ok=True)
                run("mount", "-o", "ro", device(mirror["uuid"]), "/run/mirror")
                run("diff", "-r", "/run/mirror", "/run/m" + fs["mount"]["at"])
                run("umount", "/run/mirror")
    for fs in reversed(mounted):    # all of it can be used
        at = "/run/m" + fs["mount"]["at"].rstrip("/")
        with open(f"{at}/written", "wb") as f:
            f.write(b"x" * 5_000_000)
        run("umount", at)


def measure() -> None:
    """Both backends on two files in memory, in turn; the shorter of three runs each."""
    case = next(c for c in CASES if c.name == "node-empty")
    with open("/run/layout.yaml", "w", encoding="utf-8") as f:
        f.write(document(case))
    best: dict[str, float] = {}
    for _ in range(3):
        for backend in ("kernel", "offline"):
            given = []
            for n in range(case.disks):
                path = f"/run/tmp/{n}.img"
                with open(path, "wb") as f:
                    f.truncate(case.size * MIB)
                given += ["--disk", f"d={path}"]
            begun = time.monotonic()
            run("/mnt/cvctl", "-q", "layout", "apply", "/run/layout.yaml", *given, "--yes", "--backend", backend)
            best[backend] = min(best.get(backend, 1e9), time.monotonic() - begun)
    with open("/mnt/measured", "w", encoding="utf-8") as f:
        f.write(", ".join(f"{name} {seconds:.2f} s" for name, seconds in best.items()))


def guest(work: str, name: str, what: str, disks: int) -> None:
    images = [word for n in range(disks) for word in ("-d", f"{work}/{n}.img")]
    command = [f"{HERE}/uml-run.sh", "-t", "200", *images, "-w", work, "--", "python3", os.path.abspath(__file__), "--guest", what, name]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode == 77:
        print(done.stdout.decode() + done.stderr.decode())
        sys.exit(77)
    if done.returncode:
        sys.exit(f"{name}: {what}: exit {done.returncode}\n{done.stdout.decode(errors='replace')[-4000:]}{done.stderr.decode(errors='replace')[-2000:]}")


def make(case: Case, work: str) -> None:
    """Applies the layout on this machine."""
    cvctl, store = f"{work}/cvctl", f"{work}/store"
    with open(f"{work}/layout.yaml", "w", encoding="utf-8") as f:
        f.write(document(case))
    given = []
    for n in range(case.disks):
        with open(f"{work}/{n}.img", "wb") as f:
            f.truncate(case.size * MIB)
        if not case.image:
            os.chown(f"{work}/{n}.img", NOBODY, NOBODY)
        given += ["--disk", f"d={work}/{n}.img"]
    rest = [f"{work}/layout.yaml", *given, "--seed", "5" * 32]
    call = [cvctl, "-q", "-o", "json"]
    user: dict[str, object] = {}
    if case.image:
        tree(f"{work}/tree")
        with open(f"{work}/listing", "w", encoding="utf-8") as f:
            f.write(listing(f"{work}/tree"))
        run(*call, "store", "init", store)
        run(*call, "--store", store, "image", "capture", f"{work}/tree", "--name", "base", "--exact")
        call += ["--store", store]
        rest += ["--image", "base"]
    else:
        user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    plan = json.loads(run(*call, "layout", "plan", *rest, **user))
    run(*call, "layout", "apply", *rest, "--confirm", plan["token"], "--backend", "offline", **user)
    with open(f"{work}/plan.json", "w", encoding="utf-8") as f:
        json.dump(plan, f)


def main() -> None:
    args = sys.argv[1:]
    cases = {c.name: c for c in CASES}
    if args[:1] == ["--guest"]:
        if args[1] == "measure":
            measure()
        else:
            check(cases[args[2]])
        return
    if os.geteuid():
        print("run it as root")
        sys.exit(77)
    measured = "--measure" in args
    full = os.environ.get("FULL") == "1"
    sample = [c for c in CASES if full or c.name in SAMPLE]
    chosen = [cases[a] for a in args if a != "--measure"] or ([] if measured else sample)
    for case in chosen:
        with bed() as work:
            make(case, work)
            guest(work, case.name, "check", case.disks)
            print(f"ok: {case.name}", flush=True)
    if measured:
        with bed() as work:
            guest(work, "both backends", "measure", 0)
            with open(f"{work}/measured", encoding="utf-8") as f:
                print(f.read())
    print("PASS")


def bed() -> tempfile.TemporaryDirectory[str]:
    made = tempfile.TemporaryDirectory(prefix="libcv-offline.", dir="/dev/shm")
    os.chmod(made.name, 0o755)
    shutil.copy(os.environ["CVCTL"], f"{made.name}/cvctl")
    return made


if __name__ == "__main__":
    main()

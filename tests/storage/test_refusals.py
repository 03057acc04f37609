#!/usr/bin/env python3
"""test_refusals.py: disks that are part of something, with real MD and device mapper: an array of others, a volume group, an
open encrypted device; a partition instead of a disk. Each is a line of CASES. `layout apply --yes` is refused with its code
within a second, and the kernel has not written a sector to any disk since. What needs neither stands in
tests/flow/test_refusals.py.

Needs: root, tests/beds/uml.sh, CVCTL.    Time: one guest, 10 s.
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
LAYOUT = """schema: cv.layout/v1
name: small
disks: {d: {wipe: WIPE}}
partitions: {d/root: {type: linux, size: rest}}
filesystems: {root: {on: d/root, type: ext4, mount: {at: /}}}
"""
DISKS = [f"/dev/ubd{letter}" for letter in "abc"]


class Case(NamedTuple):
    """What is refused and with which code; how it comes about in the guest, and how it is taken down again. With `wipe: all`
    what stands on the disks of the plan alone may be stopped; that is no reason to refuse it then."""

    what: str
    code: str
    disk: str
    made: str
    undone: str
    wipe: str = "all"


PARTED = "sgdisk -n 1:2048:+40M -n 2:0:+40M /dev/ubda; sgdisk -n 1:2048:+40M -n 2:0:+40M /dev/ubdb; "
ARRAY = "mdadm --create /dev/md/others --run --level=1 --raid-devices=2 --homehost=any --metadata=1.2 --bitmap=none --assume-clean "
GROUP = "pvcreate -qq %s; vgcreate -qq others %s; lvcreate -qq -Wn -Zn -L 16M -n data others"
CASES = [
    Case("a disk of an array of others", "F204", "/dev/ubda", PARTED + ARRAY + "/dev/ubda1 /dev/ubdb1", "mdadm --stop /dev/md/others"),
    Case("an array of others that does not run", "F229", "/dev/ubda",
         PARTED + ARRAY + "/dev/ubda1 /dev/ubdb1; mdadm --stop /dev/md/others", "true", "signatures"),
    Case("an array of whole disks", "F204", "/dev/ubdb", ARRAY + "/dev/ubda /dev/ubdb", "mdadm --stop /dev/md/others"),
    Case("an array that lost its other member", "F204", "/dev/ubda",
         PARTED + ARRAY + "/dev/ubda1 /dev/ubdb1; mdadm /dev/md/others --fail /dev/ubdb1; mdadm /dev/md/others --remove /dev/ubdb1",
         "mdadm --stop /dev/md/others", "signatures"),
    Case("a disk of a volume group of others", "F204", "/dev/ubda", GROUP % (2 * ("/dev/ubda /dev/ubdb",)), "vgremove -qq -f others", "signatures"),
    Case("a volume on it and on another", "F204", "/dev/ubda", GROUP.replace("-L 16M", "-i 2 -L 16M") % (2 * ("/dev/ubda /dev/ubdb",)),
         "vgremove -qq -f others"),
    Case("volumes on an array", "F204", "/dev/ubdb", PARTED + ARRAY + "/dev/ubda2 /dev/ubdb2; " + GROUP % ("/dev/md/others", "/dev/md/others"),
         "vgremove -qq -f others; pvremove -qq /dev/md/others; mdadm --stop /dev/md/others"),
    Case("an open encrypted device", "F204", "/dev/ubda",
         "echo x | cryptsetup luksFormat -q --pbkdf pbkdf2 --pbkdf-force-iterations 1000 /dev/ubda -; echo x | cryptsetup open -d - /dev/ubda c",
         "cryptsetup close c", "signatures"),
    Case("a partition that is mounted", "F204", "/dev/ubda", PARTED + "mkfs.ext4 -q /dev/ubda2; mkdir -p /run/m; mount -o ro /dev/ubda2 /run/m",
         "umount /run/m"),
    Case("a partition", "F215", "/dev/ubda1", PARTED, "true"),
]


def shell(script: str) -> None:
    done = subprocess.run(["bash", "-e", "-c", script], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{script}: exit {done.returncode}\n{done.stderr}")


def written() -> dict[str, int]:
    """Sectors and requests of writing and discarding that each disk has seen."""
    found = {}
    for disk in DISKS:
        with open(f"/sys/block/{os.path.basename(disk)}/stat", encoding="ascii") as f:
            fields = [int(n) for n in f.read().split()]
        found[disk] = fields[4] + fields[6] + (fields[11] + fields[13] if len(fields) > 13 else 0)
    return found


def guest() -> None:
    for wipe in ("all", "signatures"):
        with open(f"/run/{wipe}.yaml", "w", encoding="ascii") as f:
            f.write(LAYOUT.replace("WIPE", wipe))
    call = ["/mnt/cvctl", "-q", "-o", "json", "layout", "apply", "--yes"]
    for case in CASES:
        shell("for d in a b c; do blkdiscard -f /dev/ubd$d; done; " + case.made)
        os.sync()
        # An array notes that it is at rest a moment after its last write.
        before = settled()
        begun = time.monotonic()
        done = subprocess.run([*call, f"/run/{case.wipe}.yaml", "--disk", f"d={case.disk}"], capture_output=True, text=True, check=False)
        took = time.monotonic() - begun
        os.sync()
        after = written()
        if done.returncode != 16 or (error := json.loads(done.stderr)["error"])["detail"]["code"] != case.code:
            sys.exit(f"{case.what}: exit {done.returncode} {done.stderr}")
        if after != before:
            sys.exit(f"{case.what}: written were {after}, before {before}")
        if took >= 1:
            sys.exit(f"{case.what}: {took:.2f} s")
        shell(case.undone)
        print(f"ok: {case.what}: {case.code}, not a sector, {took:.2f} s: {error['message']}", flush=True)
    # The counters would show it: the last disk is free, and written.
    before = written()
    done = subprocess.run([*call, "/run/all.yaml", "--disk", "d=/dev/ubdc"], capture_output=True, text=True, check=False)
    if done.returncode or written()["/dev/ubdc"] <= before["/dev/ubdc"]:
        sys.exit(f"a free disk: exit {done.returncode} {done.stderr}")
    print("ok: a free disk is written", flush=True)


def settled() -> dict[str, int]:
    last, quiet = written(), 0
    for _ in range(40):
        time.sleep(0.25)
        now = written()
        quiet = quiet + 1 if now == last else 0
        if quiet == 4:
            return now
        last = now
    sys.exit("the disks do not come to rest")


def main() -> None:
    if sys.argv[1:] == ["--guest"]:
        guest()
        return
    if os.geteuid():
        print("run it as root")
        sys.exit(77)
    work = tempfile.mkdtemp(prefix="libcv-refusals.", dir="/dev/shm")
    try:
        shutil.copy(os.environ["CVCTL"], f"{work}/cvctl")
        disks = []
        for n in range(len(DISKS)):
            disks += ["-d", f"{work}/{n}.img"]
            with open(f"{work}/{n}.img", "wb") as f:
                f.truncate(200 * MIB)
        command = [f"{HERE}/uml-run.sh", "-t", "200", *disks, "-w", work, "--", "python3", os.path.abspath(__file__), "--guest"]
        done = subprocess.run(command, check=False)
        if done.returncode:
            sys.exit(done.returncode)
    finally:
        shutil.rmtree(work)
    print("PASS")


if __name__ == "__main__":
    main()

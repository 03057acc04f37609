#!/usr/bin/env python3
"""apply.py [--pairs N]: a layout with two disks, RAID1 and LVM, applied by cvctl and by a shell script of the same commands, in
User-Mode Linux with real MD and device mapper, side by side.

The script is what a person would write: old signatures off, a table, the arrays, the group with its volumes, the
filesystems, a sync; its commands are those that the plan shows, for the same sizes and identities, so that what comes out
is the same. It looks at nothing before or afterwards. Pairs are interleaved (ours, script, script, ours, …); the number is
the median of their ratios. Exit 1 when it is over 1.2.
Needs: root, tests/beds/uml.sh, CVCTL (a build with optimisation).    Time: about 20 s a pair.
"""
from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
UML = f"{HERE}/../tests/storage/uml-run.sh"
TARGET = 1.2
GIB = 1 << 30
DISKS = ["/dev/ubda", "/dev/ubdb"]
LAYOUT = """schema: cv.layout/v1
name: mirror
disks: {d: {count: 2, wipe: signatures}}
partitions:
  d/esp:  {type: esp, size: 600MiB}
  d/boot: {type: linux-raid, size: 1GiB}
  d/pv:   {type: linux-raid, size: rest}
raid:
  boot: {level: 1, members: [d/boot], metadata: "1.0", bitmap: none}
  pv:   {level: 1, members: [d/pv], metadata: "1.2", bitmap: internal}
lvm:
  sys: {pvs: [raid/pv], lvs: {root: {size: 8GiB}, var: {size: 4GiB}, swap: {size: 1GiB}}}
filesystems:
  esp:  {on: d/esp, type: vfat, label: ESP, mirror: sync, mount: {at: /boot/efi}}
  boot: {on: raid/boot, type: ext4, mount: {at: /boot}}
  root: {on: lvm/sys/root, type: xfs, mount: {at: /}}
  var:  {on: lvm/sys/var, type: xfs, mount: {at: /var}}
  swap: {on: lvm/sys/swap, type: swap}
"""
CV = ["/mnt/cvctl", "-q", "-o", "json", "layout"]
GIVEN = ["/run/layout.yaml", *[word for disk in DISKS for word in ("--disk", f"d={disk}")], "--seed", "7" * 32]


def call(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words)}: exit {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


def script_of(plan: dict) -> str:
    """The same commands by hand. Without udev nodes have the kernel's names."""
    lines = ["set -e"]
    for disk in plan["disks"]:
        path = disk["disk"]["path"]
        lines += [f"wipefs -aq {path}"]
        table = ["sfdisk -q --no-tell-kernel --wipe never", path, "<<'T'"]
        lines.append(" ".join(table))
        lines += ["label: gpt", f"label-id: {disk['guid']}", "first-lba: 2048"]
        for p in disk["partitions"]:
            lines.append(f"{p['number']}: start={p['start'] // 512}, size={p['length'] // 512}, type={p['type_guid']}, "
                         f"uuid={p['uuid']}, name=\"{p['name']}\"")
        lines += ["T", f"blockdev --rereadpt {path}"]
        lines += [f"wipefs -aq {path}{p['number']}" for p in disk["partitions"]]
    nodes = {f"/dev/disk/by-partuuid/{p['uuid']}": f"{d['disk']['path']}{p['number']}" for d in plan["disks"] for p in d["partitions"]}
    for step in plan["steps"]:
        if step["id"].split(":")[0] not in ("raid", "lvm", "mkfs"):
            continue
        for words in step["commands"]:
            lines.append(" ".join("'" + nodes.get(w, w).replace("'", "'\\''") + "'" for w in words))
        if step["id"].startswith("raid:"):
            lines.append(f"wipefs -aq /dev/md/{step['id'].removeprefix('raid:')}")
    lines.append("sync")
    return "\n".join(lines) + "\n"


def down() -> None:
    """Back to blank disks, and everything that was touched before touched again."""
    for words in (["swapoff", "-a"], ["vgchange", "-qq", "-an", "sys"], ["mdadm", "--stop", "--scan"]):
        subprocess.run(words, capture_output=True, check=False)
    for disk in DISKS:
        call("blkdiscard", "-f", disk)
        call("blockdev", "--rereadpt", disk)
    os.sync()


def ours() -> float:
    down()
    token = json.loads(call(*CV, "plan", *GIVEN))["token"]
    begun = time.monotonic()
    call(*CV, "apply", *GIVEN, "--confirm", token)
    os.sync()
    return time.monotonic() - begun


def script() -> float:
    down()
    begun = time.monotonic()
    call("bash", "/run/script.sh")
    return time.monotonic() - begun


def guest(pairs: int) -> None:
    # The resync would go on beside what is measured, in the one and in the other.
    for limit in ("max", "min"):
        with open(f"/proc/sys/dev/raid/speed_limit_{limit}", "w", encoding="ascii") as f:
            f.write("1")
    with open("/run/layout.yaml", "w", encoding="ascii") as f:
        f.write(LAYOUT)
    down()
    with open("/run/script.sh", "w", encoding="ascii") as f:
        f.write(script_of(json.loads(call(*CV, "plan", *GIVEN))))
    shutil.copy("/run/script.sh", "/mnt/script.sh")
    ours()
    script()
    after = json.loads(call(*CV, "plan", *GIVEN))
    if not after["unchanged"]:
        sys.exit(f"the script makes something else: {after['differences']}")
    found = []
    for n in range(pairs):
        a, b = (ours(), script()) if n % 2 == 0 else reversed((script(), ours()))
        found.append((a, b))
        print(f"pair {n + 1}: cvctl {a:.2f} s, script {b:.2f} s, ratio {a / b:.2f}", flush=True)
    with open("/mnt/pairs.json", "w", encoding="ascii") as f:
        json.dump(found, f)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--guest", action="store_true")
    args = parser.parse_args()
    if args.guest:
        guest(args.pairs)
        return
    with tempfile.TemporaryDirectory(prefix="libcv-apply.", dir=os.environ.get("TMPDIR", "/tmp")) as work:
        shutil.copy(os.environ.get("CVCTL") or sys.exit("CVCTL is not set"), f"{work}/cvctl")
        disks = []
        for n in range(2):
            disks += ["-d", f"{work}/{n}.img"]
            with open(f"{work}/{n}.img", "wb") as f:
                f.truncate(20 * GIB)
        command = [UML, "-t", "1200", *disks, "-w", work, "--", "python3", os.path.abspath(__file__), "--guest", "--pairs", str(args.pairs)]
        if subprocess.run(command, check=False).returncode:
            sys.exit(1)
        with open(f"{work}/pairs.json", encoding="ascii") as f:
            ratios = sorted(a / b for a, b in json.load(f))
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    print(f"two disks, RAID1 and LVM: cvctl takes {middle:.2f} × the time of the script ({low:.2f} to {high:.2f}); target {TARGET}")
    sys.exit(middle > TARGET)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""A real Debian tree is captured, deployed with a layout of examples/layouts, and its disk boots: to the login prompt,
with its host name, with every mount and swap of the plan, and with no unit that failed. BIOS, GRUB; root on ext4, and
root on xfs beside /boot, /home and swap of their own. A disk with 4096-byte sectors has a table without fault.

Needs: root, CVCTL, what `tests/setup.sh vm` installs.  Time: 2 guests, 1 minute on a quiet machine.
"""
from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from vm import Guest  # noqa: E402

CV = os.environ.get("CVCTL") or sys.exit("CVCTL is not set")
LAYOUTS = f"{HERE}/../../examples/layouts"


def cv(*arguments: str) -> dict:
    done = subprocess.run([CV, "-q", "-o", "json", *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout) if done.stdout.strip() else {}


def disk_file(path: str, gib: int) -> str:
    with open(path, "wb") as f:
        f.truncate(gib << 30)
    return path


def boots(work: str, layout: str, gib: int, node: str) -> None:
    """Deploys and boots; what runs is compared with the plan."""
    disk = disk_file(f"{work}/{layout}.img", gib)
    arguments = [f"{LAYOUTS}/{layout}.yaml", "--image", "debian", "--disk", f"os={disk}", "--hostname", node,
                 "--seed", "07" * 16]
    plan = cv("--store", f"{work}/store", "layout", "plan", *arguments)
    cv("--store", f"{work}/store", "layout", "apply", *arguments, "--confirm", plan["token"], "--verify")
    with Guest([disk], memory=1024) as g:
        short = node.split(".")[0]        # agetty shows it so
        g.wait(rf"{short} login: ", 300)
        g.login("root", "cv")
        assert g.command("hostname") == node
        wanted = {f["mount"]["at"]: f for f in plan["filesystems"] if f.get("mount")}
        seen = {}
        for line in g.command("findmnt -rno TARGET,FSTYPE,UUID,OPTIONS -t ext4,xfs,btrfs,vfat").splitlines():
            target, *rest = line.split()
            seen[target] = rest
        assert seen.keys() == wanted.keys(), f"mounted {sorted(seen)}, planned {sorted(wanted)}"
        for at, f in wanted.items():
            kind, uuid, options = seen[at]
            assert (kind, uuid) == (f["type"], f["uuid"]), f"{at}: {seen[at]}, planned {f}"
            missing = set(f["mount"].get("options", [])) - {"defaults"} - set(options.split(","))
            assert not missing, f"{at} is mounted without {missing}"
        swaps = sum(f["type"] == "swap" for f in plan["filesystems"])
        assert int(g.command("tail -n +2 /proc/swaps | wc -l")) == swaps
        assert g.command("systemctl --failed --plain --no-legend") == ""
        g.power_off()
        seconds = dict(g.milestones)[rf"{short} login: "]
    os.unlink(disk)
    print(f"ok: {layout}: {node} after {seconds:.0f} s, {len(wanted)} filesystems, {swaps} swap", flush=True)


def large_sectors(work: str) -> None:
    disk = disk_file(f"{work}/4k.img", 2)
    cv("layout", "apply", f"{LAYOUTS}/sectors-4k.yaml", "--disk", f"data={disk}", "--yes")
    attach = ["losetup", "--find", "--show", "--sector-size", "4096", disk]
    device = subprocess.check_output(attach, text=True).strip()
    try:
        said = subprocess.run(["sgdisk", "--verify", device], capture_output=True, text=True, check=True)
        assert "No problems found" in said.stdout and not said.stderr, said
        said = subprocess.run(["sfdisk", "--verify", device], capture_output=True, text=True, check=True)
        assert "No errors detected" in said.stdout and not said.stderr, said
        table = json.loads(subprocess.check_output(["sfdisk", "--json", device]))["partitiontable"]
        assert table["sectorsize"] == 4096 and len(table["partitions"]) == 2, table
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)
    print("ok: 4096-byte sectors: neither sgdisk nor sfdisk finds a fault", flush=True)


def main() -> None:
    root = subprocess.check_output([f"{HERE}/../beds/make-root.sh"], text=True).splitlines()[-1]
    with tempfile.TemporaryDirectory(prefix="libcv-boot-") as work:
        large_sectors(work)
        cv("store", "init", f"{work}/store")
        cv("--store", f"{work}/store", "image", "capture", root, "--name", "debian")
        boots(work, "bios-ext4", 4, "node001")
        boots(work, "bios-separate-home", 6, "node-b.example.org")
        assert cv("--store", f"{work}/store", "store", "check", "--read-data")["faults"] == []


if __name__ == "__main__":
    main()
    print("PASS")

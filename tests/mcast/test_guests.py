#!/usr/bin/env python3
"""One sending reaches two machines, each onto disks of its own, and both boot: guests of User-Mode Linux on one switch plan and apply their own
layouts, RAID1 and LVM of other sizes and names, take the image from the same session, and install it. Then the disks boot in QEMU by their own
boot loaders, UEFI and BIOS: each has its host name, its arrays, volumes and mounts, and the root is LVM on RAID1.

Needs: root, CVCTL with multicast, what `tests/setup.sh vm storage` installs, /dev/net/tun.  Time: install 40 s, boot 60 s, both at once.
"""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, f"{HERE}/../vm"]
from lan import Lan  # noqa: E402

sys.path.insert(0, f"{HERE}/../http")
from bed import CVCTL, Bed, cv  # noqa: E402
from test_stacks import CONSOLE, MIRROR, blank, boots, given, in_guest  # noqa: E402
from vm import Guest  # noqa: E402

OTHER = """\
schema: cv.layout/v1
name: other
firmware: [bios]
disks: {mirror: {count: 2}}
partitions:
  mirror/biosboot: {type: bios-boot, size: 1MiB}
  mirror/boot:     {type: linux-raid, size: 256MiB}
  mirror/data:     {type: linux-raid, size: rest, leave-free: 8MiB}
raid:
  kernels: {level: 1, members: [mirror/boot], metadata: "1.0", bitmap: none, sync: assume-clean}
  data:    {level: 1, members: [mirror/data], sync: assume-clean}
lvm:
  node: {pvs: [raid/data], extent: 8MiB, lvs: {system: {size: 1400MiB}, home: {size: 320MiB}, work: {size: rest}}}
filesystems:
  boot: {on: raid/kernels, type: ext4, mount: {at: /boot}}
  root: {on: lvm/node/system, type: ext4, label: system, mount: {at: /}}
  home: {on: lvm/node/home, type: xfs, mount: {at: /home, options: [nodev]}}
  work: {on: lvm/node/work, type: ext4, mount: {at: /srv/work}}
""" + CONSOLE.replace("install-on: os", "install-on: mirror")


class Node(NamedTuple):
    """A machine: its layout and how large its disks are, in MiB; its last byte of an address; its firmware."""

    name: str
    layout: str
    text: str
    disks: dict[str, list[int]]
    host: int
    firmware: str


NODES = [Node("node011", "mirror", MIRROR, {"os": [2600, 2600]}, 11, "uefi"),
         Node("node012", "other", OTHER, {"mirror": [2300, 2400]}, 12, "bios")]


class Installed(NamedTuple):
    """What a node has become."""

    plan: dict[str, Any]
    images: list[str]
    sets: list[str]


def install(lan: Lan, node: Node) -> Installed:
    """A guest on the switch makes its disks, and takes the image while it is sent."""
    work = f"{lan.bed.dir}/{node.name}"
    os.mkdir(work)
    shutil.copy(CVCTL, f"{work}/cvctl")
    with open(f"{work}/{node.layout}.yaml", "w", encoding="utf-8") as f:
        f.write(node.text)
    images, sets = blank(work, node.layout, node.disks)
    lan.run(lan.switch, "ip", "tuntap", "add", f"tap{node.host}", "mode", "tap")
    lan.run(lan.switch, "ip", "link", "set", f"tap{node.host}", "master", "br0", "up")
    in_guest(work, images, f"""set -e
echo {node.name} > /proc/sys/kernel/hostname
ip link set vec0 up
ip address add 10.93.0.{node.host}/24 dev vec0
cv="/mnt/cvctl -q -o json layout"
args="/mnt/{node.layout}.yaml {given(sets, 'ubd')} --hostname {node.name} --seed {node.host:02x}{'07' * 15}"
$cv plan $args > /mnt/plan.json
token=$(python3 -c 'import json; print(json.load(open("/mnt/plan.json"))["token"])')
$cv apply $args --confirm $token --multicast vec0 --multicast-name debian --verify > /mnt/applied.json
""", inside=lan.inside(lan.switch), network=f"vec0:transport=tap,ifname=tap{node.host},gro=1", limit=300)
    with open(f"{work}/plan.json", encoding="utf-8") as f:
        return Installed(json.load(f), images, sets)


def root_is_a_mirror(g: Guest) -> None:
    below = g.command("lsblk -snro TYPE $(findmnt -nro SOURCE /) | uniq").split()
    assert below == ["lvm", "raid1", "part", "disk", "part", "disk"], below


def main() -> None:
    if os.geteuid() != 0 or not shutil.which("ethtool") or not os.path.exists("/dev/net/tun"):
        print("it needs root, /dev/net/tun and ethtool (apt-get install ethtool)")
        sys.exit(77)
    root = subprocess.check_output([f"{HERE}/../beds/make-root.sh"], text=True).splitlines()[-1]
    with Bed(megabytes=0, files=1) as bed, ThreadPoolExecutor(len(NODES)) as pool:
        cv("--store", bed.store, "image", "capture", root, "--name", "debian")
        lan = Lan(bed, 0)
        began = time.monotonic()
        send = [CVCTL, "-q", "-o", "json", "--store", bed.store, "mcast", "send", "debian", "--interface", "eth0",
                "--receivers", str(len(NODES)), "--wait", "300s"]
        sender = bed.start(*lan.inside(lan.hosts[0], *send), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        installed = list(pool.map(lambda node: install(lan, node), NODES))
        out, err = sender.communicate(timeout=60)
        assert sender.returncode == 0, f"sender: {sender.returncode} {err} {out}"
        report = json.loads(out)
        assert sorted((r["name"], r["standing"]) for r in report["receivers"]) == [(node.name, "done") for node in NODES], report
        print(f"ok: one session of {report['bytes'] >> 20} MiB in {report['seconds']:.0f} s, {lan.sent() / report['bytes']:.2f} of it on the wire; "
              f"both are installed after {time.monotonic() - began:.0f} s", flush=True)

        def boot(node: Node, made: Installed) -> None:
            boots(f"{bed.dir}/{node.name}", made.plan, made.images, made.sets, node.firmware, also=root_is_a_mirror, is_last=True)

        list(pool.map(boot, NODES, installed))


if __name__ == "__main__":
    main()
    print("PASS")

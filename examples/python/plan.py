"""A layout for two disks, what it means for these two, and its picture. Nothing is written to them.

    pip install libcv-provision && python plan.py /tmp/an-empty-directory
"""

import sys
from pathlib import Path

import libcv as cv

LAYOUT = """
schema: cv.layout/v1
name: mirror
disks: {os: {count: 2, wipe: all}}
partitions:
  os/esp: {type: esp, size: 512MiB}
  os/pv:  {type: linux-raid, size: rest}
raid: {pv: {level: 1, members: [os/pv]}}
lvm: {sys: {pvs: [raid/pv], lvs: {root: {size: 20GiB}, swap: {size: 4GiB}, data: {size: rest}}}}
filesystems:
  esp:  {on: os/esp, type: vfat, label: ESP, mirror: sync, mount: {at: /boot/efi}}
  root: {on: lvm/sys/root, type: xfs, label: root, mount: {at: /}}
  swap: {on: lvm/sys/swap, type: swap}
  data: {on: lvm/sys/data, type: xfs, mount: {at: /data}}
"""


def main(top: Path) -> None:
    disks = [top / "disk0", top / "disk1"]  # devices would be named the same way: /dev/sda
    for disk in disks:
        with open(disk, "wb") as file:
            file.truncate(100 << 30)

    plan = cv.Layout.parse(LAYOUT).plan({"os": disks}, hostname="node001")
    print(plan)
    for step in plan.to_dict()["steps"]:
        print(step["danger"], step["title"])

    # In a notebook the plan shows this by itself.
    picture = top / "plan.svg"
    picture.write_text(plan.to_svg(), encoding="utf-8")
    print("look at", picture, "and then: plan.apply(confirm=" + repr(plan.token) + ")")
    assert all(disk.stat().st_blocks == 0 for disk in disks)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

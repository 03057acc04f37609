#!/usr/bin/env python3
"""Records what a machine tells about its disks as a text, from which the tests make a directory again.

Call: record.py [ROOT] > NAME.tree          as root, for the pages of SCSI devices and the database of udev

One entry a line, paths below ROOT:
    sys/block/sda -> ../devices/...         a link
    sys/firmware/efi/                       a directory
    sys/.../size = 1953525168               a file of one line; \\xNN and \\\\ are bytes
    proc/self/mountinfo =                   a file of several lines, which follow
    | 22 1 9:1 / / rw ...
Only what the inventory looks at is recorded. Host names, serial numbers and mount points are in it: look before it leaves the house.
"""
from __future__ import annotations

import os
import sys

ROOT = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "/")
BLOCK = ("dev", "size", "ro", "removable", "hidden", "wwid", "nsid", "eui", "nguid", "uuid", "serial", "partition", "start",
         "queue/rotational", "queue/logical_block_size", "queue/physical_block_size", "queue/optimal_io_size",
         "md/level", "md/uuid", "md/metadata_version", "dm/name", "dm/uuid", "loop/backing_file")
ABOVE = ("model", "vendor", "rev", "serial", "type", "scsi_level", "wwid", "vpd_pg80", "vpd_pg83", "transport", "address",
         "name", "cid", "manufacturer", "product", "ieee1394_id", "device_id", "bInterfaceNumber")
# Classes of transports, as directories below the devices that they belong to.
CLASSES = {"ata_port": ("port_no",), "sas_device": ("sas_address", "phy_identifier", "enclosure_identifier", "bay_identifier"),
           "sas_port": ("num_phys",), "fc_transport": ("port_name",), "iscsi_session": ("targetname",),
           "iscsi_connection": ("persistent_address", "persistent_port"), "enclosure": ("id",)}
PROC = ("self/mountinfo", "swaps", "meminfo", "cmdline", "sys/kernel/hostname", "sys/kernel/arch")
UDEV = (b"S:", b"E:ID_SERIAL", b"E:ID_SCSI_SERIAL", b"E:ID_WWN", b"E:ID_MODEL=", b"E:ID_VENDOR=", b"E:ID_BUS", b"E:MD_", b"E:DM_NAME", b"E:DM_UUID")
seen: dict[str, str] = {}


def at(path: str) -> str:
    return os.path.join(ROOT, path)


def escaped(data: bytes) -> str:
    return "".join(chr(b) if 32 <= b < 127 and b != 92 else "\\\\" if b == 92 else f"\\x{b:02x}" for b in data)


def file(path: str) -> None:
    try:
        with open(at(path), "rb") as f:
            data = f.read(1 << 20)
    except OSError:
        return
    if path == "proc/meminfo":
        data = data[:data.index(b"\n") + 1]
    if path.startswith("run/udev/data/"):
        data = b"".join(line for line in data.splitlines(True) if line.startswith(UDEV))
    lines = data.removesuffix(b"\n").split(b"\n")
    is_text = data.endswith(b"\n") and len(lines) > 1
    if is_text:
        seen[path] = "\n".join([f"{path} ="] + [f"| {escaped(line)}" for line in lines])
    elif data:
        seen[path] = f"{path} = {escaped(data.removesuffix(chr(10).encode()))}"


def link(path: str) -> None:
    if os.path.islink(at(path)):
        seen[path] = f"{path} -> {os.readlink(at(path))}"


def entries(path: str) -> list[str]:
    return sorted(os.listdir(at(path))) if os.path.isdir(at(path)) else []


def block(path: str) -> None:
    for name in BLOCK:
        file(f"{path}/{name}")
    for which in ("holders", "slaves"):
        for name in entries(f"{path}/{which}"):
            link(f"{path}/{which}/{name}")
    for name in entries(path):
        if os.path.isfile(at(f"{path}/{name}/partition")):
            block(f"{path}/{name}")


def above(path: str) -> None:
    """The devices that a disk hangs on."""
    while path.count("/") > 2:
        link(f"{path}/subsystem")
        link(f"{path}/device")
        for name in ABOVE:
            file(f"{path}/{name}")
        if os.path.isfile(at(f"{path}/uevent")):
            with open(at(f"{path}/uevent"), encoding="ascii", errors="replace") as f:
                kept = [line.strip() for line in f if line.startswith(("DEVTYPE=", "ID_", "PRODUCT="))]
            if kept:
                seen[f"{path}/uevent"] = "\n".join([f"{path}/uevent ="] + [f"| {line}" for line in kept])
        for name in entries(path):
            for inner in entries(f"{path}/{name}") if name in CLASSES else ():
                for attribute in CLASSES[name]:
                    file(f"{path}/{name}/{inner}/{attribute}")
            if name.startswith("enclosure_device:"):
                link(f"{path}/{name}")
                slot = os.path.relpath(os.path.realpath(at(f"{path}/{name}")), ROOT)
                file(f"{slot}/slot")
                file(f"{os.path.dirname(slot)}/id")
            if name.startswith("host") and name[4:].isdigit():
                seen.setdefault(f"{path}/{name}/", f"{path}/{name}/")
        path = os.path.dirname(path)


for disk in entries("sys/block"):
    link(f"sys/block/{disk}")
    real = os.path.relpath(os.path.realpath(at(f"sys/block/{disk}")), ROOT)
    block(real)
    above(real)
for controller in entries("sys/class/nvme"):
    link(f"sys/class/nvme/{controller}")
    above(os.path.relpath(os.path.realpath(at(f"sys/class/nvme/{controller}")), ROOT))
for slot in entries("sys/bus/pci/slots"):
    file(f"sys/bus/pci/slots/{slot}/address")
for pool in entries("sys/fs/btrfs"):
    for device in entries(f"sys/fs/btrfs/{pool}/devices"):
        link(f"sys/fs/btrfs/{pool}/devices/{device}")
if os.path.isdir(at("sys/firmware/efi")):
    seen["sys/firmware/efi/"] = "sys/firmware/efi/"
for tpm in entries("sys/class/tpm"):
    file(f"sys/class/tpm/{tpm}/tpm_version_major")
for name in PROC:
    file(f"proc/{name}")
for name in entries("run/udev/data"):
    if name.startswith("b"):
        file(f"run/udev/data/{name}")
print("\n".join(seen[path] for path in sorted(seen)))

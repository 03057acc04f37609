#!/usr/bin/env python3
"""Disks that must not be touched: mounted, in use, the running root, a sector too small, a wrong token, a plan for another
image. `layout apply --yes` runs under strace: it is refused with 16, and no descriptor of the disk, of its file or of a
partition ever gets a write.

Needs: root, loop devices, strace, CVCTL.  Time: 10 s.
"""
from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

CV = os.environ.get("CVCTL") or sys.exit("CVCTL is not set")
# Everything that can change what is on a disk, through any descriptor.
CALLS = ("write,pwrite64,writev,pwritev,pwritev2,fallocate,ftruncate,truncate,copy_file_range,sendfile,splice,ioctl,mmap,"
         "io_uring_enter,unlink,unlinkat,rename,renameat2")
# What may be asked of a disk; every other ioctl counts as a change.
HARMLESS = ("BLKGETSIZE64", "BLKSSZGET", "BLKPBSZGET", "BLKROGET", "BLKIOOPT", "BLKIOMIN", "BLKALIGNOFF", "BLKFLSBUF",
            "LOOP_GET_STATUS64", "TCGETS", "BLKROTATIONAL", "BLKDISCARDZEROES", "BLKGETDISKSEQ")
LAYOUT = """schema: cv.layout/v1
name: small
disks: {d: {wipe: all}}
partitions: {d/root: {type: linux, size: 64MiB}}
filesystems: {root: {on: d/root, type: ext4, mount: {at: /}}}
"""
MIB = 1 << 20
PREFIX = "libcv-refusals-"


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def file_of(path: str, size: int) -> str:
    with open(path, "wb") as f:
        f.truncate(size)
    return path


def digest(path: str) -> str:
    return run("sha256sum", path).split()[0]


def changes(trace: str, disks: list[str]) -> list[str]:
    """Calls of the trace that could change one of the disks; descriptors carry their paths (strace -y)."""
    found = []
    for line in open(trace, encoding="utf-8", errors="replace"):
        call = line.split("(", 1)[0].split()[-1]
        first = line.split("(", 1)[-1]
        by_path = call in ("truncate", "unlink", "unlinkat", "rename", "renameat2")
        if not any(f"<{d}" in first or (by_path and f'"{d}' in first) for d in disks):
            continue
        if call == "ioctl" and any(f", {name}" in line for name in HARMLESS):
            continue
        if call == "mmap" and "PROT_WRITE" not in line:
            continue
        found.append(line.strip())
    return found


def refused(work: str, what: str, code: str, disk: str, names: list[str], *extra: str, exit_code: int = 16,
            wrapper: tuple[str, ...] = ()) -> None:
    trace = f"{work}/trace"
    command = ["strace", "-f", "-y", "-qq", "-e", f"trace={CALLS}", "-o", trace, *wrapper, CV, "-q", "-o", "json", "layout",
               "apply", f"{work}/small.yaml", "--disk", f"d={disk}", *(extra or ("--yes",))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == exit_code, f"{what}: {done.returncode} {done.stderr}"
    error = json.loads(done.stderr.splitlines()[-1])["error"]
    assert error["detail"]["code"] == code, f"{what}: {error}"
    assert (found := changes(trace, names)) == [], f"{what}: {found}"
    print(f"ok: {what}: {code}, not a write", flush=True)


def sees_writes(work: str) -> None:
    """The trace would show them: a run that is let through has them."""
    disk = file_of(f"{work}/good.img", 80 * MIB)
    trace = f"{work}/trace"
    run("strace", "-f", "-y", "-qq", "-e", f"trace={CALLS}", "-o", trace, CV, "-q", "layout", "apply",
        f"{work}/small.yaml", "--disk", f"d={disk}", "--yes")
    found = changes(trace, [disk, "/dev/loop"])
    assert any("pwrite64(" in line for line in found) and any("mkfs" in line or "ioctl(" in line for line in found), found
    print(f"ok: the trace of a run that is let through has {len(found)} changes", flush=True)


def remove_leftovers() -> None:
    """What killed runs left, known by their process id. Their mounts went with their namespace."""
    loops = json.loads(run("losetup", "--json", "--list") or "{}").get("loopdevices", [])
    for name in os.listdir(tempfile.gettempdir()):
        found = re.match(rf"{PREFIX}(\d+)-", name)
        if not found or os.path.exists(f"/proc/{found.group(1)}"):
            continue
        for loop in loops:
            if loop["back-file"].startswith(f"{tempfile.gettempdir()}/{name}/"):
                subprocess.run(["swapoff", loop["name"]], stderr=subprocess.DEVNULL, check=False)
                subprocess.run(["losetup", "--detach", loop["name"]], check=False)
        shutil.rmtree(f"{tempfile.gettempdir()}/{name}")


def main() -> None:
    if os.geteuid() != 0 or not os.path.exists("/dev/loop-control"):
        print("it needs root and loop devices")
        sys.exit(77)
    if "LIBCV_OWN_MOUNTS" not in os.environ:
        os.environ["LIBCV_OWN_MOUNTS"] = "1"
        os.execvp("unshare", ["unshare", "--mount", sys.executable, __file__])
    remove_leftovers()
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-") as work:
        with open(f"{work}/small.yaml", "w", encoding="ascii") as f:
            f.write(LAYOUT)
        sees_writes(work)
        # 1 MiB before, 64 MiB, and 33 sectors behind; one less is too small.
        small = file_of(f"{work}/small.img", 65 * MIB + 33 * 512 - 512)
        refused(work, "one sector too small", "F210", small, [small, "/dev/loop"])
        disk = file_of(f"{work}/disk.img", 80 * MIB)
        refused(work, "a token of another plan", "A400", disk, [disk, "/dev/loop"], "--confirm", "0000-0000")
        run("mkfs.ext4", "-q", disk)
        os.mkdir(f"{work}/mnt")
        run("mount", "-o", "loop", disk, f"{work}/mnt")
        try:
            device = run("findmnt", "-no", "SOURCE", f"{work}/mnt")
            assert re.fullmatch(r"/dev/loop\d+", device), device
            refused(work, "a mounted device", "F204", device, [device, disk])
            refused(work, "the file of a mounted device", "F204", disk, [device, disk])
            # The same filesystem as the root of a process: libcv must see that it runs on it.
            os.makedirs(f"{work}/mnt/proc")
            run("sync")
            before = digest(disk)
            root_of_process(work, device, disk)
            assert digest(disk) == before
        finally:
            run("umount", f"{work}/mnt")
        swap = file_of(f"{work}/swap.img", 80 * MIB)
        device = run("losetup", "--find", "--show", swap)
        try:
            run("mkswap", device)
            run("swapon", device)
            try:
                run("sync")
                before = digest(swap)
                refused(work, "a swap device", "F204", device, [device, swap])
                assert digest(swap) == before
            finally:
                run("swapoff", device)
            held = os.open(device, os.O_RDONLY | os.O_EXCL)
            refused(work, "a device that a program holds", "F204", device, [device, swap])
            os.close(held)
        finally:
            run("losetup", "--detach", device)


def root_of_process(work: str, device: str, disk: str) -> None:
    """In a mount namespace whose root is the disk; everything else of the host is bound below it."""
    root = f"{work}/mnt"
    script = f"""set -e
mount --make-rprivate /
for d in /*/; do
  mkdir -p "{root}$d"; mount --rbind "$d" "{root}$d"
done
mkdir -p {root}/{work.lstrip('/')} {root}/old
cd {root}; pivot_root . old
exec "$@"
"""
    refused(work, "the running root", "F205", device, [device, disk],
            wrapper=("unshare", "--mount", "bash", "-c", script, "bash"))


if __name__ == "__main__":
    main()
    print("PASS")

#!/usr/bin/env python3
"""Disks and documents that are refused: in use, the running root, too small, changed since the plan, with tables that nobody
can be sure of; documents that are a bomb. Each is a line of CASES. `layout apply` is refused with its code within a second,
and under strace: no descriptor of the disk, of its file or of a partition ever gets a write. What needs MD or device mapper
stands in tests/storage/test_refusals.py.

Needs: root, loop devices, strace, sgdisk, CVCTL.  Time: 15 s.
"""
from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from typing import Callable, ContextManager, NamedTuple

CV = os.environ.get("CVCTL") or sys.exit("CVCTL is not set")
HERE = os.path.dirname(os.path.abspath(__file__))
RECORDED = f"{HERE}/../../core/tests/golden/inventory"
# Everything that can change what is on a disk, through any descriptor.
CALLS = ("write,pwrite64,writev,pwritev,pwritev2,fallocate,ftruncate,truncate,copy_file_range,sendfile,splice,ioctl,mmap,"
         "io_uring_enter,unlink,unlinkat,rename,renameat2")
# What may be asked of a disk; every other ioctl counts as a change.
HARMLESS = ("BLKGETSIZE64", "BLKSSZGET", "BLKPBSZGET", "BLKROGET", "BLKIOOPT", "BLKIOMIN", "BLKALIGNOFF", "BLKFLSBUF",
            "LOOP_GET_STATUS64", "TCGETS", "BLKROTATIONAL", "BLKDISCARDZEROES", "BLKGETDISKSEQ")
LAYOUT = """schema: cv.layout/v1
name: small
disks: {d: {wipe: WIPE}}
partitions: {d/root: {type: linux, size: 64MiB}}
filesystems: {root: {on: d/root, type: ext4, mount: {at: /}}}
"""
MIB = 1 << 20
SECTOR = 512
PREFIX = "libcv-refusals-"


class Call(NamedTuple):
    """What is called, the disks that must not be written, and around what it runs."""

    args: list[str]
    disks: list[str]
    wrapper: tuple[str, ...] = ()


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def file_of(path: str, size: int) -> str:
    with open(path, "wb") as f:
        f.truncate(size)
    return path


def put(path: str, at: int, data: bytes) -> None:
    with open(path, "r+b") as f:
        f.seek(at)
        f.write(data)


def get(path: str, at: int, length: int) -> bytes:
    with open(path, "rb") as f:
        f.seek(at)
        return f.read(length)


def document(work: str, wipe: str = "signatures") -> str:
    path = f"{work}/{wipe}.yaml"
    with open(path, "w", encoding="ascii") as f:
        f.write(LAYOUT.replace("WIPE", wipe))
    return path


def apply(layout: str, disk: str, *more: str) -> list[str]:
    return ["layout", "apply", layout, "--disk", f"d={disk}", *(more or ("--yes",))]


def token_for(layout: str, *disks: str) -> str:
    given = [word for d in disks for word in ("--disk", f"d={d}")]
    return str(json.loads(run(CV, "-q", "-o", "json", "layout", "plan", layout, *given))["token"])


@contextlib.contextmanager
def loop(path: str) -> Iterator[str]:
    device = run("losetup", "--find", "--show", path)
    try:
        yield device
    finally:
        run("losetup", "--detach", device)


# The cases: each makes what is to be refused.

@contextlib.contextmanager
def too_small(work: str) -> Iterator[Call]:
    # 1 MiB before, 64 MiB, and 33 sectors behind; one less is too small.
    disk = file_of(f"{work}/disk", 65 * MIB + 33 * SECTOR - SECTOR)
    yield Call(apply(document(work), disk), [disk, "/dev/loop"])


@contextlib.contextmanager
def other_token(work: str) -> Iterator[Call]:
    disk = file_of(f"{work}/disk", 80 * MIB)
    yield Call(apply(document(work), disk, "--confirm", "0000-0000"), [disk, "/dev/loop"])


@contextlib.contextmanager
def wrong_disk(work: str) -> Iterator[Call]:
    """The plan was for one disk, and another is given: of the same size, and as blank."""
    one, other = file_of(f"{work}/one", 80 * MIB), file_of(f"{work}/other", 80 * MIB)
    yield Call(apply(document(work), other, "--confirm", token_for(document(work), one)), [one, other, "/dev/loop"])


@contextlib.contextmanager
def swapped(work: str) -> Iterator[Call]:
    """Two devices change places between the plan and its application: their names stay."""
    files = [file_of(f"{work}/{n}", 80 * MIB) for n in "ab"]
    put(files[0], 0, b"of the first")
    layout = document(work)
    with open(layout, "r+", encoding="ascii") as f:
        text = f.read().replace("{d: {wipe: signatures}}", "{d: {count: 2, wipe: signatures}}").replace(
            "filesystems: {root: {on: d/root", "raid: {r: {level: 1, members: [d/root]}}\nfilesystems: {root: {on: raid/r").replace(
            "type: linux,", "type: linux-raid,")
        f.seek(0)
        f.write(text)
    with loop(files[0]) as a, loop(files[1]) as b:
        token = token_for(layout, a, b)
        for device, path in ((a, files[1]), (b, files[0])):
            run("losetup", "--detach", device)
            run("losetup", device, path)
        given = ["--disk", f"d={a}", "--disk", f"d={b}"]
        yield Call(["layout", "apply", layout, *given, "--confirm", token], [a, b, *files])


@contextlib.contextmanager
def changed(work: str) -> Iterator[Call]:
    disk = file_of(f"{work}/disk", 80 * MIB)
    token = token_for(document(work), disk)
    put(disk, 5 * SECTOR, b"somebody was here")
    yield Call(apply(document(work), disk, "--confirm", token), [disk, "/dev/loop"])


@contextlib.contextmanager
def mounted(work: str) -> Iterator[tuple[str, str]]:
    disk = file_of(f"{work}/disk", 80 * MIB)
    run("mkfs.ext4", "-q", disk)
    os.mkdir(f"{work}/mnt")
    run("mount", "-o", "loop", disk, f"{work}/mnt")
    try:
        device = run("findmnt", "-no", "SOURCE", f"{work}/mnt")
        assert re.fullmatch(r"/dev/loop\d+", device), device
        yield device, disk
    finally:
        run("umount", f"{work}/mnt")


@contextlib.contextmanager
def mounted_device(work: str) -> Iterator[Call]:
    with mounted(work) as (device, disk):
        yield Call(apply(document(work, "all"), device), [device, disk])


@contextlib.contextmanager
def mounted_file(work: str) -> Iterator[Call]:
    with mounted(work) as (device, disk):
        yield Call(apply(document(work, "all"), disk), [device, disk])


@contextlib.contextmanager
def running_root(work: str) -> Iterator[Call]:
    """In a mount namespace whose root is the disk; everything else of the host is bound below it."""
    with mounted(work) as (device, disk):
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
        # Made before, so that nothing of it is a write to the disk while libcv runs.
        os.makedirs(f"{root}/proc")
        yield Call(apply(document(work, "all"), device), [device, disk], ("unshare", "--mount", "bash", "-c", script, "bash"))


@contextlib.contextmanager
def swap(work: str) -> Iterator[Call]:
    with loop(file_of(f"{work}/disk", 80 * MIB)) as device:
        run("mkswap", device)
        run("swapon", device)
        try:
            yield Call(apply(document(work, "all"), device), [device, f"{work}/disk"])
        finally:
            run("swapoff", device)


@contextlib.contextmanager
def held(work: str) -> Iterator[Call]:
    with loop(file_of(f"{work}/disk", 80 * MIB)) as device:
        fd = os.open(device, os.O_RDONLY | os.O_EXCL)
        try:
            yield Call(apply(document(work, "all"), device), [device, f"{work}/disk"])
        finally:
            os.close(fd)


@contextlib.contextmanager
def read_only(work: str) -> Iterator[Call]:
    disk = file_of(f"{work}/disk", 80 * MIB)
    os.chmod(disk, 0o444)
    yield Call(apply(document(work, "all"), disk), [disk, "/dev/loop"])


def with_gpt(work: str) -> str:
    disk = file_of(f"{work}/disk", 80 * MIB)
    run("sgdisk", "-n", "1:2048:40959", "-c", "1:precious", "-n", "2:40960:81919", disk)
    return disk


@contextlib.contextmanager
def broken_gpt(work: str) -> Iterator[Call]:
    """The first copy has a header that does not fit its sum, the second an array that does not."""
    disk = with_gpt(work)
    put(disk, SECTOR + 40, b"\xff")
    put(disk, 80 * MIB - 33 * SECTOR + 56, b"\xff")
    yield Call(apply(document(work), disk), [disk, "/dev/loop"])


@contextlib.contextmanager
def odd_gpt(work: str) -> Iterator[Call]:
    """The first copy says what cannot be, with a sum that is right; the second is gone."""
    disk = with_gpt(work)
    header = bytearray(get(disk, SECTOR, 92))
    header[84:88] = (1 << 31).to_bytes(4, "little")    # the size of an entry
    header[16:20] = bytes(4)
    header[16:20] = zlib.crc32(header).to_bytes(4, "little")
    put(disk, SECTOR, bytes(header))
    put(disk, 80 * MIB - SECTOR, bytes(SECTOR))
    yield Call(apply(document(work), disk), [disk, "/dev/loop"])


@contextlib.contextmanager
def hybrid(work: str) -> Iterator[Call]:
    disk = with_gpt(work)
    run("sgdisk", "-h", "1", disk)
    yield Call(apply(document(work), disk), [disk, "/dev/loop"])


@contextlib.contextmanager
def shared(work: str) -> Iterator[Call]:
    disk = file_of(f"{work}/disk", 80 * MIB)
    # The magic number and the formats of GFS2.
    put(disk, 0x10000, (0x01161970).to_bytes(4, "big") + (1).to_bytes(4, "big") + bytes(16) + (1801).to_bytes(4, "big") + (1900).to_bytes(4, "big"))
    yield Call(apply(document(work, "all"), disk), [disk, "/dev/loop"])


@contextlib.contextmanager
def multipath_pair(work: str) -> Iterator[Call]:
    """Two paths to one disk without multipath, on a machine that was recorded."""
    layout = document(work, "all")
    with open(layout, "r+", encoding="ascii") as f:
        text = f.read().replace("{d: {", "{d: {match: {transport: fc}, pick: smallest, ")
        f.seek(0)
        f.write(text)
    yield Call(["layout", "plan", layout, "--inventory", f"{RECORDED}/fc-without-map.json"], ["/dev/"])


@contextlib.contextmanager
def many_partitions(work: str) -> Iterator[Call]:
    disk, layout = file_of(f"{work}/disk", 80 * MIB), f"{work}/many.yaml"
    with open(layout, "w", encoding="ascii") as f:
        f.write("schema: cv.layout/v1\nname: many\ndisks: {d: {}}\npartitions:\n")
        f.writelines(f"  d/p{n}: {{type: linux, size: 1MiB}}\n" for n in range(100_000))
    yield Call(apply(layout, disk), [disk, "/dev/loop"])


@contextlib.contextmanager
def alias_bomb(work: str) -> Iterator[Call]:
    disk, layout = file_of(f"{work}/disk", 80 * MIB), f"{work}/bomb.yaml"
    with open(layout, "w", encoding="ascii") as f:
        f.write("schema: cv.layout/v1\nname: bomb\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
        f.writelines(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
        f.write("disks: {d: {match: {model: *a11}}}\n")
    yield Call(apply(layout, disk), [disk, "/dev/loop"])


class Case(NamedTuple):
    """What is refused, with which code and exit."""

    what: str
    code: str
    exit: int
    made: Callable[[str], ContextManager[Call]]


CASES = [
    Case("a disk one sector too small", "F210", 16, too_small),
    Case("a token of another plan", "A400", 16, other_token),
    Case("another disk than was planned for", "A400", 16, wrong_disk),
    Case("two disks that changed places", "A400", 16, swapped),
    Case("a disk that was written since", "A400", 16, changed),
    Case("a mounted device", "F204", 16, mounted_device),
    Case("the file of a mounted device", "F204", 16, mounted_file),
    Case("the running root", "F205", 16, running_root),
    Case("a swap device", "F204", 16, swap),
    Case("a device that a program holds", "F204", 16, held),
    Case("a read-only file", "F214", 16, read_only),
    Case("a GPT whose copies are damaged each in its way", "F223", 16, broken_gpt),
    Case("a GPT that cannot be, and nothing at the end", "F223", 16, odd_gpt),
    Case("a hybrid MBR", "F224", 16, hybrid),
    Case("storage that several machines share", "F222", 16, shared),
    Case("two paths to one disk", "F206", 16, multipath_pair),
    Case("a document with 100,000 partitions", "L007", 17, many_partitions),
    Case("a document that is an alias bomb", "L007", 17, alias_bomb),
]


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


def contents(call: Call) -> list[tuple[str, str]]:
    """Files among the disks, with what is in them."""
    return [(d, run("sha256sum", d).split()[0]) for d in call.disks if os.path.isfile(d)]


def error_of(case: Case, done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == case.exit, f"{case.what}: {done.returncode} {done.stderr}"
    error = json.loads(done.stderr.splitlines()[-1])["error"]
    assert error["detail"]["code"] == case.code, f"{case.what}: {error}"


def refused(work: str, case: Case) -> None:
    own, trace = f"{work}/{case.made.__name__}", f"{work}/trace"
    os.mkdir(own)
    with case.made(own) as call:
        run("sync")
        before = contents(call)
        command = [CV, "-q", "-o", "json", *call.args]
        begun = time.monotonic()
        error_of(case, subprocess.run([*call.wrapper, *command], capture_output=True, text=True, check=False))
        took = time.monotonic() - begun
        # The wrapper and a udev that looks at a device are not ours.
        assert took < 1 or call.wrapper or os.path.exists("/run/udev/control"), f"{case.what}: {took:.2f} s"
        # -f from within the wrapper only: what that does to its own root is no matter.
        traced = ["strace", "-f", "-y", "-qq", "-e", f"trace={CALLS}", "-o", trace]
        error_of(case, subprocess.run([*call.wrapper, *traced, *command], capture_output=True, text=True, check=False))
        assert (found := changes(trace, call.disks)) == [], f"{case.what}: {found}"
        run("sync")
        assert contents(call) == before or call.wrapper, f"{case.what}: a disk has another content"
    print(f"ok: {case.what}: {case.code}, not a write, {took:.2f} s", flush=True)


def sees_writes(work: str) -> None:
    """The trace would show them: a run that is let through has them."""
    disk = file_of(f"{work}/good.img", 80 * MIB)
    trace = f"{work}/trace"
    run("strace", "-f", "-y", "-qq", "-e", f"trace={CALLS}", "-o", trace, CV, "-q", *apply(document(work, "all"), disk))
    found = changes(trace, [disk, "/dev/loop"])
    assert any("pwrite64(" in line for line in found) and any("mkfs" in line or "ioctl(" in line for line in found), found
    print(f"ok: the trace of a run that is let through has {len(found)} changes", flush=True)


def lets_through(work: str) -> None:
    """What is refused for its table only is taken where the document says that all of it may go."""
    for made in (broken_gpt, odd_gpt, hybrid):
        own = f"{work}/{made.__name__}-all"
        os.mkdir(own)
        with made(own) as call:
            run(CV, "-q", *apply(document(own, "all"), call.disks[0]))
    print("ok: with wipe: all, damaged and hybrid tables are replaced", flush=True)


def remove_leftovers() -> None:
    """What killed runs left, known by their process id. Their mounts went with their namespace."""
    loops = json.loads(run("losetup", "--json", "--list") or "{}").get("loopdevices", [])
    for name in os.listdir(tempfile.gettempdir()):
        found = re.match(rf"{PREFIX}(\d+)-", name)
        if not found or os.path.exists(f"/proc/{found.group(1)}"):
            continue
        for device in loops:
            if device["back-file"].startswith(f"{tempfile.gettempdir()}/{name}/"):
                subprocess.run(["swapoff", device["name"]], stderr=subprocess.DEVNULL, check=False)
                subprocess.run(["losetup", "--detach", device["name"]], check=False)
        shutil.rmtree(f"{tempfile.gettempdir()}/{name}")


def main() -> None:
    if os.geteuid() != 0 or not os.path.exists("/dev/loop-control"):
        print("it needs root and loop devices")
        sys.exit(77)
    missing = [p for p in ("strace", "sgdisk", "mkfs.ext4") if not shutil.which(p)]
    if missing:
        print(f"it needs {', '.join(missing)}")
        sys.exit(77)
    if "LIBCV_OWN_MOUNTS" not in os.environ:
        os.environ["LIBCV_OWN_MOUNTS"] = "1"
        os.execvp("unshare", ["unshare", "--mount", sys.executable, __file__, *sys.argv[1:]])
    remove_leftovers()
    chosen = [c for c in CASES if not sys.argv[1:] or c.made.__name__ in sys.argv[1:]]
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-") as work:
        sees_writes(work)
        for case in chosen:
            refused(work, case)
        if not sys.argv[1:]:
            lets_through(work)


if __name__ == "__main__":
    main()
    print("PASS")

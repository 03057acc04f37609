"""What the runs beside peers measure with: pipelines with their time and peak memory, fresh filesystems in RAM, a warm
page cache and warm memory. Used by peers.py; the reasons stand in README.md."""
from __future__ import annotations

import fcntl
import json
import mmap
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import IO

SHM = "/dev/shm/libcv-bench"
CORES = os.cpu_count() or 1
# Kept and given back before each timed run: see Reserve.
RESERVE_MB = int(os.environ.get("RESERVE_MB", "3000"))


@dataclass
class Timed:
    """One timed run: seconds, the same with the following sync, the largest of its processes in MiB, and the share of
    the machine that others used meanwhile."""

    seconds: float
    synced: float
    peak: int
    others: float


class Reserve:
    """Memory that is touched, and handed back to the kernel right before a timed run. In a virtual machine a page that
    the host has taken back costs ten times as much to touch as one that was just in use, and who runs first would pay
    for all. A process of its own holds it: it must not show in the peak of a child."""

    CODE = "import sys, mmap as m; x = m.mmap(-1, int(sys.argv[1]) << 20, flags=int(sys.argv[2])); print(); input()"

    def __enter__(self) -> None:
        with open("/proc/meminfo", encoding="ascii") as f:
            free = {k: int(v.split()[0]) >> 10 for k, v in (line.split(":") for line in f)}["MemAvailable"]
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
        self.holder = subprocess.Popen([sys.executable, "-uc", self.CODE, str(min(RESERVE_MB, free // 3)), str(flags)],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.holder.stdout is not None
        self.holder.stdout.readline()

    def __exit__(self, *_: object) -> None:
        self.holder.communicate(b"\n")


def timed(*stages: list[str], sync: str | None = None) -> Timed:
    """Runs a pipeline of argument vectors; a stage that fails ends the whole program. The filesystem of the path `sync`
    is synced afterwards."""
    if RESERVE_MB:
        with Reserve():
            pass
    processes: list[subprocess.Popen[bytes]] = []
    # Errors into a file: a pipe that nobody reads would fill up and stop the stage.
    with open(f"{SHM}/errors", "w+b") as errors:
        before, begun = busy(), time.monotonic()
        try:
            source: IO[bytes] | int = subprocess.DEVNULL
            for i, stage in enumerate(stages):
                out = subprocess.PIPE if i < len(stages) - 1 else subprocess.DEVNULL
                processes.append(subprocess.Popen(stage, stdin=source, stdout=out, stderr=errors))
                if not isinstance(source, int):
                    source.close()
                source = processes[-1].stdout or subprocess.DEVNULL
            peak, cpu = 0, 0.0
            for process, stage in zip(processes, stages):
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
                peak, cpu = max(peak, usage.ru_maxrss >> 10), cpu + usage.ru_utime + usage.ru_stime
                if status:
                    errors.seek(0)
                    tail = errors.read()[-800:].decode(errors="replace")
                    sys.exit(f"{' '.join(stage)}: exit {process.returncode}\n{tail}")
        finally:
            for process in processes:
                if process.poll() is None:
                    process.kill()
                    process.wait()
        seconds = time.monotonic() - begun
        others = max(0.0, busy() - before - cpu) / (seconds * CORES)
    if sync:
        subprocess.run(["sync", "-f", sync], check=True)
    return Timed(seconds, time.monotonic() - begun, peak, others)


def busy() -> float:
    """Seconds that all cores worked since the start of the machine."""
    with open("/proc/stat", encoding="ascii") as f:
        v = [int(x) for x in f.readline().split()[1:9]]
    return (sum(v) - v[3] - v[4]) / os.sysconf("SC_CLK_TCK")


class Filesystem:
    """A fresh filesystem of a kind, on a loop device over a file in RAM; gone at the end."""

    def __init__(self, kind: str) -> None:
        self.kind, self.image, self.at = kind, f"{SHM}/{kind}.img", f"{SHM}/mnt"

    def __enter__(self) -> str:
        fresh(self.at)
        if self.kind == "tmpfs":
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8g", "libcv-bench", self.at], check=True)
            return self.at
        with open(self.image, "wb") as f:
            f.truncate(6 << 30)
        subprocess.run([f"mkfs.{self.kind}", "-q", self.image], check=True)
        # Without noinit_itable the kernel fills inode tables in the background, into the measured time.
        option = "loop,noinit_itable" if self.kind == "ext4" else "loop"
        subprocess.run(["mount", "-o", option, self.image, self.at], check=True)
        if self.kind == "ext4":
            os.rmdir(f"{self.at}/lost+found")
        return self.at

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", self.at], check=True)
        if self.kind != "tmpfs":
            os.unlink(self.image)


def fresh(path: str) -> None:
    """An empty directory."""
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)


def stored(path: str) -> int:
    """Bytes of the files below."""
    return sum(os.lstat(os.path.join(at, n)).st_size for at, _, names in os.walk(path) for n in names)


def warm(*paths: str) -> None:
    """Reads all files, so that the page cache has them."""
    for path in paths:
        at = ["-C", path, "."] if os.path.isdir(path) else [path]
        with subprocess.Popen(["tar", "-cf", "-", *at], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as tar:
            assert tar.stdout is not None
            while tar.stdout.read(1 << 20):      # not into /dev/null: tar would notice, and read nothing
                pass


def begin() -> None:
    """Takes the one place for runs on this machine, and removes what a killed run left there."""
    global _lock
    _lock = open(f"{SHM}.lock", "w", encoding="ascii")
    try:
        fcntl.flock(_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit("another run of the benches is going on")
    clean()
    os.makedirs(SHM)


def clean() -> None:
    """Takes down what this or a killed run made: known by where it is, which nobody else uses."""
    with open("/proc/mounts", encoding="utf-8") as f:
        mounted = [line.split()[1] for line in f if line.split()[1].startswith(f"{SHM}/")]
    for at in reversed(mounted):
        subprocess.run(["umount", "-l", at], check=False)
    # "mount -o loop" lets go of its device by itself, unless the machine went on without the mount.
    found = subprocess.run(["losetup", "--json", "-O", "NAME,BACK-FILE"], capture_output=True, text=True, check=False)
    for device in json.loads(found.stdout or "{}").get("loopdevices", []):
        if (device["back-file"] or "").startswith(f"{SHM}/"):
            subprocess.run(["losetup", "-d", device["name"]], check=False)
    shutil.rmtree(SHM, ignore_errors=True)


_lock: IO[str]

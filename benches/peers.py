#!/usr/bin/env python3
"""libcv beside its peers, in the same run, on the same tree, warm cache, both cores.

    benches/peers.py [--only capture,recapture,deploy,memory] [--pairs 7] [--tree DIR] [--json FILE]

Prints a table of ratios (median and quartiles of interleaved pairs) and exits 1 when a target is missed. Needs root,
and what `tests/setup.sh bench` installs. The method stands in benches/README.md.
"""
from __future__ import annotations

import argparse
import atexit
import glob
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SHM = "/dev/shm/libcv-bench"
TAR = "tar --xattrs --xattrs-include='*' --acls --numeric-owner -S"
LIMIT_MB = 256
# work: (least ratio, floor below which nothing is excused)
TARGETS = {
    "capture": 1.35, "size": 0.98, "recapture/full": 15.0, "recapture/restic": 12.0, "deploy ext4": 2.2,
    "deploy xfs": 2.2, "deploy tmpfs": 2.2, "deploy ext4 +sync": 1.8, "deploy xfs +sync": 1.8, "unsquashfs": 1.3,
}


class Bench:
    """One run: paths, results, and everything that has to be taken down again."""

    def __init__(self, tree: str, pairs: int, cvctl: str) -> None:
        self.tree, self.pairs, self.cv = tree, pairs, cvctl
        self.rows: list[tuple[str, str, str, bool]] = []
        self.peak: dict[str, int] = {}

    def timed(self, what: str, command: str, sync: str | None = None) -> tuple[float, float]:
        """Seconds of a shell pipeline, and with a following sync of the filesystem at `sync`. Notes its peak memory."""
        begin = time.monotonic()
        process = subprocess.Popen(["bash", "-o", "pipefail", "-c", "exec " + command if "|" not in command else command],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert process.stderr is not None
        errors = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - begin
        if status != 0:
            sys.exit(f"{command}: status {status}: {errors.decode()[-500:]}")
        if sync:
            subprocess.run(["sync", "-f", sync], check=True)
        if what:
            self.peak[what] = max(self.peak.get(what, 0), usage.ru_maxrss // 1024)
        return seconds, time.monotonic() - begin

    def ratio(self, name: str, pairs: list[tuple[float, float]], upper: bool = False) -> None:
        """Adds a row: the median of peer ÷ ours (or of ours ÷ peer, which must stay under the target, for sizes)."""
        ratios = sorted(b / a for a, b in pairs)
        quartiles = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else [ratios[0]] * 3
        target, median = TARGETS[name], statistics.median(ratios)
        good = median <= target if upper else median >= target
        ours, peer = (statistics.median(p[i] for p in pairs) for i in (0, 1))
        text = f"{median:6.3f}  ({quartiles[0]:.3f} … {quartiles[2]:.3f})  ours {ours:9.2f} peer {peer:9.2f}"
        self.rows.append((name, text, f"{'≤' if upper else '≥'} {target}", good))
        print(f"  {name}: {text}", file=sys.stderr)

    def store(self) -> str:
        fresh(f"{SHM}/store")
        os.rmdir(f"{SHM}/store")
        subprocess.run([self.cv, "store", "init", f"{SHM}/store"], check=True, stdout=subprocess.DEVNULL)
        return f"{SHM}/store"

    def capture_command(self, store: str, tree: str) -> str:
        return f"{self.cv} -q --store {store} image capture {tree} --name bench --exact"


def fresh(path: str) -> None:
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)


def size(path: str) -> int:
    return int(subprocess.check_output(["du", "-sb", path], text=True).split()[0])


def warm(path: str) -> None:
    subprocess.run(f"tar -C {path} -cf - . | cat > /dev/null", shell=True, check=True)


def capture(b: Bench) -> None:
    archive, times, sizes = f"{SHM}/peer.tzst", [], []
    warm(b.tree)
    for _ in range(b.pairs):
        store = b.store()
        ours = b.timed("capture", b.capture_command(store, b.tree))[0]
        peer = b.timed("", f"{TAR} -C {b.tree} -cf - . | zstd -q -f -3 -T2 -o {archive}")[0]
        times.append((ours, peer))
        sizes.append((float(os.path.getsize(archive)), float(size(store + '/packs') + size(store + '/images'))))
    b.ratio("capture", times)
    b.ratio("size", sizes, upper=True)


def recapture(b: Bench) -> None:
    restic = f"env RESTIC_PASSWORD=x RESTIC_CACHE_DIR={SHM}/cache restic --quiet -r {SHM}/restic"
    fresh(f"{SHM}/restic")
    b.timed("", f"{restic} init")
    b.timed("", f"{restic} backup --one-file-system {b.tree}")
    full, peer = [], []
    warm(b.tree)
    for _ in range(b.pairs):
        store = b.store()
        first = b.timed("", b.capture_command(store, b.tree))[0]
        time.sleep(0.1)
        again = b.timed("capture again", b.capture_command(store, b.tree))[0]
        full.append((again, first))
        peer.append((again, b.timed("", f"{restic} backup --one-file-system {b.tree}")[0]))
    b.ratio("recapture/full", full)
    b.ratio("recapture/restic", peer)
    log = f"{SHM}/strace"
    subprocess.run(["strace", "-f", "-y", "-e", "trace=read,pread64,readv,preadv,preadv2,mmap", "-o", log, "bash", "-c",
                    b.capture_command(f"{SHM}/store", b.tree)], check=True, stdout=subprocess.DEVNULL)
    with open(log, encoding="utf-8", errors="replace") as f:
        reads = sum(f"<{b.tree}/" in line for line in f)
    b.rows.append(("recapture reads", f"{reads} reads of files of the tree", "= 0", reads == 0))


class Filesystem:
    """A fresh filesystem of a kind, on a loop device over a file in RAM."""

    def __init__(self, kind: str) -> None:
        self.kind, self.image, self.at = kind, f"{SHM}/{kind}.img", f"{SHM}/mnt"
        fresh(self.at)
        if kind == "tmpfs":
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8g", "tmpfs", self.at], check=True)
            return
        with open(self.image, "wb") as f:
            f.truncate(6 << 30)
        subprocess.run([f"mkfs.{kind}", "-q", "-F" if kind == "ext4" else "-f", self.image], check=True)
        option = "loop,noinit_itable" if kind == "ext4" else "loop"
        subprocess.run(["mount", "-o", option, self.image, self.at], check=True)
        if kind == "ext4":
            os.rmdir(f"{self.at}/lost+found")

    def __enter__(self) -> str:
        return self.at

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", self.at], check=True)
        if self.kind != "tmpfs":
            os.unlink(self.image)


def deploy(b: Bench) -> None:
    store, archive, squash = b.store(), f"{SHM}/peer.tzst", f"{SHM}/peer.sqfs"
    b.timed("", b.capture_command(store, b.tree))
    b.timed("", f"{TAR} -C {b.tree} -cf - . | zstd -q -f -3 -T2 -o {archive}")
    if os.path.exists(squash):
        os.unlink(squash)
    b.timed("", f"mksquashfs {b.tree} {squash} -comp zstd -Xcompression-level 3 -no-progress -quiet -xattrs")
    extract = f"{b.cv} -q --store {store} image extract bench {{at}} --no-sync"
    untar = f"zstd -dcq {archive} | {TAR} --same-owner -p -C {{at}} -xf -"
    unsquash = f"unsquashfs -q -n -f -d {{at}} {squash}"
    plain, synced, squashed = {}, {}, []  # type: ignore[var-annotated]
    for _ in range(b.pairs):
        for kind in ("ext4", "xfs", "tmpfs"):
            pair = []
            for what, command in (("deploy", extract), ("", untar)):
                with Filesystem(kind) as at:
                    pair.append(b.timed(what, command.format(at=at), sync=at))
            plain.setdefault(kind, []).append((pair[0][0], pair[1][0]))
            synced.setdefault(kind, []).append((pair[0][1], pair[1][1]))
            if kind == "ext4":
                with Filesystem(kind) as at:
                    squashed.append((pair[0][0], b.timed("", unsquash.format(at=at))[0]))
    for kind, pairs in plain.items():
        b.ratio(f"deploy {kind}", pairs)
        if kind != "tmpfs":
            b.ratio(f"deploy {kind} +sync", synced[kind])
    b.ratio("unsquashfs", squashed)


def memory(b: Bench) -> None:
    """A million files of 4 KiB, and ten of 4.6 GB: captured, captured again, extracted."""
    work = os.path.join(os.environ.get("TMPDIR", "/var/tmp"), "libcv-bench-memory")
    for name, make in (("million", million_files), ("large", large_files)):
        fresh(work)
        os.makedirs(f"{work}/tree")
        make(f"{work}/tree")
        store = f"{work}/store"
        subprocess.run([b.cv, "store", "init", store], check=True, stdout=subprocess.DEVNULL)
        b.timed(f"{name}: capture", b.capture_command(store, f"{work}/tree"))
        b.timed(f"{name}: capture again", b.capture_command(store, f"{work}/tree"))
        shutil.rmtree(f"{work}/tree")
        b.timed(f"{name}: extract", f"{b.cv} -q --store {store} image extract bench {work}/out")
        shutil.rmtree(work)


def million_files(path: str) -> None:
    for d in range(1000):
        os.mkdir(f"{path}/{d:03}")
        noise = os.urandom(4096 * 1000)
        for f in range(1000):
            with open(f"{path}/{d:03}/{f:03}", "wb") as out:
                out.write(noise[f * 4096:(f + 1) * 4096])


def large_files(path: str) -> None:
    """Ten files that share nothing: AES-CTR of zeros is as fast as the disk takes it."""
    for i in range(10):
        subprocess.run(f"openssl enc -aes-128-ctr -pass pass:{i} -nosalt -pbkdf2 -iter 1 < /dev/zero 2>/dev/null | "
                       f"head -c 4600000000 > {path}/large{i}", shell=True, check=True)


def clean() -> None:
    """Takes down what this or a killed run made."""
    with open("/proc/mounts", encoding="utf-8") as f:
        mounted = [line.split()[1] for line in f if line.split()[1].startswith(SHM)]
    for at in reversed(mounted):
        subprocess.run(["umount", at], check=False)
    shutil.rmtree(SHM, ignore_errors=True)


def main() -> int:
    p = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    p.add_argument("--only", default="capture,recapture,deploy,memory")
    p.add_argument("--pairs", type=int, default=7)
    p.add_argument("--tree")
    p.add_argument("--json")
    a = p.parse_args()
    if os.geteuid() != 0:
        sys.exit("peers.py needs root")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.chdir(f"{HERE}/..")
    subprocess.run(["tests/setup.sh", "bench"], check=True)
    cvctl = os.environ.get("CVCTL")
    if not cvctl:
        subprocess.run(["cargo", "build", "-q", "--release", "-p", "libcv", "--features", "cli", "--bin", "cvctl"], check=True)
        cvctl = os.path.realpath(os.path.join(os.environ.get("CARGO_TARGET_DIR", "target"), "release/cvctl"))
    clean()
    atexit.register(clean)
    os.makedirs(SHM)
    tree = a.tree
    if not tree:
        made = subprocess.check_output(["benches/make-tree.sh"], text=True).splitlines()[-1]
        tree = f"{SHM}/tree"
        subprocess.run(["cp", "-a", made, tree], check=True)
    b = Bench(os.path.realpath(tree), a.pairs, cvctl)
    known = {"capture": capture, "recapture": recapture, "deploy": deploy, "memory": memory}
    for name in a.only.split(","):
        known[name](b)
    for what, peak in b.peak.items():
        b.rows.append((f"peak: {what}", f"{peak} MiB", f"≤ {LIMIT_MB}", peak <= LIMIT_MB))
    print(f"{'work':24} {'target':8} result")
    for name, text, target, good in b.rows:
        print(f"{name:24} {target:8} {'ok  ' if good else 'MISS'} {text}")
    if a.json:
        with open(a.json, "w", encoding="utf-8") as f:
            json.dump([dict(zip(("work", "result", "target", "ok"), r)) for r in b.rows], f, indent=1)
    return 0 if all(r[3] for r in b.rows) else 1


if __name__ == "__main__":
    sys.exit(main())

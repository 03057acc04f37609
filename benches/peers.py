#!/usr/bin/env python3
"""libcv beside its peers, in the same run, on the same tree, warm cache, all cores.

    benches/peers.py [--only PART,...] [--memory] [--pairs 7] [--tree DIR] [--json FILE]

Prints a table of ratios (median and quartiles of interleaved pairs) and exits 1 when a target is missed. --memory adds
the million small files and the ten large ones. CVCTL=path takes that program instead of building one.
Needs: root, what `tests/setup.sh bench` installs, 8 GB of memory; --memory 55 GB of disk under $TMPDIR or /var/tmp.
`distro`, `build` and `http` are run only when they are named: see distro.py and web.py.
Time: about 20 minutes with seven pairs; --memory 20 more.
"""
from __future__ import annotations

import argparse
import atexit
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from typing import Callable, NamedTuple

from change import changed
from measure import CORES, SHM, Filesystem, Timed, begin, clean, fresh, stored, timed, warm

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, f"{HERE}/../tests/s3")
import serve  # noqa: E402  # the server that the tests use
import distro  # noqa: E402
import web  # noqa: E402
import versions  # noqa: E402
TAR = ["tar", "--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner", "-S"]
LIMIT_MB = 256


class Target(NamedTuple):
    """What a ratio must reach: `least`, or `most` for sizes. Under `floor` it is worse than a miss."""

    least: float = 0
    most: float = 0
    floor: float = 0


TARGETS = {
    "capture / tar|zstd": Target(1.35, floor=1.25), "stored size": Target(most=0.98),
    "recapture / capture": Target(15), "recapture / restic": Target(12),
    "deploy ext4 / zstd|tar": Target(2.2), "deploy xfs / zstd|tar": Target(2.2), "deploy tmpfs / zstd|tar": Target(2.2),
    "deploy from S3 / from disk": Target(0.7),
    "deploy ext4, synced": Target(1.8), "deploy xfs, synced": Target(1.8), "deploy ext4 / unsquashfs": Target(1.3),
    "OCI import / skopeo, umoci": Target(1.5),
    "update ext4 / rsync": Target(3), "update ext4, synced": Target(3),
    "full capture / restic": Target(3), "full capture / borg": Target(3),
    "5 % update / restic": Target(5), "5 % update / borg": Target(5),
    "5 % update, stored / restic": Target(most=0.95), "5 % update, stored / borg": Target(most=0.95),
    "deploy after 20 updates / fresh": Target(1 / 1.15), "  read of packs / fresh": Target(most=1.2),
    "gc of 100 versions / restic prune": Target(5),
    "fetch of packs / curl": Target(0.9), "deploy over HTTP / curl|zstd|tar": Target(2), "64 clients / nginx": Target(0.8),
    "slow link / its rate": Target(0.9), "full capture sent / restic": Target(1), "5 % update sent / restic": Target(4),
    "distro add / bsdtar -x": Target(0.7), "build / dnf --installroot": Target(0.87),
    "sync of what is the same / 0.5 s": Target(1), "sync of a version, stored / new bytes": Target(most=1.02),
}


class Row(NamedTuple):
    """A line of the table."""

    work: str
    target: str
    verdict: str
    result: str


class Bench:
    """One run: what it works on, and what it found."""

    def __init__(self, cvctl: str, tree: str, pairs: int) -> None:
        self.cvctl, self.tree, self.pairs = cvctl, tree, pairs
        self.rows: list[Row] = []
        self.peak: dict[str, int] = {}
        self.others: list[float] = []

    def ours(self, what: str, *arguments: str, sync: str | None = None, store: str = f"{SHM}/store") -> Timed:
        """Our program, timed; its peak counts for `what`."""
        run = self.note(timed([self.cvctl, "-q", "--store", store, *arguments], sync=sync))
        self.peak[what] = max(self.peak.get(what, 0), run.peak)
        return run

    def note(self, run: Timed) -> Timed:
        self.others.append(run.others)
        return run

    @staticmethod
    def both(n: int, ours: Callable[[], Timed], peer: Callable[[], Timed],
             before: Callable[[], None] = lambda: None) -> tuple[Timed, Timed]:
        """One pair; every other one the other way round, so that neither always finds what the other left."""
        if n % 2:
            before()
            theirs = peer()
            before()
            return ours(), theirs
        before()
        mine = ours()
        before()
        return mine, peer()

    def capture(self, what: str) -> Timed:
        return self.ours(what, "image", "capture", self.tree, "--name", "bench", "--exact")

    def empty_store(self) -> None:
        shutil.rmtree(f"{SHM}/store", ignore_errors=True)
        subprocess.run([self.cvctl, "store", "init", f"{SHM}/store"], check=True, stdout=subprocess.DEVNULL)

    def tar_zstd(self) -> Timed:
        zstd = ["zstd", "-q", "-f", "-3", f"-T{CORES}", "-o", f"{SHM}/peer.tzst"]
        return self.note(timed([*TAR, "-C", self.tree, "-cf", "-", "."], zstd))

    def row(self, work: str, pairs: list[tuple[float, float]]) -> None:
        """A row from pairs of ours and the peer's: how many times faster; of sizes, ours as a part of the peer's."""
        target = TARGETS[work]
        ratios = [ours / peer if target.most else peer / ours for ours, peer in pairs]
        low, median, high = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
        good = median <= target.most if target.most else median >= target.least
        verdict = "ok" if good else "FLOOR" if median < target.floor else "MISS"
        ours, peer = (statistics.median(p[i] for p in pairs) for i in (0, 1))
        unit, scale = ("MB", 1e6) if target.most else ("s", 1)
        goal = f"≤ {target.most}" if target.most else f"≥ {target.least}"
        absolute = f"ours {ours / scale:.2f} {unit}, peer {peer / scale:.2f} {unit}"
        self.add(Row(work, goal, verdict, f"{median:6.3f} ({low:.3f} … {high:.3f})  {absolute}"))

    def add(self, row: Row) -> None:
        self.rows.append(row)
        print(f"  {row.work:30} {row.target:7} {row.verdict:6} {row.result}", flush=True)


def capture(b: Bench) -> None:
    times, sizes = [], []
    for n in range(b.pairs):
        def ours() -> Timed:
            b.empty_store()
            return b.capture("capture")
        mine, peer = b.both(n, ours, b.tar_zstd, lambda: warm(b.tree))
        times.append((mine.seconds, peer.seconds))
        sizes.append((float(stored(f"{SHM}/store")), float(os.path.getsize(f"{SHM}/peer.tzst"))))
    b.row("capture / tar|zstd", times)
    b.row("stored size", sizes)


def recapture(b: Bench) -> None:
    os.environ.update(RESTIC_PASSWORD="x", RESTIC_CACHE_DIR=f"{SHM}/cache", RESTIC_REPOSITORY=f"{SHM}/restic")
    restic = ["restic", "--quiet", "backup", "--one-file-system", b.tree]
    fresh(f"{SHM}/restic")
    subprocess.run(["restic", "--quiet", "init"], check=True)
    subprocess.run(restic, check=True)
    full, peer = [], []
    for n in range(b.pairs):
        warm(b.tree)
        b.empty_store()
        first = b.capture("capture")
        again, theirs = b.both(n, lambda: b.capture("capture again"), lambda: b.note(timed(restic)))
        full.append((again.seconds, first.seconds))
        peer.append((again.seconds, theirs.seconds))
    b.row("recapture / capture", full)
    b.row("recapture / restic", peer)
    shutil.rmtree(f"{SHM}/restic")
    reads = count_reads(b)
    text = f"{reads} calls that read or map a file of the tree"
    b.add(Row("recapture reads", "= 0", "MISS" if reads else "ok", text))


def count_reads(b: Bench) -> int:
    """Calls of an unchanged capture that could see the content of a file of the tree; not timed."""
    calls = "read,pread64,readv,preadv,preadv2,mmap,sendfile,splice,copy_file_range,io_uring_enter"
    log = f"{SHM}/strace"
    ours = [b.cvctl, "-q", "--store", f"{SHM}/store", "image", "capture", b.tree, "--name", "bench", "--exact"]
    subprocess.run(["strace", "-f", "-y", "-qq", "-e", f"trace={calls}", "-o", log, *ours], check=True,
                   stdout=subprocess.DEVNULL)
    with open(log, encoding="utf-8", errors="replace") as f:
        return sum(f"<{b.tree}/" in line or "io_uring_enter" in line for line in f)


def deploy(b: Bench) -> None:
    warm(b.tree)
    b.empty_store()
    b.capture("capture")
    b.tar_zstd()
    squash = f"{SHM}/peer.sqfs"
    subprocess.run(["mksquashfs", b.tree, squash, "-comp", "zstd", "-Xcompression-level", "3", "-no-progress", "-quiet",
                    "-noappend", "-xattrs"], check=True, stdout=subprocess.DEVNULL)
    pairs: dict[str, list[tuple[float, float]]] = {}

    def extract(kind: str) -> Timed:
        with Filesystem(kind) as at:
            return b.ours("deploy", "image", "extract", "bench", at, "--no-sync", sync=at)

    def untar(kind: str) -> Timed:
        with Filesystem(kind) as at:
            tar = [*TAR, "--same-owner", "-p", "-C", at, "-xf", "-"]
            return b.note(timed(["zstd", "-dcq", f"{SHM}/peer.tzst"], tar, sync=at))

    for n in range(b.pairs):
        for kind in ("ext4", "xfs", "tmpfs"):
            mine, peer = b.both(n, lambda: extract(kind), lambda: untar(kind))
            pairs.setdefault(f"deploy {kind} / zstd|tar", []).append((mine.seconds, peer.seconds))
            if kind != "tmpfs":
                pairs.setdefault(f"deploy {kind}, synced", []).append((mine.synced, peer.synced))
            if kind == "ext4":
                with Filesystem(kind) as at:
                    theirs = b.note(timed(["unsquashfs", "-q", "-n", "-f", "-d", at, squash]))
                pairs.setdefault("deploy ext4 / unsquashfs", []).append((mine.seconds, theirs.seconds))
    for work in TARGETS:
        if work in pairs:
            b.row(work, pairs[work])
    os.unlink(squash)


def s3(b: Bench) -> None:
    """The same store in a directory and behind a server; both in RAM. The server works on the same cores."""
    warm(b.tree)
    b.empty_store()
    b.capture("capture")
    with serve.serve("s3s", f"{SHM}/s3", {}) as environment:
        os.environ.update(environment)
        far = f"{environment['LIBCV_S3_STORE']}/bench"
        subprocess.run([b.cvctl, "store", "init", far], check=True, stdout=subprocess.DEVNULL)
        b.ours("capture to S3", "image", "capture", b.tree, "--name", "bench", "--exact", store=far)

        def extract(what: str, store: str) -> Timed:
            with Filesystem("ext4") as at:
                return b.ours(what, "image", "extract", "bench", at, "--no-sync", sync=at, store=store)

        times = []
        for n in range(b.pairs):
            mine, peer = b.both(n, lambda: extract("deploy from S3", far), lambda: extract("deploy", f"{SHM}/store"))
            times.append((mine.seconds, peer.seconds))
    b.row("deploy from S3 / from disk", times)


def oci(b: Bench) -> None:
    """A layout with one gzip layer, which the peers copy with their checks and unpack; ours goes into an empty store."""
    b.empty_store()
    b.capture("capture")
    layout, copy, bundle = (f"{SHM}/{name}" for name in ("layout", "copy", "bundle"))
    b.ours("OCI export", "image", "export", "bench", "--format", "oci", "--compression", "gzip", "--output", layout)
    steps = (f"skopeo --insecure-policy copy -q oci:{layout}:bench oci:{copy}:bench && "
             f"umoci unpack --image {copy}:bench {bundle}")

    def ours() -> Timed:
        b.empty_store()
        return b.ours("OCI import", "image", "import", layout, "--name", "bench")

    def peers() -> Timed:
        for path in (copy, bundle):
            shutil.rmtree(path, ignore_errors=True)
        return b.note(timed(["sh", "-c", steps]))

    pairs = []
    for n in range(b.pairs):
        mine, theirs = b.both(n, ours, peers, lambda: warm(layout))
        pairs.append((mine.seconds, theirs.seconds))
    b.row("OCI import / skopeo, umoci", pairs)
    for path in (layout, copy, bundle):
        shutil.rmtree(path)


def update(b: Bench) -> None:
    """A deployed tree becomes one in which 5 % of the bytes changed; rsync has both as plain trees."""
    tree = f"{SHM}/changed"
    fresh(tree)
    subprocess.run(["cp", "-a", f"{b.tree}/.", tree], check=True)
    changed(tree, 0.05, 3)
    b.empty_store()
    b.capture("capture")
    b.ours("capture again", "image", "capture", tree, "--name", "bench", "--exact")
    pairs: dict[str, list[tuple[float, float]]] = {}

    def deployed(work) -> Timed:  # type: ignore[no-untyped-def]
        with Filesystem("ext4") as at:
            b.ours("deploy", "image", "extract", "bench@1", at)
            warm(at)
            return work(at)

    def ours(at: str) -> Timed:
        how = ("--update", "--exact", "--local", "delete", "--no-sync")
        return b.ours("update", "image", "extract", "bench@2", at, *how, sync=at)

    def rsync(at: str) -> Timed:
        run = b.note(timed(["rsync", "-aHAX", "--delete", f"{tree}/", f"{at}/"], sync=at))
        left = ["rsync", "-aHAX", "--delete", "--dry-run", "--itemize-changes", f"{tree}/", f"{at}/"]
        if out := subprocess.check_output(left):
            sys.exit(f"after rsync there is more to do: {out[:200]!r}")
        return run

    for n in range(b.pairs):
        mine, peer = b.both(n, lambda: deployed(ours), lambda: deployed(rsync), lambda: warm(tree))
        pairs.setdefault("update ext4 / rsync", []).append((mine.seconds, peer.seconds))
        pairs.setdefault("update ext4, synced", []).append((mine.synced, peer.synced))
    for work, found in pairs.items():
        b.row(work, found)
    shutil.rmtree(tree)


def memory(b: Bench) -> None:
    """A million files of 4 KiB, and ten of 4.6 GB: captured, captured again, extracted. On the disk: it is too much for
    RAM, and time does not matter here."""
    place = os.environ.get("TMPDIR", "/var/tmp")
    for name, make, need in (("10⁶ files", million_files, 14 << 30), ("10 × 4.6 GB", large_files, 56 << 30)):
        free = shutil.disk_usage(place).free
        if free < need:
            text = f"not run: {place} has {free >> 30} GiB, {need >> 30} are needed"
            b.add(Row(f"peak: {name}", f"≤ {LIMIT_MB}", "MISS", text))
            continue
        work = os.path.join(place, "libcv-bench-memory")
        fresh(f"{work}/tree")
        atexit.register(shutil.rmtree, work, ignore_errors=True)
        make(f"{work}/tree")
        subprocess.run([b.cvctl, "store", "init", f"{work}/store"], check=True, stdout=subprocess.DEVNULL)

        def peak(what: str, *arguments: str) -> None:
            run = timed([b.cvctl, "-q", "--store", f"{work}/store", "image", *arguments])
            b.peak[f"{name}, {what}"] = run.peak
            print(f"  {name}, {what}: {run.peak} MiB, {run.seconds:.0f} s", flush=True)

        for what in ("capture", "capture again"):
            peak(what, "capture", f"{work}/tree", "--name", "m", "--exact")
        shutil.rmtree(f"{work}/tree")
        peak("deploy", "extract", "m", f"{work}/out")
        shutil.rmtree(work)


def million_files(path: str) -> None:
    """Unique, and nothing compresses."""
    source = random.Random(1)
    for d in range(1000):
        os.mkdir(f"{path}/{d:03}")
        noise = source.randbytes(4096 * 1000)
        for f in range(1000):
            with open(f"{path}/{d:03}/{f:03}", "wb") as out:
                out.write(noise[f * 4096:(f + 1) * 4096])


def large_files(path: str) -> None:
    """Every chunk of every file is unique, so the index is as large as it gets; but a page repeats its first 512 bytes,
    so that the store needs an eighth of the tree, and both fit on a disk."""
    source = random.Random(2)
    for n in range(10):
        with open(f"{path}/large{n}", "wb") as out:
            for _ in range(4_600_000_000 // (4096 * 1024)):
                noise = source.randbytes(512 * 1024)
                out.write(b"".join(noise[i:i + 512] * 8 for i in range(0, len(noise), 512)))


def build() -> str:
    if path := os.environ.get("CVCTL"):
        return os.path.realpath(path)
    cargo = ["cargo", "build", "-q", "--release", "-p", "libcv", "--features", "cli,s3,build,server", "--bin", "cvctl"]
    subprocess.run(cargo, check=True)
    return os.path.realpath(os.path.join(os.environ.get("CARGO_TARGET_DIR", "target"), "release/cvctl"))


def main() -> int:
    known = {"capture": capture, "recapture": recapture, "deploy": deploy, "update": update, "s3": s3, "oci": oci,
             "versions": versions.versions, "updates": versions.updates, "gc": versions.gc, "sync": versions.sync,
             "memory": memory, "distro": distro.distro, "build": distro.build, "http": web.http}
    p = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    p.add_argument("--only", default="capture,recapture,deploy,update,s3,oci,versions,updates,gc,sync", help="parts: " + ",".join(known))
    p.add_argument("--memory", action="store_true", help="the part `memory`, too")
    p.add_argument("--pairs", type=int, default=7)
    p.add_argument("--tree", help="another tree than that of make-tree.sh")
    p.add_argument("--json", help="a file for the table")
    a = p.parse_args()
    parts = a.only.split(",") + ["memory"] * (a.memory and "memory" not in a.only)
    if unknown := set(parts) - set(known):
        p.error(f"there is no part {', '.join(unknown)}")
    if os.geteuid() != 0:
        sys.exit("peers.py needs root: it mounts filesystems")
    json_path = os.path.abspath(a.json) if a.json else None
    tree = os.path.abspath(a.tree) if a.tree else ""
    os.chdir(f"{HERE}/..")
    subprocess.run(["tests/setup.sh", "bench"], check=True)
    cvctl = build()
    tree = tree or subprocess.check_output(["benches/make-tree.sh"], text=True).splitlines()[-1]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    begin()
    atexit.register(clean)
    b, start = Bench(cvctl, os.path.realpath(tree), a.pairs), time.monotonic()
    for name in parts:
        known[name](b)
    for what, peak in b.peak.items():
        b.add(Row(f"peak: {what}", f"≤ {LIMIT_MB}", "ok" if peak <= LIMIT_MB else "MISS", f"{peak} MiB"))
    others = statistics.median(b.others or [0])
    facts = f"{CORES} cores, {a.pairs} pairs, {time.monotonic() - start:.0f} s, others used {others:.0%} of the machine"
    print(f"\n{'work':30} {'target':7} {'':6} median (quartiles)")
    for row in b.rows:
        print(f"{row.work:30} {row.target:7} {row.verdict:6} {row.result}")
    print(facts + ("" if others < 0.1 else ": too much to believe these numbers"))
    if json_path:
        with open(json_path, "w", encoding="utf-8") as f:
            json.dump({"rows": [r._asdict() for r in b.rows], "facts": facts}, f, indent=1, ensure_ascii=False)
    return 0 if all(r.verdict == "ok" for r in b.rows) else 1


if __name__ == "__main__":
    sys.exit(main())

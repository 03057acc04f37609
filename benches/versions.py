"""Many versions beside peers that keep many: restic and borg. Parts of peers.py."""
from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Callable

from change import changed
from measure import SHM, Filesystem, Timed, fresh, stored, timed, warm

if TYPE_CHECKING:
    from peers import Bench

TREE, STORE = f"{SHM}/versions", f"{SHM}/store"
ENVIRONMENT = {"RESTIC_PASSWORD": "x", "RESTIC_CACHE_DIR": f"{SHM}/cache", "RESTIC_REPOSITORY": f"{SHM}/restic",
               "BORG_REPO": f"{SHM}/borg", "BORG_BASE_DIR": f"{SHM}/borg-base", "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
               "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes"}
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


class Peer:
    """A program that keeps versions of a tree, with its repository in RAM."""

    def __init__(self, name: str, make: list[str], save: Callable[[int], list[str]]) -> None:
        self.name, self.make, self.save = name, make, save
        self.at = f"{SHM}/{name}"

    def empty(self) -> None:
        for path in (self.at, f"{SHM}/cache", f"{SHM}/borg-base"):
            shutil.rmtree(path, ignore_errors=True)
        subprocess.run(self.make, check=True, **QUIET)  # type: ignore[call-overload]


def peers() -> list[Peer]:
    """zstd, level 3 where it can be said; restic's default is of that class."""
    os.environ.update(ENVIRONMENT)
    return [Peer("restic", ["restic", "--quiet", "init"],
                 lambda n: ["restic", "--quiet", "backup", "--one-file-system", "--compression", "auto", TREE]),
            Peer("borg", ["borg", "init", "-e", "none"],
                 lambda n: ["borg", "create", "-C", "zstd,3", "-x", f"::v{n}", TREE])]


def copy_of(b: Bench) -> None:
    """The tree that the versions are of; each update changes it."""
    shutil.rmtree(TREE, ignore_errors=True)
    subprocess.run(["cp", "-a", b.tree, TREE], check=True)


def capture(b: Bench, what: str = "capture") -> Timed:
    return b.ours(what, "image", "capture", TREE, "--name", "bench", "--exact")


def versions(b: Bench) -> None:
    """A full capture, and one after an update of 5 %, each in a new store or repository."""
    found: dict[str, list[tuple[float, float]]] = {}
    for n in range(b.pairs):
        for peer in peers():
            copy_of(b)
            warm(TREE)
            b.empty_store()
            peer.empty()
            mine, theirs = b.both(n, lambda: capture(b), lambda: b.note(timed(peer.save(0))))
            before = stored(STORE), stored(peer.at)
            changed(TREE, 0.05, n)
            warm(TREE)
            again, later = b.both(n, lambda: capture(b, "capture of an update"), lambda: b.note(timed(peer.save(1))))
            found.setdefault(f"full capture / {peer.name}", []).append((mine.seconds, theirs.seconds))
            found.setdefault(f"5 % update / {peer.name}", []).append((again.seconds, later.seconds))
            grown = float(stored(STORE) - before[0]), float(stored(peer.at) - before[1])
            found.setdefault(f"5 % update, stored / {peer.name}", []).append(grown)
            shutil.rmtree(peer.at)
    for work, pairs in found.items():
        b.row(work, pairs)
    shutil.rmtree(TREE)


def updates(b: Bench) -> None:
    """Twenty updates of 5 % each; then the last is deployed, and the same tree captured into a store of its own."""
    copy_of(b)
    b.empty_store()
    capture(b)
    for n in range(20):
        changed(TREE, 0.05, 100 + n)
        capture(b, "capture of an update")
    last, alone = f"{SHM}/last", f"{SHM}/alone"
    for path in (last, alone):
        shutil.rmtree(path, ignore_errors=True)
    subprocess.run([b.cvctl, "store", "init", alone], check=True, **QUIET)  # type: ignore[call-overload]
    b.ours("capture", "image", "capture", TREE, "--name", "bench", "--exact", store=alone)
    shutil.rmtree(TREE)

    def deploy(store: str) -> Timed:
        with Filesystem("ext4") as at:
            return b.ours("deploy", "image", "extract", "bench", at, "--no-sync", sync=at, store=store)

    pairs = []
    for n in range(b.pairs):
        # Both have been read just now: what lay in memory for long is slow to touch in a virtual machine.
        mine, theirs = b.both(n, lambda: deploy(STORE), lambda: deploy(alone), lambda: warm(STORE, alone))
        pairs.append((mine.seconds, theirs.seconds))
    b.row("deploy after 20 updates / fresh", pairs)
    read = [blocks_read(b, store) for store in (STORE, alone)]
    b.row("  read of packs / fresh", [(float(read[0]), float(read[1]))])
    shutil.rmtree(alone)


def blocks_read(b: Bench, store: str) -> int:
    """Bytes of packs that a deployment reads, counted by strace; not timed. One log for each thread: in a common one a call
    that another interrupts is two lines."""
    log, out = f"{SHM}/strace", f"{SHM}/out"
    fresh(log)
    ours = [b.cvctl, "-q", "--store", store, "image", "extract", "bench", out, "--no-sync"]
    calls = "trace=read,pread64,readv,preadv,preadv2"
    subprocess.run(["strace", "-ff", "-y", "-qq", "-s", "0", "-e", calls, "-o", f"{log}/thread", *ours], check=True, **QUIET)  # type: ignore[call-overload]
    shutil.rmtree(out)
    done = 0
    for name in os.listdir(log):
        with open(f"{log}/{name}", encoding="utf-8", errors="replace") as f:
            lines = (line.rsplit(" = ", 1)[1].split()[0] for line in f if f"<{store}/packs/" in line)
            done += sum(int(n) for n in lines if n.isdigit())
    return done


def gc(b: Bench) -> None:
    """A hundred versions, 1 % changed in each; all but ten go. Ours runs twice: it finds, and deletes later."""
    copy_of(b)
    b.empty_store()
    restic = peers()[0]
    restic.empty()
    for n in range(100):
        if n:
            changed(TREE, 0.01, 1000 + n)
        capture(b, "capture of an update")
        subprocess.run(restic.save(n), check=True)
    shutil.rmtree(TREE)
    sizes = stored(STORE), stored(restic.at)
    collect = ("store", "gc", "--keep-last", "10", "--grace", "0s")
    mine = [b.ours("gc", *collect) for _ in range(2)]
    subprocess.run(["restic", "--quiet", "forget", "--keep-last", "10"], check=True)
    theirs = b.note(timed(["restic", "--quiet", "prune"]))
    b.row("gc of 100 versions / restic prune", [(sum(m.seconds for m in mine), theirs.seconds)])
    print(f"    100 versions: ours {sizes[0] >> 20} MiB, restic {sizes[1] >> 20}; afterwards {stored(STORE) >> 20}, "
          f"{stored(restic.at) >> 20}; finding {mine[0].seconds:.2f} s, deleting {mine[1].seconds:.2f} s")
    subprocess.run([b.cvctl, "-q", "--store", STORE, "store", "check", "--read-data"], check=True)
    shutil.rmtree(restic.at)


def sync(b: Bench) -> None:
    """A copy of a store that has not changed, and of one version more."""
    copy_of(b)
    b.empty_store()
    capture(b)
    copy = f"{SHM}/copy"
    shutil.rmtree(copy, ignore_errors=True)
    subprocess.run([b.cvctl, "store", "init", copy], check=True, **QUIET)  # type: ignore[call-overload]
    b.ours("sync", "store", "sync", "--to", copy)
    unchanged = [(b.ours("sync", "store", "sync", "--to", copy).seconds, 0.5) for _ in range(b.pairs)]
    b.row("sync of what is the same / 0.5 s", unchanged)
    bytes_moved = []
    for n in range(b.pairs):
        changed(TREE, 0.05, 200 + n)
        before = packs(STORE), packs(copy)
        capture(b, "capture of an update")
        b.ours("sync", "store", "sync", "--to", copy)
        bytes_moved.append((float(packs(copy) - before[1]), float(packs(STORE) - before[0])))
    b.row("sync of a version, stored / new bytes", bytes_moved)
    for path in (copy, TREE):
        shutil.rmtree(path)


def packs(store: str) -> int:
    return stored(f"{store}/packs")

#!/usr/bin/env python3
"""SIGKILL at random moments of collection, of a collection that stores sparse packs anew, of sync and of repair: both
stores check clean every time without a manual step, and the next run succeeds. 20 kills of each, 200 with FULL=1. The
seed is printed; SEED=n repeats a run."""
import os
import random
import shutil
import tempfile
import time

from test_kill import ROUNDS, SEED, cv, good, killed


def files(rng: random.Random, tree: str, count: int) -> None:
    for i in rng.sample(range(60), count):
        with open(f"{tree}/f{i}", "wb") as f:
            f.write(rng.randbytes(rng.randrange(1_000, 300_000)))


def timed(*args: str) -> float:
    begin = time.monotonic()
    good(*args)
    return time.monotonic() - begin


def damage(rng: random.Random, store: str) -> None:
    """A flipped bit in a pack, or a pack, manifest or segment that is lost."""
    kind = rng.choice(("packs", "packs", "images", "idx"))
    paths = [os.path.join(d, n) for d, _, names in os.walk(f"{store}/{kind}") for n in names if n not in ("CURRENT", "BAD")]
    path = rng.choice(sorted(paths))
    if rng.random() < 0.5:
        os.unlink(path)
        return
    with open(path, "r+b") as f:
        at = rng.randrange(os.path.getsize(path))
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 1 << rng.randrange(8)]))


def main() -> None:
    print(f"seed {SEED}, {ROUNDS} kills each")
    rng = random.Random(SEED)
    work = tempfile.mkdtemp(prefix="libcv-store-kill-")
    try:
        tree, store, copy = (f"{work}/{name}" for name in ("tree", "store", "copy"))
        os.makedirs(tree)
        files(rng, tree, 60)
        for path in (store, copy):
            good("store", "init", path)
        at, there = ("--store", store), ("--store", copy)
        capture = ("image", "capture", tree, "--name", "t")
        good(*at, *capture)
        gc = ("store", "gc", "--grace", "0s", "--keep-last", "2")
        sync = ("store", "sync", "--to", copy)
        repair = ("store", "repair", "--from", copy)
        gc_time, sync_time, repacked = timed(*at, *gc), timed(*at, *sync), 0
        repair_time = sync_time * 2
        for n in range(ROUNDS):
            files(rng, tree, 25)
            good(*at, *capture)
            killed(rng, sync_time, *at, *sync)
            good(*there, "store", "check")
            good(*at, *sync)
            # Twice: what the one finds the other deletes; most of what the first version had is sparse by now.
            for _ in range(2):
                killed(rng, gc_time, *at, *gc)
                good(*at, "store", "check", "--read-data")
            repacked += good(*at, *gc)["repacked"]
            begin = time.monotonic()
            good(*at, *gc)
            gc_time = max(gc_time, time.monotonic() - begin)
            damage(rng, store)
            killed(rng, repair_time, *at, *repair)
            begin = time.monotonic()
            good(*at, *repair)
            repair_time = max(repair_time, time.monotonic() - begin)
            good(*at, "store", "check", "--read-data")
            for generation in (g["generation"] for g in good(*at, "image", "log", "t")["generations"]):
                good(*at, "image", "extract", f"t@{generation}", f"{work}/out", "--no-sync")
                shutil.rmtree(f"{work}/out")
        assert repacked, "nothing was stored anew: the kills of that show nothing"
        good(*there, "store", "check", "--read-data")
        good(*at, *gc), good(*at, *gc)
        assert not os.listdir(f"{store}/leases"), "leases of killed writers were not removed"
        assert not os.listdir(f"{store}/tmp"), "temporary files of killed writers were not removed"
        assert cv(*at, *gc, "--dry-run").returncode == 0
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print("PASS")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Eight processes capture, tag, roll back, remove and collect in one store at once, for a minute, for ten with FULL=1.
Nothing that was acknowledged is lost, no generation is overwritten, every generation that is kept reads back whole. One
writer is stopped (SIGSTOP) across two collections and woken: it publishes a whole image or fails cleanly."""
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from multiprocessing import Process, Queue

from test_kill import CV, SEED, cv, good

SECONDS = 600 if os.environ.get("FULL") == "1" else 60
# What a process may meet when another was faster; everything else is a fault.
CLEAN = (10, 11, 12)


def worker(number: int, store: str, work: str, until: float, said: "Queue[tuple[str, int, str]]") -> None:
    rng = random.Random(SEED + number)
    tree, at = f"{work}/tree{number}", ("--store", store)
    os.makedirs(tree)
    own, n = f"own{number}", 0
    while time.monotonic() < until:
        n += 1
        with open(f"{tree}/f{rng.randrange(8)}", "wb") as f:
            # Some content is the same for all: they store it at once.
            f.write(random.Random(rng.randrange(40)).randbytes(60_000))
        name = rng.choice(("shared", own))
        step = rng.choice(("capture", "capture", "capture", "tag", "rollback", "rm", "gc", "gc"))
        if step == "capture":
            args = ("image", "capture", tree, "--name", name)
        elif step == "tag":
            args = ("image", "tag", name, f"{name}:t{number}")
        elif step == "rollback":
            args = ("image", "rollback", name, "--to", f"{name}:t{number}")
        elif step == "rm":
            args = ("image", "rm", f"{own}:t{number}")
        else:
            args = ("store", "gc", "--grace", "2s", "--keep-last", "3")
        done = cv(*at, *args)
        if done.returncode not in (0, *CLEAN):
            said.put(("fault", number, f"{args}: {done.returncode} {done.stderr}"))
            return
        if done.returncode == 0 and step == "capture":
            result = json.loads(done.stdout)
            if result["changed"]:
                said.put((result["name"], result["generation"], result["image"]))
    said.put(("steps", number, str(n)))


def stopped(store: str, work: str) -> None:
    """A capture that sleeps while its store is collected twice."""
    tree, at = f"{work}/asleep", ("--store", store)
    os.makedirs(tree)
    rng = random.Random(SEED)
    for i in range(300):
        with open(f"{tree}/f{i}", "wb") as f:
            f.write(rng.randbytes(100_000))
    good(*at, "image", "capture", tree, "--name", "asleep")
    for delay in (0.02, 0.05, 0.1, 0.2):
        good(*at, "image", "rm", "asleep")
        process = subprocess.Popen([CV, "-q", "-o", "json", *at, "image", "capture", tree, "--name", "woken", "--paranoid"],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(delay)
        process.send_signal(signal.SIGSTOP)
        good(*at, "store", "gc", "--grace", "0s")
        good(*at, "store", "gc", "--grace", "0s")
        process.send_signal(signal.SIGCONT)
        code = process.wait(timeout=60)
        assert code in (0, 11), f"the writer that was woken ended with {code}"
        good(*at, "store", "check", "--read-data")
        if code == 0:
            good(*at, "image", "verify", "woken")
        good(*at, "image", "capture", tree, "--name", "asleep")


def main() -> None:
    print(f"seed {SEED}, {SECONDS} s")
    work = tempfile.mkdtemp(prefix="libcv-many-")
    store = f"{work}/store"
    try:
        good("store", "init", store)
        stopped(store, work)
        said: "Queue[tuple[str, int, str]]" = Queue()
        until = time.monotonic() + SECONDS
        processes = [Process(target=worker, args=(n, store, work, until, said)) for n in range(8)]
        for p in processes:
            p.start()
        made: dict[tuple[str, int], str] = {}
        ended = steps = 0
        while ended < len(processes):
            name, number, what = said.get(timeout=SECONDS + 120)
            if name == "fault":
                for p in processes:
                    p.kill()
                    p.join()
                sys.exit(what)
            if name == "steps":
                ended, steps = ended + 1, steps + int(what)
                continue
            assert (name, number) not in made, f"{name}@{number} was made twice"
            made[name, number] = what
        for p in processes:
            p.join()
        at = ("--store", store)
        good(*at, "store", "check", "--read-data")
        kept = 0
        for name in {name for name, _ in made}:
            for g in good(*at, "image", "log", name)["generations"]:
                if g["image"] is None:
                    continue
                kept += 1
                want = made.get((name, g["generation"]))
                assert want in (None, g["image"]), f"{name}@{g['generation']} is another image than was said"
                good(*at, "image", "verify", f"{name}@{g['generation']}")
        print(f"{steps} steps, {len(made)} generations, {kept} of them kept")
        assert len(made) > 50 and kept > 5, "too little was done to show anything"
        good(*at, "store", "gc", "--grace", "0s")
        good(*at, "store", "gc", "--grace", "0s")
        good(*at, "store", "check", "--read-data")
        assert not os.listdir(f"{store}/leases")
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print("PASS")


if __name__ == "__main__":
    main()

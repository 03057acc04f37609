#!/usr/bin/env python3
"""Adding a distribution, killed at any moment: what is published is whole or not there, another release that was there stays,
the store is in order after each kill, and the next addition succeeds. 20 kills, 60 with FULL=1; SEED=n repeats a run."""
import os
import random
import subprocess
import time

from bed import CV, Bed

ROUNDS = 60 if os.environ.get("FULL") == "1" else 20
SEED = int(os.environ.get("SEED", "0")) or int(time.time())


def names(bed: Bed) -> list[str]:
    return [d["name"] for d in bed.good("distro", "list")["distributions"]]


def whole(bed: Bed, name: str) -> None:
    report = bed.good("distro", "verify", name)
    assert report["faults"] == [] and report["packages"] > 0, report


def forget(bed: Bed) -> None:
    """Nothing of what the killed one stored is left, so that the next one stores all of it again."""
    for _ in range(2):
        bed.good("store", "gc", "--grace", "0s")


def main() -> None:
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    with Bed() as bed:
        command = [CV, "-q", "--store", bed.store, "distro", "add", f"{bed.mini}/mini-9.5.iso"]
        typical = 60.0
        for _ in range(3):
            began = time.monotonic()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            typical = min(typical, time.monotonic() - began)
            bed.good("distro", "rm", "rocky-9.5")
            forget(bed)
        faster = 0
        for n in range(ROUNDS):
            beside = ["first"] if n >= ROUNDS // 2 else []
            if beside and "first" not in names(bed):
                bed.good("distro", "add", f"{bed.mini}/mini-9.4.iso", "--name", "first")
            adding = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(typical * (n % 10 + rng.random()) / 10)
            adding.kill()
            faster += adding.wait() == 0
            found = names(bed)
            assert found in (beside, [*beside, "rocky-9.5"]), found
            if "rocky-9.5" in found:
                whole(bed, "rocky-9.5")
                bed.good("distro", "rm", "rocky-9.5")
            assert bed.good("store", "check", "--read-data")["faults"] == []
            # Every other one finds what the killed one left.
            if n % 2:
                forget(bed)
                left = os.listdir(f"{bed.store}/tmp") if os.path.isdir(f"{bed.store}/tmp") else []
                assert left == [], left
        assert faster < ROUNDS, "nothing was killed"
        bed.good("distro", "add", f"{bed.mini}/mini-9.5.iso")
        assert names(bed) == ["first", "rocky-9.5"]
        for name in names(bed):
            whole(bed, name)
        bed.nothing_half_made()
        print(f"{ROUNDS} kills, {faster} came too late; an addition takes {typical:.2f} s")


if __name__ == "__main__":
    main()

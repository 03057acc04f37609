#!/usr/bin/env python3
"""A build that is killed at any moment: within a second no process of it runs and nothing is mounted, no version is there that
is not whole, and the next open of the store removes the directory. 12 kills, 60 with FULL=1; SEED=n repeats a run."""
import os
import random
import subprocess
import time

from bed import CV, Bed, mounts_below

ROUNDS = 60 if os.environ.get("FULL") == "1" else 12
SEED = int(os.environ.get("SEED", "0")) or int(time.time())


def processes(mark: str) -> list[str]:
    """Command lines of processes that have the directory in their arguments, mounts, or working directory."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                line = f.read().replace(b"\0", b" ").decode(errors="replace")
            with open(f"/proc/{pid}/mountinfo", encoding="utf-8") as f:
                mounts = f.read()
        except OSError:
            continue
        if int(pid) != os.getpid() and (mark in line or mark in mounts):
            found.append(f"{pid} {line}")
    return found


def main() -> None:
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    with Bed() as bed:
        bed.good("distro", "add", f"{bed.mini}/mini-9.4.iso")
        role = bed.role("r", groups=["core"], packages=["beacon", "kernel-core"], scripts=[{"name": "s", "run": "sleep 0.5"}])
        command = [CV, "-q", "--store", bed.store, "image", "build", "--distro", "rocky-9.4", "--role", role, "--name", "n"]
        began = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        typical = time.monotonic() - began
        bed.good("image", "rm", "n")
        faster = 0
        for n in range(ROUNDS):
            build = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(typical * (n + rng.random()) / ROUNDS)
            build.kill()
            faster += build.wait() == 0
            end = time.monotonic() + 1
            while (left := processes(f"{bed.store}/tmp/build")) and time.monotonic() < end:
                time.sleep(0.01)
            assert left == [], f"after a second: {left}"
            assert mounts_below(bed.dir) == []
            if bed.cv("image", "show", "n").returncode == 0:
                bed.good("image", "verify", "n")
                bed.good("image", "rm", "n")
            bed.nothing_half_made()
        assert faster < ROUNDS, "no build was killed"
        bed.good("image", "build", "--distro", "rocky-9.4", "--role", role, "--name", "n")
        bed.good("image", "verify", "n")
        print(f"{ROUNDS} kills, {faster} came too late; a build takes {typical:.1f} s")


if __name__ == "__main__":
    main()

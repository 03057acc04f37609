#!/usr/bin/env python3
"""SIGKILL at random moments of capture, extract, tag and roll back: the store checks clean every time without a manual
step, and the next run succeeds; and of updates in place: what is there is known as unfinished, and repeating ends equal.
20 kills of each, 200 with FULL=1. The seed is printed; SEED=n repeats a run."""
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

CV = os.environ.get("CVCTL") or sys.exit("CVCTL is not set")
ROUNDS = 200 if os.environ.get("FULL") == "1" else 20
SEED = int(os.environ.get("SEED", "0")) or int(time.time())


def cv(*args: str) -> subprocess.CompletedProcess:
    return subprocess.run([CV, "-q", "-o", "json", *args], capture_output=True, text=True, check=False)


def good(*args: str) -> dict:
    done = cv(*args)
    assert done.returncode == 0, f"{args}: {done.returncode} {done.stderr}"
    return json.loads(done.stdout) if done.stdout.strip() else {}


def killed(rng: random.Random, typical: float, *args: str) -> bool:
    """Starts the command and kills it at a random moment of its usual duration. True when it was faster."""
    process = subprocess.Popen([CV, "-q", *args], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(rng.uniform(0, typical * 1.1))
    process.kill()
    return process.wait() == 0


def whole(store: str, tree: str, out: str, done: bool) -> None:
    """A target without the marker of an unfinished run is the whole tree, however the run ended; it is then removed,
    because a whole one is never overwritten."""
    if not os.path.exists(out) or os.path.exists(f"{out}/.libcv-extracting"):
        assert not done, "a finished extraction left its marker"
        return
    if os.listdir(out):
        image = good("--store", store, "image", "show", "t")["tree"]
        copy = good("--store", store, "image", "capture", out, "--name", "copy", "--exact")["tree"]
        assert copy == image, "a target without a marker is not the whole tree"
        good("--store", store, "image", "rm", "copy")
    shutil.rmtree(out)


def change(rng: random.Random, tree: str, n: int) -> None:
    with open(f"{tree}/changed-{n}", "wb") as f:
        f.write(rng.randbytes(rng.randrange(200_000, 4_000_000)))


def other_version(rng: random.Random, tree: str) -> None:
    """What an update of packages does: other content, other kinds, names that come and go, links, modes."""
    for i in range(2000):
        path, dice = f"{tree}/d{i % 50}/f{i}", rng.randrange(12)
        if dice > 6:
            continue
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        elif os.path.lexists(path):
            os.unlink(path)
        if dice == 0:
            os.symlink(f"f{i}", path)
        elif dice == 1:
            os.makedirs(f"{path}/inner")
            with open(f"{path}/inner/file", "wb") as f:
                f.write(rng.randbytes(100))
        elif dice == 2 and os.path.isfile(f"{tree}/large0"):
            os.link(f"{tree}/large0", path)
        elif dice > 2:
            with open(path, "wb") as f:
                f.write(rng.randbytes(rng.randrange(0, 20_000)))
            os.chmod(path, rng.choice((0o644, 0o755, 0o600)))
    for i in range(1, 6, 2):
        with open(f"{tree}/large{i}", "r+b") as f:
            f.seek(rng.randrange(7_000_000))
            f.write(rng.randbytes(300_000))


def updates(rng: random.Random, work: str, store: str, tree: str) -> None:
    """A tree goes to and fro between versions, each way killed at a random moment; some of the killed runs are killed
    again. The last run succeeds without a hand and the tree is equal to an extraction, byte for byte."""
    at, out = ("--store", store), f"{work}/node"
    versions = []
    for n in range(3):
        good(*at, "image", "capture", tree, "--name", "u", "--exact")
        versions.append(f"u@{n + 1}")
        other_version(rng, tree)
    good(*at, "image", "extract", versions[0], out)
    how = ("--update", "--local", "delete", "--exact")
    begin = time.monotonic()
    good(*at, "image", "extract", versions[1], out, *how)
    typical = time.monotonic() - begin
    unfinished = 0
    for n in range(ROUNDS):
        for _ in range(rng.randrange(1, 4)):
            killed(rng, typical, *at, "image", "extract", rng.choice(versions), out, *how)
            marked = os.path.exists(f"{out}/.libcv-updating")
            unfinished += marked
            if marked:
                assert cv(*at, "image", "capture", out, "--name", "x").returncode == 16, "a part was captured"
                assert cv(*at, "image", "extract", versions[0], out).returncode == 16, "a part was extracted into"
        goal = rng.choice(versions)
        good(*at, "image", "extract", goal, out, *how)
        assert good(*at, "image", "diff", goal, f"{out}/", "--exact")["changes"] == [], f"round {n}: not as {goal}"
        names = [name for _, _, files in os.walk(out) for name in files if name.startswith((".cv-", ".libcv-"))]
        assert not names, f"round {n}: left behind: {names}"
    print(f"updates: {unfinished} of the kills left an unfinished tree")
    assert unfinished * 4 > ROUNDS, "the kills hit too seldom to show anything"


def main() -> None:
    print(f"seed {SEED}, {ROUNDS} kills each")
    rng = random.Random(SEED)
    work = tempfile.mkdtemp(prefix="libcv-kill-")
    try:
        tree, store, out = f"{work}/tree", f"{work}/store", f"{work}/out"
        os.makedirs(tree)
        for i in range(2000):
            os.makedirs(f"{tree}/d{i % 50}", exist_ok=True)
            with open(f"{tree}/d{i % 50}/f{i}", "wb") as f:
                f.write(rng.randbytes(rng.randrange(0, 20_000)))
        for i in range(6):
            with open(f"{tree}/large{i}", "wb") as f:
                f.write(rng.randbytes(8_000_000))
        good("store", "init", store)
        at = ("--store", store)
        begin = time.monotonic()
        good(*at, "image", "capture", tree, "--name", "t")
        capture_time = time.monotonic() - begin
        begin = time.monotonic()
        good(*at, "image", "extract", "t", out)
        extract_time = time.monotonic() - begin
        shutil.rmtree(out)
        good(*at, "image", "tag", "t", "t:first")
        for n in range(ROUNDS):
            change(rng, tree, n)
            killed(rng, capture_time, *at, "image", "capture", tree, "--name", "t", "--paranoid")
            good(*at, "store", "check", *(["--read-data"] if n % 5 == 0 else []))
            done = killed(rng, extract_time, *at, "image", "extract", "t", out)
            whole(store, tree, out, done)
            killed(rng, 0.03, *at, "image", "tag", "t", f"t:k{n % 3}")
            good(*at, "store", "check")
            killed(rng, 0.03, *at, "image", "rollback", "t", "--to", "t:first")
            good(*at, "store", "check")
            if n % 5 == 0:
                # The next run of each succeeds, into the very directory that the killed one left.
                good(*at, "image", "capture", tree, "--name", "t")
                good(*at, "image", "extract", "t", out, "--verify")
                good(*at, "image", "tag", "t", f"t:good{n}")
                good(*at, "image", "rollback", "t", "--to", "t:first")
                shutil.rmtree(out)
            else:
                shutil.rmtree(out, ignore_errors=True)
        good(*at, "image", "capture", tree, "--name", "t")
        good(*at, "image", "extract", "t", out, "--verify")
        good(*at, "store", "check", "--read-data")
        updates(rng, work, store, tree)
        assert not os.listdir(f"{store}/tmp"), "temporary files of killed writers were not removed"
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print("PASS")


if __name__ == "__main__":
    main()

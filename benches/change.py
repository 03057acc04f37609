"""An update of a tree, as packages make it. Used by the runs beside peers.

    change.py TREE PART SEED"""
from __future__ import annotations

import os
import random
import subprocess
import sys


def change(tree: str, part: float, seed: int = 3) -> None:
    """As an update of packages does it: files that hold so large a part of the bytes are other ones of about that size,
    with another time; every tenth of them is gone, and another came."""
    dice = random.Random(seed)
    files = [os.path.join(d, f) for d, _, names in os.walk(tree) for f in sorted(names)]
    files = [f for f in files if os.path.isfile(f) and not os.path.islink(f)]
    total = sum(os.path.getsize(f) for f in files)
    dice.shuffle(files)
    done = 0
    for n, path in enumerate(files):
        if done >= total * part:
            break
        info = os.lstat(path)
        done += info.st_size
        with open(path, "rb") as f:
            content = bytearray(f.read())
        for at in range(0, len(content), 4096):
            content[at] ^= 0xFF
        os.unlink(path)
        path += ".new" if n % 10 == 0 else ""
        with open(path, "wb") as f:
            f.write(content + b"x" * (n % 3))
        os.chown(path, info.st_uid, info.st_gid)
        os.chmod(path, info.st_mode)


def changed(tree: str, part: float, seed: int) -> None:
    """The same in a process of its own: files are held in memory whole, and what a process has at most is also said of
    those that it starts."""
    subprocess.run([sys.executable, __file__, tree, str(part), str(seed)], check=True)


if __name__ == "__main__":
    change(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))

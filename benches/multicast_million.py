"""Writes an archive of a million files to stdout, in a thousand directories, each file with 64 bytes of its own."""
from __future__ import annotations

import random
import sys
import tarfile

out, dice = sys.stdout.buffer, random.Random(4)
for d in range(1000):
    folder = tarfile.TarInfo(f"{d:03}")
    folder.type, folder.mode = tarfile.DIRTYPE, 0o755
    out.write(folder.tobuf())
    for f in range(999):
        entry = tarfile.TarInfo(f"{d:03}/{f:03}")
        entry.size = 64
        out.write(entry.tobuf() + dice.randbytes(64) + bytes(448))
out.write(bytes(1024))

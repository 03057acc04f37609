#!/usr/bin/env python3
"""A capture of / where no /proc is mounted, as in a bare chroot: an error, and no image of nothing."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

CV = os.environ.get("CVCTL") or sys.exit("CVCTL is not set")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="cv-no-proc-") as root:
        for d in ("opt", "etc", "proc"):
            os.makedirs(f"{root}/{d}")
        with open(f"{root}/etc/motd", "w", encoding="ascii") as f:
            f.write("welcome\n")
        subprocess.run(["strip", "-o", f"{root}/opt/cvctl", CV], check=True)
        linked = subprocess.run(["ldd", CV], capture_output=True, text=True, check=False).stdout
        for library in re.findall(r"(/\S+) \(0x", linked):
            os.makedirs(os.path.dirname(root + library), exist_ok=True)
            shutil.copy(library, root + library)

        def inside(*args: str, proc: bool = False) -> subprocess.CompletedProcess[str]:
            mounted = ["unshare", "-m", f"--mount-proc={root}/proc"] if proc else []
            return subprocess.run([*mounted, "chroot", root, "/opt/cvctl", "-q", "-o", "json", "--store", "/opt/store", *args],
                                  capture_output=True, text=True, timeout=60, check=False)

        assert inside("store", "init", "/opt/store").returncode == 0
        capture = ("image", "capture", "/", "--name", "node", "--exclude", "/opt")
        without = inside(*capture)
        assert without.returncode == 21 and "/proc is not mounted" in without.stderr, without
        assert json.loads(inside("image", "list").stdout)["images"] == []
        done = inside(*capture, proc=True)
        assert done.returncode == 0, done.stderr
        assert inside("image", "cat", "node", "etc/motd").returncode == 0
        assert inside("store", "check", "--read-data").returncode == 0


main()

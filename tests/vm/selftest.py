#!/usr/bin/env python3
"""The guest bed itself: the kernel of the root tree boots to a message, and a wrong expectation fails in time."""
import glob
import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from vm import Guest, GuestError  # noqa: E402


def initramfs(path: str) -> None:
    """A root with busybox and one script."""
    with tempfile.TemporaryDirectory() as d:
        os.mkdir(f"{d}/bin")
        subprocess.run(["cp", subprocess.check_output(["which", "busybox"], text=True).strip(), f"{d}/bin/busybox"], check=True)
        with open(f"{d}/init", "w", encoding="ascii") as f:
            f.write("#!/bin/busybox sh\n/bin/busybox echo bed-works-$((6*7))\n/bin/busybox sleep 600\n")
        os.chmod(f"{d}/init", 0o755)
        files = "init\nbin\nbin/busybox\n"
        with open(path, "wb") as out:
            subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], input=files.encode(), cwd=d, stdout=out, check=True)


def main() -> None:
    root = subprocess.check_output([f"{HERE}/../beds/make-root.sh"], text=True).splitlines()[-1]
    kernel = sorted(glob.glob(f"{root}/boot/vmlinuz-*"))[-1]
    with tempfile.TemporaryDirectory() as d:
        initramfs(f"{d}/initrd")
        with Guest([], kernel=kernel, initrd=f"{d}/initrd", memory=512) as g:
            g.wait(r"bed-works-42", 90)
            print(f"userspace after {g.milestones[0][1]:.1f} s")
            begin = time.monotonic()
            try:
                g.wait("never comes", 3)
            except GuestError as e:
                assert e.code == 3 and time.monotonic() - begin < 6
            else:
                raise AssertionError("a wrong expectation did not fail")


if __name__ == "__main__":
    main()

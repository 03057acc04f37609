#!/usr/bin/env python3
"""One QEMU guest without KVM: its serial console is read live and answered, every milestone is timed.

As a module:
    with Guest(disks=["disk.img"], sector=512) as g:
        g.wait(r"login:", 180); g.login("root", "cv"); print(g.command("hostname"))
As a program:
    vm.py --disk disk.img [--firmware bios|uefi] [--until REGEX] [--login root:cv] [--run COMMAND]... [--limit 240]
Exit: 0 as expected; 1 the failure text came or a command failed; 2 the guest ended early; 3 time limit.

Needs: qemu-system-x86_64 (uefi: ovmf).  Time: kernel and initrd to userspace 4 s, a disk to its login prompt 30-80 s.
"""
from __future__ import annotations

import argparse
import ctypes
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

# x86-64-v2 without ERMS: "-cpu max" clears pages byte by byte under emulation, and an Intel model brings page-table
# isolation, which makes system calls fourteen times dearer.
CPU = "qemu64,-svm,+ssse3,+sse4.1,+sse4.2,+popcnt"
FAILURE = r"Kernel panic|emergency mode|Give root password|grub rescue>|No bootable device|dracut.*FATAL"
OVMF = ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd")


class GuestError(Exception):
    """The guest did not do what was expected; `code` is the exit status of the program."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def _die_with_parent() -> None:
    """The guest ends with whoever started it, after SIGKILL too."""
    os.setsid()
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Guest:
    """A running guest; `log` is everything that its console said."""

    def __init__(self, disks: list[str], sector: int = 512, firmware: str = "bios", kernel: str | None = None,
                 initrd: str | None = None, append: str = "", memory: int = 1024, cpus: int = 2, bus: str = "virtio",
                 log: str | None = None, extra: list[str] | None = None) -> None:
        self.start = time.monotonic()
        self.log, self.milestones, self._seen = "", [], 0  # type: ignore[var-annotated]
        self._log_path = log
        self._dir = tempfile.mkdtemp(prefix="libcv-vm-")
        command = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", os.environ.get("VM_CPU", CPU),
                   "-m", str(memory), "-smp", str(cpus), "-M", "q35,hpet=off", "-display", "none", "-nodefaults",
                   "-no-reboot", "-serial", "stdio", "-object", "rng-random,id=rng,filename=/dev/urandom",
                   "-device", "virtio-rng-pci,rng=rng"]
        if firmware == "uefi":
            variables = os.path.join(self._dir, "vars.fd")
            shutil.copy(OVMF[1], variables)
            command += ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={OVMF[0]}",
                        "-drive", f"if=pflash,format=raw,unit=1,file={variables}"]
        for i, disk in enumerate(disks):
            blocks = f"logical_block_size={sector},physical_block_size={sector}"
            device = {"virtio": f"virtio-blk-pci,serial=disk{i}", "nvme": f"nvme,serial=disk{i}"}[bus]
            command += ["-drive", f"file={disk},if=none,id=d{i},format=raw,cache=unsafe,discard=unmap",
                        "-device", f"{device},drive=d{i},bootindex={i + 1},{blocks}"]
        if kernel:
            command += ["-kernel", kernel, "-append", f"console=ttyS0 panic=-1 {append}"]
        if initrd:
            command += ["-initrd", initrd]
        self._process = subprocess.Popen(command + (extra or []), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=subprocess.STDOUT, preexec_fn=_die_with_parent)

    def __enter__(self) -> "Guest":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the guest and writes the log."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()
        if self._log_path:
            with open(self._log_path, "w", encoding="utf-8") as f:
                f.write(self.log)
        shutil.rmtree(self._dir, ignore_errors=True)

    def wait(self, pattern: str, limit: float, failure: str = FAILURE) -> str:
        """Reads the console until `pattern` comes; text before it is used up. A prompt needs no end of line."""
        deadline = time.monotonic() + limit
        while True:
            fresh = self.log[self._seen:]
            if found := re.search(pattern, fresh):
                self._seen += found.end()
                self.milestones.append((pattern, time.monotonic() - self.start))
                return found.group(0)
            if bad := re.search(failure, fresh):
                raise GuestError(1, f"the console said {bad.group(0)!r}")
            left = deadline - time.monotonic()
            if left <= 0:
                raise GuestError(3, f"{pattern!r} did not come within {limit:.0f} s")
            assert self._process.stdout is not None
            if not select.select([self._process.stdout], [], [], min(left, 1.0))[0]:
                continue
            data = os.read(self._process.stdout.fileno(), 65536)
            if not data:
                raise GuestError(2, f"the guest ended before {pattern!r} came")
            self.log += data.decode("utf-8", "replace").replace("\r", "")

    def send(self, text: str) -> None:
        """Types."""
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode())
        self._process.stdin.flush()

    def login(self, user: str, password: str, limit: float = 60) -> None:
        """Answers the login prompt, which must be there already, and gets a shell with a known prompt."""
        self.send(user + "\n")
        self.wait(r"[Pp]assword:", limit)
        self.send(password + "\n")
        self.wait(r"[#$] ", limit)
        self.send("stty -echo; export TERM=dumb PS1=; echo ready-$((1+1))\n")
        self.wait(r"ready-2\n", limit)

    def command(self, line: str, limit: float = 60) -> str:
        """Runs a command in the shell; gives what it printed. Fails unless it succeeds."""
        mark = f"done{len(self.milestones)}x"
        self.send(f"{line}; echo {mark[:4]}''{mark[4:]}=$?\n")
        before = self._seen
        status = self.wait(rf"{mark}=\d+", limit)
        output = self.log[before:self._seen - len(status)].strip("\n")
        if not status.endswith("=0"):
            raise GuestError(1, f"{line!r} failed: {output}")
        return output


def main() -> int:
    p = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    p.add_argument("--disk", action="append", default=[])
    p.add_argument("--sector", type=int, default=512)
    p.add_argument("--firmware", choices=["bios", "uefi"], default="bios")
    p.add_argument("--bus", choices=["virtio", "nvme"], default="virtio")
    p.add_argument("--kernel")
    p.add_argument("--initrd")
    p.add_argument("--append", default="")
    p.add_argument("--memory", type=int, default=1024)
    p.add_argument("--until", default=r"login:")
    p.add_argument("--login", help="USER:PASSWORD")
    p.add_argument("--run", action="append", default=[], help="a command to run after the login")
    p.add_argument("--limit", type=float, default=240)
    p.add_argument("--log")
    a = p.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with Guest(a.disk, a.sector, a.firmware, a.kernel, a.initrd, a.append, a.memory, bus=a.bus, log=a.log) as g:
        try:
            g.wait(a.until, a.limit)
            if a.login:
                g.login(*a.login.split(":", 1))
            for line in a.run:
                print(g.command(line))
        except GuestError as e:
            print("\n".join(g.log.splitlines()[-30:]), file=sys.stderr)
            print(f"vm: {e}", file=sys.stderr)
            return e.code
        finally:
            for what, seconds in g.milestones:
                print(f"vm: {seconds:6.1f} s  {what}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())

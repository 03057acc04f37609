#!/usr/bin/env python3
"""One QEMU guest without KVM: its serial console is read live and answered, every milestone is timed.

As a module:
    with Guest(disks=["disk.img"], sector=512) as g:
        g.wait(r"login:", 180); g.login("root", "cv"); print(g.command("hostname")); g.power_off()
As a program:
    vm.py --disk disk.img [--firmware bios|uefi|secure] [--sector 4096] [--bus nvme] [--until REGEX] [--fail REGEX]
          [--login root:cv] [--run COMMAND]... [--power-off] [--limit 240] [--log FILE]
    vm.py --kernel vmlinuz --initrd initrd --until REGEX
Exit: 0 as expected; 1 the failure text came or a command failed; 2 the guest ended early or could not; 3 time limit.

The console goes to the log while the guest runs. Without --log it is kept in target/test-logs only after a failure. The
guest ends with its parent, also when that is killed.
`secure` is UEFI that starts nothing without a signature of Microsoft's.
Needs: qemu-system-x86 (uefi, secure: ovmf).  Time: kernel and initrd to userspace 4 s, a disk to its login prompt 30-80 s.
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
# A loaded machine makes the kernel distrust the TSC, and then every look at the clock costs an exit from the guest.
APPEND = "console=ttyS0 panic=-1 tsc=reliable nowatchdog no_timer_check"
# And it may miss the timer while the kernel checks it, in its first moments, when nothing has been written yet: a guest
# that boots from its disk, whose command line is not ours, is simply started again.
MISSED_TIMER = "IO-APIC + timer doesn't work"
# Rarely an emulated guest hangs in those moments without a word. One that was never heard of for so many seconds, which
# is ten times what it needs on a loaded machine, is started again, too; one that always hangs fails all the same.
DUMB, STARTS = 45, 4
OVMF = {"uefi": ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
        "secure": ("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd")}
PREFIX = "libcv-vm-"


class GuestError(Exception):
    """The guest did not do what was expected; `code` is the exit status of the program."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Guest:
    """A running guest; `log` is everything that its console said, `milestones` what was waited for and when it came,
    `starts` how often it was started."""

    def __init__(self, disks: list[str], sector: int = 512, firmware: str = "bios", kernel: str | None = None,
                 initrd: str | None = None, append: str = "", memory: int = 1024, cpus: int = 2, bus: str = "virtio",
                 log: str | None = None, failure: str = FAILURE, extra: list[str] | None = None) -> None:
        self.start = time.monotonic()
        self.log = ""
        self.milestones: list[tuple[str, float]] = []
        self.failure, self._seen, self._keep = failure, 0, log is not None
        _remove_leftovers()
        self._dir = tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-")
        self.log_path = log or os.path.join(self._dir, "console.log")
        self._log = open(self.log_path, "w", encoding="utf-8", buffering=1)
        command = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", os.environ.get("VM_CPU", CPU),
                   "-m", str(memory), "-smp", str(cpus), "-M", "q35,hpet=off" + (",smm=on" if firmware == "secure" else ""), "-display", "none", "-nodefaults",
                   "-no-reboot", "-serial", "stdio", "-object", "rng-random,id=rng,filename=/dev/urandom",
                   "-device", "virtio-rng-pci,rng=rng"]
        if firmware != "bios":
            command += self._flash(*OVMF[firmware])
        if firmware == "secure":
            command += ["-global", "driver=cfi.pflash01,property=secure,value=on"]
        for i, disk in enumerate(disks):
            command += _disk(i, disk, bus, sector)
        if kernel:
            command += ["-kernel", kernel, "-append", f"{APPEND} {append}"]
        if initrd:
            command += ["-initrd", initrd]
        self._command, self.starts = command + (extra or []), 0
        self._launch()

    def __enter__(self) -> "Guest":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close(failed=kind is not None)

    def close(self, failed: bool = False) -> None:
        """Ends the guest. Its console is kept after a failure, or where a log was asked for."""
        self._kill()
        self._log.close()
        if failed and not self._keep:
            kept = os.path.join(os.environ.get("CARGO_TARGET_DIR", "target"), "test-logs", f"console-{os.getpid()}.log")
            os.makedirs(os.path.dirname(kept), exist_ok=True)
            shutil.copy(self.log_path, kept)
            self.log_path = kept
        if failed:
            print(f"vm: the console is in {self.log_path}", file=sys.stderr)
        shutil.rmtree(self._dir, ignore_errors=True)

    def wait(self, pattern: str, limit: float) -> str:
        """Reads the console until `pattern` comes; text before it is used up. A prompt needs no end of line."""
        deadline = time.monotonic() + limit
        while True:
            fresh = self.log[self._seen:]
            if found := re.search(pattern, fresh):
                self._seen += found.end()
                self.milestones.append((pattern, time.monotonic() - self.start))
                return found.group(0)
            if (why := self._hangs(fresh)) and self.starts < STARTS:
                print(f"vm: start {self.starts} of the guest: {why}; it is started again", file=sys.stderr)
                self._kill()
                self._launch()
                deadline = max(deadline, time.monotonic() + limit)
                continue
            if bad := re.search(self.failure, fresh):
                raise GuestError(1, f"the console said {bad.group(0)!r}")
            if time.monotonic() >= deadline:
                end = self.log[-300:].splitlines()[-3:]
                raise GuestError(3, f"{pattern!r} did not come within {limit:.0f} s; the console ends with {end}")
            if not self._read(deadline):
                raise GuestError(2, f"the guest ended before {pattern!r} came")

    def send(self, text: str) -> None:
        """Types."""
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode())
        self._process.stdin.flush()

    def login(self, user: str, password: str, limit: float = 120) -> None:
        """Answers the login prompt, which must be there already, and gets a shell with a known prompt."""
        self.send(user + "\n")
        self.wait(r"[Pp]assword:", limit)
        self.send(password + "\n")
        self.wait(r"[#$] ", limit)
        # The kernel is silenced: its messages would come in the middle of an answer.
        self.send("stty -echo; dmesg -n 1; export TERM=dumb PS1=; echo ready-$((1+1))\n")
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

    def power_off(self, limit: float = 90) -> None:
        """Shuts down in the shell; returns when the guest has ended by itself, with its disks clean."""
        self.send("poweroff\n")
        deadline = time.monotonic() + limit
        while self._read(deadline):
            if time.monotonic() >= deadline:
                raise GuestError(3, f"the guest did not power off within {limit:.0f} s")
        self.milestones.append(("power off", time.monotonic() - self.start))

    def report(self) -> None:
        """Prints the seconds of each milestone."""
        for what, seconds in self.milestones:
            print(f"vm: {seconds:6.1f} s  {what}", file=sys.stderr)

    def _hangs(self, fresh: str) -> str | None:
        """Why a guest that has not come up will not, for a reason that lies in the emulation."""
        if MISSED_TIMER in fresh:
            return "its kernel missed the timer"
        dumb = len(self.log) == self._heard and time.monotonic() > self._launched + DUMB
        return f"it said nothing for {DUMB} s" if dumb else None

    def _launch(self) -> None:
        self._seen = self._heard = len(self.log)
        self._launched = time.monotonic()
        self.starts += 1
        try:
            self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                             stderr=subprocess.STDOUT, preexec_fn=_die_with_parent)
        except FileNotFoundError as e:
            shutil.rmtree(self._dir)
            raise GuestError(2, f"{e.filename} is missing: tests/setup.sh vm") from e

    def _kill(self) -> None:
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()

    def _read(self, deadline: float) -> bool:
        """Takes what the console said, waiting a second at most; False: it is closed."""
        assert self._process.stdout is not None
        left = min(max(deadline - time.monotonic(), 0), 1.0)
        if not select.select([self._process.stdout], [], [], left)[0]:
            return True
        data = os.read(self._process.stdout.fileno(), 65536)
        text = data.decode("utf-8", "replace").replace("\r", "")
        self.log += text
        self._log.write(text)
        return bool(data)

    def _flash(self, code: str, template: str) -> list[str]:
        """UEFI and its variables: a copy, for the guest writes there."""
        variables = os.path.join(self._dir, "vars.fd")
        try:
            shutil.copy(template, variables)
        except FileNotFoundError as e:
            raise GuestError(2, f"{template} is missing: tests/setup.sh vm") from e
        return ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={code}",
                "-drive", f"if=pflash,format=raw,unit=1,file={variables}"]


def _disk(i: int, path: str, bus: str, sector: int) -> list[str]:
    """cache=unsafe is the fastest: whoever tests cuts of the power ends the guest, not the host."""
    device = {"virtio": "virtio-blk-pci", "nvme": "nvme"}[bus]
    return ["-drive", f"file={path.replace(',', ',,')},if=none,id=d{i},format=raw,cache=unsafe,discard=unmap",
            "-device", f"{device},drive=d{i},serial=disk{i},bootindex={i + 1},"
                       f"logical_block_size={sector},physical_block_size={sector}"]


def _die_with_parent() -> None:
    """The guest ends with whoever started it, after SIGKILL too; its clock needs a core in time."""
    os.setsid()
    try:
        os.nice(-5)
    except PermissionError:
        pass
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _remove_leftovers() -> None:
    """What killed runs left, known by their process id."""
    for name in os.listdir(tempfile.gettempdir()):
        found = re.match(rf"{PREFIX}(\d+)-", name)
        if found and not os.path.exists(f"/proc/{found.group(1)}"):
            shutil.rmtree(os.path.join(tempfile.gettempdir(), name), ignore_errors=True)


def main() -> int:
    p = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    p.add_argument("--disk", action="append", default=[], help="a raw disk; the first is booted")
    p.add_argument("--sector", type=int, choices=[512, 4096], default=512)
    p.add_argument("--firmware", choices=["bios", "uefi", "secure"], default="bios")
    p.add_argument("--bus", choices=["virtio", "nvme"], default="virtio")
    p.add_argument("--kernel")
    p.add_argument("--initrd")
    p.add_argument("--append", default="", help="more for the kernel's command line")
    p.add_argument("--memory", type=int, default=1024, help="MiB")
    p.add_argument("--until", default=r"login:", help="the text that is success")
    p.add_argument("--fail", default=FAILURE, help="the text that is failure")
    p.add_argument("--login", help="USER:PASSWORD, once the text came")
    p.add_argument("--run", action="append", default=[], help="a command to run after the login")
    p.add_argument("--power-off", action="store_true", help="shut down at the end, and wait for it")
    p.add_argument("--limit", type=float, default=240, help="seconds until the text")
    p.add_argument("--log")
    a = p.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with Guest(a.disk, a.sector, a.firmware, a.kernel, a.initrd, a.append, a.memory, bus=a.bus, log=a.log,
                   failure=a.fail) as g:
            try:
                g.wait(a.until, a.limit)
                if a.login:
                    g.login(*a.login.split(":", 1))
                for line in a.run:
                    print(g.command(line))
                if a.power_off:
                    g.power_off()
            except GuestError:
                print("\n".join(g.log.splitlines()[-30:]), file=sys.stderr)
                raise
            finally:
                g.report()
    except GuestError as e:
        print(f"vm: {e}", file=sys.stderr)
        return e.code
    return 0


if __name__ == "__main__":
    sys.exit(main())

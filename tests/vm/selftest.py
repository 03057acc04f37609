#!/usr/bin/env python3
"""The bed of QEMU itself: the kernel of the root tree boots to a message and a conversation; disks of 512 and 4096-byte
sectors are what was asked for; a wrong expectation, a failure text and an early end are told apart, in time; a guest
never outlives its parent.

Needs: root, and what `tests/setup.sh vm` installs.  Time: 5 guests, 45 s.
"""
from __future__ import annotations

import glob
import os
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import vm  # noqa: E402
from vm import Guest, GuestError  # noqa: E402

# A login that needs no accounts, then a shell.
INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mkdir -p /proc /sys /dev; mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for m in $(cat /modules/order); do insmod /modules/$m; done
echo bed-works-$((6*7))
exec </dev/ttyS0 >/dev/ttyS0 2>&1
printf 'bed login: '; read user
printf 'Password: '; read password
[ "$user:$password" = root:cv ] || echo "Kernel panic: nobody can log in"
exec setsid cttyhack sh
"""


def initramfs(root: str, path: str) -> None:
    """A root with busybox, the modules of disks, and one script."""
    version = os.listdir(f"{root}/lib/modules")[0]
    with tempfile.TemporaryDirectory() as d:
        os.makedirs(f"{d}/bin")
        os.makedirs(f"{d}/modules")
        os.makedirs(f"{d}/dev")
        busybox = subprocess.check_output(["which", "busybox"], text=True).strip()
        subprocess.run(["cp", busybox, f"{d}/bin/busybox"], check=True)
        order: list[str] = []
        for module in ("virtio_pci", "virtio_blk", "nvme"):
            command = ["modprobe", "-d", root, "-S", version, "--show-depends", module]
            needs = subprocess.check_output(command, text=True)
            for line in needs.splitlines():
                if line.startswith("insmod") and (name := os.path.basename(line.split()[1])) not in order:
                    order.append(name)
                    subprocess.run(["cp", line.split()[1], f"{d}/modules"], check=True)
        for name, text in (("modules/order", "\n".join(order)), ("init", INIT)):
            with open(f"{d}/{name}", "w", encoding="ascii") as f:
                f.write(text)
        os.chmod(f"{d}/init", 0o755)
        files = "\n".join(sorted(os.path.relpath(os.path.join(at, n), d) for at, ds, fs in os.walk(d) for n in ds + fs))
        with open(path, "wb") as out:
            subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], input=files.encode(), cwd=d, stdout=out, check=True)


def expect(code: int, limit: float, guest: Guest, pattern: str, within: float) -> None:
    """Waiting for `pattern` must fail with `code`, before `limit` seconds are over."""
    begin = time.monotonic()
    try:
        guest.wait(pattern, within)
    except GuestError as e:
        assert e.code == code, f"{pattern}: {e.code} instead of {code}"
        assert time.monotonic() - begin < limit, f"{pattern}: the failure took {time.monotonic() - begin:.0f} s"
    else:
        raise AssertionError(f"{pattern} came, and must not")


def conversation(boot: dict[str, Any], disk: str, sector: int, bus: str, name: str) -> None:
    with Guest([disk], sector=sector, bus=bus, **boot) as g:
        g.wait(r"bed-works-42", 120)
        g.wait(r"login: ", 20)
        g.login("root", "cv")
        block = g.command(f"cat /sys/block/{name}/queue/logical_block_size")
        assert block == str(sector), f"sectors of {block}, asked for {sector}"
        assert g.command("printf 'a\\nb\\n'") == "a\nb"
        try:
            g.command("false")
        except GuestError as e:
            assert e.code == 1
        else:
            raise AssertionError("a command that failed was taken for one that did not")
        expect(3, 6, g, "never comes", 3)
        g.send("poweroff -f\n")
        expect(2, 30, g, "never comes", 30)
        print(f"ok: {bus}, sectors of {sector}: userspace after {g.milestones[0][1]:.1f} s")


def dumb(boot: dict[str, Any]) -> None:
    """A guest that never says a word, as its processors were never started, is tried again, and then given up."""
    usual, vm.DUMB = vm.DUMB, 1
    try:
        with Guest([], extra=["-S"], **boot) as g:
            expect(3, 20, g, "bed-works", 2)
            assert g.starts == vm.STARTS, f"{g.starts} starts"
    finally:
        vm.DUMB = usual
    print("ok: a guest that says nothing is started again, and given up")


def outlives(boot: dict[str, Any], number: int) -> None:
    """The program is ended by a signal in the middle; its guest must go, too."""
    arguments = [sys.executable, f"{HERE}/vm.py", "--kernel", boot["kernel"], "--initrd", boot["initrd"],
                 "--memory", "300", "--until", "never comes"]
    program = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    guest = ""
    while not guest and program.poll() is None:
        time.sleep(0.2)
        guest = subprocess.run(["pgrep", "-P", str(program.pid), "qemu"], capture_output=True, text=True).stdout.strip()
    program.send_signal(number)
    program.wait()
    for _ in range(50):
        if not os.path.exists(f"/proc/{guest}"):
            print(f"ok: signal {number} ends program and guest")
            return
        time.sleep(0.1)
    raise AssertionError(f"the guest {guest} outlived its program")


def main() -> None:
    root = subprocess.check_output([f"{HERE}/../beds/make-root.sh"], text=True).splitlines()[-1]
    with tempfile.TemporaryDirectory() as d:
        kernel = sorted(glob.glob(f"{root}/boot/vmlinuz-*"))[-1]
        boot: dict[str, Any] = {"kernel": kernel, "initrd": f"{d}/initrd", "memory": 512}
        initramfs(root, boot["initrd"])
        with open(f"{d}/disk", "wb") as f:
            f.truncate(64 << 20)
        conversation(boot, f"{d}/disk", 512, "virtio", "vda")
        conversation(boot, f"{d}/disk", 4096, "nvme", "nvme0n1")
        with Guest([], failure="bed-works", **boot) as g:
            expect(1, 120, g, "never comes", 120)
            print("ok: a failure text fails at once")
        dumb(boot)
        for number in (signal.SIGKILL, signal.SIGTERM):
            outlives(boot, number)


if __name__ == "__main__":
    main()
    print("PASS")

"""The network of multicast.py: a switch, a sender and receivers, each a network namespace with a cable of its own that may be slow or lose packets;
and what is run on it, with the time, the memory and the processor that it took."""
from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from measure import SHM, fresh

# Namespaces of this name are ours, and those of a run that was killed are removed by the next one.
PREFIX = "libcv-bench-"
SENDER = "10.78.0.1"
# So many bytes on the sender's cable, and the session has begun: more than announcements and joins, less than two bursts.
BEGUN = 20_000
# What a packet has besides a datagram's payload: Ethernet, IP, UDP. The filter and the counters see no more than that.
HEADERS = 14 + 20 + 8


def call(*words: str, given: str = "") -> str:
    done = subprocess.run(words, capture_output=True, text=True, input=given, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words)}: exit {done.returncode}\n{done.stderr[-800:]}")
    return done.stdout


def remove_namespaces() -> None:
    for line in call("ip", "netns", "list").splitlines():
        if line.startswith(PREFIX):
            call("ip", "netns", "delete", line.split()[0])


@dataclass
class Ended:
    """A process that has ended."""

    at: float
    status: int
    memory: int     # MiB
    cpu: float


class Process:
    """A process in a namespace, which a thread waits for, so that its end is known to the millisecond. It goes when this program does."""

    def __init__(self, command: Sequence[str], log: str) -> None:
        self.log = log
        self.ended: Ended | None = None
        with open(log, "wb") as out:
            self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *command], stdin=subprocess.DEVNULL, stdout=out,
                                            stderr=subprocess.STDOUT)
        self.thread = threading.Thread(target=self._wait, daemon=True)
        self.thread.start()

    def _wait(self) -> None:
        _, status, usage = os.wait4(self.process.pid, 0)
        self.ended = Ended(time.monotonic(), os.waitstatus_to_exitcode(status), usage.ru_maxrss >> 10, usage.ru_utime + usage.ru_stime)
        self.process.returncode = self.ended.status

    def kill(self, how: int = signal.SIGKILL) -> None:
        if not self.ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, how)

    def wait(self) -> Ended:
        self.thread.join()
        assert self.ended
        return self.ended

    def said(self) -> str:
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()


class Lan:
    """Host 0 is the sender, hosts 1 … n receive; all hang on one switch."""

    def __init__(self, receivers: int, mtu: int = 1500, cap: float = 0, more: int = 0) -> None:
        """`cap`: megabits in a second that the sender's cable takes, headers included. `more`: hosts that are no receivers."""
        self.receivers, self.mtu, self.cap = range(1, receivers + 1), mtu, cap
        self.running: list[Process] = []
        hosts = range(receivers + more + 1)
        remove_namespaces()
        for name in ("switch", *hosts):
            call("ip", "netns", "add", f"{PREFIX}{name}")
        switch = f"{PREFIX}switch"
        call("ip", "-n", switch, "-batch", "-", given="link add br0 type bridge mcast_snooping 0 forward_delay 0\n"
             + "".join(f"link add p{n} mtu {mtu} txqueuelen 10000 type veth peer name eth0 mtu {mtu} txqueuelen 10000 netns {PREFIX}{n}\n"
                       f"link set p{n} master br0 up\n" for n in hosts) + f"link set br0 mtu {mtu} up\n")
        # Each packet is one on the wire, as behind a network card.
        off = ("tso", "off", "gso", "off", "tx-udp-segmentation", "off", "gro", "off")
        for n in hosts:
            call("ip", "-n", f"{PREFIX}{n}", "-batch", "-", given="link set lo up\nlink set eth0 up\n"
                 f"address add {self.address(n)}/24 brd + dev eth0\nroute add 224.0.0.0/4 dev eth0\n")
            call(*self.inside(n, "ethtool", "-K", "eth0", *off))
            call(*self.inside("switch", "ethtool", "-K", f"p{n}", *off))
        if cap:
            # A millisecond at once, and a queue that is longer than what a socket may have on its way: as a card, it makes the sender wait.
            call(*self.inside(0, "tc", "qdisc", "add", "dev", "eth0", "root", "tbf", "rate", f"{cap}mbit", "burst",
                              str(max(20_000, int(cap * 125))), "limit", "4000000"))
        self.counter = self.start(0, "sleep", "infinity")
        self.running.clear()
        while os.readlink(f"/proc/{self.counter.process.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            time.sleep(0.005)

    def __enter__(self) -> "Lan":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.counter.kill()
        self.counter.wait()
        remove_namespaces()

    def stop(self) -> None:
        for process in self.running:
            process.kill()
        for process in self.running:
            process.wait()
        self.running.clear()

    @staticmethod
    def address(host: int) -> str:
        return f"10.78.0.{1 + host}"

    @staticmethod
    def inside(host: int | str, *command: str) -> list[str]:
        # It mounts /sys of the namespace, too, which tells the MTU.
        return ["ip", "netns", "exec", f"{PREFIX}{host}", *command]

    def start(self, host: int, *command: str) -> Process:
        process = Process(self.inside(host, *command), f"{SHM}/log{host}-{len(self.running)}")
        self.running.append(process)
        return process

    def lose(self, percent: float, hosts: Sequence[int] = (), protocol: str = "") -> None:
        """These, or all receivers, lose so many of the packets that come to them, and as many of those that they send."""
        rules = "table netdev loss\ndelete table netdev loss\nadd table netdev loss\n"
        which = f"ip protocol {protocol}" if protocol else "meta protocol ip"
        for n in (hosts or self.receivers) if percent else ():
            for way, hook in (("d", "egress"), ("u", "ingress")):
                rules += f"add chain netdev loss {way}{n} {{ type filter hook {hook} device p{n} priority 0; }}\n"
                rules += f"add rule netdev loss {way}{n} {which} numgen random mod 1000000 lt {int(percent * 10000)} drop\n"
        call(*self.inside("switch", "nft", "-f", "-"), given=rules)

    def slow(self, host: int, megabits: float) -> None:
        """What comes to a host takes a cable that is slow, behind a switch with little memory."""
        call(*self.inside("switch", "tc", "qdisc", "replace", "dev", f"p{host}", "root", "tbf", "rate", f"{megabits}mbit", "burst", "32k",
                          "limit", "512k"))

    def sent(self) -> int:
        """Bytes that the sender put on its cable, with all headers."""
        with open(f"/proc/{self.counter.process.pid}/net/dev", encoding="ascii") as f:
            line = next(line for line in f if line.strip().startswith("eth0:"))
        return int(line.split(":")[1].split()[8])


@dataclass
class Went:
    """How a transfer went: per receiver the seconds from the first data on the sender's cable to its end, for those that ended well."""

    seconds: dict[int, float] = field(default_factory=dict)
    ended: dict[int, Process] = field(default_factory=dict)
    sender: Process | None = None
    wire: int = 0

    def slowest(self, hosts: Sequence[int] = ()) -> float:
        """Of all, or of these; for ever when one has not got it."""
        return max((self.seconds.get(n, float("inf")) for n in hosts or self.ended), default=float("inf"))


class Transfer:
    """A sender and receivers. What it counts begins when BEGUN bytes have left the sender, for whoever sends: how long somebody waits for receivers
    before it begins is not what is measured."""

    def __init__(self, lan: Lan, sender: Sequence[str], receivers: Mapping[int, Sequence[str]], first: str = "receivers") -> None:
        self.lan, self.went, self.before = lan, Went(), lan.sent()
        if first == "sender":
            self.went.sender = lan.start(0, *sender)
            time.sleep(0.3)
        for host, command in receivers.items():
            self.join(host, command)
        if first == "receivers":
            time.sleep(0.3)
            self.went.sender = lan.start(0, *sender)
        until = time.monotonic() + 30
        while lan.sent() - self.before < BEGUN and time.monotonic() < until and self.is_alive():
            time.sleep(0.001)
        self.began = time.monotonic()

    def is_alive(self) -> bool:
        assert self.went.sender
        return not self.went.sender.ended and any(not p.ended for p in self.went.ended.values())

    def join(self, host: int, command: Sequence[str]) -> None:
        self.went.ended[host] = self.lan.start(host, *command)

    def until(self, seconds: float) -> None:
        """Waits until the transfer is so old."""
        time.sleep(max(0.0, self.began + seconds - time.monotonic()))

    def finish(self, limit: float, has: Callable[[int], bool] | None = None, waits: bool = True) -> Went:
        """Waits for all. `has` tells whether a receiver is done that does not end by itself; `waits` is false for a sender that does not end
        by itself."""
        w, until = self.went, self.began + limit
        alone: float | None = None
        assert w.sender
        while time.monotonic() < until:
            for n, process in w.ended.items():
                if n not in w.seconds and (has(n) if has else process.ended and process.ended.status == 0):
                    w.seconds[n] = (process.ended.at if process.ended and not has else time.monotonic()) - self.began
            if not all(n in w.seconds or p.ended for n, p in w.ended.items()):
                alone = None
                if waits and w.sender.ended and time.monotonic() > w.sender.ended.at + 60:
                    break
            elif not waits or w.sender.ended:
                break
            else:
                # A sender lingers for those who come late.
                alone = alone or time.monotonic()
                if time.monotonic() > alone + 10:
                    break
            time.sleep(0.002)
        w.wire = self.lan.sent() - self.before
        for process in (*w.ended.values(), w.sender):
            process.kill(signal.SIGKILL)
            process.wait()
        return w


def make_tree(path: str, mebibytes: int) -> None:
    """Files from 4 KiB to 4 MiB of noise."""
    fresh(path)
    dice, left = random.Random(mebibytes), mebibytes << 20
    for n in range(1 << 20):
        if left <= 0:
            break
        os.makedirs(f"{path}/{n >> 8}", exist_ok=True)
        length = min(left, int(4096 * 2 ** dice.uniform(0, 10)))
        with open(f"{path}/{n >> 8}/{n}", "wb") as f:
            f.write(dice.randbytes(length))
        left -= length


@contextlib.contextmanager
def filesystems(count: int) -> Iterator[Callable[[int], str]]:
    """So many fresh ext4 in RAM, by number from 1."""
    made = []
    try:
        for n in range(1, count + 1):
            image, at = f"{SHM}/ext4-{n}", f"{SHM}/mnt{n}"
            with open(image, "wb") as f:
                f.truncate(4 << 30)
            call("mkfs.ext4", "-q", image)
            fresh(at)
            call("mount", "-o", "loop,noinit_itable", image, at)
            made.append((image, at))
            os.rmdir(f"{at}/lost+found")
        yield lambda n: f"{SHM}/mnt{n}"
    finally:
        for image, at in made:
            call("umount", at)
            os.unlink(image)

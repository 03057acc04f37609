"""What multicast.py runs on its network: ours, udpcast, uftp, nginx with curl, and the limit that has no protocol."""
from __future__ import annotations

import filecmp
import json
import mmap
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from measure import SHM, fresh
from multicast_bed import SENDER, Lan, Transfer, Went

HERE = os.path.dirname(os.path.abspath(__file__))
TOOLS = ["ip", "tc", "nft", "ethtool", "setpriv", "cc", "udp-sender", "udp-receiver", "uftp", "uftpd", "nginx", "curl", "mkfs.ext4"]
# uftp sends at a fixed rate. What is faster than the receivers only costs it repair; these were the best of several, in kbit/s.
UFTP_OPEN = {4: 400_000, 16: 200_000}
FILE = f"{SHM}/payload/file"


def place(host: int) -> str:
    return f"{SHM}/out{host}"


def fresh_places(lan: Lan) -> None:
    for n in lan.receivers:
        shutil.rmtree(place(n), ignore_errors=True)


def memory_is_warm(mebibytes: int) -> None:
    """In a virtual machine memory that lay idle costs ten times as much to touch: see README.md."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
    code = "import sys, mmap as m; m.mmap(-1, int(sys.argv[1]) << 20, flags=int(sys.argv[2]))"
    subprocess.run([sys.executable, "-c", code, str(min(mebibytes, 8000)), str(flags)], check=True)


@dataclass
class Ours:
    """Sessions of our program, all of the image `bench` in one store."""

    cvctl: str
    store: str
    stored: int = 0
    peak: dict[str, int] = field(default_factory=lambda: {"sender": 0, "receiver": 0})
    report: dict[str, Any] = field(default_factory=dict)

    def __call__(self, *arguments: str, store: str = "") -> str:
        done = subprocess.run([self.cvctl, "-q", "--store", store or self.store, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"cvctl {' '.join(arguments)}: exit {done.returncode}\n{done.stderr[-800:]}")
        return done.stdout

    def receiver(self, host: int, *more: str, at: str = "") -> list[str]:
        return [self.cvctl, "-o", "json", "mcast", "recv", at or place(host), "--interface", "eth0", "--no-sync", *more]

    def begin(self, lan: Lan, rate: str, receivers: Mapping[int, Sequence[str]], reference: str = "bench") -> Transfer:
        send = [self.cvctl, "-o", "json", "--store", self.store, "mcast", "send", reference, "--interface", "eth0", "--rate", rate,
                "--receivers", str(len(receivers)), "--report", f"{SHM}/report"]
        return Transfer(lan, send, receivers)

    def end(self, transfer: Transfer, limit: float = 120) -> Went:
        """The transfer's end, and what the sender says of it."""
        went = transfer.finish(limit)
        assert went.sender and went.sender.ended
        self.report = {}
        if os.path.exists(f"{SHM}/report"):
            with open(f"{SHM}/report", encoding="utf-8") as f:
                self.report = json.load(f)
            os.unlink(f"{SHM}/report")
            self.stored = int(self.report["bytes"])
        for who, process in (("sender", went.sender), *(("receiver", p) for p in went.ended.values())):
            assert process.ended
            self.peak[who] = max(self.peak[who], process.ended.memory)
        for n, process in went.ended.items():
            if n not in went.seconds:
                print(f"  receiver {n} has not got it: {process.ended}: {process.said()[-300:].strip()}", flush=True)
        return went

    def run(self, lan: Lan, rate: str, *more: str, at: Callable[[int], str] = place) -> Went:
        """All receivers of the network, from the beginning."""
        fresh_places(lan)
        return self.end(self.begin(lan, rate, {n: self.receiver(n, *more, at=at(n)) for n in lan.receivers}))


def payload(mebibytes: float) -> int:
    """The file that peers send, which does not compress; its bytes."""
    size = int(mebibytes * (1 << 20))
    if not os.path.exists(FILE) or os.path.getsize(FILE) != size:
        fresh(os.path.dirname(FILE))
        with open(FILE, "wb") as f:
            for at in range(0, size, 1 << 20):
                f.write(os.urandom(min(1 << 20, size - at)))
    return size


def goodput(went: Went, copies: Sequence[str], size: int) -> float:
    """Megabytes in a second of the slowest receiver; none when somebody has something else."""
    right = all(os.path.exists(copy) and filecmp.cmp(FILE, copy, shallow=False) for copy in copies)
    return size / went.slowest() / 1e6 if right else 0.0


def udpcast(lan: Lan, mebibytes: float) -> float:
    size = payload(mebibytes)
    fresh_places(lan)
    for n in lan.receivers:
        os.makedirs(place(n))
    common = ["--interface", "eth0", "--nokbd", "--no-progress"]
    send = ["udp-sender", "-f", FILE, *common, "--min-receivers", str(len(lan.receivers))]
    receivers = {n: ["udp-receiver", "-f", f"{place(n)}/file", *common, "--receive-timeout", "15"] for n in lan.receivers}
    return goodput(Transfer(lan, send, receivers).finish(90), [f"{place(n)}/file" for n in lan.receivers], size)


def uftp(lan: Lan, mebibytes: float) -> float:
    size = payload(mebibytes)
    fresh_places(lan)
    for n in lan.receivers:
        os.makedirs(place(n))
    rate = int(lan.cap * 955) if lan.cap else UFTP_OPEN.get(len(lan.receivers), 200_000)
    send = ["uftp", "-R", str(rate), "-I", "eth0", "-B", "4194304", "-b", "1400", "-x", "1", FILE]
    # With -t a file has its name when it is complete.
    receivers = {n: ["uftpd", "-d", "-t", "-I", "eth0", "-B", "4194304", "-c", "20971520", "-D", place(n), "-U", f"0x{n:08x}", "-P", f"{SHM}/pid{n}"]
                 for n in lan.receivers}
    went = Transfer(lan, send, receivers).finish(90, has=lambda n: os.path.exists(f"{place(n)}/file"))
    return goodput(went, [f"{place(n)}/file" for n in lan.receivers], size)


def http(lan: Lan, mebibytes: float) -> float:
    """One file for each, which costs its share of the cable: a smaller one tells as much."""
    size = payload(mebibytes / (len(lan.receivers) if lan.cap else 1))
    fresh_places(lan)
    for n in lan.receivers:
        os.makedirs(place(n))
    with open(f"{SHM}/nginx.conf", "w", encoding="ascii") as f:
        temp = "".join(f"{kind}_temp_path {SHM}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        f.write(f"user root; daemon off; master_process off; pid {SHM}/nginx.pid; error_log {SHM}/nginx.err;\nevents {{ worker_connections 512; }}\n"
                f"http {{ access_log off; sendfile on; tcp_nopush on; {temp} server {{ listen {SENDER}:8080; root {os.path.dirname(FILE)}; }} }}\n")
    receivers = {n: ["curl", "-s", "-f", "--retry", "3", "--retry-connrefused", "-o", f"{place(n)}/file", f"http://{SENDER}:8080/file"]
                 for n in lan.receivers}
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin") or "nginx"
    transfer = Transfer(lan, [nginx, "-c", f"{SHM}/nginx.conf", "-p", SHM], receivers, first="sender")
    return goodput(transfer.finish(90, waits=False), [f"{place(n)}/file" for n in lan.receivers], size)


PEERS = {"udpcast": udpcast, "uftp": uftp, "HTTP": http}


def raw(lan: Lan, mebibytes: int) -> float:
    """Megabytes of payload in a second at the slowest receiver, whatever got lost."""
    if not os.path.exists(f"{SHM}/raw"):
        subprocess.run(["cc", "-O2", "-o", f"{SHM}/raw", f"{HERE}/raw.c"], check=True)
    receivers = [lan.start(n, f"{SHM}/raw", "recv", lan.address(n)) for n in lan.receivers]
    time.sleep(0.3)
    lan.start(0, f"{SHM}/raw", "send", SENDER, str(mebibytes << 20), str(lan.mtu - 28)).wait()
    time.sleep(0.2)
    found = [re.fullmatch(r"(\d+) ([\d.]+)\n", r.said()) for r in receivers]
    lan.stop()
    return min(int(m[1]) / float(m[2]) / 1e6 if m and float(m[2]) else 0.0 for m in found)

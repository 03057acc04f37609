"""A network of namespaces: a switch, a sender, and receivers, each behind a cable of its own that may lose packets. All of it goes with
the processes that hold it."""
from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from typing import Any

sys.path.insert(0, f"{os.path.dirname(os.path.abspath(__file__))}/../http")
from bed import CVCTL, Bed, eventually  # noqa: E402


class Lan:
    """Host 0 is the sender, 10.93.0.1; receiver n has 10.93.0.(10 + n)."""

    def __init__(self, bed: Bed, receivers: int, mtu: int = 1500) -> None:
        self.bed, self.receivers = bed, receivers
        self.switch = self.namespace()
        self.run(self.switch, "ip", "link", "add", "br0", "mtu", str(mtu), "type", "bridge", "mcast_snooping", "0", "forward_delay", "0")
        self.run(self.switch, "ip", "link", "set", "br0", "up")
        self.hosts = [self.namespace() for _ in range(receivers + 1)]
        for n, host in enumerate(self.hosts):
            self.run(self.switch, "ip", "link", "add", f"p{n}", "mtu", str(mtu), "type", "veth", "peer", "name", "eth0", "mtu", str(mtu),
                     "netns", str(host))
            self.run(self.switch, "ip", "link", "set", f"p{n}", "master", "br0", "up")
            self.run(host, "ip", "link", "set", "eth0", "up")
            self.run(host, "ip", "address", "add", f"10.93.0.{1 if n == 0 else 10 + n}/24", "dev", "eth0")
            # Each packet is one on the wire, as behind a network card.
            self.run(host, "ethtool", "-K", "eth0", "tso", "off", "gso", "off", "tx-udp-segmentation", "off", "gro", "off")
            self.run(self.switch, "ethtool", "-K", f"p{n}", "tso", "off", "gso", "off", "tx-udp-segmentation", "off", "gro", "off")

    def namespace(self) -> int:
        holder = self.bed.start("unshare", "-n", "sleep", "infinity")
        own = os.readlink("/proc/self/ns/net")
        eventually("a namespace", lambda: os.readlink(f"/proc/{holder.pid}/ns/net") != own)
        return holder.pid

    @staticmethod
    def inside(holder: int, *args: str) -> list[str]:
        return ["nsenter", "-t", str(holder), "-n", *args]

    def run(self, holder: int, *args: str, stdin: str = "") -> str:
        done = subprocess.run(self.inside(holder, *args), capture_output=True, text=True, input=stdin)
        assert done.returncode == 0, f"{args}: {done.stderr}"
        return done.stdout

    def make_hub(self) -> None:
        """Everybody hears everything, as behind a switch whose table somebody has filled."""
        self.run(self.switch, "ip", "link", "set", "br0", "type", "bridge", "ageing_time", "0")

    def lose(self, percent: float, receivers: list[int]) -> None:
        """These lose so many of the packets that come to them, and as many of those that they send."""
        rules = "table netdev loss\ndelete table netdev loss\nadd table netdev loss\n"
        for n in receivers:
            for way, hook in (("d", "egress"), ("u", "ingress")):
                rules += f"add chain netdev loss {way}{n} {{ type filter hook {hook} device p{n} priority 0; }}\n"
                rules += f"add rule netdev loss {way}{n} meta protocol ip numgen random mod 1000000 lt {int(percent * 10000)} drop\n"
        self.run(self.switch, "nft", "-f", "-", stdin=rules)

    def cvctl(self, host: int, *args: str) -> "subprocess.Popen[str]":
        """Our program on a host; what it says is JSON."""
        return self.bed.start(*self.inside(self.hosts[host], CVCTL, "-q", "-o", "json", *args), stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def place(self, host: int) -> str:
        return f"{self.bed.dir}/out{host}"

    def receive(self, host: int, *args: str) -> "subprocess.Popen[str]":
        return self.cvctl(host, "mcast", "recv", self.place(host), "--interface", "eth0", "--verify", *args)

    def right(self, host: int, process: "subprocess.Popen[str]") -> dict[str, Any]:
        """What a receiver says that has the tree of the bed, which is removed."""
        out, err = process.communicate(timeout=100)
        assert process.returncode == 0, f"{host}: {process.returncode} {err}"
        subprocess.run(["diff", "-r", "--no-dereference", self.bed.tree, self.place(host)], check=True)
        shutil.rmtree(self.place(host))
        return dict(json.loads(out))

    def sent(self) -> int:
        """Bytes that the sender put on its cable, with all headers."""
        stats = json.loads(self.run(self.hosts[0], "ip", "-s", "-j", "link", "show", "eth0"))[0]["stats64"]
        return int(stats["tx"]["bytes"])


def peak(pid: int) -> float:
    """Most memory that a process has had so far, in MiB; 0 when it has ended."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/status", encoding="ascii") as f:
        return sum(int(line.split()[1]) for line in f if line.startswith("VmHWM:")) / 1024
    return 0

"""Two network namespaces with a cable in between; they go with the processes that hold them."""
from __future__ import annotations

import json
import os
import subprocess

from bed import Bed, eventually

SERVER, CLIENT = "10.91.0.1", "10.91.0.2"


class Network:
    """Side 0 is the server's, side 1 that of the node."""

    def __init__(self, bed: Bed) -> None:
        self.bed = bed
        self.holders = [bed.start("unshare", "-n", "sleep", "infinity") for _ in range(2)]
        own = os.readlink("/proc/self/ns/net")
        for holder in self.holders:
            eventually("a namespace", lambda pid=holder.pid: os.readlink(f"/proc/{pid}/ns/net") != own)
        self.run(0, "ip", "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", str(self.holders[1].pid))
        for side, address in enumerate((SERVER, CLIENT)):
            self.run(side, "ip", "address", "add", f"{address}/24", "dev", "cable")
            self.run(side, "ip", "link", "set", "lo", "up")
            self.run(side, "ip", "link", "set", "cable", "up")

    def inside(self, side: int, *args: str) -> list[str]:
        return ["nsenter", "-t", str(self.holders[side].pid), "-n", *args]

    def run(self, side: int, *args: str) -> str:
        return subprocess.run(self.inside(side, *args), check=True, capture_output=True, text=True).stdout

    def wire(self) -> int:
        """Bytes that went over the cable, both ways, with all headers."""
        stats = json.loads(self.run(1, "ip", "-s", "-j", "link", "show", "cable"))[0]["stats64"]
        return int(stats["rx"]["bytes"]) + int(stats["tx"]["bytes"])

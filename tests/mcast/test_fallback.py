#!/usr/bin/env python3
"""What multicast does not bring comes from a mirror: for receivers that the group does not reach, which is noticed in 3 s, and when the sender is killed
in its middle; and blocks that are damaged where they are sent. Without a mirror the receiver says what is wrong (18), and nothing looks finished."""
from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

from lan import Lan

sys.path.insert(0, f"{os.path.dirname(os.path.abspath(__file__))}/../http")
from bed import Bed, eventually  # noqa: E402

MIRROR = "http://10.93.0.1:8087"


def send(lan: Lan, receivers: int, rate: str) -> "subprocess.Popen[str]":
    return lan.cvctl(0, "--store", lan.bed.store, "mcast", "send", "node", "--interface", "eth0", "--receivers", str(receivers), "--rate", rate)


def unreachable(lan: Lan) -> None:
    """Half of them are behind a switch that lets announcements through, and nothing of what is sent."""
    rules = "add table netdev deaf\n"
    for n in (3, 4):
        rules += f"add chain netdev deaf d{n} {{ type filter hook egress device p{n} priority 0; }}\n"
        rules += f"add rule netdev deaf d{n} ip daddr 239.192.67.87-239.192.67.118 drop\n"
    lan.run(lan.switch, "nft", "-f", "-", stdin=rules)
    sender = send(lan, 4, "100Mbit")
    began = time.monotonic()
    processes = {n: lan.receive(n, "--mirror", MIRROR) for n in (1, 2, 3, 4)}
    said = {n: lan.right(n, process) for n, process in processes.items()}
    took = time.monotonic() - began
    for n in (1, 2):
        assert said[n]["instead"] is None, said[n]
    for n in (3, 4):
        assert "multicast_unreachable" in said[n]["instead"], said[n]
    assert took < 25, took
    out, err = sender.communicate(timeout=60)
    standings = sorted(r["standing"] for r in json.loads(out)["receivers"])
    assert standings == ["done"] * 4, (standings, err)
    # Without a mirror it says so.
    sender = send(lan, 1, "100Mbit")
    alone = lan.receive(3)
    out, err = alone.communicate(timeout=60)
    assert alone.returncode == 18 and "multicast_unreachable" in err, (alone.returncode, err)
    sender.send_signal(signal.SIGINT)
    sender.communicate(timeout=10)
    shutil.rmtree(f"{lan.bed.dir}/out3", ignore_errors=True)
    lan.run(lan.switch, "nft", "delete", "table", "netdev", "deaf")
    print("two that multicast does not reach have it from the mirror", flush=True)


def killed(lan: Lan) -> None:
    """The sender is killed in its middle."""
    sender = send(lan, 2, "30Mbit")
    with_mirror, without = lan.receive(1, "--mirror", MIRROR), lan.receive(2)
    time.sleep(3)
    sender.kill()
    sender.wait()
    said = lan.right(1, with_mirror)
    assert "says nothing" in said["instead"] and said["received"]["symbols"] > 1000, said
    out, err = without.communicate(timeout=60)
    assert without.returncode == 18 and "says nothing" in err, (without.returncode, err)
    print("when the sender is killed the rest comes from the mirror", flush=True)


def forgotten(lan: Lan) -> None:
    """A switch forgets in the middle that somebody listens. The receiver joins anew, and goes on without a mirror."""
    for option in (("mcast_query_response_interval", "100"), ("mcast_querier", "1"), ("mcast_snooping", "1")):
        lan.run(lan.switch, "ip", "link", "set", "br0", "type", "bridge", *option)
    # Until a querier has waited for answers (1 s; its next question is two minutes away) everything goes everywhere.
    time.sleep(2)
    sender = send(lan, 2, "30Mbit")
    processes = {n: lan.receive(n) for n in (1, 2)}

    def groups() -> list[dict]:
        return [e for e in json.loads(lan.run(lan.switch, "bridge", "-j", "mdb", "show"))[0]["mdb"] if e["port"] == "p1"]

    data = lambda: [e["grp"] for e in groups() if "239.192.67.87" <= e["grp"] <= "239.192.67.99" or e["grp"].startswith("239.192.67.1")]
    eventually("the switch knows the data group", lambda: len(data()) == 1)
    time.sleep(1)
    group = data()[0]
    lan.run(lan.switch, "bridge", "mdb", "del", "dev", "br0", "port", "p1", "grp", group)
    assert not data()
    time.sleep(0.5)
    assert not data(), "the switch did not forget"
    eventually("the group is joined anew", data, 5)
    for n, process in processes.items():
        said = lan.right(n, process)
        assert said["instead"] is None, said
    sender.communicate(timeout=60)
    lan.run(lan.switch, "ip", "link", "set", "br0", "type", "bridge", "mcast_snooping", "0")
    print("one that the switch forgot joined anew", flush=True)


def damaged(lan: Lan) -> None:
    """A byte of the sender's store is wrong: that block comes from the mirror, and all others by multicast. When many are, all that is left does."""
    for blocks in (1, 9):
        copy = f"{lan.bed.dir}/damaged{blocks}"
        shutil.copytree(lan.bed.store, copy)
        packs = [os.path.join(d, f) for d, _, files in os.walk(f"{copy}/packs") for f in files]
        pack = max(packs, key=os.path.getsize)
        with open(pack, "rb+") as f:
            for n in range(blocks):
                f.seek(os.path.getsize(pack) * (2 * n + 1) // (2 * blocks))
                byte = f.read(1)
                f.seek(-1, os.SEEK_CUR)
                f.write(bytes([byte[0] ^ 1]))
        link = lambda: json.loads(lan.run(lan.hosts[4], "ip", "-s", "-j", "link", "show", "eth0"))[0]["stats64"]["tx"]["bytes"]
        before = link()
        sender = lan.cvctl(0, "--store", copy, "mcast", "send", "node", "--interface", "eth0", "--receivers", "2", "--rate", "100Mbit")
        processes = {n: lan.receive(n, "--mirror", "http://10.93.0.14:8087") for n in (1, 2)}
        said = {n: lan.right(n, process) for n, process in processes.items()}
        assert all("injection_suspected" in s["instead"] for s in said.values()), said
        read = (link() - before) / 2
        print(f"{blocks} wrong: each receiver has read {read / 1e6:.1f} MB from the mirror", flush=True)
        # A block has 4 MiB, and nine hit them all.
        assert 100_000 < read < (8e6 if blocks == 1 else 30e6), read
        sender.communicate(timeout=60)
        shutil.rmtree(copy)


def main() -> None:
    if os.geteuid() != 0 or not shutil.which("ethtool"):
        print("it needs root and ethtool (apt-get install ethtool)")
        sys.exit(77)
    with Bed(megabytes=24) as bed:
        lan = Lan(bed, 4)
        lan.run(lan.hosts[0], "ip", "link", "set", "lo", "up")
        lan.cvctl(0, "--store", bed.store, "serve", "--listen", "10.93.0.1:8087")
        answers = lan.inside(lan.hosts[1], "curl", "-s", "-f", f"{MIRROR}/healthz")
        eventually("the mirror answers", lambda: subprocess.run(answers, capture_output=True, check=False).returncode == 0)
        lan.cvctl(4, "--store", bed.store, "serve", "--listen", "10.93.0.14:8087")
        damaged(lan)
        unreachable(lan)
        killed(lan)
        forgotten(lan)


main()

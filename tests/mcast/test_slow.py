#!/usr/bin/env python3
"""Nodes that are not as the others: behind a port with a tenth of the rate, with a filesystem that is full, with an interface that takes
less. Nobody waits for them, and each ends as it should: the slow one by its mirror, the others with their errors."""
from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator

from lan import Lan

sys.path.insert(0, f"{os.path.dirname(os.path.abspath(__file__))}/../http")
from bed import Bed, eventually  # noqa: E402

MIRROR = "http://10.93.0.1:8087"


def send(lan: Lan, receivers: int, *args: str) -> "subprocess.Popen[str]":
    return lan.cvctl(0, "--store", lan.bed.store, "mcast", "send", "node", "--interface", "eth0", "--receivers", str(receivers), *args)


def standings(sender: "subprocess.Popen[str]") -> dict[str, int]:
    out, err = sender.communicate(timeout=100)
    found: dict[str, int] = {}
    for receiver in json.loads(out)["receivers"]:
        found[receiver["standing"]] = found.get(receiver["standing"], 0) + 1
    return found


@contextlib.contextmanager
def narrow(lan: Lan, host: int, rate: str) -> Iterator[None]:
    """The port of a host gives it no more than that."""
    shape = ("tc", "qdisc", "add", "dev", f"p{host}", "root", "tbf", "rate", rate, "burst", "32k", "limit", "60k")
    lan.run(lan.switch, *shape)
    try:
        yield
    finally:
        lan.run(lan.switch, "tc", "qdisc", "del", "dev", f"p{host}", "root")


def slow(lan: Lan) -> None:
    """One gets a tenth. The others take as long as without it."""
    report = f"{lan.bed.dir}/report"
    took = []
    for hosts in ((1, 2, 3), (1, 2, 3, 4)):
        sender = send(lan, len(hosts), "--rate", "100Mbit", "--report", report)
        with narrow(lan, 4, "10mbit"):
            processes = {n: lan.receive(n, "--mirror", MIRROR) for n in hosts}
            eventually("a report while it goes on", lambda: os.path.exists(report))
            with open(report, encoding="utf-8") as f:
                assert json.load(f)["stage"] in ("waiting", "first_pass"), "it is over already"
            began = time.monotonic()
            said = {n: lan.right(n, processes[n]) for n in (1, 2, 3)}
            took.append(time.monotonic() - began)
            assert all(s["instead"] is None for s in said.values()), said
            if 4 in hosts:
                lan.run(lan.switch, "tc", "qdisc", "change", "dev", "p4", "root", "tbf", "rate", "100mbit", "burst", "32k", "limit", "60k")
                assert "mirrors" in lan.right(4, processes[4])["instead"]
        found = standings(sender)
        assert found == {"done": len(hosts)}, found
        with open(report, encoding="utf-8") as f:
            assert json.load(f)["stage"] == "over"
        os.remove(report)
    print(f"one at a tenth of the rate: the others took {took[1]:.1f} s, without it {took[0]:.1f} s", flush=True)
    assert took[1] < took[0] * 1.5 + 0.5, took


def full(lan: Lan) -> None:
    """A filesystem of 8 MiB."""
    place = f"{lan.bed.dir}/out4"
    os.mkdir(place)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8M", "libcv-test", place], check=True)
    try:
        sender = send(lan, 2, "--rate", "100Mbit")
        one, other = lan.receive(4), lan.receive(1)
        lan.right(1, other)
        _, err = one.communicate(timeout=60)
        assert one.returncode == 17, (one.returncode, err)
        found = standings(sender)
        assert found == {"done": 1, "failed": 1} and sender.returncode == 18, (found, sender.returncode)
    finally:
        subprocess.run(["umount", place], check=True)
    os.rmdir(place)
    print("one with a full filesystem says so, and the others go on", flush=True)


def short(lan: Lan) -> None:
    """An interface that takes less than what is sent."""
    lan.run(lan.hosts[4], "ip", "link", "set", "eth0", "mtu", "1400")
    sender = send(lan, 1, "--wait", "300ms", "--rate", "100Mbit")
    one, other = lan.receive(4), lan.receive(1)
    lan.right(1, other)
    _, err = one.communicate(timeout=60)
    assert one.returncode == 18 and "do not pass its interface, which takes 1372" in err, (one.returncode, err)
    sender.communicate(timeout=60)
    # With a mirror it gets it there.
    sender = send(lan, 1, "--wait", "300ms", "--rate", "100Mbit")
    assert "do not pass" in lan.right(4, lan.receive(4, "--mirror", MIRROR))["instead"]
    sender.terminate()
    sender.communicate(timeout=60)
    lan.run(lan.hosts[4], "ip", "link", "set", "eth0", "mtu", "1500")
    print("one whose interface takes less is refused, and told why", flush=True)


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
        slow(lan)
        full(lan)
        short(lan)


main()

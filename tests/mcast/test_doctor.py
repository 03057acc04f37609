#!/usr/bin/env python3
"""`cvctl doctor multicast` between hosts in namespaces, each receiver with a fault of its own: the finding names the cause, at the receiver and at the
sender. Nothing is found where nothing is wrong."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from typing import Any

from lan import Lan

sys.path.insert(0, f"{os.path.dirname(os.path.abspath(__file__))}/../http")
from bed import CVCTL, Bed  # noqa: E402

Found = dict[str, str]


def start(lan: Lan, host: int, *args: str) -> "subprocess.Popen[str]":
    command = [CVCTL, "-q", "-o", "json", "doctor", "multicast", *args]
    # The hosts have one name, of the machine; namespaces of names tell them apart.
    named = ["unshare", "--uts", "sh", "-c", f'hostname "n{host}" && exec "$@"', "sh", *command]
    return lan.bed.start(*lan.inside(lan.hosts[host], *named), stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wrong(findings: list[dict[str, str]]) -> Found:
    return {f["check"]: f["verdict"] for f in findings if f["verdict"] != "ok" and f["check"] != "querier"}


def run(lan: Lan, receivers: dict[int, str], expected: int, *more: str) -> tuple[dict[int, Found], dict[str, Found], dict[int, Any], Any]:
    """What is wrong in the eyes of each receiver, and of the sender about each; and everything that was said."""
    processes = {n: start(lan, n, "recv", "--interface", interface, "--seconds", "5") for n, interface in receivers.items()}
    sender = start(lan, 0, "send", "--interface", "eth0", "--receivers", str(expected), "--seconds", "5", *more)
    here: dict[int, Found] = {}
    said: dict[int, Any] = {}
    for n, process in processes.items():
        out, err = process.communicate(timeout=60)
        assert out, f"receiver {n}: {process.returncode} {err}"
        said[n] = json.loads(out)
        here[n] = wrong(said[n]["findings"])
        assert process.returncode == (18 if "bad" in here[n].values() else 0), f"{process.returncode} {err} {out}"
    out, err = sender.communicate(timeout=60)
    assert out, f"sender: {sender.returncode} {err}"
    sent = json.loads(out)
    there = {r["name"]: wrong(r["findings"]) for r in sent["receivers"]}
    return here, there, said, sent


def message(findings: list[dict[str, str]], check: str) -> str:
    return next(f["message"] for f in findings if f["check"] == check)


def healthy(lan: Lan) -> None:
    """One receiver, and a querier that is heard."""
    lan.run(lan.switch, "ip", "link", "set", "br0", "type", "bridge", "mcast_snooping", "1", "mcast_querier", "1", "mcast_query_interval", "100",
            "mcast_startup_query_interval", "100")
    here, there, said, sent = run(lan, {1: "eth0"}, 1)
    # A busy machine may be too slow for a gigabit, and then says that.
    for found in (here[1], there["n1"]):
        assert "bad" not in found.values() and not set(found) - {"host", "rate"}, said[1]["findings"]
    querier = next(f for f in said[1]["findings"] if f["check"] == "querier")
    assert querier["verdict"] == "ok" and "IGMP version" in querier["message"], querier
    assert not wrong(sent["findings"]), sent["findings"]
    assert {c["way"]: c["received"] for c in said[1]["counts"]}["control"] == 20, said[1]["counts"]
    lan.run(lan.switch, "ip", "link", "set", "br0", "type", "bridge", "mcast_querier", "0", "mcast_snooping", "0")


def faults(lan: Lan) -> None:
    groups = "ip daddr 224.0.0.0/4"
    # At the switch, on the way to one receiver.
    switch = {
        2: f"{groups} drop",
        3: "udp dport 7787 drop",
        4: f"{groups} ip length > 1400 drop",
        # What a switch lets through when it counts multicast as a storm.
        5: f"{groups} limit rate over 1500/second burst 300 packets drop",
    }
    rules = "add table netdev fault\n"
    for n, rule in switch.items():
        rules += f"add chain netdev fault f{n} {{ type filter hook egress device p{n} priority 0; }}\nadd rule netdev fault f{n} {rule}\n"
    lan.run(lan.switch, "nft", "-f", "-", stdin=rules)
    # At the host itself: its firewall drops multicast, answers, or the second port.
    host = {6: f"{groups} udp dport 7786-7787 drop", 7: "ip saddr 10.93.0.1 ip daddr 10.93.0.17 udp dport != 7786 drop", 8: "udp dport 7787 drop"}
    for n, rule in host.items():
        rules = f"add table ip fw\nadd chain ip fw in {{ type filter hook input priority 0; }}\nadd rule ip fw in {rule}\n"
        lan.run(lan.hosts[n], "nft", "-f", "-", stdin=rules)
    # The receiver listens at an interface that leads nowhere, and has another one that does.
    lan.run(lan.hosts[9], "ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth2")
    lan.run(lan.hosts[9], "ip", "link", "set", "eth2", "up")
    lan.run(lan.hosts[9], "ip", "link", "set", "eth1", "up")
    lan.run(lan.hosts[9], "ip", "address", "add", "10.94.0.1/24", "dev", "eth1")
    # A switch that snoops, has no querier, and floods no group that it does not know.
    lan.run(lan.switch, "bridge", "link", "set", "dev", "p10", "mcast_flood", "off")
    # An MTU that is larger at the sender than at the receiver.
    lan.run(lan.hosts[11], "ip", "link", "set", "eth0", "mtu", "1400")
    here, there, said, sent = run(lan, {n: "eth1" if n == 9 else "eth0" for n in range(2, 12)}, 10)
    expected = {
        2: ("multicast", "filters it"),
        3: ("snooping", "data group does not"),
        4: ("mtu", "up to 1400 bytes arrive"),
        5: ("rate", "storm control"),
        6: ("firewall", "7786 and 7787"),
        7: ("unicast", "does not arrive"),
        8: ("firewall", "7787"),
        9: ("interface", "--interface eth0"),
        10: ("multicast", "IGMP snooping without a querier"),
        11: ("mtu", "1400; set both"),
    }
    for n, (check, text) in expected.items():
        for who, findings in ((f"receiver {n}", said[n]["findings"]),
                              (f"sender about {n}", next(r["findings"] for r in sent["receivers"] if r["name"] == f"n{n}"))):
            bad = {f["check"]: f["message"] for f in findings if f["verdict"] == "bad"}
            # What is lost because ten hosts share two processors is no cause.
            assert check in bad and text in bad[check] and not set(bad) - {check, "rate", "loss"}, f"{who}: {findings}"
        print(f"{check}: {message(said[n]['findings'], check)}", flush=True)
    assert len(there) == len(here) == 10
    nobody = next(f for f in sent["receivers"][0]["findings"] if f["check"] == "querier")
    assert nobody["verdict"] == "warning" and "--seconds 130" in nobody["message"], nobody


def snooped(lan: Lan) -> None:
    """A switch that snoops, and has a querier; the reports of one receiver do not get to it."""
    lan.run(lan.switch, "nft", "add table netdev mute; add chain netdev mute i2 { type filter hook ingress device p2 priority 0; }; "
            "add rule netdev mute i2 ip protocol igmp drop; delete table netdev fault")
    # A querier counts when so much time has passed in which another one could have answered.
    for option, value in (("mcast_query_response_interval", "50"), ("mcast_snooping", "1"), ("mcast_querier", "1")):
        lan.run(lan.switch, "ip", "link", "set", "br0", "type", "bridge", option, value)
    time.sleep(1)
    here, there, said, _ = run(lan, {1: "eth0", 2: "eth0"}, 2)
    assert "bad" not in here[1].values(), said[1]["findings"]
    assert here[2] == there["n2"] == {"snooping": "bad"}, (here, there)
    print(f"snooping: {message(said[2]['findings'], 'snooping')}", flush=True)
    lan.run(lan.switch, "ip", "link", "set", "br0", "type", "bridge", "mcast_querier", "0", "mcast_snooping", "0")


def way_back(lan: Lan) -> None:
    """The host of a receiver has its route to the sender by another interface, and is strict about that."""
    lan.run(lan.hosts[9], "sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/eth0/rp_filter")
    lan.run(lan.hosts[9], "ip", "route", "add", "10.93.0.1", "dev", "eth1")
    here, there, said, _ = run(lan, {9: "eth0"}, 1)
    assert here[9]["rp_filter"] == there["n9"]["rp_filter"] == "bad", (here, there, said)


def groups_differ(lan: Lan) -> None:
    here, _, said, sent = run(lan, {1: "eth0"}, 0, "--group", "239.192.80.1:7786")
    assert here[1] == {"group": "bad"} and "239.192.80.1" in message(said[1]["findings"], "group"), said
    assert wrong(sent["findings"]) == {"receivers": "bad", "group": "bad"}, sent


def alone(lan: Lan) -> None:
    """Nobody at the other end; and an interface that is switched off."""
    here, _, said, sent = run(lan, {1: "eth0"}, 0, "--group", "239.192.80.1:9999")
    assert here[1] == {"sender": "bad"} and "Is eth0 the right interface" in message(said[1]["findings"], "sender"), said
    assert wrong(sent["findings"]) == {"receivers": "bad"}, sent
    lan.run(lan.hosts[1], "ip", "link", "set", "eth0", "down")
    process = start(lan, 1, "recv", "--interface", "eth0", "--seconds", "1")
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 18 and "switched off" in message(json.loads(out)["findings"], "link"), out


def main() -> None:
    if os.geteuid() != 0 or not shutil.which("ethtool") or not shutil.which("nft"):
        print("it needs root, nft and ethtool (apt-get install nftables ethtool)")
        sys.exit(77)
    with Bed(megabytes=1) as bed:
        lan = Lan(bed, 11)
        began = time.monotonic()
        healthy(lan)
        print(f"healthy: {time.monotonic() - began:.1f} s", flush=True)
        faults(lan)
        snooped(lan)
        way_back(lan)
        groups_differ(lan)
        alone(lan)
        print(f"{time.monotonic() - began:.1f} s in all", flush=True)


main()

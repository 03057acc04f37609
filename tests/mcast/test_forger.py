#!/usr/bin/env python3
"""Somebody without the key forges symbols, parity, announcements, ends, reports, joins, replays and noise (forger.py): with a key all receivers
end with the right tree, and what was refused is counted. Without one no receiver ends with a wrong byte: with a mirror it is right, without
one it is right or says that it is not."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time

from lan import Lan

sys.path.insert(0, f"{os.path.dirname(os.path.abspath(__file__))}/../http")
from bed import CVCTL, Bed, eventually  # noqa: E402

RECEIVERS = 3
HERE = os.path.dirname(os.path.abspath(__file__))


def run(lan: Lan, bed: Bed, mode: str, key: str, *more: str) -> tuple[int, int, int]:
    """Receivers that are right, datagrams that were refused, datagrams that were forged."""
    with_key = ["--key-file", key] if key else []
    common = ["--interface", "eth0", *with_key]
    forger = bed.start(*lan.inside(lan.hosts[RECEIVERS + 1], sys.executable, f"{HERE}/forger.py", "239.192.67.86", "7786", "6"),
                       stdout=subprocess.PIPE)
    time.sleep(0.3)
    sender = bed.start(*lan.inside(lan.hosts[0], CVCTL, "-q", "-o", "json", "--store", bed.store, "mcast", "send", "node", "--mode", mode,
                                   "--receivers", str(RECEIVERS), "--rate", "150Mbit", *common), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    places = [f"{bed.dir}/{mode}{n}" for n in range(RECEIVERS)]
    receivers = [bed.start(*lan.inside(lan.hosts[n + 1], CVCTL, "-q", "-o", "json", "mcast", "recv", place, *common, *more), stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE) for n, place in enumerate(places)]
    right = refused = 0
    for process, place in zip(receivers, places):
        out, err = process.communicate(timeout=100)
        assert process.returncode in (0, 14, 18), err
        if process.returncode == 0:
            right += 1
            refused += int(json.loads(out)["received"]["refused"])
            subprocess.run(["diff", "-r", "--no-dereference", bed.tree, place], check=True)
        shutil.rmtree(place, ignore_errors=True)
    if right == RECEIVERS:
        out, err = sender.communicate(timeout=60)
        # Without a key a receiver may be told that it is over. It goes to its mirror, and the sender cannot know how it ended.
        assert sender.returncode == 0 or not key and sender.returncode == 18, err
        refused += int(json.loads(out)["sent"]["refused"])
    else:
        sender.kill()
        sender.wait()
    return right, refused, int(forger.communicate(timeout=30)[0] or 0)


def main() -> None:
    if os.geteuid() != 0 or not shutil.which("ethtool"):
        print("it needs root and ethtool (apt-get install ethtool)")
        sys.exit(77)
    # More than what may wait to be applied.
    with Bed(megabytes=48) as bed:
        lan = Lan(bed, RECEIVERS + 1)
        key = f"{bed.dir}/key"
        with open(key, "wb") as f:
            f.write(os.urandom(32))
        lan.run(lan.hosts[0], "ip", "link", "set", "lo", "up")
        mirror = "http://10.93.0.1:8087"
        bed.start(*lan.inside(lan.hosts[0], CVCTL, "-q", "--store", bed.store, "serve", "--listen", "10.93.0.1:8087"), stdout=subprocess.DEVNULL)
        answers = lan.inside(lan.hosts[1], "curl", "-s", "-f", f"{mirror}/healthz")
        eventually("the mirror answers", lambda: subprocess.run(answers, capture_output=True, check=False).returncode == 0)
        for mode, secret, more in (("tag", key, []), ("aead", key, []), ("crc", "", ["--mirror", mirror]), ("crc", "", [])):
            right, refused, forged = run(lan, bed, mode, secret, *more)
            print(f"{mode} {' '.join(more)}: {forged} forged, {refused} refused, {right} of {RECEIVERS} receivers are right", flush=True)
            assert forged > 1000
            assert right == RECEIVERS or not (secret or more)
            assert refused > 1000 or not secret


main()

#!/usr/bin/env python3
"""Short sessions in which either side is killed at random moments, and begun again: whoever says that it is done has the right tree, and whatever else a
receiver says, the next one makes it right. 30 sessions, 500 with FULL=1; SEED=N repeats those of a seed."""
from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time

from lan import Lan

sys.path.insert(0, f"{os.path.dirname(os.path.abspath(__file__))}/../http")
from bed import CVCTL, FULL, Bed  # noqa: E402

SESSIONS = 500 if FULL else 30
RECEIVERS = 2


class Short:
    """One session, which may lose its sender and its receivers several times."""

    def __init__(self, lan: Lan, rng: random.Random) -> None:
        self.lan, self.rng, self.killed = lan, rng, 0
        self.rate = rng.choice(("60Mbit", "200Mbit", "auto"))

    def start(self, host: int, *args: str) -> "subprocess.Popen[str]":
        command = self.lan.inside(self.lan.hosts[host], CVCTL, "-q", "-o", "json", *args, "--interface", "eth0")
        return self.lan.bed.start(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def send(self) -> "subprocess.Popen[str]":
        return self.start(0, "--store", self.lan.bed.store, "mcast", "send", "node", "--wait", "50ms", "--rate", self.rate)

    def receive(self, host: int) -> "subprocess.Popen[str]":
        return self.start(host, "mcast", "recv", self.place(host), "--no-sync")

    def place(self, host: int) -> str:
        return f"{self.lan.bed.dir}/out{host}"

    def run(self) -> None:
        sender, receivers = self.send(), {n: self.receive(n) for n in range(1, RECEIVERS + 1)}
        right: set[int] = set()
        for _ in range(self.rng.randrange(1, 4)):
            time.sleep(self.rng.uniform(0.02, 0.8))
            victim = self.rng.randrange(0, RECEIVERS + 1)
            if victim == 0:
                self.kill(sender)
                sender = self.send()
            elif victim not in right and receivers[victim].poll() is None:
                self.kill(receivers[victim])
                receivers[victim] = self.receive(victim)
        for n, process in receivers.items():
            self.end(n, process)
            right.add(n)
        sender.terminate()
        sender.communicate(timeout=30)
        for n in right:
            subprocess.run(["diff", "-r", "--no-dereference", self.lan.bed.tree, self.place(n)], check=True)
            shutil.rmtree(self.place(n))

    def kill(self, process: "subprocess.Popen[str]") -> None:
        process.kill()
        process.communicate()
        self.killed += 1

    def end(self, n: int, process: "subprocess.Popen[str]") -> None:
        """Whose sender was killed says so, and is begun again; it goes on with what is there."""
        for _ in range(4):
            _, err = process.communicate(timeout=90)
            if process.returncode == 0:
                return
            assert process.returncode == 18, f"{n}: {process.returncode} {err}"
            process = self.receive(n)
        raise AssertionError(f"receiver {n} did not end well: {err}")


def main() -> None:
    if os.geteuid() != 0 or not shutil.which("ethtool"):
        print("it needs root and ethtool (apt-get install ethtool)")
        sys.exit(77)
    seed = int(os.environ.get("SEED", str(time.time_ns() % 1_000_000)))
    rng, killed = random.Random(seed), 0
    print(f"SEED={seed}", flush=True)
    with Bed(megabytes=3, files=60) as bed:
        lan = Lan(bed, RECEIVERS)
        for n in range(SESSIONS):
            lan.lose(rng.choice((0.0, 0.0, 2.0, 10.0)), [1, 2])
            short = Short(lan, rng)
            try:
                short.run()
            except BaseException:
                print(f"session {n} of SEED={seed}", flush=True)
                raise
            killed += short.killed
    print(f"{SESSIONS} sessions, {killed} processes killed in them: all trees are right", flush=True)
    assert killed > SESSIONS // 2, killed


main()

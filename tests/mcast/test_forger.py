#!/usr/bin/env python3
"""Somebody without the key forges symbols, parity, announcements, ends, reports, joins, replays and noise (forger.py). With a key all receivers
end with the right tree, in memory and time as without him, and what was refused is counted; a session that he recorded is no image for those
who wait for the next one. Without a key no receiver ends with a wrong byte: with a mirror it is right, and says that somebody disturbs; without
one it is right or says that it is not. A million random datagrams with FULL=1, 50,000 else."""
from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from lan import Lan, peak

sys.path.insert(0, f"{os.path.dirname(os.path.abspath(__file__))}/../http")
from bed import CVCTL, FULL, Bed, cv, eventually  # noqa: E402

RECEIVERS, MEGABYTES = 3, 48
HERE = os.path.dirname(os.path.abspath(__file__))
MIRROR = "http://10.93.0.1:8087"
RATE = 150_000_000
# Datagrams a second at that rate, with all their headers.
GENUINE = RATE / 8 / 1514
NOISE, NOISE_RATE = 1_000_000 if FULL else 50_000, 20_000
# MiB that may be added to what an undisturbed session takes; and in a mode without a key: open stripes, whole ones and blocks up to their limits.
FLAT, BOUNDED = 32, 48 + 32 + 32


@dataclass
class Outcome:
    """How a session ended."""
    right: int = 0
    refused: int = 0
    refused_by_sender: int = 0
    seconds: float = 0
    standings: list[str] = field(default_factory=list)
    instead: list[str] = field(default_factory=list)
    # MiB of the sender, and of the receiver that took most.
    memory: tuple[float, float] = (0, 0)
    forged: dict[str, int] = field(default_factory=dict)

    def shares(self) -> tuple[float, float]:
        """Of what was forged and came to the receivers, and to the sender, what they have counted."""
        came = RECEIVERS * self.forged.get("groups", 0) + self.forged.get("one", 0)
        return self.refused / max(came, 1), self.refused_by_sender / max(self.forged.get("sender", 0), 1)

    def is_flat(self, quiet: "Outcome", more: int) -> bool:
        return all(disturbed < before + more for disturbed, before in zip(self.memory, quiet.memory))


class Session:
    """Processes of one sending."""

    def __init__(self, lan: Lan, mode: str, key: str, name: str = "node", rate: int = RATE, tree: str = "", mirror: str = "") -> None:
        self.lan, self.bed, self.mode, self.name, self.rate = lan, lan.bed, mode, name, rate
        self.tree, self.key = tree or self.bed.tree, key
        self.common = ["--interface", "eth0", *(["--key-file", key] if key else [])]
        self.more = ["--mirror", mirror] if mirror else []
        self.places = [f"{self.bed.dir}/{name}-{mode}{n}" for n in range(RECEIVERS)]
        self.receivers: list[subprocess.Popen[str]] = []
        self.sender: subprocess.Popen[str] | None = None

    def start(self, host: int, *args: str) -> subprocess.Popen[str]:
        command = [CVCTL, "-q", "-o", "json", *args, *self.common]
        return self.bed.start(*self.lan.inside(self.lan.hosts[host], *command), stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def receive(self) -> None:
        self.receivers = [self.start(n + 1, "mcast", "recv", place, "--name", self.name, *self.more) for n, place in enumerate(self.places)]

    def send(self, *more: str) -> None:
        self.sender = self.start(0, "--store", self.bed.store, "mcast", "send", self.name, "--mode", self.mode, "--receivers", str(RECEIVERS),
                                 "--rate", f"{self.rate // 1000 / 1000}Mbit", *more)

    def finish(self, forger: "subprocess.Popen[str] | None" = None) -> Outcome:
        assert self.sender
        out, peaks = Outcome(), dict.fromkeys([self.sender.pid, *(r.pid for r in self.receivers)], 0.0)
        until = time.monotonic() + 100
        while any(r.poll() is None for r in self.receivers) and time.monotonic() < until:
            peaks = {pid: max(before, peak(pid)) for pid, before in peaks.items()}
            time.sleep(0.05)
        sender, *receivers = peaks.values()
        out.memory = (sender, max(receivers))
        if forger:
            forger.terminate()
            out.forged = json.loads(forger.communicate(timeout=30)[0].splitlines()[-1])
        for process, place in zip(self.receivers, self.places):
            said, err = process.communicate(timeout=10)
            assert process.returncode == 0 or not self.key and not self.more and process.returncode in (14, 18), (process.returncode, err)
            if process.returncode == 0:
                report = json.loads(said)
                out.right += 1
                out.refused += report["received"]["refused"]
                out.instead += [report["instead"]] if report["instead"] else []
                subprocess.run(["diff", "-r", "--no-dereference", self.tree, place], check=True)
            shutil.rmtree(place, ignore_errors=True)
        try:
            said, err = self.sender.communicate(timeout=30 if self.key else 5)
        except subprocess.TimeoutExpired:
            # Without a key it may wait long for receivers that were made up.
            assert not self.key, "the sender does not end"
            self.sender.send_signal(signal.SIGINT)
            said, err = self.sender.communicate(timeout=10)
        # Nor can it know how those ended that somebody told that it is over.
        assert self.sender.returncode in ((0,) if self.key else (0, 18, 24)), (self.sender.returncode, err)
        if said:
            report = json.loads(said)
            out.seconds, out.refused_by_sender = report["seconds"], report["sent"]["refused"]
            out.standings = [r["standing"] for r in report["receivers"]]
        return out


@contextmanager
def forging(lan: Lan, attack: str, rate: float, *more: str) -> Iterator["subprocess.Popen[str]"]:
    process = lan.bed.start(*lan.inside(lan.hosts[RECEIVERS + 1], sys.executable, f"{HERE}/forger.py", attack, str(rate), *more),
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout and process.stdout.readline() == "listens\n"
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def run(lan: Lan, session: Session, attack: str = "", rate: float = 0, *more: str) -> Outcome:
    if not attack:
        session.send()
        session.receive()
        return session.finish()
    with forging(lan, attack, rate, *more) as forger:
        session.send()
        session.receive()
        out = session.finish(forger)
    (of_receivers, of_sender), what = out.shares(), f"{session.mode}{' with a mirror' if session.more else ''}, {attack}"
    print(f"{what}: {out.right} of {RECEIVERS} are right in {out.seconds:.2f} s; forged {out.forged}; refused {out.refused} ({of_receivers:.0%}), "
          f"by the sender {out.refused_by_sender} ({of_sender:.0%}); MiB {out.memory[0]:.0f}, {out.memory[1]:.0f}; "
          f"instead: {sorted(set(out.instead))}", flush=True)
    return out


def with_key(lan: Lan, key: str, quiet: Outcome) -> None:
    """All are right, in memory as without a forger, and the counters tell."""
    for mode in ("tag", "aead"):
        out = run(lan, Session(lan, mode, key), "flood", 7000)
        assert (out.right, out.instead, out.standings) == (RECEIVERS, [], ["done"] * RECEIVERS), out
        assert out.is_flat(quiet, FLAT), (out.memory, quiet.memory)
        assert sum(out.forged.values()) > 5000 and min(out.shares()) > 0.5, out


def goodput(lan: Lan, key: str, quiet: Outcome) -> None:
    """One in eleven datagrams is forged. The machine has other things to do, too: the best of three."""
    best = 0.0
    for _ in range(3):
        out = run(lan, Session(lan, "tag", key), "share", GENUINE / 10)
        assert out.right == RECEIVERS and out.is_flat(quiet, FLAT), out
        forged = sum(out.forged.values()) / (GENUINE * quiet.seconds)
        best = max(best, quiet.seconds / out.seconds)
        print(f"{forged:.1%} forged: goodput is {best:.0%} of the undisturbed one", flush=True)
        assert 0.05 < forged and out.shares()[0] > 0.5, out
        if best >= 0.7:
            return
    raise AssertionError(best)


def random_datagrams(lan: Lan, key: str, quiet: Outcome) -> None:
    """To all ports that are open, in a session that lasts as long."""
    seconds = NOISE / NOISE_RATE * 1.2
    session = Session(lan, "tag", key, rate=min(RATE, int((MEGABYTES << 23) * 1.04 / seconds)))
    out = run(lan, session, "noise", NOISE_RATE, str(NOISE))
    assert (out.right, out.instead) == (RECEIVERS, []) and out.is_flat(quiet, FLAT), out
    assert sum(out.forged.values()) > NOISE * 0.8 and min(out.shares()) > 0.5, out


def recorded(lan: Lan, key: str) -> None:
    """A whole session of what was released before is sent again: during the next one, when requests to join that one come from elsewhere as
    well, and to receivers that wait for one. Nobody is parted from the sender, takes the old release for the new one, or gives up."""
    tree, report, rng = f"{lan.bed.dir}/twice", f"{lan.bed.dir}/report", random.Random(3)
    shutil.copytree(f"{lan.bed.tree}/etc", tree)

    def release(blobs: int) -> None:
        for n in range(blobs):
            with open(f"{tree}/blob{n}", "wb") as f:
                f.write(rng.randbytes(1 << 20))
        cv("--store", lan.bed.store, "image", "capture", tree, "--name", "twice")

    def session(rate: int = RATE) -> Session:
        return Session(lan, "tag", key, "twice", rate, tree)

    def stage() -> str:
        with suppress(OSError, ValueError), open(report, encoding="utf-8") as f:
            return str(json.load(f)["stage"])
        return ""

    release(8)
    with forging(lan, "replay", NOISE_RATE) as forger:
        old = session()
        old.send()
        old.receive()
        assert old.finish().right == RECEIVERS
        release(1)
        during, waiting = session(RATE // 8), session(RATE // 4)
        during.send("--report", report)
        during.receive()
        eventually("symbols are sent", lambda: stage() == "first_pass")
        assert forger.stdin
        forger.stdin.write("\n")
        forger.stdin.flush()
        out = during.finish()
        print(f"recorded, during a session: {out}", flush=True)
        assert (out.right, out.instead, out.standings) == (RECEIVERS, [], ["done"] * RECEIVERS), out
        waiting.receive()
        time.sleep(2)
        early = [r.communicate() for r in waiting.receivers if r.poll() is not None]
        assert not early, early
        waiting.send()
        out = waiting.finish(forger)
        print(f"recorded, before a session: {out}", flush=True)
    assert (out.right, out.instead, out.standings) == (RECEIVERS, [], ["done"] * RECEIVERS), out
    assert out.forged["replayed"] > 10_000 and out.forged["joins"] > 10, out


def without_key(lan: Lan, quiet: Outcome) -> None:
    """No wrong byte. Who has a mirror falls back to it, and says why."""
    for mirror in (MIRROR, ""):
        spoilt = run(lan, Session(lan, "crc", "", mirror=mirror), "spoil", 5000)
        flooded = run(lan, Session(lan, "crc", "", mirror=mirror), "flood", 7000)
        assert spoilt.is_flat(quiet, BOUNDED) and flooded.is_flat(quiet, BOUNDED), (spoilt, flooded)
        if mirror:
            assert spoilt.right == flooded.right == RECEIVERS, (spoilt, flooded)
            assert any("injection_suspected" in why for why in spoilt.instead), spoilt


def main() -> None:
    if os.geteuid() != 0 or not shutil.which("ethtool"):
        print("it needs root and ethtool (apt-get install ethtool)")
        sys.exit(77)
    # More than what may wait to be applied.
    with Bed(megabytes=MEGABYTES) as bed:
        lan = Lan(bed, RECEIVERS + 1)
        lan.make_hub()
        key = f"{bed.dir}/key"
        with open(key, "wb") as f:
            f.write(os.urandom(32))
        lan.run(lan.hosts[0], "ip", "link", "set", "lo", "up")
        bed.start(*lan.inside(lan.hosts[0], CVCTL, "-q", "--store", bed.store, "serve", "--listen", "10.93.0.1:8087"), stdout=subprocess.DEVNULL)
        answers = lan.inside(lan.hosts[1], "curl", "-s", "-f", f"{MIRROR}/healthz")
        eventually("the mirror answers", lambda: subprocess.run(answers, capture_output=True, check=False).returncode == 0)
        quiet = run(lan, Session(lan, "tag", key))
        print(f"undisturbed: {quiet.seconds:.2f} s; MiB {quiet.memory[0]:.0f}, {quiet.memory[1]:.0f}", flush=True)
        goodput(lan, key, quiet)
        with_key(lan, key, quiet)
        random_datagrams(lan, key, quiet)
        recorded(lan, key)
        without_key(lan, quiet)


main()

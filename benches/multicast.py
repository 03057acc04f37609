#!/usr/bin/env python3
"""multicast.py [--only ROW ...] [--quick] [--size MIB] [--runs 3] [--alone]: multicast beside udpcast, uftp and nginx with curl, in the same run.

Sender and receivers are network namespaces on one bridge and share the cores of this machine; each packet that crosses a cable is one of the MTU.
Prints a Markdown table and exits 1 when a target is missed, 77 when something is lacking.

A receiver's time is from the first data on the sender's cable (20 kB of it, whoever sends: handshakes are not counted) to the end of its process,
that is with everything verified and written, and read back (--verify) where there is no cap. Goodput is stored bytes of the image, which does not compress, per second of the
slowest receiver. Wire is what leaves the sender, headers included, from its start to its end, per stored byte. The raw limit is what raw.c moves
right before, on the same network. A cap is one of the sender's cable; the share is of the payload that it has room for.
Needs: root, what `tests/setup.sh bench` installs, CVCTL or target/release/cvctl; 16 GB of memory.    Time: 20 minutes; one row under 2.
"""
from __future__ import annotations

import argparse
import atexit
import functools
import json
import math
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

from change import changed
from measure import CORES, SHM, begin, busy, clean
from multicast_bed import HEADERS, Lan, filesystems, make_tree, remove_namespaces
from multicast_peers import PEERS, TOOLS, Ours, fresh_places, memory_is_warm, place, raw

HERE = os.path.dirname(os.path.abspath(__file__))
CAP = 80        # megabits in a second
RATE = "79Mbit"
LEAST_OF_CAP = {0: 0.95, 1: 0.92, 5: 0.87}
MOST_WIRE = {0: 1.05, 1: 1.07, 5: 1.13}
LIMIT_MIB = {"receiver": 128, "sender": 256}
QUICK = ["capped-4-1", "open-4"]


def capacity(cap: float, mtu: int = 1500) -> float:
    """Megabytes of symbols in a second that fit through a cap, where each has 16 bytes of its own and the headers of the network."""
    return cap / 8 * (mtu - 28 - 16) / (mtu - 28 + HEADERS)


class Row(NamedTuple):
    """A line of the table; `met` is none where there is no target."""

    what: str
    figure: str
    target: str
    met: bool | None

    def __str__(self) -> str:
        return f"| {self.what} | {self.figure} | {self.target} | {'' if self.met is None else 'met' if self.met else 'missed'} |"


class Bench:
    """One run: what it works on, and what it found."""

    def __init__(self, cvctl: str, size: int, runs: int, tree: str, peers: bool = True) -> None:
        self.ours, self.size, self.runs, self.tree, self.peers = Ours(cvctl, ""), size, runs, tree, PEERS if peers else {}
        self.rows: list[Row] = []
        self.others: list[float] = []

    def row(self, what: str, figure: str, target: str = "", met: bool | None = None) -> None:
        self.rows.append(Row(what, figure, target, met))
        print(self.rows[-1], flush=True)

    def least(self, what: str, value: float, target: float, more: str) -> None:
        self.row(what, f"{value:.3f}: {more}", f"≥ {target}", value >= target)

    def most(self, what: str, value: float, target: float, more: str = "") -> None:
        self.row(what, f"{value:.3f}{': ' if more else ''}{more}", f"≤ {target}", value <= target)

    def image(self, mebibytes: int) -> Ours:
        """An image of so many mebibytes of files that do not compress, in a store of its own."""
        self.ours.store = f"{SHM}/store-{mebibytes}"
        if not os.path.exists(self.ours.store):
            make_tree(f"{SHM}/tree", mebibytes)
            self.capture(f"{SHM}/tree")
            shutil.rmtree(f"{SHM}/tree")
        return self.ours

    def capture(self, tree: str) -> None:
        if not os.path.exists(self.ours.store):
            self.ours("store", "init", self.ours.store)
        self.ours("image", "capture", tree, "--name", "bench")

    def look(self) -> None:
        """Notes how much others use of the machine."""
        before, began = busy(), time.monotonic()
        time.sleep(0.3)
        self.others.append(min(1.0, (busy() - before) / (time.monotonic() - began) / CORES))


def capped(b: Bench, n: int, loss: int) -> None:
    """A slow network, where all that counts is what is sent beside the payload. Each chunk is verified before it is written, and nothing read back at the
    end: that would measure how fast sixteen hosts read on these cores."""
    small = max(1, b.size // 8)
    ours, what = b.image(small), f"{CAP} Mbit/s, N = {n}, {loss} % loss"
    with Lan(n, cap=CAP) as lan:
        lan.lose(loss)
        went = ours.run(lan, RATE)
        speed, wire = ours.stored / went.slowest() / 1e6, went.wire / max(1, ours.stored)
        theirs = {name: peer(lan, small / (2 if loss > 1 else 1)) for name, peer in b.peers.items()}
        follows = ours.run(lan, "auto") if n == 4 else None
    b.least(f"{what}: share of the cap", speed / capacity(CAP), LEAST_OF_CAP[loss], beside(speed, theirs))
    b.most(f"{what}: wire", wire, MOST_WIRE[loss])
    if follows:
        speed = ours.stored / follows.slowest() / 1e6
        b.row(f"{what}, --rate auto", f"{speed / capacity(CAP):.3f}: {speed:.2f} MB/s, wire {follows.wire / ours.stored:.3f}")


def beside(speed: float, theirs: dict[str, float]) -> str:
    return f"{speed:.2f} MB/s" + "".join(f", {name} {value:.2f}" for name, value in theirs.items())


def pairs(b: Bench, lan: Lan, mebibytes: int) -> list[tuple[float, float]]:
    """Goodput and raw limit, one after the other, so that whatever else the machine does hits both."""
    ours, found = b.image(mebibytes), []
    for _ in range(b.runs):
        memory_is_warm(len(lan.receivers) * mebibytes)
        limit = raw(lan, mebibytes)
        went = ours.run(lan, "auto", "--verify")
        found.append((ours.stored / went.slowest() / 1e6, limit))
    return found


def told(found: list[tuple[float, float]]) -> tuple[float, float, str]:
    """The median of the ratios, that of the speeds, and both in words."""
    if failed := sum(not speed for speed, _ in found):
        return 0.0, 0.0, f"{failed} of {len(found)} runs did not reach everybody"
    share, speed, limit = (statistics.median(values) for values in (map(lambda f: f[0] / max(f[1], 0.001), found), *zip(*found)))
    return share, speed, f"{speed:.1f} of {limit:.1f} MB/s"


def open_network(b: Bench, n: int, target: float) -> None:
    """As fast as it goes: the processor is the limit."""
    mebibytes, what = b.size if n < 16 else b.size // 2, f"no cap, N = {n}"
    with Lan(n) as lan:
        share, speed, text = told(pairs(b, lan, mebibytes))
        theirs = {name: peer(lan, mebibytes / 4) for name, peer in b.peers.items()}
    b.least(f"{what}: share of the raw limit", share, target, text)
    if theirs:
        best = max(theirs["udpcast"], theirs["uftp"], 0.001)
        b.least(f"{what}: times the better of udpcast and uftp", speed / best, 3, beside(speed, theirs))


def lossy_and_open(b: Bench) -> None:
    with Lan(16) as lan:
        ours, mebibytes, found = b.image(b.size // 2), b.size // 2, []
        for _ in range(b.runs):
            memory_is_warm(16 * mebibytes)
            lan.lose(0)
            limit = raw(lan, mebibytes)
            lan.lose(1)
            found.append((ours.stored / ours.run(lan, "auto", "--verify").slowest() / 1e6, limit))
    share, _, text = told(found)
    b.least("no cap, N = 16, 1 % loss: share of the raw limit", share, 0.5, text)


def jumbo(b: Bench) -> None:
    speeds, texts = [], []
    for mtu in (1500, 9000):
        with Lan(4, mtu=mtu) as lan:
            _, speed, text = told(pairs(b, lan, b.size))
        speeds.append(speed)
        texts.append(f"MTU {mtu} {text}")
    b.least("MTU 9,000 beside 1,500, N = 4", speeds[1] / max(speeds[0], 0.001), 2.5, ", ".join(texts))


def delta(b: Bench) -> None:
    """Receivers hold the version before."""
    what, tree, mebibytes = "5 % changed, N = 4: wire per byte of the image", f"{SHM}/tree", b.size // 4
    make_tree(tree, mebibytes)
    b.ours.store = f"{SHM}/store-delta"
    b.capture(tree)
    with Lan(4) as lan:
        fresh_places(lan)
        for n in lan.receivers:
            b.ours("image", "extract", "bench", place(n), "--no-sync")
        changed(tree, 0.05, 3)
        b.capture(tree)
        went = b.ours.end(b.ours.begin(lan, "auto", {n: b.ours.receiver(n, "--update") for n in lan.receivers}))
        lacks = any("unexpected argument '--update'" in p.said() for p in went.ended.values())
        wrong = [n for n in lan.receivers if subprocess.run(["diff", "-rq", tree, place(n)], capture_output=True, check=False).returncode]
    shutil.rmtree(tree)
    if lacks:
        b.row(what, "not run: the program has no `recv --update`", "≤ 0.06", False)
    elif wrong or not math.isfinite(went.slowest()):
        b.row(what, f"receivers {wrong} have another tree", "≤ 0.06", False)
    else:
        b.most(what, went.wire / (mebibytes << 20), 0.06, f"{went.slowest():.2f} s")


def late(b: Bench) -> None:
    """Three receive; a fourth one comes at half time."""
    ours = b.image(b.size // 8)
    with Lan(4, cap=CAP) as lan:
        fresh_places(lan)
        first = {n: ours.receiver(n, "--verify") for n in (1, 2, 3)}
        alone = ours.end(ours.begin(lan, RATE, first)).slowest()
        fresh_places(lan)
        transfer = ours.begin(lan, RATE, first)
        transfer.until(alone / 2)
        transfer.join(4, ours.receiver(4, "--verify"))
        went = ours.end(transfer)
    others = went.slowest((1, 2, 3))
    b.most("one joins at half time: its end after the others, of their time", (went.slowest((4,)) - others) / others, 0.6, f"others {others:.2f} s")
    b.most("one joins at half time: wire", went.wire / ours.stored, 1.6)
    b.most("one joins at half time: time of the others, of that without it", others / alone, 1.03)


def worse(b: Bench, how: str) -> None:
    """One of four is in trouble: what it costs the others, and that it still gets there. A mirror is on a host of its own. The loss is one of UDP, as of a
    switch that drops multicast first: TCP would not get through such a cable either."""
    ours, mirror = b.image(max(1, b.size // 16)), "10.78.0.6"
    with Lan(4, cap=CAP, more=1) as lan:
        lan.start(5, ours.cvctl, "-q", "--store", ours.store, "serve", "--listen", f"{mirror}:8087")
        more = ("--verify", "--mirror", f"http://{mirror}:8087")
        alone = ours.run(lan, RATE, *more).slowest((1, 2, 3))
        if how == "slow":
            lan.slow(4, CAP / 10)
        elif how == "lossy":
            lan.lose(30, [4], "udp")
        fresh_places(lan)
        transfer = ours.begin(lan, RATE, {n: ours.receiver(n, *more) for n in lan.receivers})
        if how == "killed":
            transfer.until(alone / 2)
            transfer.went.ended[4].kill()
        went = ours.end(transfer, 180)
    what = {"slow": "one at a tenth of the rate", "killed": "one is killed", "lossy": "one with 30 % loss"}[how]
    others = went.slowest((1, 2, 3))
    b.most(f"{what}: time of the others, of that without it", others / alone, 1.05, f"{others:.2f} s")
    if how != "killed":
        has, said = 4 in went.seconds, went.ended[4].said()
        by = json.loads(said)["instead"] or "all by multicast" if has else "it has not got it"
        b.row(f"{what}: it ends", f"{went.slowest((4,)):.1f} s: {by}", "ends", has)


def deploy(b: Bench) -> None:
    """Receiving into ext4, beside receiving into memory, and beside four deployments at once from a store in memory."""
    mebibytes, found = b.size // 2, []
    ours = b.image(mebibytes)
    with Lan(4) as lan:
        for _ in range(b.runs):
            memory_is_warm(4 * mebibytes)
            receiving = ours.run(lan, "auto").slowest()
            fresh_places(lan)
            with filesystems(4) as at:
                extract = [lan.start(n, ours.cvctl, "-q", "--store", ours.store, "image", "extract", "bench", at(n), "--no-sync") for n in (1, 2, 3, 4)]
                began = time.monotonic()
                deploying = max(p.wait().at for p in extract) - began
            memory_is_warm(4 * mebibytes)
            with filesystems(4) as at:
                both = ours.run(lan, "auto", at=at).slowest()
            found.append((max(receiving, deploying) / both, both, receiving, deploying))
    share, both, receiving, deploying = (statistics.median(values) for values in zip(*found))
    b.least("received to ext4, N = 4: speed, of the slower of receiving and deploying", share, 0.8,
            f"{both:.2f} s; receiving {receiving:.2f} s, deploying {deploying:.2f} s")


def real(b: Bench) -> None:
    """A real image: all receivers decompress it on the same cores."""
    b.tree = b.tree or subprocess.check_output([f"{HERE}/make-tree.sh"], text=True).splitlines()[-1]
    b.ours.store = f"{SHM}/store-real"
    b.capture(b.tree)
    with Lan(4) as lan:
        went = b.ours.run(lan, "auto", "--verify")
        done = [json.loads(p.said())["extracted"]["bytes"] for n, p in went.ended.items() if n in went.seconds] or [0]
        fresh_places(lan)
    shutil.rmtree(b.ours.store)
    t = went.slowest()
    b.row("a real image, no cap, N = 4", f"{b.ours.stored / t / 1e6:.1f} MB/s stored, {done[0] / t / 1e6:.1f} as files; {b.ours.stored >> 20} MiB, {t:.1f} s",
          "received", math.isfinite(t))


def million(b: Bench) -> None:
    """A million files, each with content of its own; its memory counts below."""
    b.ours.store = f"{SHM}/store-million"
    b.ours("store", "init", b.ours.store)
    archive = subprocess.Popen([sys.executable, f"{HERE}/multicast_million.py"], stdout=subprocess.PIPE)
    subprocess.run([b.ours.cvctl, "-q", "--store", b.ours.store, "image", "import", "-", "--name", "bench"], stdin=archive.stdout, stdout=subprocess.DEVNULL,
                   check=True)
    archive.wait()
    with Lan(1) as lan:
        went = b.ours.run(lan, "auto")
        fresh_places(lan)
    shutil.rmtree(b.ours.store)
    b.row("a million entries", f"{went.slowest():.1f} s, {b.ours.stored >> 20} MiB", "received", math.isfinite(went.slowest()))


ROWS: dict[str, Callable[[Bench], None]] = {
    **{f"capped-{n}-{loss}": functools.partial(capped, n=n, loss=loss) for n in (4, 8, 16) for loss in (0, 1, 5)},
    "open-4": functools.partial(open_network, n=4, target=0.65), "open-16": functools.partial(open_network, n=16, target=0.75),
    "open-lossy": lossy_and_open, "jumbo": jumbo, "delta": delta, "late": late,
    **{how: functools.partial(worse, how=how) for how in ("slow", "killed", "lossy")},
    "deploy": deploy, "real": real, "million": million,
}


def main() -> int:
    p = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    p.add_argument("--only", nargs="+", metavar="ROW", help="rows, or how their names begin: " + ", ".join(ROWS))
    p.add_argument("--quick", action="store_true", help=f"a small sample: {' and '.join(QUICK)}, once")
    p.add_argument("--size", type=int, metavar="MIB", help="the image of the fast rows, 512; slow ones have an eighth of it")
    p.add_argument("--runs", type=int, help="how often a fast row is run: the number is the median")
    p.add_argument("--alone", action="store_true", help="without the peers")
    p.add_argument("--tree", help="another real tree than that of make-tree.sh")
    a = p.parse_args()
    wanted = a.only or (QUICK if a.quick else list(ROWS))
    names = [name for name in ROWS if name.startswith(tuple(wanted))]
    if unknown := [w for w in wanted if not any(name.startswith(w) for name in ROWS)]:
        p.error(f"there is no row {', '.join(unknown)}")
    cvctl = os.path.realpath(os.environ.get("CVCTL") or f"{HERE}/../{os.environ.get('CARGO_TARGET_DIR', 'target')}/release/cvctl")
    lacking = [t for t in TOOLS if not shutil.which(t, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")]
    lacking += [] if os.access(cvctl, os.X_OK) else [cvctl]
    if os.geteuid() != 0 or lacking:
        print(f"skipped: it needs root{''.join(f', {t}' for t in lacking)}; tests/setup.sh bench installs the tools")
        return 77
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    begin()
    atexit.register(clean)
    remove_namespaces()
    b = Bench(cvctl, a.size or (128 if a.quick else 512), a.runs or (1 if a.quick else 3), a.tree and os.path.abspath(a.tree), not a.alone)
    started = time.monotonic()
    print("| Work | Figure | Target | |\n|---|---|---|---|", flush=True)
    for name in names:
        b.look()
        ROWS[name](b)
    for who, peak in b.ours.peak.items():
        b.row(f"memory of a {who}, the most of all", f"{peak} MiB", f"≤ {LIMIT_MIB[who]} MiB", peak <= LIMIT_MIB[who])
    others = statistics.median(b.others or [0])
    print(f"\n{CORES} cores, {time.monotonic() - started:.0f} s, others used {others:.0%} of the machine"
          + ("" if others < 0.1 else ": too much to believe these numbers"))
    return 0 if all(r.met is not False for r in b.rows) else 1


if __name__ == "__main__":
    sys.exit(main())

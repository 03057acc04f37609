#!/usr/bin/env python3
"""forger.py ATTACK RATE [COUNT]: somebody on the same network who has no key. It hears all that passes its cable, and sends so many datagrams a
second, until it is terminated or has sent COUNT of them. Its checks are those of mode crc, so that only a key keeps it out.

    flood   symbols and parity of every stripe, announcements, ends of the session, reports and requests of made-up receivers, what it heard
            before, noise
    share   symbols and parity of every stripe
    spoil   symbols of the first stripes of the body, with numbers that nobody wonders about
    noise   random datagrams of all lengths to both groups, to the receivers and to the sender
    replay  what it heard until it gets a line on its input, again and again

Prints how many it sent that are none of a session's: to the groups, to single receivers, to the sender; how many are recorded
ones, and how many of these are requests to join the session that goes on."""
from __future__ import annotations

import itertools
import json
import os
import random
import select
import signal
import socket
import struct
import sys
import time
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterator

Address = tuple[str, int]
# What is counted, the datagram, and where it goes.
Forged = tuple[str, bytes, Address]

CONTROL = ("239.192.67.86", 7786)
# Parts of the protocol: stripes, and the check of symbols by mode.
STRIPE_SYMBOLS, STRIPE_BYTES, PARITY = 1024, 1_500_000, 512
DATA_CHECK = {0: 4, 1: 8, 2: 16}
DATA, ANNOUNCE, SYNC, JOIN, REPORT = 0x11, 0x12, 0x13, 0x14, 0x16
PROMISCUOUS = struct.pack("=iHH8s", socket.if_nametoindex("eth0"), 1, 0, b"")
rng = random.Random(5)


class Tap:
    """The cable: what passes, and what can be learnt from it."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
        self.socket.setsockopt(263, 1, PROMISCUOUS)  # SOL_PACKET, PACKET_ADD_MEMBERSHIP
        self.socket.setsockopt(socket.SOL_SOCKET, 33, 128 << 20)  # SO_RCVBUFFORCE
        self.socket.setblocking(False)
        self.announce = self.session = b""
        self.sender: Address = ("", 0)
        self.data: Address = ("", 0)
        self.receivers: set[Address] = set()
        self.seq = 0
        self.lately: deque[bytes] = deque(maxlen=200)
        # Everything, while somebody wants it.
        self.record: list[tuple[bytes, Address]] | None = None

    def hear(self, most: int = 500) -> None:
        """Takes what has come, but not for too long."""
        for _ in range(most):
            try:
                packet, (_, _, kind, _, _) = self.socket.recvfrom(2000)
            except BlockingIOError:
                return
            at = (packet[0] & 15) * 4
            if kind == 4 or packet[9] != socket.IPPROTO_UDP:  # PACKET_OUTGOING: its own
                continue
            port, to, length = struct.unpack_from(">HHH", packet, at)
            datagram = packet[at + 8:at + length]
            if datagram:
                self.learn(datagram, (socket.inet_ntoa(packet[12:16]), port), (socket.inet_ntoa(packet[16:20]), to))

    def learn(self, datagram: bytes, source: Address, to: Address) -> None:
        if self.record is not None:
            self.record.append((datagram, to))
        if to == self.data:
            self.lately.append(datagram)
            if datagram[0] == DATA:
                self.seq = struct.unpack_from("<I", datagram, 4)[0]
        elif to == CONTROL and datagram[0] == ANNOUNCE:
            self.announce, self.sender = datagram, (source[0], struct.unpack_from("<H", datagram, 70)[0])
            self.data = (socket.inet_ntoa(datagram[74 + 12:74 + 16]), struct.unpack_from("<H", datagram, 72)[0])
            if datagram[4:12] != self.session:
                self.session = datagram[4:12]
                self.receivers.clear()
        elif to == self.sender:
            self.receivers.add(source)

    @property
    def mode(self) -> int:
        return self.announce[2]

    @property
    def symbol(self) -> int:
        return int(struct.unpack_from("<H", self.announce, 68)[0])

    def stripes(self) -> tuple[int, int]:
        """Those of the head, and all."""
        stripe = self.symbol * min(STRIPE_SYMBOLS, STRIPE_BYTES // self.symbol)
        head, body = (-(-length // stripe) for length in struct.unpack_from("<QQ", self.announce, 52))
        return head, head + body

    def control(self, kind: int, flags: int, fields: bytes) -> bytes:
        body = bytes([kind, flags, self.mode, 0]) + self.session + fields
        return body + struct.pack("<I", zlib.crc32(self.session + body)) + os.urandom(12 if self.mode else 0)

    def forged(self, seq: int, stripe: int, number: int, flags: int = 0) -> Forged:
        header = bytes([DATA, flags]) + self.session[:2] + struct.pack("<II", seq, stripe << 12 | number)
        payload = rng.randbytes(self.symbol)
        check = struct.pack("<I", zlib.crc32(self.session + header + payload)) + os.urandom(DATA_CHECK[self.mode] - 4)
        return "groups", header + check + payload, self.data


def noise(tap: Tap, length: int) -> Forged:
    to, where = rng.choice([("groups", tap.data), ("groups", CONTROL), ("one", rng.choice(list(tap.receivers))), ("sender", tap.sender)])
    return to, rng.randbytes(length), where


def share(tap: Tap) -> Iterator[Forged]:
    for stripe in itertools.cycle(range(tap.stripes()[1])):
        for number in (rng.randrange(STRIPE_SYMBOLS), STRIPE_SYMBOLS + rng.randrange(PARITY)):
            yield tap.forged(rng.randrange(1, 50_000), stripe, number, rng.randrange(8))


def flood(tap: Tap) -> Iterator[Forged]:
    for symbol in share(tap):
        yield symbol
        yield "groups", tap.control(ANNOUNCE, 1, tap.announce[12:-16 if tap.mode else -4]), CONTROL
        yield "groups", tap.control(SYNC, 3, os.urandom(20)), tap.data
        lacks = struct.pack("<7I", rng.randrange(0, 8), 0, 0, 0, 0, 0, 0) + b"\0\xff\x0f\xff\x07"
        yield "sender", tap.control(REPORT, 0, lacks), tap.sender
        yield "sender", tap.control(JOIN, 0, os.urandom(20) + b"\x05noise"), tap.sender
        if tap.lately:
            yield "replayed", rng.choice(tap.lately), tap.data
        yield noise(tap, rng.randrange(1, 1400))


def spoil(tap: Tap) -> Iterator[Forged]:
    head, stripes = tap.stripes()
    for stripe in itertools.cycle(range(head, min(head + 6, stripes))):
        yield tap.forged(tap.seq, stripe, rng.randrange(STRIPE_SYMBOLS + PARITY))


def all_lengths(tap: Tap) -> Iterator[Forged]:
    for length in itertools.cycle(range(1473)):
        yield noise(tap, length)


def replay(tap: Tap) -> Iterator[Forged]:
    recorded, tap.record = tap.record or [], None
    groups = {to for datagram, to in recorded if datagram[0] == DATA}
    for datagram, to in itertools.cycle(recorded):
        # What went to one goes to all that are in its place now.
        if to == CONTROL or to in groups:
            places = {to, CONTROL if to == CONTROL else tap.data}
        else:
            places = {tap.sender} if datagram[0] in (JOIN, REPORT) else set(tap.receivers)
        is_join = datagram[0] == JOIN and datagram[4:12] == tap.session
        for place in places:
            yield "joins" if is_join else "replayed", datagram, place


ATTACKS: dict[str, Callable[[Tap], Iterator[Forged]]] = {
    "flood": flood, "share": share, "spoil": spoil, "noise": all_lengths, "replay": replay}


def main() -> None:
    attack, rate = sys.argv[1], float(sys.argv[2])
    left = int(sys.argv[3]) if len(sys.argv) > 3 else sys.maxsize
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("=4s4si", b"\0" * 4, b"\0" * 4, socket.if_nametoindex("eth0")))
    tap, sent = Tap(), Counter[str]()
    is_replay = attack == "replay"
    tap.record = [] if is_replay else None
    print("listens", flush=True)
    while not ended and not (select.select([sys.stdin], [], [], 0)[0] if is_replay else tap.receivers or attack == "spoil" and tap.session):
        tap.hear()
        time.sleep(0.001)
    forged, began, count = ATTACKS[attack](tap), time.monotonic(), 0
    while not ended and left:
        tap.hear()
        for what, datagram, to in itertools.islice(forged, max(0, min(int((time.monotonic() - began) * rate) - count, left, 200))):
            count, left = count + 1, left - 1
            try:
                out.sendto(datagram, to)
                sent[what] += 1
            except OSError:
                pass
        time.sleep(0.0005)
    print(json.dumps(sent))


main()

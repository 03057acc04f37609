#!/usr/bin/env python3
"""forger.py CONTROL_GROUP CONTROL_PORT SECONDS: somebody on the same network who has no key. It listens to announcements and sends what looks
like the session: symbols and parity of every stripe, announcements, ends of the session, reports of made-up receivers, what it heard before, and noise. The
checks of what it forges are those of mode crc, so that only a key keeps it out. Prints how many datagrams it sent."""
from __future__ import annotations

import os
import random
import socket
import struct
import sys
import time
import zlib

group, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
rng = random.Random(5)


def joined(address: str, at: int) -> socket.socket:
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((address, at))
    index = socket.if_nametoindex("eth0")
    s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(address) + socket.inet_aton("0.0.0.0") + struct.pack("=i", index))
    return s


def control(kind: int, flags: int, mode: int, session: bytes, fields: bytes) -> bytes:
    body = bytes([0x10 | kind, flags, mode, 0]) + session + fields
    return body + struct.pack("<I", zlib.crc32(session + body)) + os.urandom(12)


listener = joined(group, port)
announce, (sender, _) = listener.recvfrom(2000)
session, mode = announce[4:12], announce[2]
symbol, unicast, data_port = struct.unpack_from("<HHH", announce, 68)
data_group = socket.inet_ntoa(announce[74 + 12:74 + 16])
tapped = joined(data_group, data_port)
tapped.settimeout(0)
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("=4s4si", b"\0" * 4, b"\0" * 4, socket.if_nametoindex("eth0")))
until, sent, heard = time.monotonic() + seconds, 0, [announce]
while time.monotonic() < until:
    try:
        heard.append(tapped.recv(2000))
    except OSError:
        pass
    stripe, number, flags = rng.randrange(0, 40), rng.randrange(0, 1500), rng.randrange(0, 8)
    header = bytes([0x11, flags]) + session[:2] + struct.pack("<II", rng.randrange(1, 50_000), stripe << 12 | number)
    payload = os.urandom(symbol)
    check = struct.pack("<I", zlib.crc32(session + header + payload)) + os.urandom({0: 0, 1: 4, 2: 12}[mode])
    away = rng.choice(heard[-200:])
    for datagram, to in (
        (header + check + payload, (data_group, data_port)),
        (control(2, 1, mode, session, announce[12:-16]), (group, port)),
        (control(3, 3, mode, session, os.urandom(20)), (data_group, data_port)),
        (control(6, 0, mode, session, struct.pack("<7I", rng.randrange(0, 8), 0, 0, 0, 0, 0, 0) + b"\0\xff\x0f\xff\x07"), (sender, unicast)),
        (control(4, 0, mode, session, os.urandom(20) + b"\x05noise"), (sender, unicast)),
        (away, (data_group, data_port)),
        (os.urandom(rng.randrange(1, 1400)), rng.choice([(data_group, data_port), (group, port), (sender, unicast)])),
    ):
        try:
            out.sendto(datagram, to)
            sent += 1
        except OSError:
            pass
    time.sleep(0.001)
print(sent)

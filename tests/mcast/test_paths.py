#!/usr/bin/env python3
"""The ways that datagrams go: IPv6, jumbo frames, a group and port of one's own; and what somebody who listens on the wire sees: with `--mode aead` no
content, with the others all of it."""
from __future__ import annotations

import ctypes
import json
import os
import shutil
import socket
import subprocess
import sys
import threading

from lan import Lan

sys.path.insert(0, f"{os.path.dirname(os.path.abspath(__file__))}/../http")
from bed import CVCTL, Bed  # noqa: E402


def one_session(lan: Lan, group: str, mode: str = "crc", key: str = "") -> dict:
    """Two receivers get it."""
    keyed = ["--key-file", key] if key else []
    group_args = ["--group", group] if group else []

    def start(host: int, *args: str) -> "subprocess.Popen[str]":
        command = lan.inside(lan.hosts[host], CVCTL, "-q", "-o", "json", *args, "--interface", "eth0", *group_args, *keyed)
        return lan.bed.start(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    sender = start(0, "--store", lan.bed.store, "mcast", "send", "node", "--receivers", "2", "--rate", "200Mbit", "--mode", mode)
    receivers = {n: start(n, "mcast", "recv", f"{lan.bed.dir}/out{n}", "--no-sync") for n in (1, 2)}
    for n, process in receivers.items():
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, f"{n}: {process.returncode} {err}"
        subprocess.run(["diff", "-r", "--no-dereference", lan.bed.tree, f"{lan.bed.dir}/out{n}"], check=True)
        shutil.rmtree(f"{lan.bed.dir}/out{n}")
    out, err = sender.communicate(timeout=60)
    assert sender.returncode == 0, err
    return dict(json.loads(out))


class Listener:
    """All that comes to a receiver's interface, in its namespace."""

    def __init__(self, lan: Lan, host: int) -> None:
        libc, network = ctypes.CDLL(None, use_errno=True), 0x40000000  # CLONE_NEWNET
        with open(f"/proc/{lan.hosts[host]}/ns/net", "rb") as other, open("/proc/self/ns/net", "rb") as own:
            assert libc.setns(other.fileno(), network) == 0, ctypes.get_errno()
            try:
                self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
                self.socket.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
                self.socket.bind(("eth0", 0))
            finally:
                assert libc.setns(own.fileno(), network) == 0, ctypes.get_errno()
        self.frames: list[bytes] = []
        self.socket.settimeout(0.5)
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.listen)
        self.thread.start()

    def listen(self) -> None:
        while not self.over.is_set():
            try:
                self.frames.append(self.socket.recv(65536))
            except TimeoutError:
                pass

    def end(self) -> list[bytes]:
        self.over.set()
        self.thread.join()
        self.socket.close()
        return self.frames


def heard(lan: Lan, mode: str, key: str) -> tuple[int, int]:
    """Frames, and those that show content of the image."""
    with open(f"{lan.bed.tree}/blob0", "rb") as f:
        blob = f.read()
    # Pieces that stand nowhere else, wherever a frame was cut.
    pieces = [blob[at:at + 24] for at in range(0, len(blob), 600)]
    listener = Listener(lan, 1)
    one_session(lan, "", mode, key)
    frames = listener.end()
    return len(frames), sum(any(p in frame for p in pieces[:400]) for frame in frames)


def main() -> None:
    if os.geteuid() != 0 or not shutil.which("ethtool"):
        print("it needs root and ethtool (apt-get install ethtool)")
        sys.exit(77)
    with Bed(megabytes=4, files=40) as bed:
        key = f"{bed.dir}/key"
        with open(key, "wb") as f:
            f.write(os.urandom(32))
        for mtu, least in ((1500, 2_700), (9000, 450)):
            lan = Lan(bed, 2, mtu)
            for host in lan.hosts:
                # Addresses are there at once, and not looked for elsewhere first.
                lan.run(host, "ip", "link", "set", "eth0", "down")
                lan.run(host, "sysctl", "-q", "-w", "net.ipv6.conf.eth0.accept_dad=0", "net.ipv6.conf.eth0.disable_ipv6=0")
                lan.run(host, "ip", "link", "set", "eth0", "up")
            for group in ("", "239.255.1.2:4000", "[ff15::4356:4d]:7786", "[ff12::77]:9000"):
                sent = one_session(lan, group)["sent"]["first"]
                assert least <= sent < 2 * least, (mtu, group, sent)
                print(f"MTU {mtu}, {group or 'the usual group'}: {sent} symbols", flush=True)
        lan = Lan(bed, 2)
        for mode, is_open in (("crc", True), ("tag", True), ("aead", False)):
            frames, content = heard(lan, mode, "" if mode == "crc" else key)
            print(f"{mode}: of {frames} frames {content} show content", flush=True)
            assert frames > 2_000 and (content > 50) == is_open and (is_open or content == 0), (mode, frames, content)


main()

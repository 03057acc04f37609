#!/usr/bin/env python3
"""Clients that mean harm: idle connections, headers without end, bodies without end, headers byte by byte, answers that are not read,
malformed requests (1,000, 10^5 with FULL=1; idle connections 500 and 10,000). The server goes on serving a healthy client, and its
memory stays flat. With FULL=1 the healthy client is at least 0.7 times as fast as alone."""
from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import socket
import subprocess
import threading
import time
import urllib.parse

from bed import FULL, Bed, get

IDLE, MALFORMED = (10_000, 100_000) if FULL else (500, 1_000)
MEMORY = 64 << 20


def memory(pid: int) -> int:
    """Bytes that a process holds now."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) << 10 for line in f if line.startswith("VmRSS:"))


class Crowd:
    """Threads of bad clients, until they are stopped."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address, self.stopped, self.threads = address, threading.Event(), []
        # How long the server bore each slow client.
        self.borne: list[float] = []

    def connect(self, source: str = "") -> socket.socket:
        s = socket.create_connection(self.address, timeout=20, source_address=(source, 0) if source else None)
        s.settimeout(20)
        return s

    def each(self, count: int, work: object) -> None:
        def loop() -> None:
            while not self.stopped.is_set():
                with contextlib.suppress(OSError), self.connect() as s:
                    work(s)  # type: ignore[operator]
        for _ in range(count):
            thread = threading.Thread(target=loop, daemon=True)
            thread.start()
            self.threads.append(thread)

    def stop(self) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join(30)
            assert not thread.is_alive(), "the server keeps a bad client for ever"

    def slow_headers(self, s: socket.socket) -> None:
        s.sendall(b"GET /store.json HTTP/1.1\r\n")
        began = time.monotonic()
        try:
            for n in range(1000):
                if self.stopped.wait(0.2):
                    return
                s.sendall(b"X-%d: y\r\n" % n)
        finally:
            if not self.stopped.is_set():
                self.borne.append(time.monotonic() - began)

    def endless_headers(self, s: socket.socket) -> None:
        s.sendall(b"GET /store.json HTTP/1.1\r\n")
        while not self.stopped.is_set():
            s.sendall(b"X-y: " + b"z" * 4000 + b"\r\n")

    def endless_body(self, s: socket.socket) -> None:
        s.sendall(b"POST /v1/list/refs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not self.stopped.is_set():
            s.sendall(b"1000\r\n" + b"z" * 4096 + b"\r\n")
            time.sleep(0.01)

    def reads_nothing(self, s: socket.socket) -> None:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.sendall(b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % self.pack.encode())
        self.stopped.wait(20)

    pack = ""


def malformed(crowd: Crowd, count: int) -> None:
    """Requests that are none, or nearly some."""
    rng = random.Random(11)
    pieces = [b"GET ", b"POST ", b"\x00", b"/", b"//", b"..", b"%2e%2e/", b"\xff\xfe", b" HTTP/1.1", b" HTTP/9.9", b"\r\n", b"\n",
              b"Host: x\r\n", b"Content-Length: -1\r\n", b"Content-Length: 99999999999999999999\r\n", b"Range: bytes=9-0\r\n",
              b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip\r\n", b"a" * 300, b": ", b"\t", b"store.json", b"refs/",
              b"v1/list/", b"v1/list/..%2f..", b"healthz", b"If-None-Match: \"\r\n", b"Expect: 100-continue\r\n"]
    for _ in range(count):
        request = b"".join(rng.choice(pieces) for _ in range(rng.randrange(1, 12))) + b"\r\n\r\n"
        with contextlib.suppress(OSError), crowd.connect() as s:
            s.sendall(request)
            s.shutdown(socket.SHUT_WR)
            answer = s.recv(4096)
            assert not answer or answer.startswith(b"HTTP/1."), answer
            assert b" 500 " not in answer[:20], (request, answer)


def rate(url: str, packs: list[str], seconds: float) -> float:
    """Bytes in a second that one healthy client gets: a process of its own, which does not wait for our threads."""
    urls = [part for pack in packs * 4 for part in (f"{url}/{pack}", "-o", "/dev/null")]
    began, done = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        out = subprocess.run(["curl", "-s", "-f", "-w", "%{size_download}\n", *urls], check=True, capture_output=True, text=True).stdout
        done += sum(map(int, out.split()))
    return done / (time.monotonic() - began)


def begin_at_once(pid: int, address: tuple[str, int]) -> None:
    """A thousand nodes that begin in the same moment are let in, although the server is busy just then."""
    os.kill(pid, signal.SIGSTOP)
    try:
        nodes = [socket.create_connection(address, timeout=0.9) for _ in range(1000)]
    finally:
        os.kill(pid, signal.SIGCONT)
    for s in nodes:
        s.settimeout(20)
        s.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert all(s.recv(12) == b"HTTP/1.1 200" for s in nodes)
    for s in nodes:
        s.close()


def main() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with Bed(megabytes=24) as bed:
        server, url = bed.serve()
        parts = urllib.parse.urlsplit(url)
        address = (str(parts.hostname), int(parts.port or 0))
        packs = [os.path.relpath(f"{d}/{f}", bed.store) for d, _, files in os.walk(f"{bed.store}/packs") for f in files]
        begin_at_once(server.pid, address)
        seconds = 5.0 if FULL else 1.0
        rate(url, packs, 0.5)
        alone, before = rate(url, packs, seconds), memory(server.pid)
        crowd = Crowd(address)
        Crowd.pack = packs[0]
        idle = []
        for n in range(IDLE):
            # One address has 2,048 connections at most.
            with contextlib.suppress(OSError):
                idle.append(crowd.connect(f"127.0.{1 + n // 2000}.1"))
        assert len(idle) == IDLE, len(idle)
        crowd.each(8, crowd.slow_headers)
        crowd.each(1, crowd.endless_headers)
        crowd.each(4, crowd.endless_body)
        crowd.each(8, crowd.reads_nothing)
        time.sleep(1)
        beside = rate(url, packs, seconds)
        malformed(crowd, MALFORMED)
        again, after = rate(url, packs, seconds), memory(server.pid)
        print(f"alone {alone / 1e6:.0f} MB/s, beside them {beside / 1e6:.0f} and {again / 1e6:.0f}; memory {before >> 20} and {after >> 20} MiB")
        assert get(f"{url}/healthz")[:2] == (200, b"ok\n")
        assert after < before + MEMORY, f"{before} {after}"
        if FULL:
            assert min(beside, again) >= 0.7 * alone
        # Headers may take 15 s, and so may a connection that says nothing.
        until = time.monotonic() + 30
        while not crowd.borne and time.monotonic() < until:
            time.sleep(0.2)
        crowd.stop()
        assert crowd.borne and max(crowd.borne) < 25, crowd.borne
        for s in idle:
            with contextlib.suppress(ConnectionResetError):
                assert s.recv(1) == b""
            s.close()
        # It ends by itself, and finishes what runs.
        server.terminate()
        assert server.wait(40) == 0
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


main()

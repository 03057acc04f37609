#!/usr/bin/env python3
"""faults.py --listen PORT --to PORT [--rate 0.1] [--seed N]: a proxy in front of a server for S3 that fails some requests.

Requests with If-None-Match it lets through one at a time: s3s-fs and moto look, and then write, which S3 does in one step.
Each fault is one of: 500 or 503 before or after the server did the work, a connection that is reset before or after, half
of the body of an answer, and, of a key that was read before, an earlier answer. `/-/faults` tells how many there were, as
JSON.
"""
from __future__ import annotations

import argparse
import collections
import contextlib
import http.client
import http.server
import json
import random
import socket
import struct
import threading

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "proxy-connection"}
SLOW_DOWN = (b"<?xml version='1.0' encoding='UTF-8'?><Error><Code>%s</Code>"
             b"<Message>This is a fault of the test</Message></Error>")
KINDS = ("500", "503", "500 after", "503 after", "reset", "reset after", "half", "stale")


class Faults:
    """What goes wrong, and how often it did."""

    def __init__(self, rate: float, seed: int) -> None:
        self.rate, self.random, self.lock = rate, random.Random(seed), threading.Lock()
        self.counts: collections.Counter[str] = collections.Counter()
        # The answers to reads of a key: a stale read gives one of them once more.
        self.seen: dict[tuple[str, str], list[tuple[int, list[tuple[str, str]], bytes]]] = {}

    def draw(self) -> str:
        with self.lock:
            self.counts["requests"] += 1
            return self.random.choice(KINDS) if self.random.random() < self.rate else ""

    def count(self, kind: str) -> None:
        with self.lock:
            self.counts[kind] += 1

    def remember(self, key: tuple[str, str], answer: tuple[int, list[tuple[str, str]], bytes]) -> None:
        with self.lock:
            answers = self.seen.setdefault(key, [])
            if answer[2] not in [a[2] for a in answers] and len(answer[2]) < 1 << 20:
                answers.append(answer)

    def stale(self, key: tuple[str, str]) -> tuple[int, list[tuple[str, str]], bytes] | None:
        """An earlier answer that is not the last one."""
        with self.lock:
            answers = self.seen.get(key, [])[:-1]
            return self.random.choice(answers) if answers else None


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    faults: Faults
    upstream: int
    conditions = threading.Lock()
    # Headers and body are two writes; the second would wait for the acknowledgement of the first.
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/-/faults":
            self.answer(200, [], json.dumps(self.faults.counts).encode())
            return
        kind, key = self.faults.draw(), (self.path, self.headers.get("Range", ""))
        readable = self.command == "GET" and "?" not in self.path
        if kind in ("500", "503"):
            self.fail(kind)
        elif kind == "reset":
            self.reset(kind)
        else:
            with self.conditions if self.headers.get("If-None-Match") else contextlib.nullcontext():
                status, headers, answer = self.forward(body)
            good_read = readable and status in (200, 206)
            if kind == "stale" and good_read and (earlier := self.faults.stale(key)):
                self.faults.count(kind)
                status, headers, answer = earlier
            elif good_read:
                self.faults.remember(key, (status, headers, answer))
            if kind in ("500 after", "503 after"):
                self.fail(kind)
            elif kind == "reset after":
                self.reset(kind)
            elif kind == "half" and len(answer) > 1 and self.command != "HEAD":
                self.faults.count(kind)
                self.answer(status, headers, answer, len(answer) // 2)
                self.reset("")
            else:
                self.answer(status, headers, answer)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do  # noqa: N815

    def forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.upstream, timeout=60)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in HOP_BY_HOP:
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            headers = [(k, v) for k, v in answer.getheaders() if k.lower() not in HOP_BY_HOP]
            return answer.status, headers, answer.read()
        finally:
            connection.close()

    def answer(self, status: int, headers: list[tuple[str, str]], body: bytes, part: int | None = None) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() != "content-length" or self.command == "HEAD":
                self.send_header(name, value)
        if self.command != "HEAD" and status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:part])
        self.wfile.flush()

    def fail(self, kind: str) -> None:
        self.faults.count(kind)
        code = b"InternalError" if kind.startswith("500") else b"SlowDown"
        self.answer(int(kind[:3]), [("Content-Type", "application/xml")], SLOW_DOWN % code)

    def reset(self, kind: str) -> None:
        if kind:
            self.faults.count(kind)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        pass


def main() -> None:
    p = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    p.add_argument("--listen", type=int, required=True)
    p.add_argument("--to", type=int, required=True)
    p.add_argument("--rate", type=float, default=0.1)
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    Handler.faults, Handler.upstream = Faults(a.rate, a.seed), a.to
    Server(("127.0.0.1", a.listen), Handler).serve_forever()


if __name__ == "__main__":
    main()

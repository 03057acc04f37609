"""What the tests of servers share: a store, servers of it (ours, a mirror, nginx, one with a fault), and clients. All is in a
directory that is removed at the end, on free ports of loopback; what a killed run left ends with it (PDEATHSIG)."""
from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from typing import Any

CVCTL = os.environ.get("CVCTL", "cvctl")
FULL = os.environ.get("FULL") == "1"
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/bin")


def die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def cv(*args: str, timeout: float = 300, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([CVCTL, "-o", "json", *args], capture_output=True, text=True, timeout=timeout)
    if check and done.returncode:
        raise AssertionError(f"cvctl {args}: {done.returncode} {done.stderr}")
    return done


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def get(url: str, **headers: str) -> tuple[int, bytes, Any]:
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as e:
        return e.code, e.read(), e.headers


def eventually(what: str, holds: Any, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            raise AssertionError(f"{what}: not in {seconds} s")
        time.sleep(0.05)


class Bed:
    """A store with an image `node`, and what serves it."""

    def __init__(self, megabytes: int = 8, files: int = 200) -> None:
        self.dir = tempfile.mkdtemp(prefix="libcv-http-", dir="/dev/shm")
        self.tree, self.store = f"{self.dir}/tree", f"{self.dir}/store"
        self.running: list[subprocess.Popen[str]] = []
        rng = random.Random(7)
        os.makedirs(f"{self.tree}/etc")
        for n in range(files):
            with open(f"{self.tree}/etc/{n}", "w", encoding="ascii") as f:
                f.write(f"line {n}\n" * n)
        for n in range(megabytes):
            with open(f"{self.tree}/blob{n}", "wb") as f:
                f.write(rng.randbytes(1 << 20))
        cv("store", "init", self.store)
        cv("--store", self.store, "image", "capture", self.tree, "--name", "node")

    def __enter__(self) -> "Bed":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.running:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()
        shutil.rmtree(self.dir)

    def start(self, *args: str, **more: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen(args, text=True, preexec_fn=die_with_parent, **more)
        self.running.append(process)
        return process

    def serve(self, store: str = "", *args: str) -> tuple[subprocess.Popen[str], str]:
        """Our server; its process and its address."""
        process = self.start(CVCTL, "-o", "json", "--store", store or self.store, "serve", "--listen", "127.0.0.1:0", *args,
                             stdout=subprocess.PIPE)
        assert process.stdout
        line = process.stdout.readline()
        assert line, f"serve ended with {process.wait()}"
        said = json.loads(line)
        return process, f"{said['scheme']}://{said['listening']}"

    def nginx(self, root: str, more: str = "") -> str:
        """A real static server; `more` goes into its configuration."""
        assert NGINX
        port, place = free_port(), tempfile.mkdtemp(dir=self.dir)
        with open(f"{place}/conf", "w", encoding="ascii") as f:
            f.write(f"daemon off; master_process off; pid {place}/pid; error_log {place}/error; worker_rlimit_nofile 20000;\n"
                    "events { worker_connections 8000; }\n"
                    f"http {{ access_log off; sendfile on; keepalive_requests 1000000; client_body_temp_path {place}/b;\n"
                    f" proxy_temp_path {place}/p; fastcgi_temp_path {place}/f; uwsgi_temp_path {place}/u; scgi_temp_path {place}/s;\n"
                    f" server {{ listen 127.0.0.1:{port} backlog=4096; root {root}; {more} }} }}\n")
        self.start(NGINX, "-c", f"{place}/conf", "-p", place, stderr=subprocess.DEVNULL)
        eventually("nginx answers", lambda: answers(port))
        return f"http://127.0.0.1:{port}"

    def damaged(self) -> str:
        """A copy of the store on a disk that went bad: each file has wrong bytes."""
        copy = tempfile.mkdtemp(dir=self.dir)
        shutil.copytree(self.store, copy, dirs_exist_ok=True)
        for place, _, files in os.walk(copy):
            for path in (f"{place}/{name}" for name in files):
                with open(path, "rb+") as f:
                    bad = bytearray(f.read())
                    bad[::997] = bytes(b ^ 0x55 for b in bad[::997])
                    f.seek(0)
                    f.write(bad)
        return copy

    def clients(self, count: int, urls: list[str], during: Any = None) -> tuple[float, list[str]]:
        """So many extractions at once; how long they took, and what their events say. Each tree is compared."""
        processes, (gate, opener) = [], os.pipe()
        mirrors = [arg for url in urls[1:] for arg in ("--mirror", url)]
        for n in range(count):
            out, events = f"{self.dir}/out{n}", f"{self.dir}/events{n}"
            # To start so many takes as long as what they do: they wait for each other.
            wait = ["sh", "-c", 'read -r _; exec "$@"', "sh"]
            processes.append(self.start(*wait, CVCTL, "-q", "--store", urls[0], *mirrors, "--events", events, "image", "extract", "node",
                                        out, "--threads", "1", "--no-sync", stdin=gate, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE))
        began = time.monotonic()
        os.close(opener)
        os.close(gate)
        if during:
            during()
        said = []
        for n, process in enumerate(processes):
            _, stderr = process.communicate(timeout=900)
            assert process.returncode == 0, f"client {n}: {process.returncode} {stderr}"
        took = time.monotonic() - began
        for n, process in enumerate(processes):
            self.running.remove(process)
            subprocess.run(["diff", "-r", self.tree, f"{self.dir}/out{n}"], check=True)
            shutil.rmtree(f"{self.dir}/out{n}")
            with open(f"{self.dir}/events{n}", encoding="utf-8") as f:
                said += [e["message"] for e in map(json.loads, f) if e["kind"] == "log"]
            os.unlink(f"{self.dir}/events{n}")
        return took, said


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False

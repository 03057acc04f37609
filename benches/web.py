"""The parts of peers.py about servers, all on loopback: packs fetched beside curl, an image deployed beside curl | zstd | tar, 64 clients
of our server beside those of nginx, a link with a delay of 50 ms and 100 Mbit/s, a capture that is sent beside restic. Needs what `tests/setup.sh bench` installs."""
from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from change import changed
from measure import SHM, Filesystem, Timed, fresh, stored, timed, warm
from versions import ENVIRONMENT, TREE, Peer, copy_of

if TYPE_CHECKING:
    from peers import Bench

TAR = ["tar", "--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner", "--same-owner", "-p"]
CLIENTS = 64
SFTP = ["-o", "sftp.command=/usr/lib/openssh/sftp-server"]
LINK = 100e6 / 8
DELAY = 0.025       # each way


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextlib.contextmanager
def ours(b: Bench, store: str) -> Iterator[tuple[str, int]]:
    """Our server: its address and process."""
    process = subprocess.Popen([b.cvctl, "-o", "json", "--store", store, "serve", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE,
                               text=True)
    assert process.stdout
    try:
        yield "http://" + json.loads(process.stdout.readline())["listening"], process.pid
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def nginx(root: str) -> Iterator[str]:
    """nginx with a worker for each core."""
    port, place = free_port(), f"{SHM}/nginx"
    fresh(place)
    with open(f"{place}/conf", "w", encoding="ascii") as f:
        temp = "".join(f"{kind}_temp_path {place}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        f.write(f"user root; daemon off; worker_processes auto; pid {place}/pid; error_log {place}/error;\n"
                "events { worker_connections 1024; }\n"
                f"http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; {temp}\n"
                f" server {{ listen 127.0.0.1:{port} backlog=1024 reuseport; root {root}; }} }}\n")
    process = subprocess.Popen(["/usr/sbin/nginx", "-c", f"{place}/conf", "-p", place], stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def packs(store: str) -> list[str]:
    found = [os.path.join(d, f) for d, _, files in os.walk(f"{store}/packs") for f in files]
    return sorted(os.path.relpath(f, store) for f in found)


def prepare(b: Bench) -> str:
    """A store with the image of the tree."""
    warm(b.tree)
    b.empty_store()
    b.capture("capture")
    return f"{SHM}/store"


def fetch(b: Bench) -> None:
    """A mirror is made, every block of which is opened and compared, beside curl of the same packs; both into memory."""
    store = prepare(b)
    pairs = []
    with ours(b, store) as (url, _):
        names = packs(store)
        urls = [part for n, name in enumerate(names) for part in (f"{url}/{name}", "-o", f"{SHM}/out/{n}")]
        for n in range(b.pairs):
            def mine() -> Timed:
                shutil.rmtree(f"{SHM}/out", ignore_errors=True)
                return b.note(timed([b.cvctl, "-q", "--store", url, "store", "mirror", "--to", f"{SHM}/out"]))

            def peer() -> Timed:
                fresh(f"{SHM}/out")
                return b.note(timed(["curl", "-s", "-f", *urls]))

            one, other = b.both(n, mine, peer)
            pairs.append((one.seconds, other.seconds))
    shutil.rmtree(f"{SHM}/out")
    b.row("fetch of packs / curl", pairs)


def deploy(b: Bench) -> None:
    """An image onto a fresh ext4, beside an archive of the same tree."""
    store = prepare(b)
    b.tar_zstd()
    fresh(f"{SHM}/archive")
    shutil.move(f"{SHM}/peer.tzst", f"{SHM}/archive/tree.tar.zst")
    pairs = []
    with ours(b, store) as (url, _), nginx(f"{SHM}/archive") as archive:
        for n in range(b.pairs):
            def mine() -> Timed:
                with Filesystem("ext4") as at:
                    return b.ours("deploy over HTTP", "image", "extract", "bench", at, "--no-sync", sync=at, store=url)

            def peer() -> Timed:
                with Filesystem("ext4") as at:
                    curl = ["curl", "-s", "-f", f"{archive}/tree.tar.zst"]
                    return b.note(timed(curl, ["zstd", "-dcq"], [*TAR, "-C", at, "-xf", "-"], sync=at))

            one, other = b.both(n, mine, peer)
            pairs.append((one.seconds, other.seconds))
    shutil.rmtree(f"{SHM}/archive")
    b.row("deploy over HTTP / curl|zstd|tar", pairs)


def drain(url: str, names: list[str], clients: int, seconds: float) -> float:
    """Bytes in a second that so many clients get together: a pack each, over and over, on one connection."""
    host, port = url.removeprefix("http://").split(":")
    selector, buffer, done = selectors.DefaultSelector(), bytearray(1 << 20), 0

    def ask(s: socket.socket, n: int) -> None:
        s.setblocking(True)
        s.sendall(f"GET /{names[n % len(names)]} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        s.setblocking(False)

    left: dict[int, int] = {}
    for n in range(clients):
        s = socket.create_connection((host, int(port)))
        selector.register(s, selectors.EVENT_READ, n)
        ask(s, n)
    until = time.monotonic() + seconds
    begun = time.monotonic()
    while time.monotonic() < until:
        for key, _ in selector.select(1):
            s = key.fileobj
            assert isinstance(s, socket.socket)
            got = s.recv_into(buffer)
            assert got, "the server ended a connection"
            done += got
            if s.fileno() not in left:
                head, _, _ = bytes(buffer[:4096]).partition(b"\r\n\r\n")
                length = next(int(x.split(b":")[1]) for x in head.split(b"\r\n") if x.lower().startswith(b"content-length"))
                left[s.fileno()] = length + len(head) + 4
            left[s.fileno()] -= got
            if not left[s.fileno()]:
                del left[s.fileno()]
                ask(s, key.data + 1)
    for key in list(selector.get_map().values()):
        key.fileobj.close()  # type: ignore[union-attr]
    return done / (time.monotonic() - begun)


def crowd(b: Bench) -> None:
    """64 clients at once on two cores; the clients are one process, the same for both."""
    store = prepare(b)
    names, pairs, peak = packs(store), [], 0
    with ours(b, store) as (url, pid), nginx(store) as static:
        for n in range(b.pairs):
            order = [url, static] if n % 2 else [static, url]
            rates = {at: drain(at, names, CLIENTS, 3) for at in order}
            pairs.append((1e9 / rates[url], 1e9 / rates[static]))
        with open(f"/proc/{pid}/status", encoding="ascii") as f:
            peak = next(int(line.split()[1]) >> 10 for line in f if line.startswith("VmHWM:"))
    b.row("64 clients / nginx", pairs)
    b.peak["serve, 64 clients"] = peak


class Delayed:
    """A link to a server: 100 Mbit/s together, and a delay each way, whatever number of connections there is."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("http://").split(":")
        self.to, self.free, self.lock = (host, int(port)), time.monotonic(), threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.create_connection(self.to)
            for a, b, shaped in ((near, far, False), (far, near, True)):
                threading.Thread(target=self.carry, args=(a, b, shaped), daemon=True).start()

    def carry(self, a: socket.socket, b: socket.socket, shaped: bool) -> None:
        """What comes leaves when the link is free, and arrives a delay later; a window of 1 MiB is on its way."""
        queue: list[tuple[float, bytes]] = []
        room = threading.Semaphore(64)

        def send() -> None:
            while True:
                while not queue:
                    time.sleep(0.001)
                at, data = queue.pop(0)
                time.sleep(max(0, at - time.monotonic()))
                with contextlib.suppress(OSError):
                    if not data:
                        b.shutdown(socket.SHUT_WR)
                        return
                    b.sendall(data)
                room.release()

        threading.Thread(target=send, daemon=True).start()
        while True:
            room.acquire()
            try:
                data = a.recv(16 << 10)
            except OSError:
                data = b""
            at = time.monotonic()
            if shaped and data:
                with self.lock:
                    self.free = max(self.free, at) + len(data) / LINK
                    at = self.free
            queue.append((at + DELAY, data))
            if not data:
                return

    def close(self) -> None:
        self.listener.close()


def link(b: Bench) -> None:
    """What of a slow and far link is used."""
    store = prepare(b)
    used = []
    with ours(b, store) as (url, _):
        far = Delayed(url)
        for _ in range(min(b.pairs, 3)):
            with Filesystem("tmpfs") as at:
                run = b.ours("deploy over a slow link", "image", "extract", "bench", at, "--no-sync", store=far.url)
            used.append((run.seconds, stored(f"{store}/packs") / LINK))
        far.close()
    b.row("slow link / its rate", used)


def send(b: Bench) -> None:
    """A tree of which 5 % have changed, sent to our server, beside restic over sftp: without ssh, which would encrypt once more."""
    peer = Peer("restic", ["restic", *SFTP, "--quiet", "init"],
                lambda n: ["restic", *SFTP, "--quiet", "backup", "--one-file-system", "--compression", "auto", TREE])
    os.environ.update(ENVIRONMENT, RESTIC_REPOSITORY=f"sftp:x:{SHM}/restic")
    copy_of(b)
    b.empty_store()
    peer.empty()
    full, pairs = [], []

    with ours(b, f"{SHM}/store") as (url, pid):
        def mine(what: str) -> Timed:
            token = [b.cvctl, "-o", "json", "--store", f"{SHM}/store", "token", "create", "--name", "bench"]
            with open(f"{SHM}/token", "w", encoding="ascii") as f:
                f.write(json.loads(subprocess.run(token, check=True, stdout=subprocess.PIPE).stdout)["secret"])
            return b.ours(what, "image", "capture", TREE, "--name", "bench", "--exact", "--to", url, "--token-file", f"{SHM}/token",
                          "--state", f"{SHM}/state")

        for n in range(b.pairs + 1):
            if n:
                changed(TREE, 0.05, n)
            warm(TREE)
            one, other = b.both(n, lambda: mine("sending"), lambda: b.note(timed(peer.save(n))))
            (pairs if n else full).append((one.seconds, other.seconds))
        with open(f"/proc/{pid}/status", encoding="ascii") as f:
            b.peak["serve, receiving"] = next(int(line.split()[1]) >> 10 for line in f if line.startswith("VmHWM:"))
    shutil.rmtree(TREE)
    shutil.rmtree(peer.at)
    shutil.rmtree(f"{SHM}/state")
    b.row("full capture sent / restic", full)
    b.row("5 % update sent / restic", pairs)


def http(b: Bench) -> None:
    for part in (fetch, deploy, crowd, link, send):
        part(b)

#!/usr/bin/env python3
"""Distributions behind a server: a real dnf installs from one with the key of the distribution, what an installer fetches first is
what lies on the medium, and a medium that is sent survives the end of either side in its middle. Processes end with this one
(PDEATHSIG)."""
from __future__ import annotations

import contextlib
import ctypes
import http.client
import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from typing import Any

from bed import CV, Bed, cv, good

KEY = "RPM-GPG-KEY-Mini"
INSTALLER = [".treeinfo", ".discinfo", "media.repo", "images/pxeboot/vmlinuz", "images/install.img", "images/efiboot.img", "EFI/BOOT/grub.cfg"]


def die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read()


class Server:
    """`cvctl serve` at a port that it keeps when it is started again."""

    def __init__(self, store: str) -> None:
        self.store, self.port = store, free_port()
        self.start()

    def start(self) -> None:
        command = [CV, "-o", "json", "--store", self.store, "serve", "--listen", f"127.0.0.1:{self.port}"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
        assert self.process.stdout and self.process.stdout.readline(), f"serve ended with {self.process.wait()}"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Gate:
    """Between a client and the server: from the second pack on it waits until it is opened."""

    def __init__(self, to: Server) -> None:
        self.packs, self.waits, self.open = 0, threading.Event(), threading.Event()
        self.statuses: list[tuple[str, int]] = []
        gate = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.path == "/v1/packs":
                    gate.packs += 1
                    if gate.packs > 1 and not gate.open.is_set():
                        gate.waits.set()
                        gate.open.wait()
                there = http.client.HTTPConnection("127.0.0.1", to.port, timeout=60)
                try:
                    there.request(self.command, self.path, body or None, dict(self.headers))
                    answer = there.getresponse()
                    status, data, kept = answer.status, answer.read(), answer.headers
                except (OSError, http.client.HTTPException):
                    status, data, kept = 503, b"", {}
                there.close()
                gate.statuses.append((self.path.partition("?")[0], status))
                with contextlib.suppress(OSError):
                    self.answer(status, data, kept)

            def answer(self, status: int, data: bytes, kept: Any) -> None:
                self.send_response(status)
                for name in ("Content-Range", "Content-Type", "ETag"):
                    if name in kept:
                        self.send_header(name, kept[name])
                self.send_header("Content-Length", kept.get("Content-Length", "0") if self.command == "HEAD" else str(len(data)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            do_GET = do_HEAD = do_POST = do_PUT = do

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        # Clients are killed here: that their connections end is no error.
        self.server.handle_error = lambda *_: None
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        self.open.set()
        self.server.shutdown()
        self.server.server_close()


class Story:
    def __init__(self, bed: Bed) -> None:
        self.bed, self.iso, self.tree = bed, f"{bed.mini}/mini-9.4.iso", f"{bed.mini}/tree-9.4"

    def dnf(self, root: str, base: str, key: str, *packages: str) -> subprocess.CompletedProcess[str]:
        """The command of the how-to, with everything that it keeps in the bed."""
        home, d = f"{self.bed.dir}/home", self.bed.dir
        os.makedirs(home, exist_ok=True)
        with open(f"{home}/.rpmmacros", "w", encoding="ascii") as f:
            # Debian's rpm keeps its database in the home directory, and would do so in the new root.
            f.write("%_dbpath /var/lib/rpm\n%_db_backend sqlite\n")
        with open(f"{d}/dnf.conf", "w", encoding="ascii") as f:
            f.write(f"[main]\nreposdir=/nonexistent\ncachedir=/cache\nlogdir={d}/log\npersistdir=/persist\n"
                    f"install_weak_deps=0\nkeepcache=1\n")
        command = ["dnf", f"--config={d}/dnf.conf", f"--installroot={root}", "--noplugins", "--releasever=9.4", "--forcearch=x86_64",
                   f"--repofrompath=base,{base}/BaseOS/", "--setopt=base.gpgcheck=1", f"--setopt=base.gpgkey={key}", "-y", "install", *packages]
        env = {"HOME": home, "PATH": os.environ["PATH"], "LC_ALL": "C"}
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, preexec_fn=die_with_parent)

    def installs(self) -> None:
        """dnf takes packages from the server, each signed by the key that the server has as well, and no others."""
        self.bed.good("distro", "add", self.iso)
        server = Server(self.bed.store)
        try:
            base, root = f"http://127.0.0.1:{server.port}/v1/distros/rocky-9.4", f"{self.bed.dir}/root"
            done = self.dnf(root, base, f"{base}/{KEY}", "busybox")
            assert done.returncode == 0, done.stdout + done.stderr
            listed = subprocess.run(["rpm", f"--root={root}", "--dbpath=/var/lib/rpm", "-qa"], capture_output=True, text=True, check=True).stdout
            assert {"busybox-1.35-1.el9.x86_64", "filesystem-3.16-2.el9.x86_64"} <= set(listed.split()), listed
            # dnf puts its cache beneath the new root, too.
            cached = [os.path.join(d, f) for d, _, files in os.walk(root) for f in files if f.endswith(".rpm")]
            for path in cached:
                name = os.path.basename(path)
                with open(path, "rb") as one, open(f"{self.tree}/BaseOS/Packages/{name[0]}/{name}", "rb") as other:
                    assert one.read() == other.read(), name
            assert len(cached) >= 3, cached
            refused = self.dnf(f"{self.bed.dir}/other", base, f"file://{self.bed.mini}/keys/forger.asc", "busybox")
            assert refused.returncode == 1 and "GPG" in refused.stdout + refused.stderr, refused.stdout + refused.stderr
            assert not os.path.exists(f"{self.bed.dir}/other/usr/bin/busybox")
            self.boots(base)
            # What somebody else adds while the server runs is there at once, and what is removed is not.
            self.bed.good("distro", "add", f"{self.bed.mini}/mini-9.5.iso")
            with open(f"{self.bed.mini}/tree-9.5/.treeinfo", "rb") as f:
                assert fetch(f"{base[:-1]}5/.treeinfo") == f.read()
            done = self.dnf(f"{self.bed.dir}/later", f"{base[:-1]}5", f"{base}/{KEY}", "mini-release")
            assert done.returncode == 0, done.stdout + done.stderr
            names = [d["name"] for d in json.loads(fetch(base.rpartition("/")[0]))["distros"]]
            assert names == ["rocky-9.4", "rocky-9.5"], names
            self.bed.good("distro", "rm", "rocky-9.5")
            try:
                fetch(f"{base[:-1]}5/.treeinfo")
                raise AssertionError("it was removed")
            except urllib.error.HTTPError as e:
                assert e.code == 404, e
        finally:
            server.kill()

    def boots(self, base: str) -> None:
        """What an installer fetches before it has packages."""
        for path in INSTALLER:
            if path == "media.repo" and not os.path.exists(f"{self.tree}/{path}"):
                continue
            with open(f"{self.tree}/{path}", "rb") as f:
                assert fetch(f"{base}/{path}") == f.read(), path
        extracted = f"{self.bed.dir}/vmlinuz"
        subprocess.run(["xorriso", "-osirrox", "on", "-indev", self.iso, "-extract", "/images/pxeboot/vmlinuz", extracted], check=True,
                       capture_output=True)
        with open(extracted, "rb") as f:
            assert fetch(f"{base}/images/pxeboot/vmlinuz") == f.read()

    def receiver(self, name: str) -> tuple[str, Server, str]:
        """An empty store behind a server, and the file of a token for it."""
        store = f"{self.bed.dir}/{name}"
        subprocess.run([CV, "-q", "store", "init", store], check=True, stdout=subprocess.DEVNULL)
        token = f"{self.bed.dir}/{name}.token"
        good(store, "token", "create", "--name", "distro.rocky-9.4", "--output", token)
        return store, Server(store), token

    def add(self, url: str, token: str) -> list[str]:
        return [CV, "-q", "-o", "json", "distro", "add", self.iso, "--to", url, "--token-file", token]

    def whole(self, store: str) -> None:
        """What arrived is what is added here; it can be verified and built from, and nothing else is left."""
        shown, here = good(store, "distro", "show", "rocky-9.4"), self.bed.good("distro", "show", "rocky-9.4")
        assert shown["image"] == here["image"], (shown, here)
        report = good(store, "distro", "verify", "rocky-9.4")
        assert report["faults"] == [] and report["signatures"] == "checked", report
        assert good(store, "store", "check", "--read-data")["faults"] == []
        role = self.bed.role("small", packages=["beacon"])
        planned = good(store, "image", "build", "--distro", "rocky-9.4", "--role", role, "--name", "x", "--dry-run")
        assert "beacon" in json.dumps(planned), planned

    def client_ends(self) -> None:
        store, server, token = self.receiver("first")
        gate = Gate(server)
        try:
            client = subprocess.Popen(self.add(gate.url, token), stdout=subprocess.DEVNULL, preexec_fn=die_with_parent)
            assert gate.waits.wait(120), "a second pack was never sent"
            # The one before it has been taken.
            while ("/v1/packs", 204) not in gate.statuses:
                time.sleep(0.02)
            client.kill()
            client.wait()
            assert good(store, "distro", "list")["distributions"] == []
            done = subprocess.run(self.add(f"http://127.0.0.1:{server.port}", token), capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, done.stderr
            said = json.loads(done.stdout)
            whole = os.path.getsize(self.iso)
            print(f"the medium has {whole} bytes, the second attempt sent {said['stored_bytes']}")
            assert said["changed"] and said["stored_bytes"] * 2 < whole, said
            self.whole(store)
            # The token is used up, and was for this one.
            assert subprocess.run([*self.add(f"http://127.0.0.1:{server.port}", token), "--name", "rocky-9.4"], capture_output=True).returncode == 13
        finally:
            gate.close()
            server.kill()

    def server_ends(self) -> None:
        """A server that is killed has lost what it had not written, although it said that it had it."""
        store, server, token = self.receiver("second")
        gate = Gate(server)
        try:
            command = [arg for arg in self.add(gate.url, token) if arg != "-q"]
            client = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
            assert gate.waits.wait(120), "a second pack was never sent"
            while ("/v1/packs", 204) not in gate.statuses:
                time.sleep(0.02)
            server.kill()
            server.start()
            gate.open.set()
            stdout, stderr = client.communicate(timeout=180)
            assert client.returncode == 0, stderr
            assert ("/v1/publish", 409) in gate.statuses and ("/v1/publish", 200) in gate.statuses, gate.statuses
            assert json.loads(stdout)["changed"], stdout
            self.whole(store)
        finally:
            gate.close()
            server.kill()

    def denied(self) -> None:
        """A token is for one name, and that is said before a medium is read."""
        store, server, token = self.receiver("third")
        url = f"http://127.0.0.1:{server.port}"
        try:
            for more, code in ((["--name", "other"], 13), (["--name", "a/b"], 2)):
                done = subprocess.run([CV, "distro", "add", "/nonexistent.iso", "--to", url, "--token-file", token, *more], capture_output=True)
                assert done.returncode == code, (more, done)
            assert subprocess.run([CV, "distro", "add", self.iso, "--to", url], capture_output=True).returncode == 2
            assert cv(store, "token", "create", "--name", "distro.").returncode == 2
        finally:
            server.kill()


if __name__ == "__main__":
    assert shutil.which("xorriso")
    with Bed() as bed:
        story = Story(bed)
        for part in (story.installs, story.client_ends, story.server_ends, story.denied):
            part()
            print(f"{part.__name__}: good")
        bed.nothing_half_made()

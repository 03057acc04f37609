#!/usr/bin/env python3
"""serve.py [--faults] SERVER COMMAND...: runs a command beside a server for S3 on a free port of loopback.

SERVER is s3s (s3s-fs), garage or moto. The command finds endpoint, region and keys in AWS_*, an empty bucket in
LIBCV_S3_STORE, whether the server honours If-None-Match in LIBCV_S3_CONDITIONS, and the endpoint of a proxy that decides
races in LIBCV_S3_RACES; with --faults, that of one that fails one request in ten in LIBCV_S3_FAULTY. Exit: that of the
command; 77 when the server is not installed.
The server ends with this program, however that ends. Its files are in $TMPDIR or /var/tmp, and go with it; what a killed
run left is removed by the next.
"""
from __future__ import annotations

import contextlib
import ctypes
import glob
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import NamedTuple

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(TOP, "target"))
TOOLS = os.path.join(TARGET, "tools", "bin")
BUCKET = "cv-test"
PREFIX = "libcv-s3-"
GARAGE = """metadata_dir = "{dir}/meta"
data_dir = "{dir}/data"
db_engine = "sqlite"
metadata_fsync = false
replication_factor = 1
rpc_bind_addr = "127.0.0.1:{other}"
rpc_public_addr = "127.0.0.1:{other}"
rpc_secret = "{secret}"
[s3_api]
s3_region = "garage"
api_bind_addr = "127.0.0.1:{port}"
"""


class Server(NamedTuple):
    """A server that is to be started."""

    command: list[str]
    environment: dict[str, str]
    region: str
    key: str
    secret: str
    conditions: bool
    install: str


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def prepare(kind: str, directory: str, port: int) -> Server:
    if kind == "s3s":
        os.makedirs(f"{directory}/{BUCKET}")
        command = [f"{TOOLS}/s3s-fs", "--host", "127.0.0.1", "--port", str(port), "--access-key", "testkey",
                   "--secret-key", "testsecret12", directory]
        install = "tests/setup.sh s3"
        return Server(command, {}, "us-east-1", "testkey", "testsecret12", True, install)
    if kind == "garage":
        key, secret = "GK0123456789abcdef01234567", "b" * 64
        config = f"{directory}/garage.toml"
        with open(config, "w", encoding="ascii") as f:
            f.write(GARAGE.format(dir=directory, port=port, other=free_port(), secret=os.urandom(32).hex()))
        environment = {"GARAGE_CONFIG_FILE": config, "GARAGE_DEFAULT_ACCESS_KEY": key,
                       "GARAGE_DEFAULT_SECRET_KEY": secret, "GARAGE_DEFAULT_BUCKET": BUCKET}
        command = [f"{TOOLS}/garage", "server", "--single-node", "--default-bucket"]
        return Server(command, environment, "garage", key, secret, False, "tests/setup.sh --full s3 (ten minutes)")
    if kind == "moto":
        command = [os.path.join(TARGET, "venv/bin/moto_server"), "-H", "127.0.0.1", "-p", str(port)]
        return Server(command, {}, "us-east-1", "testing", "testing", True, "tests/setup.sh s3")
    sys.exit(f"serve.py: there is no server {kind}: s3s garage moto")


def die_with_parent() -> None:
    """A server does not outlive the test, not even one that was killed."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def start(command: list[str], log: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    with open(log, "wb") as out:
        return subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True,
                                env={**os.environ, **environment}, preexec_fn=die_with_parent)


def wait_until_up(process: subprocess.Popen[bytes], endpoint: str, log: str) -> None:
    for _ in range(600):
        if process.poll() is not None:
            break
        try:
            urllib.request.urlopen(endpoint, timeout=2).close()
            return
        except urllib.error.HTTPError:
            return      # it answers, if only that we may not ask
        except OSError:
            time.sleep(0.1)
    with open(log, encoding="utf-8", errors="replace") as f:
        sys.exit(f"serve.py: {process.args} is not up:\n{f.read()[-2000:]}")


def remove_leftovers(place: str) -> None:
    for path in glob.glob(f"{place}/{PREFIX}*"):
        owner = path.removeprefix(f"{place}/{PREFIX}")
        if owner.isdigit() and not os.path.exists(f"/proc/{owner}"):
            shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def serve(kind: str, directory: str, proxies: dict[str, str]) -> Iterator[dict[str, str]]:
    """A server with its files in `directory`, which must not exist, and proxies with their rates of faults; gives the
    variables that lead to them."""
    os.mkdir(directory, 0o700)
    running: list[subprocess.Popen[bytes]] = []
    try:
        port = free_port()
        server = prepare(kind, directory, port)
        if not os.access(server.command[0], os.X_OK):
            print(f"{server.command[0]} is not installed: {server.install}")
            sys.exit(77)
        endpoint = f"http://127.0.0.1:{port}"
        running.append(start(server.command, f"{directory}/log", server.environment))
        wait_until_up(running[0], endpoint, f"{directory}/log")
        if kind == "moto":
            urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{BUCKET}", method="PUT")).close()
        environment = {
            "AWS_ENDPOINT_URL": endpoint, "AWS_REGION": server.region, "AWS_ACCESS_KEY_ID": server.key,
            "AWS_SECRET_ACCESS_KEY": server.secret, "AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "127.0.0.1",
            "LIBCV_S3_STORE": f"s3://{BUCKET}", "LIBCV_S3_SERVER": kind,
            "LIBCV_S3_CONDITIONS": "yes" if server.conditions else "no",
        }
        for name, rate in proxies.items():
            other = free_port()
            proxy = [sys.executable, f"{HERE}/faults.py", "--listen", str(other), "--to", str(port), "--rate", rate]
            running.append(start(proxy, f"{directory}/{name}", {}))
            wait_until_up(running[-1], f"http://127.0.0.1:{other}/-/faults", f"{directory}/{name}")
            environment[name] = f"http://127.0.0.1:{other}"
        yield environment
    finally:
        for process in running:
            process.kill()
            process.wait()
        shutil.rmtree(directory, ignore_errors=True)


def main() -> int:
    arguments = sys.argv[1:]
    faults = arguments[:1] == ["--faults"]
    kind, *command = arguments[faults:] or ["--help"]
    if kind in ("-h", "--help") or not command:
        print(__doc__)
        return 0 if kind in ("-h", "--help") else 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    place = os.environ.get("TMPDIR", "/var/tmp")
    remove_leftovers(place)
    proxies = {"LIBCV_S3_RACES": "0"} | ({"LIBCV_S3_FAULTY": "0.1"} if faults else {})
    with serve(kind, f"{place}/{PREFIX}{os.getpid()}", proxies) as environment:
        return subprocess.run(command, env={**os.environ, **environment}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""A node with a root and a network of its own is asked for captures and updates where the store lies; its policy decides. It is ended
in the middle, does not come, is somebody else."""
from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time

from bed import CVCTL, Bed, cv, eventually
from network import SERVER, Network
from pki import authority, certificate

URL = f"https://{SERVER}:7787"
ALL = """schema: cv.policy/v1
capture: {names: ["login*"], exclude: [/opt]}
update: {images: ["login*", next], keys: [site.pub], protect: [/opt]}
"""


class Node:
    """A root with files of its own, and our program with what it is linked with."""

    def __init__(self, bed: Bed, net: Network) -> None:
        self.bed, self.net, self.root = bed, net, f"{bed.dir}/root"
        shutil.copytree(bed.tree, self.root)
        for d in ("etc/libcv", "opt", "var/lib", "proc", "dev", "tmp"):
            os.makedirs(f"{self.root}/{d}", exist_ok=True)
        subprocess.run(["strip", "-o", f"{self.root}/opt/cvctl", CVCTL], check=True)
        linked = subprocess.run(["ldd", CVCTL], capture_output=True, text=True).stdout
        for library in re.findall(r"(/\S+) \(0x", linked):
            os.makedirs(os.path.dirname(self.root + library), exist_ok=True)
            shutil.copy(library, self.root + library)
        self.policy(ALL)
        shutil.copy(f"{bed.dir}/pki/ca.pem", f"{self.root}/etc/libcv/ca.pem")
        shutil.copy(f"{bed.dir}/site.pub", f"{self.root}/etc/libcv/site.pub")
        write(f"{self.root}/etc/libcv/secret", "cvn1-x")
        self.process = self.connect()

    def policy(self, text: str) -> None:
        with open(f"{self.root}/etc/libcv/policy.yaml", "w", encoding="ascii") as f:
            f.write(text)

    def connect(self) -> subprocess.Popen[str]:
        process = self.bed.start(*self.net.inside(
            1, "unshare", "-m", f"--mount-proc={self.root}/proc", "chroot", self.root, "/opt/cvctl", "--events", "/opt/events", "--ca", "/etc/libcv/ca.pem", "connect", "--server", URL,
            "--policy", "/etc/libcv/policy.yaml"))
        return process

    def end(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def said(self) -> str:
        with open(f"{self.root}/opt/events", encoding="utf-8") as f:
            return f.read()


def main() -> None:
    with Bed(megabytes=6) as bed:
        story(bed)


def story(bed: Bed) -> None:
    p, net = f"{bed.dir}/pki", Network(bed)
    os.mkdir(p)
    authority(p, "ca")
    certificate(p, "ca", "server", f"subjectAltName=IP:{SERVER}\n")
    server = bed.start(*net.inside(0, CVCTL, "-o", "json", "--store", bed.store, "serve", "--listen", f"{SERVER}:7787", "--tls-cert",
                                   f"{p}/server.pem", "--tls-key", f"{p}/server.key"), stdout=subprocess.PIPE)
    assert server.stdout and server.stdout.readline()

    def ask(*args: str, code: int = 0) -> dict[str, object]:
        done = cv("--store", bed.store, "image", *args, check=False)
        assert done.returncode == code, (args, done.returncode, done.stderr)
        said: dict[str, object] = json.loads(done.stdout if not code else done.stderr.splitlines()[-1])
        return said

    def cat(image: str, path: str) -> str:
        return str(json.loads(cv("--store", bed.store, "image", "cat", image, path).stdout).get("text"))

    assert ask("capture", "--node", "n1", "--name", "login", code=10), "a node that nobody knows was asked"
    secret = f"{bed.dir}/secret"
    cv("--store", bed.store, "node", "add", "n1", "--output", secret)
    assert os.stat(secret).st_mode & 0o77 == 0
    # It does not come.
    late = ask("capture", "--node", "n1", "--name", "login", "--patience", "1s", code=26)
    assert "never" in json.dumps(late), late
    cv("key", "generate", "--output", f"{bed.dir}/site")
    node = Node(bed, net)
    # Not with the secret of somebody else.
    with open(secret, encoding="ascii") as f:
        text = f.read().strip()
    for wrong in (text[:-2] + "n2", text.replace("cvn1-", "cvn1-0")[:-1], "cvn1-x"):
        node.end()
        write(f"{node.root}/etc/libcv/secret", wrong)
        node.process = node.connect()
        before = node.said().count("not known here") if os.path.exists(f"{node.root}/opt/events") else 0
        eventually("it is told that it is not known", lambda n=before: os.path.exists(f"{node.root}/opt/events")
                   and node.said().count("not known here") > n)
    node.end()
    shutil.copy(secret, f"{node.root}/etc/libcv/secret")
    node.process = node.connect()

    captures(node, ask, cat)
    updates(bed, node, ask)
    refusals(node, ask)
    nodes = json.loads(cv("--store", bed.store, "node", "list").stdout)["nodes"]
    assert nodes[0]["name"] == "n1" and nodes[0]["seen"], nodes
    # What stays is the id of the last one.
    left = [f for _, _, files in os.walk(f"{bed.store}/orders") for f in files]
    assert left == ["HEAD"], left
    # The server ends at once although the node waits.
    began = time.monotonic()
    server.send_signal(signal.SIGTERM)
    server.wait(timeout=20)
    assert time.monotonic() - began < 5
    cv("--store", bed.store, "store", "check", "--read-data")


def write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def captures(node: Node, ask, cat) -> None:  # type: ignore[no-untyped-def]
    write(f"{node.root}/etc/motd", "of the node\n")
    first = ask("capture", "--node", "n1", "--name", "login", "--tag", "good", "--exclude", "/etc/7")
    assert first["generation"] == 1 and first["changed"], first
    assert cat("login:good", "etc/motd") == "of the node\n"
    paths = json.loads(cv("--store", node.bed.store, "image", "ls", "login", "-r").stdout)["entries"]
    names = {e["path"].lstrip("/") for e in paths}
    assert "etc/8" in names and "etc/7" not in names and "opt/cvctl" not in names, sorted(names)[:20]
    assert "etc/libcv/policy.yaml" in names and not names & {"etc/libcv/secret", "var/lib/libcv/cache.key"}, names
    write(f"{node.root}/etc/motd", "changed\n")
    again = ask("capture", "--node", "n1", "--name", "login", "--exclude", "/etc/7")
    assert again["generation"] == 2 and int(str(again["read"])) < 20, again
    assert cat("login", "etc/motd") == "changed\n"
    # Ended in the middle: it gets the order again when it is back.
    with open(f"{node.root}/large", "wb") as f:
        f.write(os.urandom(48 << 20))
    asked = subprocess.Popen([CVCTL, "-o", "json", "--store", node.bed.store, "image", "capture", "--node", "n1", "--name", "login2"],
                             stdout=subprocess.PIPE, text=True)
    orders = f"{node.bed.store}/orders/n1"
    eventually("it begins", lambda: any(f.endswith(".report") for f in os.listdir(orders)))
    node.end()
    time.sleep(0.3)
    node.process = node.connect()
    out, _ = asked.communicate(timeout=120)
    assert asked.returncode == 0 and json.loads(out)["name"] == "login2", out
    os.unlink(f"{node.root}/large")


def updates(bed: Bed, node: Node, ask) -> None:  # type: ignore[no-untyped-def]
    root = node.root
    shutil.copytree(bed.tree, f"{bed.dir}/next")
    write(f"{bed.dir}/next/etc/8", "of the image\n")
    write(f"{bed.dir}/next/etc/brought", "new\n")
    os.makedirs(f"{bed.dir}/next/opt")
    os.makedirs(f"{bed.dir}/next/etc/libcv")
    write(f"{bed.dir}/next/etc/libcv/policy.yaml", "schema: cv.policy/v1\ncapture: {names: ['*']}\n")
    cv("--store", bed.store, "image", "capture", f"{bed.dir}/next", "--name", "next")
    unsigned = ask("update", "--node", "n1", "--to", "next", code=14)
    assert "n1 says" in json.dumps(unsigned), unsigned
    cv("--store", bed.store, "image", "sign", "next", "--sign-key", f"{bed.dir}/site")
    said = ask("update", "--node", "n1", "--to", "next@1", "--dry-run")
    assert said["dry_run"] and not os.path.exists(f"{root}/etc/brought"), said
    done = ask("update", "--node", "n1", "--to", "next")
    assert not done["dry_run"] and "need" in done["verdict"], done  # type: ignore[operator]
    with open(f"{root}/etc/8", encoding="ascii") as f, open(f"{root}/etc/brought", encoding="ascii") as g:
        assert (f.read(), g.read()) == ("of the image\n", "new\n")
    assert os.path.exists(f"{root}/opt/cvctl") and node.process.poll() is None
    # The image has a policy of its own, and no secret: those of the node stay.
    with open(f"{root}/etc/libcv/policy.yaml", encoding="ascii") as f:
        assert f.read() == ALL, "an update brought another policy"
    assert os.path.exists(f"{root}/etc/libcv/secret") and os.path.exists(f"{root}/var/lib/libcv/cache.key")
    assert ask("update", "--node", "n1", "--to", "none", code=16)
    assert ask("update", "--node", "n1", "--to", "login@9", code=10)


def refusals(node: Node, ask) -> None:  # type: ignore[no-untyped-def]
    assert ask("capture", "--node", "n1", "--name", "other", code=16)
    node.policy("schema: cv.policy/v1\nupdate: {images: [next]}\n")
    no = ask("capture", "--node", "n1", "--name", "login", code=16)
    assert "n1 refuses: the policy of this node allows no captures" in json.dumps(no), no
    node.policy("schema: cv.policy/v1\n")
    assert ask("update", "--node", "n1", "--to", "next", code=16)
    # One that cannot be read allows nothing.
    node.policy("schema: cv.policy/v1\ncaptures: {}\n")
    assert ask("capture", "--node", "n1", "--name", "login", code=16)
    assert "refused" in node.said()


main()

#!/usr/bin/env python3
"""A capture from one network namespace into a server in another, over mutual TLS: what goes over the wire, ends in the middle on
either side, tokens. FULL=1: twenty ends on each side."""
from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time

from bed import CVCTL, FULL, Bed, cv
from network import SERVER, Network
from pki import authority, certificate

KILLS = 20 if FULL else 4
URL = f"https://{SERVER}:7787"


class Story:
    def __init__(self, bed: Bed) -> None:
        self.bed, self.net, self.p = bed, Network(bed), f"{bed.dir}/pki"
        os.mkdir(self.p)
        authority(self.p, "ca")
        certificate(self.p, "ca", "server", f"subjectAltName=IP:{SERVER}\n")
        certificate(self.p, "ca", "node7", "extendedKeyUsage=clientAuth\n")
        self.server = self.serve()

    def serve(self) -> subprocess.Popen[str]:
        p = self.p
        server = self.bed.start(*self.net.inside(
            0, CVCTL, "-o", "json", "--store", self.bed.store, "serve", "--listen", f"{SERVER}:7787", "--tls-cert", f"{p}/server.pem",
            "--tls-key", f"{p}/server.key", "--client-ca", f"{p}/ca.pem"), stdout=subprocess.PIPE)
        assert server.stdout and server.stdout.readline(), f"serve ended with {server.wait()}"
        return server

    def token(self, name: str, *more: str) -> str:
        token = cv("--store", self.bed.store, "token", "create", "--name", name, *more)
        path = f"{self.bed.dir}/token-{name}-{random.getrandbits(32):x}"
        with open(path, "w", encoding="ascii") as f:
            f.write(json.loads(token.stdout)["secret"])
        return path

    def command(self, name: str, token: str, *more: str) -> list[str]:
        return self.net.inside(
            1, CVCTL, "-q", "-o", "json", "--ca", f"{self.p}/ca.pem", "--client-cert", f"{self.p}/node7.pem", "--client-key",
            f"{self.p}/node7.key", "image", "capture", self.bed.tree, "--name", name, "--to", URL, "--token-file", token, "--state",
            f"{self.bed.dir}/state", *more)

    def send(self, name: str, token: str, *more: str) -> dict[str, object]:
        done = subprocess.run(self.command(name, token, *more), capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        said: dict[str, object] = json.loads(done.stdout)
        return said

    def refused(self, name: str, token: str) -> int:
        return subprocess.run(self.command(name, token), capture_output=True, timeout=60).returncode

    def size(self) -> int:
        """What the store holds, but for what the collection and tokens leave beside it."""
        return sum(os.path.getsize(os.path.join(d, f)) for part in ("packs", "images", "refs", "idx")
                   for d, _, files in os.walk(f"{self.bed.store}/{part}") for f in files)


def wire(story: Story) -> None:
    """The whole tree, then a change of it."""
    bed = story.bed
    for name, change in (("first", None), ("changed", "blob1"), ("another", "blob2")):
        if change:
            with open(f"{bed.tree}/{change}", "wb") as f:
                f.write(random.Random(change).randbytes(8 << 20))
        token = story.token("sent")
        before, size = story.net.wire(), story.size()
        done = story.send("sent", token)
        went, grew = story.net.wire() - before, story.size() - size
        print(f"{name}: {went} bytes on the wire, the store grew by {grew}: {went / grew:.3f}")
        assert done["changed"] and went <= 1.05 * grew, (name, went, grew)
    whole(story, "sent")


def whole(story: Story, name: str) -> None:
    """What was sent is what a capture here makes, and the store is sound."""
    bed = story.bed
    here = json.loads(cv("--store", bed.store, "image", "capture", bed.tree, "--name", "here").stdout)
    sent = json.loads(cv("--store", bed.store, "image", "show", name).stdout)
    assert here["tree"] == sent["tree"], (here, sent)
    cv("--store", bed.store, "image", "verify", name)
    cv("--store", bed.store, "store", "check", "--read-data")


def generations(story: Story, name: str) -> int:
    log = cv("--store", story.bed.store, "image", "log", name, check=False)
    return len(json.loads(log.stdout)["generations"]) if log.returncode == 0 else 0


def ends(story: Story, side: str) -> None:
    """Ended at random moments, and begun again with the same token."""
    bed, rng = story.bed, random.Random(side)
    for n in range(12):
        with open(f"{bed.tree}/{side}{n}", "wb") as f:
            f.write(rng.randbytes(4 << 20))
    token, before, size = story.token(side), story.net.wire(), story.size()
    arrived = 0
    for _ in range(KILLS):
        client = bed.start(*story.command(side, token), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        time.sleep(rng.random() * 1.2)
        if side == "client":
            client.kill()
        else:
            story.server.send_signal(signal.SIGKILL)
            story.server.wait()
            time.sleep(rng.random() * 0.3)
            story.server = story.serve()
        _, stderr = client.communicate(timeout=120)
        assert client.returncode in (-signal.SIGKILL, 0) or side == "server", stderr
        held = generations(story, side)
        if held > arrived:
            # It was there before the end (also when the client did not live to hear it), or goes on with another server: its
            # token is used, and the next one sends something else.
            arrived, token = held, story.token(side)
            with open(f"{bed.tree}/{side}{rng.randrange(12)}", "wb") as f:
                f.write(rng.randbytes(4 << 20))
    done = subprocess.run(story.command(side, token), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    went, grew = story.net.wire() - before, story.size() - size
    print(f"{KILLS} ends of the {side}: {went} bytes on the wire, the store grew by {grew}")
    # Of each end what was on its way is sent again: of the client's two packs, of a server's what it had not written.
    lost = (2 * 8 if side == "client" else 48 + 2 * 8) << 20
    assert went <= 1.05 * grew + KILLS * lost, (went, grew)
    whole(story, side)


def tokens(story: Story) -> None:
    token = story.token("one")
    assert story.refused("two", token) == 13, "a token for one name wrote another"
    story.send("one", token)
    with open(f"{story.bed.tree}/new", "w", encoding="ascii") as f:
        f.write("new")
    assert story.refused("one", token) == 13, "a used token wrote"
    late = story.token("one", "--expires", "0s")
    assert story.refused("one", late) == 13, "a token that is out of date wrote"
    small = story.token("one", "--max-size", "1KiB")
    assert story.refused("one", small) == 17, "more was sent than the token allows"
    log = json.loads(cv("--store", story.bed.store, "image", "log", "one").stdout)
    assert len(log["generations"]) == 1, log
    assert cv("--store", story.bed.store, "image", "show", "two", check=False).returncode == 10
    # The secret stands nowhere in the store.
    with open(token, encoding="ascii") as f:
        secret = f.read().split("-")[2]
    found = subprocess.run(["grep", "-rc", secret, f"{story.bed.store}/tokens"], capture_output=True, text=True).stdout
    assert all(line.endswith(":0") for line in found.split()), found


def main() -> None:
    with Bed(megabytes=24) as bed:
        # One that has nothing of the tree.
        bed.store = f"{bed.dir}/empty"
        cv("store", "init", bed.store)
        story = Story(bed)
        wire(story)
        tokens(story)
        ends(story, "client")
        ends(story, "server")


main()

#!/usr/bin/env python3
"""One image to several receivers in namespaces, without loss, with 1, 5 and 20 %, in each mode: all trees are equal to what was captured. One
receiver is killed and begins anew; one comes late; two sessions at once on one group do not mix; who has not got the key gets nothing. Four
receivers, sixteen with FULL=1."""
from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

from lan import Lan

sys.path.insert(0, f"{os.path.dirname(os.path.abspath(__file__))}/../http")
from bed import CVCTL, FULL, Bed, cv  # noqa: E402

RECEIVERS = 16 if FULL else 4


class Session:
    """Processes of one sending."""

    def __init__(self, lan: Lan, name: str = "node", key: str = "", **more: str) -> None:
        self.lan, self.bed, self.name, self.key = lan, lan.bed, name, key
        args = [f"--{option.replace('_', '-')}={value}" for option, value in more.items()]
        self.sender = self.start(0, "--store", self.bed.store, "mcast", "send", name, *args)
        self.receivers: dict[int, subprocess.Popen[str]] = {}

    def start(self, host: int, *args: str) -> subprocess.Popen[str]:
        key = ["--key-file", self.key] if self.key else []
        command = [CVCTL, "-q", "-o", "json", *args, "--interface", "eth0", *key]
        return self.bed.start(*self.lan.inside(self.lan.hosts[host], *command), stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def place(self, n: int) -> str:
        return f"{self.bed.dir}/{self.name}-out{n}"

    def receive(self, *receivers: int) -> None:
        for n in receivers:
            self.receivers[n] = self.start(n, "mcast", "recv", self.place(n), "--name", self.name, "--no-sync", "--verify")

    def finish(self, tree: str) -> dict:
        for n, process in sorted(self.receivers.items()):
            out, err = process.communicate(timeout=120)
            assert process.returncode == 0, f"receiver {n}: {process.returncode} {err}"
            assert json.loads(out)["extracted"]["verified"], out
            subprocess.run(["diff", "-r", "--no-dereference", tree, self.place(n)], check=True)
            shutil.rmtree(self.place(n))
        out, err = self.sender.communicate(timeout=120)
        assert self.sender.returncode == 0, f"sender: {self.sender.returncode} {err} {out}"
        return dict(json.loads(out))


def main() -> None:
    if os.geteuid() != 0 or not shutil.which("ethtool"):
        print("it needs root and ethtool (apt-get install ethtool)")
        sys.exit(77)
    with Bed(megabytes=24) as bed:
        lan = Lan(bed, RECEIVERS)
        everybody = range(1, RECEIVERS + 1)
        key = f"{bed.dir}/key"
        with open(key, "wb") as f:
            f.write(os.urandom(32))
        for percent, mode in ((0.0, "crc"), (1.0, "tag"), (5.0, "aead"), (20.0, "crc")):
            lan.lose(percent, list(everybody))
            before, began = lan.sent(), time.monotonic()
            session = Session(lan, key="" if mode == "crc" else key, mode=mode, receivers=str(RECEIVERS), rate="200Mbit")
            session.receive(*everybody)
            report = session.finish(bed.tree)
            assert [r["standing"] for r in report["receivers"]] == ["done"] * RECEIVERS, report
            wire = (lan.sent() - before) / report["bytes"]
            print(f"{percent:g} % lost, {mode}: {report['bytes'] >> 20} MiB in {report['seconds']:.2f} s ({time.monotonic() - began:.1f} in all), "
                  f"{wire:.3f} of it on the wire", flush=True)
        lan.lose(1.0, list(everybody))
        late_and_killed(lan, bed)
        two_at_once(lan, bed)
        strangers(lan, key)


def late_and_killed(lan: Lan, bed: Bed) -> None:
    """One is killed in its middle and begins anew, another one comes when the others have half of it."""
    session = Session(lan, wait="500ms", rate="60Mbit")
    session.receive(*range(1, RECEIVERS))
    time.sleep(2.5)
    victim = session.receivers.pop(1)
    assert victim.poll() is None, "it was too fast to be killed"
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    session.receive(RECEIVERS, 1)
    for n, process in session.receivers.items():
        assert process.wait(60) == 0, f"receiver {n}: {process.communicate()}"
    session.sender.send_signal(signal.SIGINT)
    session.sender.communicate(timeout=10)
    for n in session.receivers:
        subprocess.run(["diff", "-r", "--no-dereference", bed.tree, session.place(n)], check=True)
        shutil.rmtree(session.place(n))
    print("one killed, one late: all have it", flush=True)


def two_at_once(lan: Lan, bed: Bed) -> None:
    """Two images to one group: each receiver gets the one that it asks for."""
    other = f"{bed.dir}/other"
    shutil.copytree(f"{bed.tree}/etc", other)
    with open(f"{other}/more", "wb") as f:
        f.write(os.urandom(5 << 20))
    cv("--store", bed.store, "image", "capture", other, "--name", "other")
    half = RECEIVERS // 2
    one, two = (Session(lan, name, receivers=str(half), rate="100Mbit") for name in ("node", "other"))
    one.receive(*range(1, half + 1))
    two.receive(*range(half + 1, RECEIVERS + 1))
    one.finish(bed.tree)
    two.finish(other)
    print("two sessions at once do not mix", flush=True)


def strangers(lan: Lan, key: str) -> None:
    """Without the key, or with another one, nothing is received; and a session without a key is nothing for who has one."""
    wrong = f"{lan.bed.dir}/wrong"
    with open(wrong, "w", encoding="ascii") as f:
        f.write("00" * 32)
    for sender, receiver in ((key, ""), (key, wrong), ("", key)):
        session = Session(lan, key=sender, mode="tag" if sender else "crc", rate="100Mbit")
        session.key = receiver
        session.receive(1)
        time.sleep(1.5)
        assert session.receivers[1].poll() is None
        for process in (session.receivers[1], session.sender):
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=10)
            assert process.returncode == 24, process.returncode
        assert not os.path.exists(session.place(1))
    print("strangers get nothing", flush=True)


main()

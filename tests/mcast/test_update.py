#!/usr/bin/env python3
"""What a receiver has it does not receive: trees of the generation before become the new one, with little on the wire, also when somebody
who has nothing receives beside them; and a receiver that was killed goes on with what its filesystem holds."""
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
from bed import Bed, cv, eventually  # noqa: E402

MIRROR = "http://10.93.0.1:8087"


def send(lan: Lan, *args: str) -> "subprocess.Popen[str]":
    return lan.cvctl(0, "--store", lan.bed.store, "mcast", "send", "node", "--interface", "eth0", *args)


def finish(process: "subprocess.Popen[str]") -> dict:
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, f"{process.args}: {process.returncode} {err}"
    return dict(json.loads(out))


def is_right(lan: Lan, host: int) -> None:
    subprocess.run(["diff", "-r", "--no-dereference", lan.bed.tree, lan.place(host)], check=True)


def change(tree: str) -> None:
    """A new generation: one file more, one less, one other."""
    files = sorted(os.path.join(at, name) for at, _, names in os.walk(tree) for name in names)
    large = max((f for f in files if not os.path.islink(f)), key=os.path.getsize)
    with open(large, "r+b") as f:
        f.write(os.urandom(300_000))
    with open(f"{tree}/new", "wb") as f:
        f.write(os.urandom(200_000))
    os.remove(next(f for f in files if f != large and not os.path.islink(f)))


def updated(lan: Lan) -> None:
    bed = lan.bed
    for host in (1, 2):
        cv("--store", bed.store, "image", "extract", "node", lan.place(host))
        with open(f"{lan.place(host)}/of-this-node", "w", encoding="ascii") as f:
            f.write("kept")
    change(bed.tree)
    cv("--store", bed.store, "image", "capture", bed.tree, "--name", "node")
    for others in ((), (3,)):
        before = lan.sent()
        hosts = (1, 2, *others)
        sender = send(lan, "--receivers", str(len(hosts)), "--rate", "200Mbit")
        receivers = {host: lan.receive(host, "--update") for host in hosts}
        for host, process in receivers.items():
            said = finish(process)
            if host == 3:
                assert said["updated"] is None, said
                is_right(lan, host)
                continue
            # Only the first time there is something to do.
            changes = [said["updated"][what] for what in ("created", "replaced", "deleted")]
            assert changes == ([0, 0, 0] if others else [1, 1, 1]), said
            with open(f"{lan.place(host)}/of-this-node", encoding="ascii") as f:
                assert f.read() == "kept"
        report = finish(sender)
        wire = (lan.sent() - before) / report["bytes"]
        print(f"two updated, {len(others)} new: {wire:.3f} of {report['bytes'] >> 20} MiB on the wire", flush=True)
        assert wire < (1.2 if others else 0.15), wire
    for host in (1, 2):
        os.remove(f"{lan.place(host)}/of-this-node")
        is_right(lan, host)
    for host in (1, 2, 3):
        shutil.rmtree(lan.place(host))


def resumed(lan: Lan) -> None:
    """The second run says what it needs, and gets that."""
    sender = send(lan, "--wait", "300ms", "--rate", "60Mbit")
    one = lan.receive(1)
    time.sleep(2.8)
    assert one.poll() is None, "it was too fast to be killed"
    one.send_signal(signal.SIGKILL)
    one.wait()
    assert os.path.exists(lan.place(1))
    said = finish(lan.receive(1))
    is_right(lan, 1)
    sender.send_signal(signal.SIGINT)
    sender.communicate(timeout=10)
    symbols = said["received"]["symbols"] - said["received"]["useless"]
    share = symbols * 1456 / sum(os.path.getsize(os.path.join(at, n)) for at, _, names in os.walk(lan.bed.tree) for n in names
                                 if not os.path.islink(os.path.join(at, n)))
    print(f"killed in its middle, it needed {share:.2f} of the image", flush=True)
    assert share < 0.85, said
    shutil.rmtree(lan.place(1))


def signed(lan: Lan) -> None:
    """With --pub nothing is taken that is not signed, and nothing that is older than what was seen; from a mirror neither."""
    key, state, store = f"{lan.bed.dir}/key", f"{lan.bed.dir}/state", lan.bed.store
    cv("key", "generate", "--output", key)
    pub = ("--pub", f"{key}.pub", "--state", state)
    lan.run(lan.hosts[0], "ip", "link", "set", "lo", "up")
    lan.cvctl(0, "--store", store, "serve", "--listen", "10.93.0.1:8087")
    answers = lan.inside(lan.hosts[1], "curl", "-s", "-f", f"{MIRROR}/healthz")
    eventually("the mirror answers", lambda: subprocess.run(answers, capture_output=True, check=False).returncode == 0)
    for wanted, outcome in (("node", 14), ("node@3", 0), ("node@4", 0), ("node@3", 20)):
        if wanted == "node@3" and not outcome or wanted == "node@4":
            with open(f"{lan.bed.tree}/new", "ab") as f:
                f.write(b"more")
            cv("--store", store, "image", "capture", lan.bed.tree, "--name", "node", "--sign-key", key)
        for mirror in (("--mirror", MIRROR), ()) if outcome else ((),):
            sender = lan.cvctl(0, "--store", store, "mcast", "send", wanted, "--interface", "eth0", "--wait", "100ms", "--rate", "400Mbit")
            one = lan.receive(1, *pub, *mirror)
            _, err = one.communicate(timeout=60)
            assert one.returncode == outcome, (wanted, mirror, one.returncode, err)
            sender.terminate()
            sender.communicate(timeout=30)
        if outcome:
            assert not os.path.exists(lan.place(1)) or not os.listdir(lan.place(1)), err
        else:
            is_right(lan, 1)
            shutil.rmtree(lan.place(1))
    print("neither what is not signed nor what is older is taken", flush=True)


def main() -> None:
    if os.geteuid() != 0 or not shutil.which("ethtool"):
        print("it needs root and ethtool (apt-get install ethtool)")
        sys.exit(77)
    with Bed(megabytes=24) as bed:
        lan = Lan(bed, 3)
        updated(lan)
        resumed(lan)
        signed(lan)


main()

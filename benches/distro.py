"""The parts of peers.py about distributions, on the disk with a cold cache: a medium is added beside bsdtar, which unpacks it; an
image is built beside the same dnf run without confinement. Needs root, dnf, bsdtar, and what tests/beds/distro needs; three
times LIBCV_ISO_MIB on the disk (default 3500; an ISO in LIBCV_ISO is taken as it is)."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from datetime import datetime
from typing import TYPE_CHECKING

from measure import Timed, fresh, timed

if TYPE_CHECKING:
    from peers import Bench

HERE = os.path.dirname(os.path.abspath(__file__))
MIB = os.environ.get("LIBCV_ISO_MIB", "3500")


def cold() -> None:
    """Nothing that is on a disk is in memory."""
    subprocess.run(["sync"], check=True)
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as f:
        f.write("3")


def since(stage: str, events: str) -> float:
    """Seconds from the begin of a stage to the end of the job."""
    with open(events, encoding="utf-8") as f:
        told = [json.loads(line) for line in f]
    began = next(e["ts"] for e in told if e["kind"] == "stage" and e["stage"] == stage)
    ended = next(e["ts"] for e in told if e["kind"] == "job.end")
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds()


def distro(b: Bench) -> None:
    """Each ends when its bytes are on the disk."""
    with tempfile.TemporaryDirectory(prefix="libcv-bench-", dir=os.environ.get("TMPDIR", "/var/tmp")) as work:
        iso = os.environ.get("LIBCV_ISO")
        if not iso:
            made = subprocess.run([f"{HERE}/make-iso.sh", f"{work}/made", MIB], check=True, stdout=subprocess.PIPE, text=True)
            iso = made.stdout.split()[-1]

        def ours() -> Timed:
            fresh(f"{work}/store")
            subprocess.run([b.cvctl, "store", "init", f"{work}/store"], check=True, stdout=subprocess.DEVNULL)
            cold()
            run = b.ours("distro add", "distro", "add", iso, sync=work, store=f"{work}/store")
            shutil.rmtree(f"{work}/store")
            return run

        def peer() -> Timed:
            fresh(f"{work}/out")
            cold()
            run = b.note(timed(["bsdtar", "-x", "-f", iso, "-C", f"{work}/out"], sync=work))
            shutil.rmtree(f"{work}/out")
            return run

        pairs = []
        for n in range(b.pairs):
            mine, theirs = b.both(n, ours, peer)
            pairs.append((mine.synced, theirs.synced))
        b.row("distro add / bsdtar -x", pairs)


def build(b: Bench) -> None:
    """A build without its capture, which is the stage that a peer has not, beside dnf alone. A second of the difference is
    what confinement and generalising cost whatever the size is; it is not counted."""
    with tempfile.TemporaryDirectory(prefix="libcv-bench-", dir=os.environ.get("TMPDIR", "/var/tmp")) as work:
        mini, store, role = f"{work}/mini", f"{work}/store", f"{work}/role.json"
        make = os.path.join(HERE, "..", "tests", "beds", "distro", "make.sh")
        subprocess.run(["bash", make, mini, "9.4"], check=True, stdout=subprocess.DEVNULL, env={**os.environ, "BIG_MIB": "512"})
        packages = ["filesystem", "setup", "busybox", "mini-release", "bigfile", "kernel-core", "beacon"]
        with open(role, "w", encoding="utf-8") as f:
            json.dump({"schema": "cv.role/v1", "name": "bench", "packages": packages}, f)
        subprocess.run([b.cvctl, "store", "init", store], check=True, stdout=subprocess.DEVNULL)
        b.ours("distro add", "distro", "add", f"{mini}/mini-9.4.iso", store=store)
        with open(f"{work}/.rpmmacros", "w", encoding="ascii") as f:
            f.write("%_dbpath /var/lib/rpm\n%_db_backend sqlite\n")
        os.makedirs(f"{work}/none")
        with open(f"{work}/dnf.conf", "w", encoding="ascii") as f:
            f.write(f"[main]\ngpgcheck=1\nplugins=0\nreposdir={work}/none\nvarsdir={work}/none\ninstall_weak_deps=0\n"
                    f"module_platform_id=platform:el9\nassumeyes=1\n")
            for name in ("BaseOS", "AppStream"):
                f.write(f"[{name}]\nname={name}\nbaseurl=file://{mini}/tree-9.4/{name}\ngpgkey=file://{mini}/keys/mini.asc\n")
        pairs = []
        for n in range(b.pairs):
            def ours() -> Timed:
                events = f"{work}/events"
                run = b.ours("image build", "image", "build", "--distro", "rocky-9.4", "--role", role, "--name", f"n{n}",
                             "--events", events, store=store)
                rest = run.seconds - since("scan", events) - 1
                os.unlink(events)
                return Timed(max(0.01, rest), run.synced, run.peak, run.others)

            def peer() -> Timed:
                root = f"{work}/root"
                fresh(root)
                env = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", f"HOME={work}", "LC_ALL=C.UTF-8", "TZ=UTC"]
                run = b.note(timed([*env, "dnf", f"--config={work}/dnf.conf", f"--installroot={root}", "--releasever=9",
                                    "--forcearch=x86_64", "install", *packages]))
                shutil.rmtree(root)
                return run

            mine, theirs = b.both(n, ours, peer)
            pairs.append((mine.seconds, theirs.seconds))
        b.row("build / dnf --installroot", pairs)

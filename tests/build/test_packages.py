#!/usr/bin/env python3
"""The packages of the program for nodes: what is in them, who may read it, that a policy of the node's own stays, and that the same program
gives the same packages."""
from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile

CV = os.environ.get("CVCTL") or sys.exit("CVCTL is not set")
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def run(*args: str, **more: object) -> str:
    return subprocess.run(args, check=True, capture_output=True, text=True, **more).stdout  # type: ignore[call-overload,no-any-return]


def made(place: str, program: str) -> list[str]:
    run(f"{TOP}/scripts/build-packages.sh", program, env={**os.environ, "CARGO_TARGET_DIR": place, "SOURCE_DATE_EPOCH": "1700000000"})
    return sorted(os.path.join(place, "dist", f) for f in os.listdir(f"{place}/dist"))


def look(root: str) -> None:
    """A root in which a package was laid out."""
    version = run(f"{root}/usr/bin/cvctl-node", "--version").split()[1]
    assert version[0].isdigit(), version
    for path, mode in (("etc/libcv", 0o700), ("etc/libcv/policy.yaml", 0o600), ("usr/bin/cvctl-node", 0o755)):
        info = os.stat(f"{root}/{path}")
        assert (stat.S_IMODE(info.st_mode), info.st_uid) == (mode, 0), (path, oct(info.st_mode), info.st_uid)
    assert os.path.exists(f"{root}/usr/share/man/man1/cvctl-node-connect.1.gz")
    unit = f"{root}/usr/lib/systemd/system/cvctl-node.service"
    if shutil.which("systemd-analyze"):
        said = subprocess.run(["systemd-analyze", "verify", "--root", root, unit], capture_output=True, text=True, check=False)
        # What other units it names is not in this root.
        wrong = [line for line in said.stderr.splitlines() if "cvctl-node.service:" in line
                 and not re.search("Unit .* not found|Command 'man", line)]
        assert not wrong, wrong
    # The policy that comes with it is one, and allows nothing: it says so before the server is asked for anything.
    with open(f"{root}/secret", "w", encoding="ascii") as f:
        f.write("cvn1-x")
    node = subprocess.Popen([f"{root}/usr/bin/cvctl-node", "connect", "--server", "http://127.0.0.1:1", "--policy",
                             f"{root}/etc/libcv/policy.yaml", "--secret-file", f"{root}/secret"], stderr=subprocess.PIPE, text=True)
    assert node.stderr and "cannot be reached" in node.stderr.readline()
    node.terminate()
    assert node.wait(timeout=10) == 24


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="cv-packages-") as work:
        program = f"{work}/cvctl"
        run("strip", "-o", program, CV)
        deb, rpm = sorted(made(f"{work}/a", program), key=lambda p: p.endswith(".rpm"))
        again = sorted(made(f"{work}/b", program), key=lambda p: p.endswith(".rpm"))
        for one, other in zip((deb, rpm), again):
            assert run("sha256sum", one).split()[0] == run("sha256sum", other).split()[0], one
        assert "Package: cvctl-node" in run("dpkg-deb", "--info", deb)
        assert "/etc/libcv/policy.yaml" in run("dpkg-deb", "--info", deb, "conffiles")
        run("dpkg-deb", "-x", deb, f"{work}/deb")
        look(f"{work}/deb")

        root = f"{work}/rpm"
        os.mkdir(root)
        install = ("rpm", "--root", root, "--nodeps", "--noscripts", "--nosignature", "-U")
        run(*install, rpm)
        look(root)
        with open(f"{root}/etc/libcv/policy.yaml", "a", encoding="ascii") as f:
            f.write("# of this node\n")
        run(*install, "--force", rpm)
        with open(f"{root}/etc/libcv/policy.yaml", encoding="ascii") as f:
            assert f.read().endswith("# of this node\n"), "the policy of the node was replaced"
        files = set(run("rpm", "--root", root, "-ql", "cvctl-node").split())
        assert {"/usr/bin/cvctl-node", "/usr/lib/systemd/system/cvctl-node.service", "/etc/libcv/node.env"} <= files, files


main()

"""A small tree and a store for each test."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any, Callable

import libcv as cv
import pytest

Capture = Callable[..., cv.Image]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with a bit of everything that needs no privilege."""
    top = tmp_path / "tree"
    (top / "etc").mkdir(parents=True)
    (top / "etc" / "motd").write_text("welcome\n")
    (top / "big").write_bytes(os.urandom(3 << 20))
    os.link(top / "big", top / "big-too")
    os.symlink("etc/motd", top / "link")
    os.mkfifo(top / "pipe")
    with open(os.fsencode(top) + b"/caf\xe9", "wb") as f:
        f.write(b"not UTF-8\n")
    return top


@pytest.fixture
def group() -> str:
    """A group of multicast that no other test and no other run has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        return f"239.192.72.1:{s.getsockname()[1] & ~1}"


def reaches(job: cv.Job[Any], stage: str) -> None:
    """Waits until the work is there."""
    for event in job:
        if event.get("stage") == stage:
            return
    job.result()
    raise AssertionError(f"it ended before {stage}")


@pytest.fixture
def store(tmp_path: Path) -> cv.Store:
    return cv.Store.init(tmp_path / "store")


@pytest.fixture
def capture(store: cv.Store, tree: Path, tmp_path: Path) -> Capture:
    """Captures the tree as `node`, with the host's state kept in the test's directory."""

    def run(**options: Any) -> cv.Image:
        return store.capture(tree, "node", state=tmp_path / "state", **options)

    return run

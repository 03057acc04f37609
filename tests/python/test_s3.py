"""A store in S3 from Python. The servers are started by tests/groups/s3.sh; without one only what needs none is tested."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import libcv as cv
import pytest

SERVER = os.environ.get("LIBCV_S3_STORE")


def test_a_place_that_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("s3://x", "s3://bucket/a//b", "s3://key:secret@host/x"):
        with pytest.raises(cv.Invalid):
            cv.Store.open(place)
    with pytest.raises(cv.Unsupported):
        cv.Store.open("gs://bucket/x")
    for name in [n for n in os.environ if n.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(cv.Denied) as e:
        cv.Store.open("s3://bucket/prefix")
    assert "AWS_ACCESS_KEY_ID" in (e.value.hint or "")


@pytest.mark.skipif(SERVER is None, reason="there is no server: tests/run.sh s3")
def test_a_store_in_s3(tree: Path, tmp_path: Path) -> None:
    place = f"{SERVER}/{uuid.uuid4()}"
    with pytest.raises(cv.NotFound):
        cv.Store.open(place)
    store = cv.Store.init(place)
    image = store.capture(tree, "node", tag="stable", state=tmp_path / "state")
    (tree / "etc" / "motd").write_text("changed\n")
    assert store.capture(tree, "node", state=tmp_path / "state").generation == 2
    cv.Store.open(place).image("node:stable").extract(tmp_path / "out", verify=True)
    assert (tmp_path / "out" / "etc" / "motd").read_text() == "welcome\n"
    assert store.rollback("node", to=image)["generation"] == 3
    assert store.check(read_data=True)["faults"] == []

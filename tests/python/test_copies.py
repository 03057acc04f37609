"""Collection, copies and repair from Python."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

import libcv as cv
import libcv.aio


@pytest.fixture
def bed(tmp_path: Path) -> tuple[cv.Store, cv.Store, Path]:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "f").write_bytes(os.urandom(200_000))
    here, there = cv.Store.init(tmp_path / "here"), cv.Store.init(tmp_path / "there")
    here.capture(tree, "t", state=tmp_path / "state")
    return here, there, tree


def test_what_was_removed_is_found_and_deleted(bed: tuple[cv.Store, cv.Store, Path]) -> None:
    here, _, _ = bed
    here.remove("t")
    assert here.gc(dry_run=True)["found"] == 2
    assert here.gc()["found"] == 2
    assert here.gc(grace="12h")["deleted"] == 0
    done = asyncio.run(cv.aio.gc(here, grace=0))
    assert done["deleted"] == 2 and done["packs"] == 0
    for bad in ("soon", -1):
        with pytest.raises(cv.Invalid):
            here.gc(grace=bad)
    with pytest.raises(cv.Invalid):
        here.gc(keep_last=0)


def test_a_copy_is_taken_and_heals(bed: tuple[cv.Store, cv.Store, Path], tmp_path: Path) -> None:
    here, there, tree = bed
    done = here.sync(there, ["t"])
    assert done["generations"] == ["t@1"] and done["stored_bytes"] > 200_000
    assert asyncio.run(cv.aio.sync(here, there))["chunks"] == 0
    with pytest.raises(cv.NotFound):
        here.sync(there, ["none"])
    for pack in (tmp_path / "here/packs").rglob("*.pack"):
        pack.unlink()
    (tmp_path / "here/store.json").write_text("{}")
    with pytest.raises(cv.Integrity):
        cv.Store.open(tmp_path / "here")
    damaged = cv.Store.open_to_repair(tmp_path / "here")
    healed = damaged.repair(there)
    assert healed["faults"] == [] and healed["chunks"] > 0 and healed["removed"] == []
    assert damaged.repair_job(there).result()["found"] == 0
    damaged.image("t").extract(tmp_path / "out", verify=True)
    (tree / "f").write_text("another")
    there.capture(tree, "t", state=tmp_path / "state")
    with pytest.raises(cv.Conflict):
        damaged.sync(there)

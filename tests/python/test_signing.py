"""Who made an image, and what it must not hold."""

from __future__ import annotations

import asyncio
import shutil
import stat
from pathlib import Path

import libcv as cv
import libcv.aio
import pytest
from conftest import Capture


def test_signed_images_only(store: cv.Store, tree: Path, tmp_path: Path) -> None:
    key, other = tmp_path / "key", tmp_path / "other"
    key_id = cv.generate_key(key)
    cv.generate_key(other)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    with pytest.raises(cv.Conflict):
        cv.generate_key(key)

    believed = store.trusting([tmp_path / "key.pub"], state=tmp_path / "state")
    store.capture(tree, "node", state=tmp_path / "state")
    with pytest.raises(cv.Integrity, match="not signed"):
        believed.image("node")
    signing = store.signing(key)
    signing.sign("node@1")
    image = believed.image("node")
    assert image.key == key_id and store.image("node").key is None
    done = image.verify()
    assert done["key"] == key_id and done["generation"] == 1 and done["bytes"] > 3 << 20
    assert asyncio.run(cv.aio.verify(image)) == done
    with pytest.raises(cv.Integrity, match="none of those given"):
        store.trusting([tmp_path / "other.pub"]).image("node")
    with pytest.raises(cv.Misuse):
        store.sign("node")

    shutil.copytree(tmp_path / "store", tmp_path / "mirror")
    (tree / "etc" / "motd").write_text("welcome, all of you\n")
    assert signing.capture(tree, "node", state=tmp_path / "state").generation == 2
    believed.image("node")
    mirror = cv.Store.open(tmp_path / "mirror").trusting([tmp_path / "key.pub"], state=tmp_path / "state")
    with pytest.raises(cv.Stale):
        mirror.image("node")
    assert mirror.image("node@1") == image


def test_secrets(store: cv.Store, tree: Path, tmp_path: Path, capture: Capture) -> None:
    (tree / "etc" / "munge").mkdir()
    (tree / "etc" / "munge" / "munge.key").write_bytes(bytes(range(128)))
    with pytest.raises(cv.Refused) as refused:
        capture(forbid_secrets=True)
    assert refused.value.detail["secrets"][0]["path"] == "/etc/munge/munge.key"
    assert store.images() == []
    image = capture(forbid_secrets=True, allow_secrets=["/etc/munge/munge.key"])
    assert image.report is not None
    (found,) = image.report["secrets"]
    assert (found["rule"], found["class"], found["line"], found["allowed"]) == ("munge-key", "secret", None, True)
    image.export_tar(tmp_path / "a.tar")
    with pytest.raises(cv.Refused):
        store.import_tar(tmp_path / "a.tar", "tar", forbid_secrets=True)
    again = store.import_tar(tmp_path / "a.tar", "tar")
    assert again.report is not None and again.report["secrets_count"] == 1

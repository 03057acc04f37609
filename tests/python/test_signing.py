"""Who made an image, and what it must not hold."""

from __future__ import annotations

import asyncio
import json
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


def test_derived_files_are_signed(store: cv.Store, tree: Path, tmp_path: Path) -> None:
    """Who believes a key is given none that it did not sign, and who signs has made what it signs."""
    for name in ("ours", "other"):
        cv.generate_key(tmp_path / name)
    ours, other = store.signing(tmp_path / "ours"), store.signing(tmp_path / "other")
    believing = store.trusting([tmp_path / "ours.pub"])
    ours.capture(tree, "node", state=tmp_path / "state")

    def made(handle: cv.Store) -> bool:
        return handle.image("node").derive("cpio", compression="none")["made"]

    def signatures() -> int:
        (document,) = (tmp_path / "store" / "blobs").rglob("cpio-plain")
        return len(document.read_text().splitlines()) - 3

    assert made(store) and not made(store) and signatures() == 0
    # It is made again each time until somebody signs it; it stays what it is.
    assert made(believing) and made(believing) and signatures() == 0
    assert made(ours) and signatures() == 1
    assert not made(ours) and not made(believing) and not made(store)
    assert made(other) and signatures() == 2 and not made(believing)
    with pytest.raises(cv.Integrity):
        made(store.trusting([tmp_path / "other.pub"]))
    # One that was changed, with a sum that is right: taken by who believes nobody.
    (document,) = (tmp_path / "store" / "blobs").rglob("cpio-plain")
    whole = document.read_text()
    document.write_text("\n".join(whole.splitlines()[:3]) + "\n")
    assert not made(store) and made(believing)
    done = ours.image("node").derive_job("cpio", compression="none").result()
    assert done["made"] and signatures() == 1


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
    report = tmp_path / "report"
    with pytest.raises(cv.Refused):
        store.import_image(tmp_path / "a.tar", "new", forbid_secrets=True, report=report)
    refused = json.loads(report.read_text())
    assert refused["secrets"] == again.report["secrets"] and refused["image"] is None
    done = store.import_tar_job(tmp_path / "a.tar", "new", report=report).result()
    assert json.loads(report.read_text()) == done.report

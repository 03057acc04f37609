"""Distributions in a store: added, listed, verified, removed. One tree is made here, the other by the tests' own maker."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import subprocess
import urllib.request
from pathlib import Path

import libcv as cv
import libcv.aio
import pytest

DISTRO = Path(__file__).parents[1] / "beds" / "distro"
TOOLS = ["rpmbuild", "rpmsign", "createrepo_c", "modifyrepo_c", "xorriso", "implantisomd5", "busybox", "gpg", "openssl"]
PACKAGE = b"not a package, but a file with a name"
PRIMARY = """<?xml version="1.0" encoding="UTF-8"?>
<metadata xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm" packages="1">
<package type="rpm"><name>rocky-release</name><arch>noarch</arch><version epoch="0" ver="9.4" rel="1.el9"/>
<checksum type="sha256" pkgid="YES">{sum}</checksum><summary>s</summary><description/><packager/><url/>
<time file="1" build="1"/><size package="{size}" installed="1" archive="1"/><location href="Packages/rocky-release.rpm"/>
<format><rpm:license>MIT</rpm:license><rpm:header-range start="0" end="10"/>
<rpm:provides><rpm:entry name="system-release" flags="EQ" epoch="0" ver="9.4" rel="1.el9"/></rpm:provides></format>
</package></metadata>
"""
REPOMD = """<?xml version="1.0" encoding="UTF-8"?>
<repomd xmlns="http://linux.duke.edu/metadata/repo"><revision>1</revision>
<data type="primary"><checksum type="sha256">{sum}</checksum><open-checksum type="sha256">{sum}</open-checksum>
<location href="repodata/primary.xml"/><timestamp>1</timestamp><size>{size}</size><open-size>{size}</open-size></data>
</repomd>
"""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """A directory with one package, as a medium has it."""
    base = tmp_path / "media" / "BaseOS"
    (base / "Packages").mkdir(parents=True)
    (base / "repodata").mkdir()
    (base / "Packages" / "rocky-release.rpm").write_bytes(PACKAGE)
    primary = PRIMARY.format(sum=sha256(PACKAGE), size=len(PACKAGE)).encode()
    (base / "repodata" / "primary.xml").write_bytes(primary)
    (base / "repodata" / "repomd.xml").write_text(REPOMD.format(sum=sha256(primary), size=len(primary)))
    (base.parent / ".treeinfo").write_text(
        "[release]\nname = Rocky Linux\nshort = Rocky\nversion = 9.4\n[tree]\narch = x86_64\nvariants = BaseOS\n"
        "[variant-BaseOS]\nid = BaseOS\nrepository = BaseOS\npackages = BaseOS/Packages\n"
    )
    return base.parent


def test_a_directory_becomes_a_distribution(store: cv.Store, media: Path) -> None:
    stages: list[str] = []
    added = cv.add_distro(
        store, media, progress=lambda e: stages.append(e["stage"]) if e["kind"] == "stage" else None
    )
    assert (added["name"], added["changed"], added["files"]) == ("rocky-9.4", True, 4)
    assert "recognise" in stages and "store" in stages
    assert cv.add_distro_job(store, media, threads=1).result()["changed"] is False
    (listed,) = cv.list_distros(store)
    info = cv.distro_info(store, "rocky-9.4")
    assert listed == info and info["image"] == added["image"]
    known = info["distribution"]
    assert (known["version"], known["arch"], known["source"]["kind"]) == ("9.4", "x86_64", "directory")
    assert [(r["id"], r["packages"]) for r in known["repositories"]] == [("BaseOS", 1)] and known["keys"] == []
    report = cv.verify_distro(store, "rocky-9.4")
    assert (report["packages"], report["faults"]) == (1, []) and report["signatures"].startswith("not checked")
    cv.remove_distro(store, "rocky-9.4")
    assert cv.list_distros(store) == []
    with pytest.raises(cv.NotFound, match="rocky-9.4"):
        cv.remove_distro(store, "rocky-9.4")


def test_a_distribution_is_sent_with_a_token(store: cv.Store, media: Path) -> None:
    server = cv.Server(store, "127.0.0.1:0")
    url = f"http://{server.address}"
    other = cv.Store.open(url, token=store.create_token("distro.other"))
    with pytest.raises(cv.Denied):
        cv.add_distro(other, media)
    far = cv.Store.open(url, token=store.create_token("distro.rocky-9.4"))
    added = cv.add_distro(far, media)
    assert (added["name"], added["changed"]) == ("rocky-9.4", True)
    assert [d["name"] for d in cv.list_distros(store)] == ["rocky-9.4"]
    assert cv.verify_distro(store, "rocky-9.4")["faults"] == []
    served = urllib.request.urlopen(f"{url}/v1/distros/rocky-9.4/BaseOS/Packages/rocky-release.rpm", timeout=10).read()
    assert served == PACKAGE
    server.stop()


def test_what_is_wrong_is_said(store: cv.Store, media: Path, tmp_path: Path) -> None:
    with pytest.raises(cv.NotFound):
        cv.add_distro(store, tmp_path / "none.iso")
    with pytest.raises(cv.NotFound):
        cv.verify_distro_job(store, "none").result()
    with pytest.raises(cv.Invalid):
        cv.add_distro(store, media, name="a/b")
    with pytest.raises(cv.NotFound, match="key"):
        cv.add_distro(store, media, keys=[tmp_path / "no-key"])
    (media / "BaseOS" / "Packages" / "rocky-release.rpm").write_bytes(PACKAGE[::-1])
    asyncio.run(libcv.aio.add_distro(store, media, name="bad"))
    report = asyncio.run(libcv.aio.verify_distro(store, "bad", threads=1))
    assert [f["package"] for f in report["faults"]] == ["rocky-release-9.4-1.el9.noarch"]
    (media / "BaseOS" / "repodata" / "primary.xml").write_text("x")
    with pytest.raises(cv.Integrity):
        cv.add_distro(store, media)
    assert [d["name"] for d in cv.list_distros(store)] == ["bad"]


def test_a_medium_becomes_a_distribution(store: cv.Store, tmp_path: Path) -> None:
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}: tests/setup.sh build")
    subprocess.run([DISTRO / "make.sh", tmp_path / "mini", "9.4"], check=True, capture_output=True, env=os.environ)
    added = cv.add_distro(store, tmp_path / "mini" / "mini-9.4.iso", keys=[tmp_path / "mini" / "keys" / "mini.asc"])
    known = added["distribution"]
    iso = tmp_path / "mini" / "mini-9.4.iso"
    assert known["source"]["media"] == "undamaged" and known["source"]["sha256"] == sha256(iso.read_bytes())
    for wrong, error in ("0" * 64, cv.Integrity), ("0", cv.Invalid):
        with pytest.raises(error):
            cv.add_distro(store, iso, name="x", sha256=wrong)
    assert cv.add_distro(store, iso, name="again", sha256=sha256(iso.read_bytes()))["image"]
    assert [k["pinned"] for k in known["keys"]] == [True]
    assert {m for r in known["repositories"] for m in r["modules"]} == {"webd"}
    report = cv.verify_distro(store, added["name"])
    assert report["faults"] == [] and report["packages"] == 11
    with pytest.raises(cv.Integrity):
        cv.add_distro(
            store, tmp_path / "mini" / "mini-9.4.iso", name="x", keys=[tmp_path / "mini" / "keys" / "forger.asc"]
        )

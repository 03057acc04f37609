"""Capture, versions, extract, and what an image holds."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import libcv as cv
import pytest
from conftest import Capture


def test_capture_change_roll_back_extract(store: cv.Store, tree: Path, capture: Capture, tmp_path: Path) -> None:
    first = capture(tag="base")
    assert first.report is not None and first.report["changed"]
    assert (first.name, first.generation, first.parent) == ("node", 1, None)
    again = capture()
    assert again.report is not None and not again.report["changed"]
    assert again == first and hash(again) == hash(first)

    (tree / "etc" / "motd").write_text("welcome, all of you\n")
    second = capture()
    assert second.generation == 2 and second.parent == first.id and second != first
    assert [r["generation"] for r in store.log("node")] == [2, 1]

    assert [(c.path, c.kind, c.fields) for c in store.diff("node@1", second)] == [
        ("/etc/motd", "changed", ["mtime", "size", "content"])
    ]
    assert store.diff(first, first) == []

    assert store.rollback("node", to=first)["generation"] == 3
    assert store.image("node") == first == store.image("node:base") == store.image(first.id[:12])
    store.tag("node", second, "next")
    assert {t["tag"]: t["generation"] for t in store.images()[0]["tags"]} == {"base": 1, "next": 2}
    assert [r["tags"] for r in store.log("node")] == [[], ["next"], ["base"]]

    done = store.image("node").extract(tmp_path / "out", verify=True)
    assert done["verified"] and done["losses"] == []
    out = tmp_path / "out"
    assert (out / "etc" / "motd").read_text() == "welcome\n"
    assert (out / "big").read_bytes() == (tree / "big").read_bytes()
    assert (out / "big").stat().st_ino == (out / "big-too").stat().st_ino
    assert os.readlink(out / "link") == "etc/motd"
    assert stat.S_ISFIFO((out / "pipe").lstat().st_mode)

    report = store.check(read_data=True)
    assert report["faults"] == [] and report["images"] == 2
    with pytest.raises(cv.Refused):
        store.remove("node@3")
    store.remove("node")
    assert store.images() == []


def test_update_and_diff_tree(tree: Path, capture: Capture, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = capture()
    first.extract(out)
    assert first.diff_tree(out) == []
    (tree / "etc" / "motd").write_text("welcome, all of you\n")
    second = capture()
    assert [(c.path, c.kind, c.kept) for c in second.diff_tree(str(out))] == [("/etc/motd", "changed", None)]
    (out / "mine").write_text("local")
    (out / "etc" / "fstab").write_text("of the node")
    dry = second.update(out, dry_run=True, local="delete")
    assert [(a["path"], a["what"]) for a in dry["actions"]] == [
        ("/etc/fstab", "keep"),
        ("/etc/motd", "replace"),
        ("/mine", "delete"),
    ]
    done = second.update(out, verify=True, protect=["/mine"])
    assert (done["replaced"], done["kept"]["paths"], done["verdict"]["need"]) == (1, ["/mine", "/etc/fstab"], "nothing")
    assert done["verified"] and (out / "etc" / "motd").read_text() == "welcome, all of you\n"
    job = second.update_job(out, local="delete")
    job.wait()
    assert job.result()["local_deleted"] == {"count": 1, "paths": ["/mine"]}
    with pytest.raises(cv.Invalid):
        second.update(out, local="perhaps")  # type: ignore[arg-type]
    with pytest.raises(cv.NotFound):
        second.diff_tree(tmp_path / "none")


def test_rows(capture: Capture) -> None:
    image = capture()
    rows = {row.path: row for row in image.ls("/", recursive=True)}
    assert len(rows) == image.info()["totals"]["rows"]
    assert rows["/etc"].kind == "directory"
    assert rows["/link"].target == "etc/motd"
    assert rows["/big"].size == 3 << 20 and rows["/big"].links == rows["/big-too"].links is not None
    assert rows["/etc/motd"].mode == stat.S_IFREG | 0o644
    assert os.fsdecode(b"/caf\xe9") in rows
    assert [r.path for r in image.ls("etc")] == ["/etc", "/etc/motd"]
    assert {r.path for r in image.ls()} >= {"/", "/etc", "/big"}


def test_cat(capture: Capture, tmp_path: Path) -> None:
    image = capture()
    assert image.cat("/etc/motd") == b"welcome\n"
    assert image.cat(b"/caf\xe9") == b"not UTF-8\n"
    with open(tmp_path / "f", "w+b") as f:
        f.write(b"<")
        image.cat_to("etc/motd", f)
        f.seek(0)
        assert f.read() == b"<welcome\n"


@pytest.mark.parametrize("compression", ["zstd", "gzip", "none"])
def test_tar_and_back(store: cv.Store, capture: Capture, tmp_path: Path, compression: Any) -> None:
    image = capture()
    archive = tmp_path / "a.tar"
    done = image.export_tar(archive, compression=compression)
    assert done["entries"] == image.info()["totals"]["rows"]
    back = store.import_tar(archive, "back")
    assert back.tree_id == image.tree_id
    with open(archive, "rb") as f:
        assert store.import_tar(f, "back").report["changed"] is False  # type: ignore[index]
    with pytest.raises(cv.Limit):
        store.import_tar(archive, "small", max_entries=1)
    archive.write_bytes(archive.read_bytes()[: 1 << 20])
    with pytest.raises(cv.Integrity):
        store.import_tar(archive, "short")
    with pytest.raises(ValueError):
        image.export_tar(tmp_path / "b.tar", compression="rar")  # type: ignore[arg-type]


@pytest.mark.parametrize("format", ["oci", "oci-archive", "tar"])
def test_formats_and_back(store: cv.Store, capture: Capture, tmp_path: Path, format: Any) -> None:
    image = capture()
    place = tmp_path / "out"
    done = image.export(place, format, reference="a:b", created=0)
    assert (done["format"], done["losses"]) == (format, [])
    assert (done["digest"] or "").startswith("sha256:" if format != "tar" else "")
    back = store.import_image(place, "back")
    assert back.tree_id == image.tree_id
    assert back.report["format"] == format.split("-")[0]  # type: ignore[index, typeddict-item]
    with pytest.raises(cv.Refused):
        image.export(place, format)
    if format == "oci":
        with pytest.raises(cv.NotFound):
            store.import_image(place, "other", reference="c")
        (place / "blobs/sha256" / (done["digest"] or "")[7:]).write_bytes(b"{}")
        with pytest.raises(cv.Integrity):
            store.import_image(place, "other")


def test_derived_once(capture: Capture, tmp_path: Path) -> None:
    image = capture()
    first = image.derive("erofs")
    assert first["made"] and first["params"] == "plain"
    second = image.derive("erofs", tmp_path / "image.erofs")
    assert not second["made"] and second["hash"] == first["hash"]
    assert (tmp_path / "image.erofs").stat().st_size == first["size"]
    assert image.derive_job("cpio", compression="none").result()["kind"] == "cpio"
    with pytest.raises(cv.Invalid):
        image.derive("zip")  # type: ignore[arg-type]


def test_paths_may_be_anything_that_is_a_path(tree: Path, tmp_path: Path) -> None:
    store = cv.Store.init(str(tmp_path / "a"))
    image = store.capture(os.fsencode(tree), "node", state=tmp_path / "state")
    assert cv.Store.open(tmp_path / "a").image("node") == image


def test_a_store_is_a_context(tmp_path: Path) -> None:
    with cv.Store.init(tmp_path / "s") as store:
        assert not store.closed
    assert store.closed
    with pytest.raises(cv.Misuse):
        store.images()


def test_classes_are_frozen(store: cv.Store) -> None:
    with pytest.raises(AttributeError):
        store.uuid = "x"  # type: ignore[misc]


def test_quickstart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import runpy

    file = Path(__file__).parents[2] / "examples" / "python" / "quickstart.py"
    assert len(file.read_text().splitlines()) <= 80
    runpy.run_path(str(file))["main"](tmp_path)
    assert "rolled back, which is generation 3" in capsys.readouterr().out


def test_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import runpy

    file = Path(__file__).parents[2] / "examples" / "python" / "plan.py"
    runpy.run_path(str(file))["main"](tmp_path)
    assert "Nothing is written yet" in capsys.readouterr().out
    assert (tmp_path / "plan.svg").read_text(encoding="utf-8").startswith("<svg ")


def test_packages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import runpy

    file = Path(__file__).parents[2] / "examples" / "python" / "packages.py"
    runpy.run_path(str(file))["main"](tmp_path)
    assert "changed bash 5.2-1 -> 5.2-2" in capsys.readouterr().out
    assert (tmp_path / "node.cdx.json").read_text(encoding="utf-8").startswith("{")


def test_versions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import runpy

    file = Path(__file__).parents[2] / "examples" / "python" / "versions.py"
    runpy.run_path(str(file))["main"](tmp_path)
    assert "removed ['node@2', 'node@1']" in capsys.readouterr().out

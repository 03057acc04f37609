"""Layouts and plans, on image files."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import libcv as cv
import libcv.aio
import pytest
from conftest import Capture, reaches

DOCUMENT = """
schema: cv.layout/v1
name: one
firmware: [bios]
disks:
  os: {wipe: signatures}
partitions:
  os/data: {type: linux, size: rest}
filesystems:
  data: {on: os/data, type: ext4, mount: {at: /data}}
"""


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk"
    with open(path, "wb") as f:
        f.truncate(64 << 20)
    return path


def test_a_document(tmp_path: Path) -> None:
    layout = cv.Layout.parse(DOCUMENT)
    assert layout.name == "one"
    assert cv.Layout.parse(json.dumps(layout.to_dict()).encode()).to_dict() == layout.to_dict()
    (tmp_path / "l.yaml").write_text(DOCUMENT)
    assert cv.Layout.load(tmp_path / "l.yaml").to_dict() == layout.to_dict()
    assert cv.Layout.check(DOCUMENT) == []
    assert "properties" in cv.Layout.schema()
    with pytest.raises(LookupError):
        cv.Layout.load(tmp_path / "none")


def test_everything_that_is_wrong_is_said_with_its_place() -> None:
    bad = DOCUMENT.replace("size: rest", "size: 100G").replace("ext4", "ext5")
    found = cv.Layout.check(bad)
    assert len(found) >= 2
    assert all(d["line"] > 0 and d["column"] > 0 and d["code"] and d["message"] for d in found)
    with pytest.raises(cv.Invalid) as e:
        cv.Layout.parse(bad, "bad.yaml")
    assert e.value.detail["diagnostics"] == found and str(e.value).startswith("bad.yaml:")


def test_documents_extend_others(tmp_path: Path) -> None:
    base, own = tmp_path / "base", tmp_path / "own.yaml"
    base.mkdir()
    (base / "one.yaml").write_text(DOCUMENT)
    own.write_text("schema: cv.layout/v1\nname: own\nextends: one\nfilesystems: {data: {type: xfs}}\n")
    with pytest.raises(cv.Invalid) as e:
        cv.Layout.load(own)
    assert e.value.detail["code"] == "L008"
    layout = cv.Layout.load(own, search=[base])
    whole = DOCUMENT.replace("name: one", "name: own").replace("ext4", "xfs")
    assert layout.to_dict() == cv.Layout.parse(whole).to_dict() and layout.hash == cv.Layout.parse(whole).hash
    assert len(layout.hash) == 64 and layout.hash != cv.Layout.parse(DOCUMENT).hash
    (base / "one.yaml").write_text(DOCUMENT.replace("size: rest", "size: 100G"))
    (found,) = cv.Layout.check_file(own, search=[base])
    assert found["document"] == str(base / "one.yaml") and found["code"] == "L108"


def test_the_order_of_partitions_is_kept() -> None:
    document = DOCUMENT.replace("  os/data:", "  os/z: {type: linux, size: 1MiB}\n  os/data:")
    assert list(cv.Layout.parse(document).to_dict()["partitions"]) == ["os/z", "os/data"]


def test_a_plan_writes_nothing(disk: Path, capture: Capture) -> None:
    layout = cv.Layout.parse(DOCUMENT)
    plan = layout.plan({"os": disk}, image=capture(), hostname="node1", seed=bytes(16))
    assert plan.token in str(plan) and str(disk) in str(plan)
    assert plan.to_dict()["disks"][0]["set"] == "os"
    assert layout.plan({"os": disk}, image=capture(), hostname="node1", seed=bytes(16)).token == plan.token
    assert disk.read_bytes() == bytes(64 << 20)
    with pytest.raises(cv.Refused) as e:
        plan.apply(confirm="0000-0000")
    assert e.value.detail["code"] == "A400"
    assert disk.read_bytes() == bytes(64 << 20)
    with pytest.raises(ValueError):
        layout.plan({"os": disk}, seed=b"short")
    with pytest.raises(ValueError):
        layout.plan({"other": disk})


def test_a_plan_is_a_picture(disk: Path) -> None:
    hostile = json.dumps("<script>'&\"\u202e")
    document = DOCUMENT.replace("size: rest}", f"size: rest, name: {hostile}}}")
    plan = cv.Layout.parse(document).plan({"os": disk}, seed=bytes(16))
    svg = plan.to_svg()
    top = ElementTree.fromstring(svg)
    assert top.tag == "{http://www.w3.org/2000/svg}svg" and top.get("role") == "img"
    texts = [t.text or "" for t in top.iter("{http://www.w3.org/2000/svg}text")]
    assert f"token {plan.token}" in texts and "at /data" in texts and str(disk) in "".join(texts)
    assert "<script>'&\"\ufffd" in "".join(texts) and "<script" not in svg
    # A notebook calls these.
    assert plan._repr_svg_() == svg and svg in plan._repr_html_()


@pytest.mark.skipif(
    os.geteuid() != 0 or not os.path.exists("/dev/loop-control") or not shutil.which("mkfs.ext4"),
    reason="needs root, loop devices and e2fsprogs",
)
def test_apply_to_an_image_file(disk: Path) -> None:
    plan = cv.Layout.parse(DOCUMENT).plan({"os": disk})
    stages: list[str] = []
    done = plan.apply(confirm=plan.token, progress=lambda e: stages.append(e.get("stage", "")))
    assert [f["id"] for f in done["filesystems"]] == ["data"]
    assert {"preflight", "partition", "format", "verify", "commit"} <= set(stages)
    assert disk.read_bytes()[512:520] == b"EFI PART"
    with pytest.raises(cv.Refused):
        plan.apply(confirm=plan.token)  # the disk is not as it was


@pytest.mark.skipif(not shutil.which("mkfs.ext4", path="/usr/sbin:/sbin"), reason="needs e2fsprogs")
def test_apply_without_the_kernel(disk: Path) -> None:
    plan = cv.Layout.parse(DOCUMENT).plan({"os": disk})
    with pytest.raises(ValueError):
        plan.apply(confirm=plan.token, backend="other")  # type: ignore[arg-type]
    assert disk.read_bytes() == bytes(64 << 20)
    plan.apply_job(confirm=plan.token, backend="offline").result()
    assert disk.read_bytes()[512:520] == b"EFI PART" and [p.name for p in disk.parent.iterdir()] == ["disk"]


@pytest.mark.skipif(not shutil.which("mkfs.ext4", path="/usr/sbin:/sbin"), reason="needs e2fsprogs")
def test_an_apply_that_was_interrupted_is_resumed(disk: Path, tmp_path: Path) -> None:
    layout, journal = cv.Layout.parse(DOCUMENT), tmp_path / "journal"
    plan = layout.plan({"os": disk}, seed=bytes(range(16)))
    plan.apply(confirm=plan.token, backend="offline", journal=journal)
    read = cv.Plan.read_journal(journal)
    assert read["done"] and read["plan"]["seed"] == bytes(range(16)).hex() and all(s["done"] for s in read["steps"])
    # As it is when the power fails before the copy: the table stands, and carries the marks.
    lines = journal.read_text().splitlines(keepends=True)
    cut = next(n for n, line in enumerate(lines) if '"step":"mkfs:' in line)
    journal.write_text("".join(lines[:cut]) + lines[cut][:20])
    with disk.open("r+b") as f:
        f.seek(1 << 20)
        f.write(bytes(62 << 20))
    again = layout.plan({"os": disk}, resume=journal)
    uuids = [f["uuid"] for f in plan.to_dict()["filesystems"]]
    assert [f["uuid"] for f in again.to_dict()["filesystems"]] == uuids
    done = again.apply(confirm=plan.token, backend="offline", journal=journal, resume=True)
    assert done["journal"] == str(journal) and [f["uuid"] for f in done["filesystems"]] == uuids
    assert cv.Plan.read_journal(journal)["done"]
    assert layout.plan({"os": disk}).to_dict()["steps"] == []
    with pytest.raises(cv.Refused) as e:
        layout.plan({"os": disk}, resume=journal, hostname="other", image=None, seed=bytes(16))
    assert e.value.detail["code"] == "A411"
    with pytest.raises(cv.NotFound):
        layout.plan({"os": disk}, resume=tmp_path / "none")


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("cryptsetup", path="/usr/sbin:/sbin")
                    or not shutil.which("systemd-cryptenroll"), reason="needs root, cryptsetup and systemd-cryptenroll")
def test_the_tpm_of_an_image_file_is_named(disk: Path) -> None:
    document = DOCUMENT[:DOCUMENT.index("partitions:")] + """\
partitions: {os/c: {type: luks, size: rest}}
luks: {c: {on: os/c, keys: [{tpm2: {pcrs: [7]}}, {secret: "ref:recovery"}]}}
filesystems: {f: {on: luks/c, type: ext4}}
"""
    plan = cv.Layout.parse(document).plan({"os": disk})
    with pytest.raises(cv.Refused) as e:
        plan.apply(confirm=plan.token)
    assert e.value.detail["code"] == "F231"
    for apply in (plan.apply, lambda **how: plan.apply_job(**how).result()):
        with pytest.raises(cv.Error) as next_one:
            apply(confirm=plan.token, tpm2_device="device:none")
        assert "recovery" in str(next_one.value)     # what is looked at next
    assert disk.read_bytes() == bytes(64 << 20)


def test_captured_is_what_is_there(disk: Path, tmp_path: Path) -> None:
    plan = cv.Layout.parse(DOCUMENT.replace("type: ext4", "type: ext4, label: kept")).plan({"os": disk})
    plan.apply(confirm=plan.token, backend="offline")
    (tmp_path / "root" / "etc").mkdir(parents=True)
    (tmp_path / "root" / "etc" / "fstab").write_text("LABEL=kept /data ext4 noatime 0 2\n")
    captured = cv.Layout.capture(disk, root=tmp_path / "root", name="captured")
    assert captured["unsupported"] == [] and captured["layout"]["name"] == "captured"
    (made,) = captured["layout"]["filesystems"].values()
    assert (made["type"], made["label"], made["mount"]) == ("ext4", "kept", {"at": "/data", "options": ["noatime"]})
    (name,) = captured["observed"]
    assert cv.Layout.check(captured["document"]) == []
    again = cv.Layout.parse(captured["document"]).plan({name: disk})
    assert again.to_dict()["unchanged"] and again.to_dict()["steps"] == []


def test_a_plan_for_another_machine() -> None:
    content = {"fingerprint": "00", "signatures": [{"kind": "xfs", "start": 0, "length": 1 << 40, "label": "old"}]}
    disk = {"name": "sdx", "number": "8:176", "transport": "sata", "size": 1 << 40, "logical-sector": 512,
            "physical-sector": 4096, "serial": "S3RIAL", "content": content}
    inventory = json.dumps({"schema": "cv.inventory/v1", "machine": {"boot": "b"}, "disks": [disk]})
    layout = cv.Layout.parse(DOCUMENT.replace("{wipe: signatures}", "{match: {transport: sata}}"))
    plan = layout.plan(inventory=inventory, hostname="n7")
    assert plan.to_dict()["recorded"] and plan.to_dict()["disks"][0]["disk"]["path"] == "/dev/sdx"
    assert "as they were recorded" in str(plan) and 'xfs "old"' in str(plan) and "S3RIAL" in plan.to_svg()
    assert layout.plan({"os": "/dev/sdx"}, inventory=inventory.encode(), hostname="n7").token == plan.token
    assert layout.plan(inventory=inventory, hostname="n8").token != plan.token
    with pytest.raises(cv.Refused) as refused:
        plan.apply(confirm=plan.token)
    assert refused.value.detail["code"] == "A414"
    with pytest.raises(cv.NotFound):
        layout.plan({"os": "/dev/sdy"}, inventory=inventory)
    with pytest.raises(cv.Invalid):
        layout.plan(inventory="{")


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("cryptsetup", path="/usr/sbin:/sbin"), reason="needs root and cryptsetup")
def test_an_encrypted_device_wants_its_secret(disk: Path) -> None:
    document = DOCUMENT.replace("filesystems:", 'luks: {c: {on: os/data, keys: [{secret: "ref:site/key"}]}}\nfilesystems:')
    plan = cv.Layout.parse(document.replace("on: os/data, type: ext4", "on: luks/c, type: ext4")).plan({"os": disk})
    for secrets in (None, {"site/other": b"x"}):
        with pytest.raises(cv.NotFound) as missing:
            plan.apply(confirm=plan.token, secrets=secrets)
        assert missing.value.detail["code"] == "A407" and "site/key" in str(missing.value)
    with pytest.raises(cv.Unsupported):
        plan.apply(confirm=plan.token, secrets={"site/key": b"x"}, backend="offline")
    assert disk.read_bytes() == bytes(64 << 20)


def test_configure(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    actions: list[dict[str, Any]] = [{"hostname": "n1"}, {"write-file": {"path": "/etc/motd", "content": "hello\n", "mode": "0600"}}]
    assert cv.configure(root, actions) == ["created", "created"]
    assert cv.configure(root, actions) == ["unchanged", "unchanged"]
    assert (root / "etc" / "hostname").read_text() == "n1\n"
    with pytest.raises(ValueError):
        cv.configure(root, [{"hostname": "no good"}])
    with pytest.raises(ValueError):
        cv.configure(root, [{"none": 1}])


@pytest.mark.skipif(
    os.geteuid() != 0 or not os.path.exists("/dev/loop-control") or not shutil.which("mkfs.ext4"),
    reason="needs root, loop devices and e2fsprogs",
)
def test_deploy_to_an_image_file(disk: Path, tree: Path, capture: Capture) -> None:
    document = DOCUMENT.replace("at: /data", "at: /")
    image = capture()
    plan = cv.Layout.parse(document).plan({"os": disk}, image=image)
    (tree / "etc" / "issue").write_text("another image\n")
    with pytest.raises(cv.Refused) as refused:
        plan.apply(capture(), confirm=plan.token)
    assert refused.value.detail["code"] == "A400"
    assert disk.read_bytes() == bytes(64 << 20)
    with pytest.raises(ValueError):
        plan.apply(image, confirm=plan.token, hostname="no good")
    stages: list[str] = []
    done = plan.apply(
        image,
        confirm=plan.token,
        hostname="n1",
        configure=[{"write-file": {"path": "/etc/issue", "content": "x"}}],
        verify=True,
        progress=lambda e: stages.append(e.get("stage", "")),
    )
    assert done["layout"] == "one" and "transfer" in stages and "commit" in stages


@pytest.mark.skipif(
    os.geteuid() != 0 or not os.path.exists("/dev/loop-control") or not shutil.which("mkfs.ext4"),
    reason="needs root, loop devices and e2fsprogs",
)
def test_deploy_what_is_sent_to_many(disk: Path, tree: Path, capture: Capture, group: str) -> None:
    image = capture()
    layout = cv.Layout.parse(DOCUMENT.replace("at: /data", "at: /"))
    plan, source = layout.plan({"os": disk}, image=image), cv.MulticastSource("lo", group=group, name="node")

    async def story() -> Any:
        sent, done = await asyncio.gather(
            cv.aio.multicast(image, "lo", group=group, receivers=1, rate="200Mbit"),
            cv.aio.apply(plan, source, confirm=plan.token, hostname="n1", verify=True),
        )
        assert [r["standing"] for r in sent["receivers"]] == ["done"]
        return done

    done = asyncio.run(story())
    assert disk.read_bytes()[512:520] == b"EFI PART" and [f["id"] for f in done["filesystems"]] == ["data"]
    came = done["delivered"]
    assert (came["name"], came["image"], came["instead"], came["extracted"]["verified"]) == ("node", image.id, None, True)
    # It is not as it was.
    with pytest.raises(cv.Refused):
        plan.apply(source, confirm=plan.token)
    # A plan for an image takes no other one, however long that is sent.
    (tree / "etc" / "issue").write_text("another image\n")
    disk.write_bytes(bytes(64 << 20))
    plan = layout.plan({"os": disk}, image=image)
    with capture().multicast_job("lo", group=group, rate="200Mbit"), plan.apply_job(source, confirm=plan.token) as applying:
        reaches(applying, "listen")
        assert not applying.wait(timeout=2)
        applying.cancel()
        with pytest.raises(cv.Cancelled):
            applying.result()


def test_what_is_sent_and_cannot_be_taken_is_refused_before_a_write(disk: Path, group: str, tmp_path: Path) -> None:
    plan = cv.Layout.parse(DOCUMENT.replace("at: /data", "at: /")).plan({"os": disk})
    wrong: list[tuple[cv.MulticastSource, type[cv.Error]]] = [
        (cv.MulticastSource("none0", group=group), cv.NotFound),
        (cv.MulticastSource("lo", group="127.0.0.1:7786"), cv.Invalid),
        (cv.MulticastSource("lo", group=group, key_file=tmp_path / "none"), cv.NotFound),
        (cv.MulticastSource("lo", group=group, mirrors=["http://127.0.0.1:1"]), cv.Network),
    ]
    for source, error in wrong:
        with pytest.raises(error):
            plan.apply(source, confirm=plan.token, backend="offline")
    with pytest.raises(cv.Refused) as refused:
        plan.apply(cv.MulticastSource("lo", group=group), confirm="0000-0000")
    assert refused.value.detail["code"] == "A400"
    with pytest.raises(cv.Invalid):
        cv.MulticastSource("lo", mirrors=["ftp://host"])
    with pytest.raises(TypeError):
        plan.apply("node", confirm=plan.token)  # type: ignore[arg-type]
    assert disk.read_bytes() == bytes(64 << 20)

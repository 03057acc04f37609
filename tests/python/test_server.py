"""Servers, mirrors, and stores behind them from Python."""

from __future__ import annotations

import asyncio
import os
import runpy
import urllib.request
from pathlib import Path

import pytest

import libcv as cv
import libcv.aio

ANY = "127.0.0.1:0"


@pytest.fixture
def store(tmp_path: Path) -> cv.Store:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "motd").write_text("welcome\n")
    store = cv.Store.init(tmp_path / "store")
    store.capture(tree, "node", state=tmp_path / "state")
    return store


def test_a_store_is_handed_out_and_read(store: cv.Store, tmp_path: Path) -> None:
    seen: list[str] = []
    with cv.Server(store, ANY, on_access=lambda access: seen.append(access["path"])) as server:
        far = cv.Store.open(f"http://{server.address}")
        assert far.uuid == store.uuid and far.images() == store.images()
        far.image("node").extract(tmp_path / "out")
        assert (tmp_path / "out" / "motd").read_text() == "welcome\n"
        with urllib.request.urlopen(f"http://{server.address}/healthz") as answer:
            assert answer.read() == b"ok\n"
        assert "libcv_http_connections" in server.metrics()
        with pytest.raises(cv.Unsupported):
            far.remove("node")
        with pytest.raises(cv.Busy):
            cv.Server(store, server.address)
        address = server.address
    assert "/store.json" in seen and "/healthz" in seen
    with pytest.raises(cv.Misuse):
        server.metrics()
    with pytest.raises(cv.Misuse):
        server.stop()
    with pytest.raises(cv.Network):
        cv.Store.open(f"http://{address}")


def test_what_is_not_well_formed_is_refused(store: cv.Store, tmp_path: Path) -> None:
    for listen in ("nowhere", "127.0.0.1", "127.0.0.1:99999"):
        with pytest.raises(cv.Invalid):
            cv.Server(store, listen)
    with pytest.raises(cv.Invalid):
        cv.Server(store, ANY, client_ca=tmp_path / "ca")
    with pytest.raises(cv.Error):
        cv.Server(store, ANY, tls=(tmp_path / "none", tmp_path / "none"))
    for mirror in ("ftp://host", "http://host=heavy"):
        with pytest.raises(cv.Invalid):
            cv.Store.open("http://host", mirrors=[mirror])
    with pytest.raises(cv.Invalid):
        cv.Store.open("http://user:secret@host")
    other = tmp_path / "other"
    cv.Store.init(other)
    with cv.Server(store, ANY) as server, pytest.raises(cv.Conflict):
        cv.Server.mirror(other, ANY, f"http://{server.address}")


def test_servers_are_examined(store: cv.Store) -> None:
    with cv.Server(store, ANY) as server:
        good, bad = cv.doctor_http([f"http://{server.address}", "http://127.0.0.1:1"])
    assert good["store"] == store.uuid and {f["verdict"] for f in good["findings"]} == {"ok"}
    assert {f["check"] for f in good["findings"]} >= {"name", "answer", "clock", "names", "index", "ranges", "speed", "chunk"}
    assert bad["findings"][-1]["verdict"] == "bad" and bad["store"] is None
    with pytest.raises(cv.Invalid):
        cv.doctor_http([])


def test_an_exact_copy_is_one(store: cv.Store, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    done = store.mirror(copy)
    assert done["packs"] == 1 and done["objects"] > 4 and done["removed"] == 0
    assert asyncio.run(cv.aio.mirror(store, copy))["packs"] == 0
    assert cv.Store.open(copy).uuid == store.uuid
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("x")
    with pytest.raises(cv.Refused):
        store.mirror(tmp_path / "other")


def test_mirrors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The example of the documentation runs."""
    file = Path(__file__).parents[2] / "examples" / "python" / "mirrors.py"
    runpy.run_path(str(file))["main"](tmp_path)
    assert "the node says: welcome" in capsys.readouterr().out


def test_send(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The example of the documentation runs."""
    file = Path(__file__).parents[2] / "examples" / "python" / "send.py"
    runpy.run_path(str(file))["main"](tmp_path)
    said = capsys.readouterr().out
    assert "generations: [2, 1]" in said and "welcome back" in said and "2 tokens were used" in said


def test_nodes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The example of the documentation runs."""
    file = Path(__file__).parents[2] / "examples" / "python" / "nodes.py"
    runpy.run_path(str(file))["main"](tmp_path)
    said = capsys.readouterr().out
    assert "captured: generation 1" in said and "updated: 1 replaced" in said and "n1 refuses" in said


def test_a_token_is_for_one_generation_of_one_name(store: cv.Store, tmp_path: Path) -> None:
    server = cv.Server(store, "127.0.0.1:0")
    url = f"http://{server.address}"
    tree = tmp_path / "another"
    tree.mkdir()
    (tree / "f").write_text("x")
    secret = store.create_token("far", max_size=1 << 30, expires=60.0)
    token = store.tokens()[0]
    assert (token["name"], token["max_size"], token["used"]) == ("far", 1 << 30, False)
    far = cv.Store.open(url, token=secret)
    with pytest.raises(cv.Denied):
        far.capture(tree, "near", state=tmp_path / "state")
    far.capture(tree, "far", state=tmp_path / "state")
    assert [entry["generation"] for entry in store.log("far")] == [1]
    with pytest.raises(cv.Denied):
        cv.Store.open(url, token=secret)
    store.remove_token(token["id"])
    assert store.tokens() == []
    for wrong in (token["id"], "../x"):
        with pytest.raises(cv.NotFound):
            store.remove_token(wrong)
    with pytest.raises(cv.Invalid):
        store.create_token("../x")
    with pytest.raises(cv.Invalid):
        cv.Store.open(tmp_path / "store", token=secret)
    server.stop()


def test_a_node_is_asked(store: cv.Store, tmp_path: Path) -> None:
    server = cv.Server(store, "127.0.0.1:0")
    root, state = tmp_path / "root", tmp_path / "state"
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "motd").write_text("of the node\n")
    policy = tmp_path / "policy.yaml"
    policy.write_text(f"schema: cv.policy/v1\ncapture: {{names: [login], root: {root}}}\nupdate: {{images: [login], root: {root}}}\n")
    secret = store.add_node("n1")
    with pytest.raises(cv.Conflict):
        store.add_node("n1")
    with pytest.raises(cv.NotFound):
        store.capture_node("n2", "login")
    with pytest.raises(cv.Timeout):
        store.capture_node("n1", "login", patience=0.2)
    node = cv.connect_job(f"http://{server.address}", secret, policy, state=state)
    done = store.capture_node("n1", "login", tag="good", max_size=1 << 30, patience="1min")
    assert (done["generation"], done["changed"]) == (1, True)
    (root / "etc" / "motd").write_text("changed\n")
    (root / "etc" / "new").write_text("x")
    assert asyncio.run(cv.aio.update_node(store, "n1", "login:good", dry_run=True))["dry_run"]
    updated = store.update_node("n1", "login@1", protect=["/etc/new"])
    assert updated["replaced"] == 1 and (root / "etc" / "motd").read_text() == "of the node\n"
    assert (root / "etc" / "new").exists()
    (root / "etc" / "noise").write_bytes(os.urandom(1 << 20))
    with pytest.raises(cv.Limit, match="n1 says"):
        store.capture_node("n1", "login", max_size=1 << 19)
    with pytest.raises(cv.Refused, match="n1 refuses"):
        store.capture_node_job("n1", "other").result()
    assert store.nodes()[0]["name"] == "n1" and store.nodes()[0]["seen"]
    node.cancel()
    store.remove_node("n1")
    assert store.nodes() == []
    server.stop()

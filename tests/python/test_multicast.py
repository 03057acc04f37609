"""One image to many, over loopback, from Python."""

from __future__ import annotations

import asyncio
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import libcv as cv
import libcv.aio
from conftest import Capture, reaches


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "key"
    file.write_text(os.urandom(32).hex() + "\n")
    return file


def test_an_image_is_sent_and_received(capture: Capture, group: str, tmp_path: Path) -> None:
    image = capture()
    stages: set[str] = set()
    sending = image.multicast_job("lo", group=group, receivers=1, rate="400Mbit")
    done = cv.multicast_receive(
        tmp_path / "out", "lo", group=group, name="node", verify=True, no_sync=True, progress=lambda e: stages.add(e.get("stage", ""))
    )
    assert (done["name"], done["generation"], done["image"], done["instead"]) == ("node", 1, image.id, None)
    assert done["extracted"]["verified"] and done["received"]["symbols"] > 0 and {"listen", "head"} <= stages
    assert image.diff_tree(tmp_path / "out", exact=True) == []
    report = sending.result()
    assert report["image"] == image.id and report["bytes"] > 3 << 20 and report["seconds"] > 0
    assert [r["standing"] for r in report["receivers"]] == ["done"]
    assert report["sent"]["first"] > 0


def test_who_sends_tells_how_it_goes(capture: Capture, group: str, tmp_path: Path) -> None:
    with capture().multicast_job("lo", group=group, receivers=1, rate="400Mbit") as sending:
        reaches(sending, "multicast")
        while (so_far := sending.report) is None:
            time.sleep(0.001)
        assert so_far["stage"] == "waiting" and so_far["receivers"] == []
        receiving = cv.multicast_receive_job(tmp_path / "out", "lo", group=group)
        assert sending.result()["stage"] == "over" and sending.report == sending.result()
        receiving.result()
        assert receiving.report is None
    with capture().multicast_job("lo", group=group) as sending:
        reaches(sending, "multicast")
    # It was cancelled: the last report is all that is left.
    assert sending.report is not None and sending.report["image"]


@pytest.mark.parametrize("mode", ["tag", "aead"])
def test_who_has_the_key_receives(capture: Capture, group: str, key: Path, tmp_path: Path, mode: Any) -> None:
    image = capture()
    other = tmp_path / "other"
    other.write_bytes(os.urandom(32))

    async def story() -> None:
        strangers = [
            cv.multicast_receive_job(tmp_path / "without", "lo", group=group),
            cv.multicast_receive_job(tmp_path / "another", "lo", group=group, key_file=other),
        ]
        report, done = await asyncio.gather(
            cv.aio.multicast(image, "lo", group=group, receivers=1, rate=400e6, mode=mode, key_file=key),
            cv.aio.multicast_receive(tmp_path / "out", "lo", group=group, key_file=key),
        )
        assert [r["standing"] for r in report["receivers"]] == ["done"] and done["name"] == "node"
        for stranger in strangers:
            assert not stranger.done
            stranger.cancel()
            with pytest.raises(cv.Cancelled):
                stranger.result()

    asyncio.run(story())
    assert image.diff_tree(tmp_path / "out", exact=True) == []
    assert not (tmp_path / "without").exists() and not (tmp_path / "another").exists()


def test_only_what_is_signed_is_taken(store: cv.Store, tree: Path, group: str, tmp_path: Path) -> None:
    for name in ("mine", "other"):
        cv.generate_key(tmp_path / name)
    image = store.signing(tmp_path / "mine").capture(tree, "node", state=tmp_path / "state")
    with image.multicast_job("lo", group=group, receivers=1):
        with pytest.raises(cv.Integrity):
            cv.multicast_receive(tmp_path / "out", "lo", group=group, keys=[tmp_path / "other.pub"])
        assert not (tmp_path / "out" / "etc").exists()
    with image.multicast_job("lo", group=group, receivers=1) as sending:
        keys = [tmp_path / "other.pub", tmp_path / "mine.pub"]
        cv.multicast_receive(tmp_path / "out", "lo", group=group, keys=keys)
        assert [r["standing"] for r in sending.result()["receivers"]] == ["done"]
    assert image.diff_tree(tmp_path / "out", exact=True) == []


def test_the_rest_comes_from_mirrors(store: cv.Store, capture: Capture, group: str, tmp_path: Path) -> None:
    image = capture()
    with cv.Server(store, "127.0.0.1:0") as server:
        # So slowly that it is not over before the sender is told to stop.
        sending = image.multicast_job("lo", group=group, receivers=1, rate=2_000_000)
        mirrors = [f"http://{server.address}=2"]
        receiving = cv.multicast_receive_job(tmp_path / "out", "lo", group=group, mirrors=mirrors)
        reaches(receiving, "transfer")
        sending.cancel()
        done = receiving.result()
    assert done["instead"] and image.diff_tree(tmp_path / "out", exact=True) == []
    with pytest.raises(cv.Cancelled):
        sending.result()
    with pytest.raises(cv.Network):
        cv.multicast_receive(tmp_path / "more", "lo", group=group, mirrors=["http://127.0.0.1:1"])


def test_without_mirrors_the_end_of_the_sender_is_an_error(capture: Capture, group: str, tmp_path: Path) -> None:
    sending = capture().multicast_job("lo", group=group, receivers=1, rate=2_000_000)
    receiving = cv.multicast_receive_job(tmp_path / "out", "lo", group=group)
    reaches(receiving, "head")
    sending.cancel()
    with pytest.raises(cv.Network):
        receiving.result()


def test_whoever_waits_can_be_told_to_stop(capture: Capture, group: str, tmp_path: Path) -> None:
    image = capture()
    waiting: list[tuple[cv.Job[Any], str]] = [
        (image.multicast_job("lo", group=group), "multicast"),
        (cv.multicast_receive_job(tmp_path / "out", "lo", group=group, name="another"), "listen"),
    ]
    for job, stage in waiting:
        reaches(job, stage)
        time.sleep(0.2)
        assert not job.done
        job.cancel()
        with pytest.raises(cv.Cancelled):
            job.result(timeout=5)
    assert not (tmp_path / "out").exists()


WAIT = """
import signal, sys, time
import libcv as cv
signal.signal(signal.SIGINT, signal.default_int_handler)
def progress(event):
    if event["kind"] == "stage" and event["stage"] in ("listen", "multicast"):
        print("waiting", flush=True)
try:
    {call}
except KeyboardInterrupt:
    print("interrupted", time.time(), flush=True)
    sys.exit(0)
"""


@pytest.mark.parametrize(
    "call",
    [
        'cv.Store.open(sys.argv[1] + "/store").image("node").multicast("lo", group=sys.argv[2], progress=progress)',
        'cv.multicast_receive(sys.argv[1] + "/out", "lo", group=sys.argv[2], progress=progress)',
    ],
    ids=["send", "receive"],
)
def test_ctrl_c_ends_the_waiting(capture: Capture, group: str, tmp_path: Path, call: str) -> None:
    capture()
    code = WAIT.format(call=call)
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), group], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "waiting\n"
    time.sleep(0.3)
    sent = time.time()
    process.send_signal(signal.SIGINT)
    words = process.stdout.readline().split()
    assert words and words[0] == "interrupted" and float(words[1]) - sent < 0.5
    assert process.wait(30) == 0


def test_what_cannot_be_is_refused(capture: Capture, group: str, key: Path, tmp_path: Path) -> None:
    image, out = capture(), tmp_path / "out"
    with pytest.raises(cv.NotFound, match="none0"):
        image.multicast("none0", group=group)
    with pytest.raises(cv.NotFound, match="none0"):
        cv.multicast_receive(out, "none0", group=group)
    bad = tmp_path / "bad"
    bad.write_text("secret")
    wrong: list[dict[str, Any]] = [
        {"rate": "fast"}, {"rate": "940"}, {"rate": 940}, {"rate": -1e9}, {"mode": "rot13"}, {"mode": "tag"}, {"wait": "soon"}, {"wait": -1},
        {"key_file": bad}, {"group": "nowhere"}, {"group": "239.192.72.1"}, {"group": "127.0.0.1:7786"},
    ]
    for options in wrong:
        with pytest.raises(cv.Invalid) as e:
            image.multicast("lo", **{"group": group, **options})
        assert "secret" not in str(e.value)
    wrong = [{"key_file": bad}, {"group": "127.0.0.1:7786"}, {"mirrors": ["ftp://host"]}, {"keys": [bad]}]
    for options in wrong:
        with pytest.raises(cv.Invalid):
            cv.multicast_receive_job(out, "lo", **{"group": group, **options}).result()
    with pytest.raises(cv.NotFound):
        cv.multicast_receive(out, "lo", group=group, key_file=tmp_path / "none")
    assert not out.exists()


def test_multicast(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The example of the documentation runs."""
    file = Path(__file__).parents[2] / "examples" / "python" / "multicast.py"
    runpy.run_path(str(file))["main"](tmp_path)
    said = capsys.readouterr().out
    assert "2 of 2 nodes have" in said and said.count("node@1: 2 entries") == 2

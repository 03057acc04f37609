"""Progress, jobs, cancellation, Ctrl-C, asyncio."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import libcv as cv
import libcv.aio
import pytest
from conftest import Capture


def test_progress_is_called_with_events(capture: Capture) -> None:
    seen: list[Any] = []
    thread: list[int] = []

    def note(event: Any) -> None:
        seen.append(event)
        thread.append(threading.get_ident())

    capture(progress=note)
    assert [e["seq"] for e in seen] == list(range(1, len(seen) + 1))
    assert seen[0]["kind"] == "job.start" and seen[-1]["kind"] == "job.end" and seen[-1]["code"] == 0
    assert {e["stage"] for e in seen if e["kind"] == "stage"} == {"scan", "read", "store", "publish"}
    assert set(thread) == {threading.get_ident()}


def test_an_exception_of_progress_comes_back_and_cancels(store: cv.Store, capture: Capture) -> None:
    class Mine(Exception):
        pass

    mine = Mine("x")

    def fail(event: Any) -> None:
        if event["kind"] == "stage":
            raise mine

    with pytest.raises(Mine) as e:
        capture(progress=fail)
    assert e.value is mine
    capture()


def test_a_job_is_an_iterator(store: cv.Store, tree: Path, tmp_path: Path) -> None:
    job = store.capture_job(tree, "node", state=tmp_path / "state")
    kinds = [e["kind"] for e in job]
    assert kinds[0] == "job.start" and kinds[-1] == "job.end"
    assert job.wait(0) and job.done
    assert job.result() is job.result()
    assert job.result().name == "node"
    assert job.next_event(0) is None


def test_a_job_raises_its_error_each_time(store: cv.Store, tmp_path: Path) -> None:
    job = store.capture_job(tmp_path / "none", "node")
    for _ in range(2):
        with pytest.raises(cv.NotFound):
            job.result()




def test_cancel_and_timeout(store: cv.Store, capture: Capture, tmp_path: Path) -> None:
    big = tmp_path / "many"
    big.mkdir()
    for n in range(40):
        (big / str(n)).write_bytes(os.urandom(4 << 20))
    with store.capture_job(big, "big", level=19, state=tmp_path / "state") as job:
        with pytest.raises(TimeoutError):
            job.result(timeout=0.01)
        assert not job.wait(0.01)
        job.cancel()
        with pytest.raises(cv.Cancelled):
            job.result()
    with store.capture_job(big, "big", level=19, state=tmp_path / "state") as job:
        pass
    assert job.done
    assert [i["name"] for i in store.images()] == []


def test_other_threads_run_meanwhile(store: cv.Store, tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.mkdir()
    for n in range(8):
        (big / str(n)).write_bytes(os.urandom(4 << 20))
    ticks = 0
    stop = threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not stop.wait(0.005):
            ticks += 1

    thread = threading.Thread(target=tick)
    thread.start()
    began = time.monotonic()
    store.capture(big, "big", level=12, state=tmp_path / "state")
    took = time.monotonic() - began
    stop.set()
    thread.join()
    assert ticks > took * 20, f"{ticks} ticks in {took} s"


CTRL_C = """
import signal, sys, time
import libcv as cv
signal.signal(signal.SIGINT, signal.default_int_handler)
store = cv.Store.init(sys.argv[1] + "/store")
print("ready", flush=True)
began = None
def progress(event):
    if event["kind"] == "stage" and event["stage"] == "read":
        print("reading", flush=True)
try:
    {call}
except KeyboardInterrupt:
    print("interrupted", time.time(), flush=True)
    sys.exit(0)
print("too fast", flush=True)
sys.exit(1)
"""


@pytest.mark.parametrize(
    "call",
    [
        'store.capture(sys.argv[2], "n", level=19, state=sys.argv[1] + "/state", progress=progress)',
        'j = store.capture_job(sys.argv[2], "n", level=19, state=sys.argv[1] + "/state"); print("reading", flush=True)\n'
        "    j.result()",
    ],
    ids=["capture", "job.result"],
)
def test_ctrl_c_ends_a_call_within_half_a_second(tmp_path: Path, call: str) -> None:
    big = tmp_path / "big"
    big.mkdir()
    for n in range(60):
        (big / str(n)).write_bytes(os.urandom(4 << 20))
    process = subprocess.Popen(
        [sys.executable, "-c", CTRL_C.format(call=call), str(tmp_path), str(big)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line == "reading\n":
            break
    time.sleep(0.3)
    sent = time.time()
    process.send_signal(signal.SIGINT)
    words = process.stdout.readline().split()
    assert words and words[0] == "interrupted"
    assert float(words[1]) - sent < 0.5
    assert process.wait(30) == 0
    report = cv.Store.open(tmp_path / "store").check(read_data=True)
    assert report["faults"] == []


def test_ctrl_c_ends_what_is_stuck_in_the_system(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "big").write_bytes(bytes(4 << 20))
    image = cv.Store.init(tmp_path / "store").capture(tree, "node", state=tmp_path / "state")
    del image
    code = (
        "import os, signal, sys, time, libcv\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "image = libcv.Store.open(sys.argv[1]).image('node')\nprint('reading', flush=True)\n"
        "try:\n    image.cat_to('/big', os.pipe()[1])\n"
        "except KeyboardInterrupt:\n    print('interrupted', time.time(), flush=True); os._exit(0)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "store")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "reading\n"
    time.sleep(0.3)
    sent = time.time()
    process.send_signal(signal.SIGINT)
    words = process.stdout.readline().split()
    assert words and words[0] == "interrupted" and float(words[1]) - sent < 0.5
    assert process.wait(30) == 0


def test_aio(store: cv.Store, tree: Path, tmp_path: Path) -> None:
    async def story() -> None:
        seen: list[str] = []
        image = await cv.aio.capture(
            store, tree, "node", state=tmp_path / "state", progress=lambda e: seen.append(e["kind"])
        )
        assert seen[0] == "job.start" and seen[-1] == "job.end"
        done = await cv.aio.extract(image, tmp_path / "out", verify=True)
        assert done["verified"]
        assert (await cv.aio.update(image, tmp_path / "out", dry_run=True))["actions"] == []
        assert await cv.aio.diff_tree(image, tmp_path / "out") == []
        assert (await cv.aio.check(store))["faults"] == []
        with pytest.raises(cv.NotFound):
            await cv.aio.capture(store, tmp_path / "none", "node")

    asyncio.run(story())


def test_cancelling_a_task_cancels_its_work(store: cv.Store, tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.mkdir()
    for n in range(40):
        (big / str(n)).write_bytes(os.urandom(4 << 20))

    async def story() -> None:
        task = asyncio.create_task(cv.aio.capture(store, big, "big", level=19, state=tmp_path / "state"))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # The work itself has ended, not only the wait for it: nothing was published, and nothing will be.
        with pytest.raises(cv.NotFound):
            store.image("big")

    asyncio.run(story())
    assert store.images() == []

"""The package itself: import time, typing, the progress bar, the command."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import Any

import libcv as cv
import pytest
from libcv import progress


def test_import_takes_less_than_50_ms() -> None:
    code = "import time; t = time.perf_counter(); import libcv; print(time.perf_counter() - t)"
    times = [float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(5)]
    assert min(times) < 0.05, times


def test_import_needs_no_other_package() -> None:
    code = "import sys, libcv, libcv.aio; print('rich' in sys.modules, 'typing_extensions' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False False\n"


def test_the_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert cv.__version__ == version("libcv-provision")


EVENTS = [
    {"v": 1, "seq": 1, "ts": "", "job": "j", "kind": "job.start", "message": "capture"},
    {"v": 1, "seq": 2, "ts": "", "job": "j", "kind": "stage", "stage": "read", "total": 4096, "unit": "B"},
    {
        **{"v": 1, "seq": 3, "ts": "", "job": "j", "kind": "progress", "stage": "read"},
        **{"done": 2048, "total": 4096, "unit": "B", "rate": 1024},
    },
    {"v": 1, "seq": 4, "ts": "", "job": "j", "kind": "warning", "message": "[x] changed"},
    {"v": 1, "seq": 5, "ts": "", "job": "j", "kind": "job.end", "code": 24, "message": "cancelled"},
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("make", [progress._Plain, progress._Line, progress._Rich], ids=["plain", "line", "rich"])
def test_bars(make: Any) -> None:
    if make is progress._Rich:
        pytest.importorskip("rich")
    out = Terminal()
    bar = make(out)
    for event in EVENTS:
        bar(event)
    assert "[x] changed" in out.getvalue()


def test_bar_chooses() -> None:
    assert isinstance(cv.bar(io.StringIO()), progress._Plain)
    assert type(cv.bar(Terminal())) in (progress._Line, progress._Rich)

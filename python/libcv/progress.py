"""A progress bar: `store.capture("/", "node", progress=cv.bar())`.

With `rich` installed and a terminal it is drawn by that; on another terminal it is one line; elsewhere there is one
line for each stage.
"""

from __future__ import annotations

import sys
from typing import IO, TYPE_CHECKING, Any, Callable, Optional

if TYPE_CHECKING:
    from ._types import Event

__all__ = ["bar"]


def bar(file: Optional[IO[str]] = None) -> Callable[[Event], None]:
    """A function for `progress=` that shows what goes on, on stderr or `file`."""
    out = sys.stderr if file is None else file
    if not out.isatty():
        return _Plain(out)
    try:
        return _Rich(out)
    except ImportError:
        return _Line(out)


class _Plain:
    """A line for each stage."""

    def __init__(self, out: IO[str]) -> None:
        self.out = out

    def __call__(self, event: Event) -> None:
        kind = event["kind"]
        if kind == "stage":
            self.say(event["stage"])
        elif kind in ("warning", "retry"):
            self.say(f"{kind}: {event.get('message', '')}")
        elif kind == "job.end" and event.get("code"):
            self.say(f"failed: {event.get('message', '')}")

    def say(self, text: str) -> None:
        print(text, file=self.out, flush=True)


class _Line(_Plain):
    """One line of a terminal, written over and over."""

    def __call__(self, event: Event) -> None:
        if event["kind"] == "progress":
            self.out.write(f"\r\x1b[K{_text(event)}")
            self.out.flush()
            return
        if event["kind"] in ("warning", "retry", "job.end"):
            self.out.write("\r\x1b[K")
        if event["kind"] != "stage":
            super().__call__(event)
        self.out.flush()


class _Rich:
    """Drawn by rich."""

    def __init__(self, out: IO[str]) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description:>10}"),
            BarColumn(),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(),
        )
        self.progress = Progress(*columns, console=Console(file=out, highlight=False))
        self.task: Any = None

    def __call__(self, event: Event) -> None:
        kind = event["kind"]
        if kind == "stage":
            self.progress.start()
            if self.task is not None:
                self.progress.remove_task(self.task)
            self.task = self.progress.add_task(event["stage"], total=event.get("total") or None, text="")
        elif kind == "progress" and self.task is not None:
            total = event.get("total") or None
            self.progress.update(self.task, completed=event["done"], total=total, text=_text(event))
        elif kind in ("warning", "retry"):
            self.progress.console.print(f"{kind}: {event.get('message', '')}", markup=False)
        elif kind == "job.end":
            self.progress.stop()


def _text(event: Event) -> str:
    """`1.2 of 3.4 GiB, 112 MiB/s`."""
    done, total, rate = event.get("done", 0), event.get("total", 0), event.get("rate")
    if event.get("unit") == "B":
        text = f"{_bytes(done)} of {_bytes(total)}" if total else _bytes(done)
        return f"{text}, {_bytes(rate)}/s" if rate else text
    text = f"{done} of {total}" if total else f"{done}"
    return f"{text} {event.get('unit', '')}".rstrip()


def _bytes(n: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if n < 1024:
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.1f} {unit}"
        n /= 1024
    return f"{n:.1f} TiB"

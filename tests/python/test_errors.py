"""One base, the natural builtin beside it, and the facts."""

from __future__ import annotations

import errno
import pickle
from pathlib import Path

import libcv as cv
import pytest
from libcv import _native, errors

BUILTINS: dict[str, type[Exception]] = {
    "Invalid": ValueError,
    "NotFound": LookupError,
    "Denied": PermissionError,
    "UnsafeInput": ValueError,
    "Network": ConnectionError,
    "Unsupported": NotImplementedError,
    "Io": OSError,
    "Timeout": TimeoutError,
    "Misuse": RuntimeError,
    "Bug": RuntimeError,
}


@pytest.mark.parametrize(("code", "name"), _native.error_kinds())
def test_every_kind_has_a_class(code: int, name: str) -> None:
    made = errors._from_native(
        {"code": code, "message": "m", "hint": "h", "detail": {"path": "/x", "errno": 2}, "causes": ["c"]}
    )
    assert isinstance(made, cv.Error)
    assert isinstance(made, BUILTINS.get(name, Exception))
    assert (made.code, made.kind, made.hint, made.causes) == (code, name, "h", ["c"])
    assert str(made) == "m (h)" and made.message == "m"
    assert getattr(cv, type(made).__name__) is type(made)
    back = pickle.loads(pickle.dumps(made))
    assert type(back) is type(made) and back.detail == made.detail and back.hint == "h"


def test_an_unknown_code_is_a_failure() -> None:
    made = errors._from_native({"code": 4711, "message": "m", "hint": None, "detail": {}, "causes": []})
    assert type(made) is cv.Error and str(made) == "m"


def test_not_found_says_what_is_near(store: cv.Store, tree: Path, tmp_path: Path) -> None:
    store.capture(tree, "rocky9-gpu", state=tmp_path / "state")
    with pytest.raises(LookupError) as e:
        store.image("rocky9gpu")
    assert isinstance(e.value, cv.NotFound) and e.value.hint and "rocky9-gpu" in e.value.hint


def test_the_system_s_errors_have_errno(store: cv.Store, tmp_path: Path) -> None:
    long = tmp_path / ("x" * 300)
    with pytest.raises(OSError) as e:
        store.capture(long, "node")
    assert isinstance(e.value, cv.IOFail)
    assert e.value.errno == errno.ENAMETOOLONG and e.value.filename == str(long)
    file = tmp_path / "file"
    file.write_text("no directory")
    with pytest.raises(cv.Invalid):
        store.capture(file, "node")
    with pytest.raises(cv.NotFound):
        store.capture(tmp_path / "none", "node")


def test_bad_arguments(store: cv.Store, tree: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        store.capture(tree, "../x")
    with pytest.raises(ValueError):
        cv.Store.open("a\0b")
    with pytest.raises(TypeError):
        cv.Store.open(7)  # type: ignore[arg-type]
    with pytest.raises(cv.Conflict):
        store.capture(tree, "node", expect_parent=7, state=tmp_path / "state")
    with pytest.raises(cv.Conflict):
        cv.Store.init(tmp_path / "store")
    with pytest.raises(cv.Refused):
        cv.Store.init(tree)

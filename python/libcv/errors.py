"""The exceptions. Each has the code, the kind, the hint and the facts of the one table of errors that all faces share."""

from __future__ import annotations

from typing import Any, ClassVar, Optional


class Error(Exception):
    """Something failed. The text is one sentence; `hint` is a second one: what to do about it."""

    code: ClassVar[int] = 1
    """The number, as the C library returns it (negative) and `cvctl` exits with it."""
    kind: ClassVar[str] = "Failed"
    """The name of the number."""

    message: str
    """The sentence."""
    hint: Optional[str]
    """What to do about it."""
    detail: dict[str, Any]
    """The facts: path, device, errno, expected and actual digest, ..."""
    causes: list[str]
    """What led to it, nearest first."""

    def __init__(
        self,
        message: str = "",
        hint: Optional[str] = None,
        detail: Optional[dict[str, Any]] = None,
        causes: Optional[list[str]] = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.detail = detail or {}
        self.causes = causes or []

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.message, self.hint, self.detail, self.causes))


class Invalid(Error, ValueError):
    """A bad argument or document."""

    code = 2
    kind = "Invalid"


class NotFound(Error, LookupError):
    """Something named does not exist; the hint gives the nearest names."""

    code = 10
    kind = "NotFound"


class Conflict(Error):
    """The version changed meanwhile, or an identity exists twice."""

    code = 11
    kind = "Conflict"


class Busy(Error):
    """Somebody else holds it."""

    code = 12
    kind = "Busy"


class Denied(Error, PermissionError):
    """Not allowed: not armed, a used token, missing privilege."""

    code = 13
    kind = "Denied"


class Integrity(Error):
    """A digest does not fit, or a file is truncated or cannot be parsed."""

    code = 14
    kind = "Integrity"


class UnsafeInput(Error, ValueError):
    """Input breaks a rule that protects the machine."""

    code = 15
    kind = "UnsafeInput"


class Refused(Error):
    """A safety guard said no; the hint says how to confirm."""

    code = 16
    kind = "Refused"


class Limit(Error):
    """Space, quota, or a size or count over a limit."""

    code = 17
    kind = "Limit"


class Network(Error, ConnectionError):
    """The network or the peer failed."""

    code = 18
    kind = "Network"


class Partial(Error):
    """Some nodes failed."""

    code = 19
    kind = "Partial"


class Stale(Error):
    """Metadata that was rolled back or has expired."""

    code = 20
    kind = "Stale"


class Unsupported(Error, NotImplementedError):
    """Needs a version, tool, kernel or filesystem feature that is not here."""

    code = 21
    kind = "Unsupported"


class PluginError(Error):
    """A plugin failed."""

    code = 22
    kind = "Plugin"


class IOFail(Error, OSError):
    """The operating system returned an error; `errno` and `filename` are those of it."""

    code = 23
    kind = "Io"


class Cancelled(Error):
    """The work was cancelled."""

    code = 24
    kind = "Cancelled"


class Misuse(Error, RuntimeError):
    """A closed object, or a second call at once."""

    code = 25
    kind = "Misuse"


class Timeout(Error, TimeoutError):
    """Waited too long."""

    code = 26
    kind = "Timeout"


class Bug(Error, RuntimeError):
    """A panic was caught: a bug of libcv."""

    code = 70
    kind = "Bug"


_KINDS: list[type[Error]] = [Error, *Error.__subclasses__()]
_BY_CODE = {kind.code: kind for kind in _KINDS}


def _from_native(error: dict[str, Any]) -> Error:
    """The exception for an error of the library, given as its JSON object. An unknown code is a plain `Error`."""
    kind = _BY_CODE.get(error["code"], Error)
    made = kind(error["message"], error["hint"], error["detail"], error["causes"])
    if isinstance(made, OSError):
        made.errno = made.detail.get("errno")
        made.filename = made.detail.get("path")
    if "failed_undo" in error:
        made.__context__ = _from_native(error["failed_undo"])
    return made

"""The command `cvctl` of the wheel: the same code as the program of that name."""

from __future__ import annotations

import signal
import sys

from . import _native


def main() -> int:
    """Runs `cvctl` with the arguments of this process."""
    # Python's handler would only take a note; the command does with Ctrl-C what the program does.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return _native.main(["cvctl", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())

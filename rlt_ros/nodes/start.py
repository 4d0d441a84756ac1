"""Program of every node: ``python -m rlt_ros.nodes.start NODE [ARGUMENTS]``.

A node imports for seconds (torch, MuJoCo). Stopped in that time it ends silently with status 0, and a library that is
missing is one line, not a traceback that every restart repeats. The launcher starts it with SIGINT and SIGTERM blocked,
since the interpreter itself would answer one with a traceback; they are let through as soon as there are handlers.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

_NUMBERS = (signal.SIGINT, signal.SIGTERM)


def main() -> int:
    """Run the node that the first argument names; its exit status."""
    for number in _NUMBERS:
        signal.signal(number, _leave)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _NUMBERS)
    import importlib

    from rlt_ros.bringup import MISCONFIGURED, ORDER

    if len(sys.argv) < 2 or sys.argv[1] not in ORDER:
        print(f"usage: python -m rlt_ros.nodes.start {'|'.join(ORDER)}", file=sys.stderr)
        return MISCONFIGURED
    name = sys.argv.pop(1)
    try:
        module = importlib.import_module(f"rlt_ros.nodes.{name}")
    except (ImportError, OSError) as error:
        print(f"{name} cannot be loaded: {error}", file=sys.stderr)
        return MISCONFIGURED
    status = int(module.main())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # the node has closed what it had; tearing torch down takes a niced learner seconds


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(
        0
    )  # there is nothing to clean up yet, and an exception would surface in whatever is being imported


if __name__ == "__main__":
    sys.exit(main())

"""Program of every node: ``python -m rlt_ros.nodes.start NODE [ARGUMENTS]``.

The imports of a node take seconds (torch, MuJoCo). A node that is stopped meanwhile exits silently with status 0, and a
missing library is one line instead of a traceback for every restart. The launcher starts it with SIGINT and SIGTERM
blocked, because the interpreter itself would print a traceback; they are unblocked once handlers are set.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

_NUMBERS = (signal.SIGINT, signal.SIGTERM)


def main() -> int:
    """Run the node of the first argument and return its exit status."""
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
    # The node has closed its resources; tearing torch down would take a niced learner seconds.
    os._exit(status)


def _leave(number: int, frame: FrameType | None) -> None:
    # Nothing needs cleaning up yet, and an exception would surface in the running import.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())

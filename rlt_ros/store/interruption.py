"""Ctrl-C and SIGTERM in resumable long work: polled at safe points, without traceback."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

EXIT_INTERRUPTED = 130
"""Exit status after Ctrl-C or SIGTERM: 128 + SIGINT, as shells report it."""

_NUMBERS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """Work was stopped on request; the message contains the progress."""


class StopRequest:
    """Stop request by signals, raised by :meth:`poll`; a second signal ends the process at once."""

    def __init__(self) -> None:
        self.count = 0

    def poll(self) -> None:
        """Raise :class:`Interrupted` after a stop request."""
        if self.count:
            raise Interrupted

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if self.count == 1:
            os.write(2, b"\nstopping; press Ctrl-C again to stop at once\n")
        else:
            os.write(2, b"stopped at once; the same command continues\n")
            os._exit(EXIT_INTERRUPTED)


@contextlib.contextmanager
def stop_on_request() -> Iterator[StopRequest]:
    """Handle SIGINT and SIGTERM as a :class:`StopRequest` inside the block."""
    request = StopRequest()
    with _handled_by(request._handle):
        yield request


@contextlib.contextmanager
def raise_on_request() -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGINT and SIGTERM inside the block, unless the block handles them."""
    with _handled_by(signal.default_int_handler):
        yield


def exit_silently_on_interrupt() -> None:
    """End the process at once on SIGINT from now on, while there is nothing to clean up."""
    if _in_main_thread():
        signal.signal(signal.SIGINT, _exit)


def raise_on_interrupt() -> None:
    """Raise KeyboardInterrupt on SIGINT from now on, Python's default."""
    if _in_main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def _handled_by(handler: Any) -> Iterator[None]:
    if not _in_main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in _NUMBERS}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _exit(number: int, frame: FrameType | None) -> None:
    sys.stdout.flush()
    os.write(2, b"interrupted\n")
    os._exit(EXIT_INTERRUPTED)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()

"""SIGINT and SIGTERM: they end the work, but not in the middle of what must not be interrupted."""

from __future__ import annotations

import signal
import socket
import threading
from collections import deque
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any


class _Uninterrupted:
    """``with uninterrupted:`` puts what a signal does off until the block ends, in the main thread, where signals go.

    For calls into the DDS wrapper's C code that call Python in turn: it goes on with what failed there, and crashes.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._late: deque[Callable[[], Any]] = deque()

    def __enter__(self) -> None:
        if _in_main_thread():
            self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if _in_main_thread():
            self._depth -= 1
            while self._late and not self._depth:
                self._late.popleft()()

    def run(self, act: Callable[[], Any]) -> None:
        """Call ``act`` now, or when the block ends. Only the main thread may."""
        if self._depth:
            self._late.append(act)
        else:
            act()


uninterrupted = _Uninterrupted()
"""The one of this process."""


class Signals:
    """Takes over SIGINT and SIGTERM.

    Python runs signal handlers in the main thread, when it is back from C code. While it waits for DDS it is not, so a
    thread that the signal reaches through a socket wakes it.

    Args:
        stop: ends the work; may be called at any time.
        wake: wakes who waits for DDS.
    """

    _HANDLED = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, stop: Callable[[], None], wake: Callable[[], None]) -> None:
        self._stop, self._wake = stop, wake
        self._before: dict[int, Any] = {}
        self._sockets: tuple[socket.socket, socket.socket] | None = None

    def install(self) -> None:
        """Take over the signals, if this is the main thread."""
        if not _in_main_thread() or self._sockets:
            return
        self._sockets = receive, send = socket.socketpair()
        send.setblocking(False)
        signal.set_wakeup_fd(send.fileno(), warn_on_full_buffer=False)
        for number in self._HANDLED:
            self._before[number] = signal.signal(number, self._handle)
        threading.Thread(target=self._forward, args=(receive,), name="signals", daemon=True).start()

    def uninstall(self) -> None:
        """Give the signals back."""
        if self._sockets is None or not _in_main_thread():
            return
        _, send = self._sockets
        self._sockets = None
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
        send.close()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._stop()
        before = self._before.get(number)
        if number == signal.SIGINT and callable(before):
            uninterrupted.run(lambda: before(number, frame))  # Python's own raises KeyboardInterrupt

    def _forward(self, receive: socket.socket) -> None:
        with receive:
            while receive.recv(64):
                self._wake()


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()

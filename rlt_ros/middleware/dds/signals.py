"""Handling of SIGINT and SIGTERM, deferred during calls that must not be interrupted."""

from __future__ import annotations

import signal
import socket
import threading
from collections import deque
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any


class _Uninterrupted:
    """Context manager that defers signal actions to the end of its block, in the main thread.

    For calls into the DDS wrapper's C code that call Python back: an exception there would crash the process.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._deferred: deque[Callable[[], Any]] = deque()

    def __enter__(self) -> None:
        if _in_main_thread():
            self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if _in_main_thread():
            self._depth -= 1
            while self._deferred and not self._depth:
                self._deferred.popleft()()

    def run(self, action: Callable[[], Any]) -> None:
        """Call ``action`` now or at the end of the block; main thread only."""
        if self._depth:
            self._deferred.append(action)
        else:
            action()


uninterrupted = _Uninterrupted()
"""Instance of this process."""


class Signals:
    """Handler of SIGINT and SIGTERM.

    Python runs signal handlers in the main thread, after its return from C code. While it waits for DDS, another
    thread, notified through a socket, wakes it.

    Args:
        stop: stops the process' work; callable at any time.
        wake: wakes all threads that wait for DDS.
    """

    _HANDLED = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, stop: Callable[[], None], wake: Callable[[], None]) -> None:
        self._stop, self._wake = stop, wake
        self._before: dict[int, Any] = {}
        self._sockets: tuple[socket.socket, socket.socket] | None = None

    def install(self) -> None:
        """Install the handlers, in the main thread only."""
        if not _in_main_thread() or self._sockets:
            return
        self._sockets = receive, send = socket.socketpair()
        send.setblocking(False)
        signal.set_wakeup_fd(send.fileno(), warn_on_full_buffer=False)
        for number in self._HANDLED:
            self._before[number] = signal.signal(number, self._handle)
        threading.Thread(target=self._forward, args=(receive,), name="signals", daemon=True).start()

    def uninstall(self) -> None:
        """Restore the previous handlers."""
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
            # Python's own handler raises KeyboardInterrupt.
            uninterrupted.run(lambda: before(number, frame))

    def _forward(self, receive: socket.socket) -> None:
        with receive:
            while receive.recv(64):
                self._wake()


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()

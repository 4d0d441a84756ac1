"""The life of the process in the graph: from :func:`init` to :func:`shutdown`, or to a signal."""

from __future__ import annotations

import atexit
import os
import signal
import socket
import sys
import threading
import weakref
from collections.abc import Sequence
from types import FrameType
from typing import Any, Protocol

from rlt_ros.middleware.dds.arguments import Arguments, parse
from rlt_ros.middleware.dds.domain import Participant, domain_id_from_environment
from rlt_ros.middleware.dds.graph import Graph

_PATIENCE = 1.0  # s, for callbacks that run while the process leaves the graph


class NotInitializedException(Exception):
    """Something that needs :func:`init` first."""

    def __init__(self) -> None:
        super().__init__("the middleware is not initialized or shut down; call init() first")


class Sleeper(Protocol):
    """Something that may be asleep: an executor."""

    def wake(self) -> None:
        """Look around."""

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        """Let go of DDS."""


class Context:
    """State between `init` and `shutdown`; a process has one."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._ok = False
        self._open: tuple[Participant, Graph] | None = None
        self._signals = _Signals(self)
        self._sleepers: weakref.WeakSet[Any] = weakref.WeakSet()
        self._sleepers_lock = threading.RLock()  # a signal may come while this thread holds it
        self.arguments = Arguments()

    def ok(self) -> bool:
        """Whether there is work to do."""
        return self._ok

    @property
    def participant(self) -> Participant:
        """The DDS side."""
        return self._require_open()[0]

    @property
    def graph(self) -> Graph:
        """Nodes and endpoints, here and elsewhere."""
        return self._require_open()[1]

    def init(self, args: Sequence[str] | None, domain_id: int | None) -> None:
        """See :func:`init`."""
        with self._lock:
            if self._ok:
                raise RuntimeError("init() was called already; call shutdown() first")
            self.arguments = parse(sys.argv[1:] if args is None else args)
            self._close()
            participant = Participant(
                domain_id_from_environment(os.environ) if domain_id is None else domain_id
            )
            self._open = (participant, Graph(participant))
            self._ok = True
            self._signals.install()

    def stop(self) -> None:
        """End the work: `ok` becomes false and executors return. Endpoints stay until :meth:`shutdown`."""
        self._ok = False
        self.wake_all()

    def shutdown(self) -> None:
        """End the work and leave the domain."""
        with self._lock:
            self.stop()
            self._signals.uninstall()
            self._close()

    def add_sleeper(self, sleeper: Sleeper) -> None:
        """Wake ``sleeper`` when the work ends."""
        with self._sleepers_lock:
            self._sleepers.add(sleeper)

    def wake_all(self) -> None:
        """Wake every executor."""
        for sleeper in self._all_sleepers():
            sleeper.wake()

    def _all_sleepers(self) -> list[Sleeper]:
        with self._sleepers_lock:
            return list(self._sleepers)

    def _close(self) -> None:
        if self._open:
            for sleeper in self._all_sleepers():
                sleeper.shutdown(timeout_sec=_PATIENCE)
            participant, graph = self._open
            self._open = None
            graph.close()
            participant.close()

    def _require_open(self) -> tuple[Participant, Graph]:
        if not self._open:
            raise NotInitializedException
        return self._open


class _Signals:
    """SIGINT and SIGTERM end the work.

    Python runs signal handlers in the main thread, when it is back from C code. While it waits for DDS it is not, so a
    thread that the signal reaches through a socket wakes it.
    """

    _HANDLED = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, context: Context) -> None:
        self._context = context
        self._before: dict[int, Any] = {}
        self._sockets: tuple[socket.socket, socket.socket] | None = None

    def install(self) -> None:
        """Take over the signals, if this is the main thread."""
        if threading.current_thread() is not threading.main_thread() or self._sockets:
            return
        self._sockets = receive, send = socket.socketpair()
        send.setblocking(False)
        signal.set_wakeup_fd(send.fileno(), warn_on_full_buffer=False)
        for number in self._HANDLED:
            self._before[number] = signal.signal(number, self._handle)
        threading.Thread(target=self._forward, args=(receive,), name="signals", daemon=True).start()

    def uninstall(self) -> None:
        """Give the signals back."""
        if self._sockets is None or threading.current_thread() is not threading.main_thread():
            return
        _, send = self._sockets
        self._sockets = None
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
        send.close()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._context.stop()
        before = self._before.get(number)
        if number == signal.SIGINT and callable(before):
            before(number, frame)  # Python's own raises KeyboardInterrupt

    def _forward(self, receive: socket.socket) -> None:
        with receive:
            while receive.recv(64):
                self._context.wake_all()


_context = Context()
atexit.register(_context.shutdown)


def default_context() -> Context:
    """The context of this process."""
    return _context


def init(args: Sequence[str] | None = None, *, domain_id: int | None = None) -> None:
    """Join the graph.

    Args:
        args: command line with ROS arguments; None takes the process's own.
        domain_id: DDS domain; None takes `ROS_DOMAIN_ID`.
    """
    _context.init(args, domain_id)


def ok() -> bool:
    """Whether the process takes part in the graph and nobody asked it to stop."""
    return _context.ok()


def shutdown() -> None:
    """Leave the graph.

    Raises:
        RuntimeError: it was not joined, or was left before.
    """
    if not _context.ok():
        raise RuntimeError("shutdown() was called already, or init() was not")
    _context.shutdown()


def try_shutdown() -> None:
    """Leave the graph if that has not been done."""
    _context.shutdown()

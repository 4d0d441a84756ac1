"""Participation of the process in the graph, from :func:`init` to :func:`shutdown` or a signal."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import weakref
from collections.abc import Sequence
from typing import Any, Protocol

from rlt_ros.middleware.dds.arguments import RosArguments, parse
from rlt_ros.middleware.dds.domain import Participant, domain_id_from_environment
from rlt_ros.middleware.dds.graph import Graph
from rlt_ros.middleware.dds.signals import Signals

_SHUTDOWN_TIMEOUT = 1.0
"""s, time for running callbacks to end when the process leaves the graph."""


class NotInitializedException(Exception):
    """Use of the middleware before :func:`init` or after :func:`shutdown`."""

    def __init__(self) -> None:
        super().__init__("the middleware is not initialized or shut down; call init() first")


class Sleeper(Protocol):
    """Executor as seen by the context."""

    def wake(self) -> None:
        """Interrupt waiting."""

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        """Release all DDS entities."""


class Context:
    """State between `init` and `shutdown`; a process has one."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._ok = False
        self._open: tuple[Participant, Graph] | None = None
        self._signals = Signals(self.stop, self.wake_all)
        self._sleepers: weakref.WeakSet[Any] = weakref.WeakSet()
        # Reentrant, because a signal handler may run while this thread holds it.
        self._sleepers_lock = threading.RLock()
        self.arguments = RosArguments()

    def ok(self) -> bool:
        """Return whether the process takes part in the graph and was not stopped."""
        return self._ok

    @property
    def participant(self) -> Participant:
        """DDS participant of the process."""
        return self._require_open()[0]

    @property
    def graph(self) -> Graph:
        """Nodes and endpoints of all processes."""
        return self._require_open()[1]

    def init(self, args: Sequence[str] | None, domain_id: int | None) -> None:
        """Join the graph, see :func:`init`."""
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
        """Register an executor to be woken at the end."""
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
                sleeper.shutdown(timeout_sec=_SHUTDOWN_TIMEOUT)
            participant, graph = self._open
            self._open = None
            graph.close()
            participant.close()

    def _require_open(self) -> tuple[Participant, Graph]:
        if not self._open:
            raise NotInitializedException
        return self._open


_context = Context()
atexit.register(_context.shutdown)


def default_context() -> Context:
    """Context of this process."""
    return _context


def init(args: Sequence[str] | None = None, *, domain_id: int | None = None) -> None:
    """Join the graph.

    Args:
        args: command line with ROS arguments; None for the process's own.
        domain_id: DDS domain; None for `ROS_DOMAIN_ID`.
    """
    _context.init(args, domain_id)


def ok() -> bool:
    """Return whether the process takes part in the graph and was not stopped."""
    return _context.ok()


def shutdown() -> None:
    """Leave the graph.

    Raises:
        RuntimeError: the process has not joined, or has already left.
    """
    if not _context.ok():
        raise RuntimeError("shutdown() was called already, or init() was not")
    _context.shutdown()


def try_shutdown() -> None:
    """Leave the graph if the process has joined it."""
    _context.shutdown()

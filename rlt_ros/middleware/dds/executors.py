"""Executors: wait for messages, timers and events, and run callbacks."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cyclonedds.core import GuardCondition

from rlt_ros.middleware.dds.callback_groups import CallbackGroup
from rlt_ros.middleware.dds.context import default_context
from rlt_ros.middleware.dds.domain import delete
from rlt_ros.middleware.dds.timer import Timer
from rlt_ros.middleware.dds.waitset import NamingWaitSet, handle_of

if TYPE_CHECKING:
    from rlt_ros.middleware.dds.node import Node

_INFINITE_NS = 2**63 - 1
_UNLIMITED = 2**31
Work = tuple[CallbackGroup, Callable[[], Any]]


class ExternalShutdownException(Exception):
    """The process was stopped from outside while it was spinning."""

    def __init__(self) -> None:
        super().__init__("the process was stopped")


class Executor:
    """Base class: collects ready callbacks.

    A node's waitables (subscriptions, timers, endpoint events) have ``entity``, the DDS entity to wait for, or None;
    ``callback_group``; ``take()``, which returns a call or None; and ``close()``.
    """

    def __init__(self) -> None:
        self._context = default_context()
        participant = self._context.participant.entity
        self._nodes: list[Node] = []
        # Waitables of all nodes at the last change.
        self._waitables: list[Any] = []
        # Handle of the DDS entity → index of its waitable.
        self._indices: dict[int, int] = {}
        # Timers with their indices.
        self._timers: list[tuple[int, Timer]] = []
        # Waitables in the wait set.
        self._attached: set[Any] = set()
        # Ready waitables of busy groups, which would end every wait at once.
        self._parked: set[Any] = set()
        self._retired: deque[Any] = deque()
        self._changed = True
        self._guard, self._waitset = GuardCondition(participant), NamingWaitSet(participant)
        self._waitset.attach(self._guard)
        # Prevents deletion of entities while a thread waits or polls.
        self._using_dds = threading.Lock()
        # Prevents deletion of the guard while a thread wakes; reentrant, for signal handlers.
        self._waking = threading.RLock()
        self._is_shutdown = False
        # First index of the next round, so that a busy topic does not starve later ones.
        self._turn = 0
        self._context.add_sleeper(self)

    def add_node(self, node: Node) -> bool:
        """Add a node; returns False if it was added before."""
        if node in self._nodes:
            return False
        self._nodes.append(node)
        node.executor = self
        self.refresh()
        return True

    def remove_node(self, node: Node) -> None:
        """Remove a node."""
        if node in self._nodes:
            self._nodes.remove(node)
            node.executor = None
            self.refresh()

    def get_nodes(self) -> list[Node]:
        """Added nodes."""
        return list(self._nodes)

    def wake(self) -> None:
        """Interrupt waiting."""
        with self._waking:
            if not self._is_shutdown:
                self._guard.set(True)

    def refresh(self) -> None:
        """Schedule an update after a change of nodes or waitables."""
        self._changed = True
        self.wake()

    def spin(self) -> None:
        """Run callbacks until the process is stopped or the executor is shut down.

        Raises:
            ExternalShutdownException: the process was stopped from outside.
        """
        while self._context.ok() and not self._is_shutdown:
            self.spin_once()

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Wait for one callback and run it; return after ``timeout_sec`` (None: never) without one."""
        raise NotImplementedError

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        """Stop, and wait for running callbacks; returns whether they ended in time."""
        if self._is_shutdown:
            return True
        with self._waking:
            self._is_shutdown = True
            self._guard.set(True)
        for node in self.get_nodes():
            self.remove_node(node)
        with self._using_dds:
            self._update_waitables()
            delete(self._waitset)
            delete(self._guard)
        return True

    def retire(self, waitable: Any) -> None:
        """Close a removed waitable once the executor does not wait for it."""
        self._retired.append(waitable)
        self.refresh()

    def _ready(self, timeout_sec: float | None, *, limit: int) -> list[Work]:
        """Up to ``limit`` ready calls, their groups begun; waits ``timeout_sec`` (None: without limit)."""
        deadline = (
            None if timeout_sec is None or timeout_sec < 0 else time.monotonic_ns() + int(timeout_sec * 1e9)
        )
        while True:
            left = _INFINITE_NS if deadline is None else max(0, deadline - time.monotonic_ns())
            was_stopped = not self._context.ok()
            with self._using_dds:
                if self._is_shutdown:
                    return []
                indices = self._wait(0 if was_stopped else left)
                if not was_stopped and not self._context.ok():
                    raise ExternalShutdownException
                if self._is_shutdown:
                    return []
                # Indices are invalid after a change.
                if self._changed:
                    continue
                works = self._take(indices, limit)
            if works or not left:
                return works
            if was_stopped:
                raise ExternalShutdownException

    def _wait(self, timeout_ns: int) -> list[int]:
        """Wait for ready waitables; returns their indices.

        Waitables of busy groups are not waited for: the end of a callback wakes the executor.
        """
        if self._changed:
            self._update_waitables()
        for waitable in [parked for parked in self._parked if parked.callback_group.can_begin()]:
            self._parked.remove(waitable)
            self._attach(waitable)
        due, sleep = self._due(timeout_ns)
        found = self._waitset.triggered(sleep)
        if handle_of(self._guard) in found:
            self._guard.take()
        indices = [*due, *(self._indices[handle] for handle in found if handle in self._indices)]
        return indices or self._due(0)[0]

    def _due(self, timeout_ns: int) -> tuple[list[int], int]:
        """Indices of due timers, and ns until the next one is due, at most ``timeout_ns``."""
        due, sleep = [], timeout_ns
        for index, timer in self._timers:
            wait = timer.wait_ns()
            if wait is None or not timer.callback_group.can_begin():
                continue
            if wait <= 0:
                due.append(index)
            sleep = max(0, min(sleep, wait))
        return due, sleep

    def _take(self, indices: list[int], limit: int) -> list[Work]:
        """Next call of each waitable, at most one per mutually exclusive group, in turn."""
        works: list[Work] = []
        count = len(self._waitables)
        for index in sorted(indices, key=lambda index: (index - self._turn) % count):
            waitable = self._waitables[index]
            group = waitable.callback_group
            if not group.begin():
                self._park(waitable)
                continue
            call = waitable.take()
            if not call:
                group.end()
                continue
            self._turn = index + 1
            works.append((group, call))
            if len(works) == limit:
                break
        return works

    def _update_waitables(self) -> None:
        """Read the waitables of all nodes and close the retired ones."""
        self._changed = False
        # Before the waitables, so that none of those is closed.
        retired = [self._retired.popleft() for _ in range(len(self._retired))]
        self._waitables = [waitable for node in list(self._nodes) for waitable in list(node.waitables)]
        waking = {item: index for index, item in enumerate(self._waitables) if item.entity is not None}
        self._indices = {handle_of(item.entity): index for item, index in waking.items()}
        self._timers = [
            (index, item) for index, item in enumerate(self._waitables) if isinstance(item, Timer)
        ]
        for removed in self._attached - waking.keys():
            self._detach(removed)
        self._parked &= waking.keys()
        for added in waking.keys() - self._attached - self._parked:
            self._attach(added)
        for waitable in retired:
            waitable.close()

    def _park(self, waitable: Any) -> None:
        """Exclude a ready waitable from waiting while its group is busy."""
        if waitable in self._attached:
            self._detach(waitable)
            self._parked.add(waitable)

    def _attach(self, waitable: Any) -> None:
        self._waitset.attach(waitable.entity)
        self._attached.add(waitable)

    def _detach(self, waitable: Any) -> None:
        self._attached.remove(waitable)
        self._waitset.detach(waitable.entity)


class SingleThreadedExecutor(Executor):
    """Executor that runs callbacks one after the other, in the spinning thread."""

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Run one callback, see :meth:`Executor.spin_once`."""
        for group, call in self._ready(timeout_sec, limit=1):
            try:
                call()
            finally:
                group.end()


class MultiThreadedExecutor(Executor):
    """Executor that runs callbacks in several threads, limited by callback groups.

    Args:
        num_threads: number of threads; 2 by default.
    """

    def __init__(self, num_threads: int | None = None) -> None:
        super().__init__()
        self._works: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._errors: deque[BaseException] = deque()
        # Daemons, because a callback that never returns must not prevent the end of the process.
        self._threads = [
            threading.Thread(target=self._work, name=f"callbacks-{i}", daemon=True)
            for i in range(num_threads or 2)
        ]
        for thread in self._threads:
            thread.start()

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Pass ready callbacks to the threads; raises an earlier exception of a callback."""
        for work in self._ready(timeout_sec, limit=_UNLIMITED):
            self._works.put(work)
        if self._errors:
            raise self._errors.popleft()

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        """Stop the threads, see :meth:`Executor.shutdown`."""
        for _ in self._threads:
            self._works.put(None)
        deadline = None if timeout_sec is None else time.monotonic() + timeout_sec
        for thread in self._threads:
            if thread is threading.current_thread():
                continue
            thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
        ended = not any(t.is_alive() for t in self._threads if t is not threading.current_thread())
        return super().shutdown(timeout_sec) and ended

    def _work(self) -> None:
        while work := self._works.get():
            group, call = work
            try:
                call()
            except BaseException as error:
                self._errors.append(error)
            finally:
                group.end()
                self.wake()


def spin(node: Node, executor: Executor | None = None) -> None:
    """Run the callbacks of ``node`` until the process is stopped.

    Raises:
        ExternalShutdownException: the process was stopped by a signal other than Ctrl-C, which raises
            KeyboardInterrupt.
    """
    chosen = executor or SingleThreadedExecutor()
    chosen.add_node(node)
    try:
        chosen.spin()
    finally:
        chosen.remove_node(node)
        if executor is None:
            chosen.shutdown()


def spin_once(node: Node, *, executor: Executor | None = None, timeout_sec: float | None = None) -> None:
    """Run one callback of ``node``, or return after ``timeout_sec``."""
    chosen = executor or SingleThreadedExecutor()
    chosen.add_node(node)
    try:
        chosen.spin_once(timeout_sec)
    finally:
        chosen.remove_node(node)
        if executor is None:
            chosen.shutdown()

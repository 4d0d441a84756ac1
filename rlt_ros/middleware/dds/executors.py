"""Executors: wait for messages, timers and news, and call back."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from cyclonedds.core import GuardCondition, WaitSet

from rlt_ros.middleware.dds.callback_groups import CallbackGroup
from rlt_ros.middleware.dds.context import default_context
from rlt_ros.middleware.dds.domain import delete
from rlt_ros.middleware.dds.timer import Timer

if TYPE_CHECKING:
    from rlt_ros.middleware.dds.node import Node

_FOR_EVER = 2**63 - 1  # ns
_ALL = 2**31
Work = tuple[CallbackGroup, Callable[[], Any]]


class ExternalShutdownException(Exception):
    """The process was asked to stop while it was spinning."""

    def __init__(self) -> None:
        super().__init__("the process was asked to stop")


class Executor:
    """Base: finds out what is ready.

    A node's waitables (subscriptions, timers, news about endpoints) have ``entity``, what DDS waits for, or None;
    ``callback_group``; ``take()``, which returns the call to make, or None; and ``close()``.
    """

    def __init__(self) -> None:
        self._context = default_context()
        participant = self._context.participant.entity
        self._nodes: list[Node] = []
        self._attached: dict[Any, Any] = {}  # waitable → its DDS entity
        self._retired: deque[Any] = deque()
        self._guard, self._waitset = GuardCondition(participant), WaitSet(participant)
        self._waitset.attach(self._guard)
        self._using_dds = threading.Lock()  # so that nothing is deleted under a thread that waits or polls
        self._is_shutdown = False
        self._turn = 0  # whose turn it is; without it, a busy topic would starve those behind it
        self._context.add_sleeper(self)

    def add_node(self, node: Node) -> bool:
        """Call back for ``node`` too; returns False if it already does."""
        if node in self._nodes:
            return False
        self._nodes.append(node)
        node.executor = self
        self.wake()
        return True

    def remove_node(self, node: Node) -> None:
        """Call back for it no more."""
        if node in self._nodes:
            self._nodes.remove(node)
            node.executor = None
            self.wake()

    def get_nodes(self) -> list[Node]:
        """Those it calls back for."""
        return list(self._nodes)

    def wake(self) -> None:
        """Look around, if it waits."""
        if not self._is_shutdown:
            self._guard.set(True)

    def spin(self) -> None:
        """Call back until the process is asked to stop, or the executor is shut down.

        Raises:
            ExternalShutdownException: the process was asked to stop from outside.
        """
        while self._context.ok() and not self._is_shutdown:
            self.spin_once()

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Wait for one callback and make it; without one, return after ``timeout_sec`` (None: never)."""
        raise NotImplementedError

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        """Stop calling back, wait for callbacks that run; returns whether they ended in time."""
        if self._is_shutdown:
            return True
        self._is_shutdown = True
        self._guard.set(True)
        for node in self.get_nodes():
            self.remove_node(node)
        with self._using_dds:
            self._attach({})
            self._close_retired()
            delete(self._waitset)
            delete(self._guard)
        return True

    def retire(self, waitable: Any) -> None:
        """Close a waitable that its node gave up, when nothing waits for it any more."""
        self._retired.append(waitable)
        self.wake()

    def _ready(self, timeout_sec: float | None, *, most: int) -> list[Work]:
        """Up to ``most`` calls that can be made now, their groups begun; waits ``timeout_sec`` (None: for ever)."""
        deadline = (
            None if timeout_sec is None or timeout_sec < 0 else time.monotonic_ns() + int(timeout_sec * 1e9)
        )
        while True:
            with self._using_dds:
                if self._is_shutdown:
                    return []
                works = list(itertools.islice(self._take(), most))
            left = _FOR_EVER if deadline is None else deadline - time.monotonic_ns()
            if works or left <= 0:
                return works
            self._wait(left)
            if not self._context.ok():
                raise ExternalShutdownException

    def _waitables(self) -> list[Any]:
        return [waitable for node in list(self._nodes) for waitable in list(node.waitables)]

    def _take(self) -> Iterator[Work]:
        """Each waitable's next call, at most one of a mutually exclusive group, all in turn."""
        waitables = self._waitables()
        start = self._turn
        for index in range(start, start + len(waitables)):
            waitable = waitables[index % len(waitables)]
            group = waitable.callback_group
            if group.begin():
                call = waitable.take()
                if call:
                    self._turn = index % len(waitables) + 1
                    yield group, call
                else:
                    group.end()

    def _wait(self, timeout_ns: int) -> None:
        """Sleep until something may be ready. What cannot run now is not waited for, or it would wake us at once."""
        with self._using_dds:
            if self._is_shutdown:
                return
            runnable = [waitable for waitable in self._waitables() if waitable.callback_group.can_begin()]
            self._attach({waitable: waitable.entity for waitable in runnable if waitable.entity is not None})
            self._close_retired()
            waits = [waitable.wait_ns() for waitable in runnable if isinstance(waitable, Timer)]
            self._waitset.wait(max(0, min([timeout_ns, *(wait for wait in waits if wait is not None)])))
            self._guard.take()

    def _close_retired(self) -> None:
        while self._retired:
            self._retired.popleft().close()

    def _attach(self, wanted: dict[Any, Any]) -> None:
        for waitable in self._attached.keys() - wanted.keys():
            self._waitset.detach(self._attached.pop(waitable))
        for waitable in wanted.keys() - self._attached.keys():
            self._waitset.attach(wanted[waitable])
            self._attached[waitable] = wanted[waitable]


class SingleThreadedExecutor(Executor):
    """Calls back in the thread that spins, one after the other."""

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """See :meth:`Executor.spin_once`."""
        for group, call in self._ready(timeout_sec, most=1):
            try:
                call()
            finally:
                group.end()


class MultiThreadedExecutor(Executor):
    """Calls back in several threads, as callback groups allow.

    Args:
        num_threads: how many; at least 2 by default.
    """

    def __init__(self, num_threads: int | None = None) -> None:
        super().__init__()
        self._works: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._errors: deque[BaseException] = deque()
        # Daemons: a callback that never returns must not keep the process from ending.
        self._threads = [
            threading.Thread(target=self._work, name=f"callbacks-{i}", daemon=True)
            for i in range(num_threads or 2)
        ]
        for thread in self._threads:
            thread.start()

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Hand what is ready to the threads; raises what a callback raised before."""
        for work in self._ready(timeout_sec, most=_ALL):
            self._works.put(work)
        if self._errors:
            raise self._errors.popleft()

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        """See :meth:`Executor.shutdown`."""
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
    """Call back for ``node`` until the process is asked to stop.

    Raises:
        ExternalShutdownException: it was asked by a signal other than Ctrl-C, which raises KeyboardInterrupt.
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
    """Make one callback of ``node``, or none within ``timeout_sec``."""
    chosen = executor or SingleThreadedExecutor()
    chosen.add_node(node)
    try:
        chosen.spin_once(timeout_sec)
    finally:
        chosen.remove_node(node)
        if executor is None:
            chosen.shutdown()

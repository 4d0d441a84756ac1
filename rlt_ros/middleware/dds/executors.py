"""Executors: wait for messages, timers and news, and call back."""

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
        self._waitables: list[Any] = []  # of all nodes, as of the last change
        self._places: dict[int, int] = {}  # handle of the DDS entity → place of its waitable
        self._timers: list[tuple[int, Timer]] = []  # with their places
        self._attached: set[Any] = set()  # waitables that wake it
        self._parked: set[Any] = set()  # have something, but their group is busy: they would wake us at once
        self._retired: deque[Any] = deque()
        self._changed = True
        self._guard, self._waitset = GuardCondition(participant), NamingWaitSet(participant)
        self._waitset.attach(self._guard)
        self._using_dds = threading.Lock()  # so that nothing is deleted under a thread that waits or polls
        self._waking = threading.RLock()  # nor under one that wakes; reentrant, for signals
        self._is_shutdown = False
        self._turn = 0  # whose turn it is; without it, a busy topic would starve those behind it
        self._context.add_sleeper(self)

    def add_node(self, node: Node) -> bool:
        """Call back for ``node`` too; returns False if it already does."""
        if node in self._nodes:
            return False
        self._nodes.append(node)
        node.executor = self
        self.refresh()
        return True

    def remove_node(self, node: Node) -> None:
        """Call back for it no more."""
        if node in self._nodes:
            self._nodes.remove(node)
            node.executor = None
            self.refresh()

    def get_nodes(self) -> list[Node]:
        """Those it calls back for."""
        return list(self._nodes)

    def wake(self) -> None:
        """Look around, if it waits."""
        with self._waking:
            if not self._is_shutdown:
                self._guard.set(True)

    def refresh(self) -> None:
        """Learn that a node or a waitable came or went."""
        self._changed = True
        self.wake()

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
        with self._waking:
            self._is_shutdown = True
            self._guard.set(True)
        for node in self.get_nodes():
            self.remove_node(node)
        with self._using_dds:
            self._look_around()
            delete(self._waitset)
            delete(self._guard)
        return True

    def retire(self, waitable: Any) -> None:
        """Close a waitable that its node gave up, when nothing waits for it any more."""
        self._retired.append(waitable)
        self.refresh()

    def _ready(self, timeout_sec: float | None, *, most: int) -> list[Work]:
        """Up to ``most`` calls that can be made now, their groups begun; waits ``timeout_sec`` (None: for ever)."""
        deadline = (
            None if timeout_sec is None or timeout_sec < 0 else time.monotonic_ns() + int(timeout_sec * 1e9)
        )
        while True:
            left = _FOR_EVER if deadline is None else max(0, deadline - time.monotonic_ns())
            asked_to_stop = not self._context.ok()
            with self._using_dds:
                if self._is_shutdown:
                    return []
                places = self._wait(0 if asked_to_stop else left)
                if not asked_to_stop and not self._context.ok():
                    raise ExternalShutdownException
                if self._is_shutdown:
                    return []
                if self._changed:  # what was found may be gone
                    continue
                works = self._take(places, most)
            if works or not left:
                return works
            if asked_to_stop:
                raise ExternalShutdownException

    def _wait(self, timeout_ns: int) -> list[int]:
        """Sleep until something may be ready; returns the places of what is.

        What cannot run now is not waited for: the executor is woken when what hinders it ends.
        """
        if self._changed:
            self._look_around()
        for waitable in [one for one in self._parked if one.callback_group.can_begin()]:
            self._parked.remove(waitable)
            self._attach(waitable)
        due, sleep = self._due(timeout_ns)
        found = self._waitset.triggered(sleep)
        if handle_of(self._guard) in found:
            self._guard.take()
        places = [*due, *(self._places[handle] for handle in found if handle in self._places)]
        return places or self._due(0)[0]

    def _due(self, timeout_ns: int) -> tuple[list[int], int]:
        """Places of the timers that are due, and how long to sleep at most: until the next one is."""
        due, sleep = [], timeout_ns
        for place, timer in self._timers:
            wait = timer.wait_ns()
            if wait is None or not timer.callback_group.can_begin():
                continue
            if wait <= 0:
                due.append(place)
            sleep = max(0, min(sleep, wait))
        return due, sleep

    def _take(self, places: list[int], most: int) -> list[Work]:
        """The next call of each of ``places``, at most one of a mutually exclusive group, all in turn."""
        works: list[Work] = []
        count = len(self._waitables)
        for place in sorted(places, key=lambda place: (place - self._turn) % count):
            waitable = self._waitables[place]
            group = waitable.callback_group
            if not group.begin():
                self._park(waitable)
                continue
            call = waitable.take()
            if not call:
                group.end()
                continue
            self._turn = place + 1
            works.append((group, call))
            if len(works) == most:
                break
        return works

    def _look_around(self) -> None:
        """Learn what the nodes have now, and close what they gave up."""
        self._changed = False
        # First, so that nothing is closed which is still among what is listed next.
        retired = [self._retired.popleft() for _ in range(len(self._retired))]
        self._waitables = [waitable for node in list(self._nodes) for waitable in list(node.waitables)]
        waking = {one: place for place, one in enumerate(self._waitables) if one.entity is not None}
        self._places = {handle_of(one.entity): place for one, place in waking.items()}
        self._timers = [(place, one) for place, one in enumerate(self._waitables) if isinstance(one, Timer)]
        for gone in self._attached - waking.keys():
            self._detach(gone)
        self._parked &= waking.keys()
        for come in waking.keys() - self._attached - self._parked:
            self._attach(come)
        for one in retired:
            one.close()

    def _park(self, waitable: Any) -> None:
        """Be not woken by what has something while its group is busy."""
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

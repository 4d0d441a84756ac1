"""Bare timer in its own process: punctuality of this machine during a measurement.

It ticks at the same rate, with a higher real-time priority than any node. When it is late too, no program on this
machine would have been punctual, for instance because the host took the processor away.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

import numpy as np
from numpy.typing import NDArray

# SCHED_FIFO, above the nodes'.
_PRIORITY = 98


class BareTimer:
    """Recorded ticks.

    Args:
        ticks: (N,) times, ns of the wall clock.
        period: s.
    """

    def __init__(self, ticks: NDArray[np.int64], period: float) -> None:
        self.ticks, self._period = ticks, period

    def missed(self, since: int, until: int) -> int:
        """Number of ticks between two times, ns of the wall clock, that were at least a period late."""
        late = np.diff(self.ticks) > 2e9 * self._period
        ended = self.ticks[1:]
        return int((late & (ended > since) & (ended - 2e9 * self._period < until)).sum())


@contextmanager
def bare_timer(period: float) -> Iterator[Callable[[], BareTimer]]:
    """Tick every ``period`` s, until the yielded function is called or the context ends."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_tick, args=(there, period), daemon=True)
    process.start()
    try:
        # The process has started.
        here.recv()

        def stop() -> BareTimer:
            here.send(None)
            return BareTimer(np.frombuffer(here.recv_bytes(), np.int64), period)

        yield stop
    finally:
        process.kill()
        process.join()


def _tick(connection: Connection, period: float) -> None:
    # Without the permission, nodes have no real-time priority either.
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
    connection.send(None)
    ticks: list[int] = []
    due = time.monotonic()
    while not connection.poll():
        due += period
        time.sleep(max(0.0, due - time.monotonic()))
        ticks.append(time.time_ns())
    connection.send_bytes(np.array(ticks, np.int64).tobytes())

"""A timer with nothing around it, in a process of its own: how punctual this machine is while something is measured.

It ticks at the same rate, with a higher real-time priority than any node. Where it is late too, no program on this
machine would have been punctual: its host took the processor away, for instance.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

import numpy as np
from numpy.typing import NDArray

_PRIORITY = 98  # SCHED_FIFO, above the nodes'


class BareTimer:
    """The ticks so far.

    Args:
        ticks: where the process puts them when it is told to stop.
        period: s.
    """

    def __init__(self, ticks: Connection, period: float) -> None:
        self._ticks, self._period = ticks, period
        self._seen: NDArray[np.int64] | None = None

    @property
    def ticks(self) -> NDArray[np.int64]:
        """(N,) when it ticked, ns of the wall's clock; the process ends when this is asked for."""
        if self._seen is None:
            self._ticks.send(None)
            self._seen = np.frombuffer(self._ticks.recv_bytes(), np.int64)
        return self._seen

    def missed(self, since: int, until: int) -> int:
        """Ticks between two times, ns of the wall's clock, that came a period late or later."""
        late = np.diff(self.ticks) > 2e9 * self._period
        ended = self.ticks[1:]
        return int((late & (ended > since) & (ended - 2e9 * self._period < until)).sum())


@contextmanager
def bare_timer(period: float) -> Iterator[BareTimer]:
    """Ticks every ``period`` seconds while the context is open."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_tick, args=(there, period), daemon=True)
    process.start()
    try:
        here.recv()  # it runs
        yield BareTimer(here, period)
    finally:
        process.kill()
        process.join()


def _tick(told: Connection, period: float) -> None:
    with contextlib.suppress(OSError):  # where it may not, the nodes may not either
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
    told.send(None)
    ticks: list[int] = []
    due = time.monotonic()
    while not told.poll():
        due += period
        time.sleep(max(0.0, due - time.monotonic()))
        ticks.append(time.time_ns())
    told.send_bytes(np.array(ticks, np.int64).tobytes())

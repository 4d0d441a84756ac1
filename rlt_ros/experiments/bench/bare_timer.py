"""A timer with nothing around it, in a process of its own: how punctual this machine is while something is measured.

It ticks at the same rate, with a higher real-time priority than any node. Where it is late too, no program on this
machine would have been punctual: its host took the processor away, for instance.
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

_PRIORITY = 98  # SCHED_FIFO, above the nodes'


class BareTimer:
    """Ticks that were seen.

    Args:
        ticks: (N,) when it ticked, ns of the wall's clock.
        period: s.
    """

    def __init__(self, ticks: NDArray[np.int64], period: float) -> None:
        self.ticks, self._period = ticks, period

    def missed(self, since: int, until: int) -> int:
        """Ticks between two times, ns of the wall's clock, that came a period late or later."""
        late = np.diff(self.ticks) > 2e9 * self._period
        ended = self.ticks[1:]
        return int((late & (ended > since) & (ended - 2e9 * self._period < until)).sum())


@contextmanager
def bare_timer(period: float) -> Iterator[Callable[[], BareTimer]]:
    """Ticks every ``period`` seconds until it is called, at the latest while the context is open."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_tick, args=(there, period), daemon=True)
    process.start()
    try:
        here.recv()  # it runs

        def stop() -> BareTimer:
            here.send(None)
            return BareTimer(np.frombuffer(here.recv_bytes(), np.int64), period)

        yield stop
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

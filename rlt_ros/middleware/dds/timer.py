"""Timers: a callback per period of a clock; missed periods are skipped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rlt_ros.middleware.dds.callback_groups import CallbackGroup
from rlt_ros.middleware.dds.clock import Clock, JumpThreshold, ROSClock, TimeJump
from rlt_ros.middleware.dds.time import Duration


class Timer:
    """Timer of a node.

    Args:
        callback: called without arguments.
        callback_group: group that limits its concurrency.
        period_ns: period, ns of ``clock``.
        clock: any clock; a timer in simulated time pauses with the simulation.
    """

    # No DDS entity to wait for.
    entity = None

    def __init__(
        self, callback: Callable[[], Any], callback_group: CallbackGroup, period_ns: int, clock: Clock
    ) -> None:
        if period_ns < 1:
            raise ValueError(f"timer period is {period_ns} ns; it must be above 0")
        self.callback, self.callback_group, self.clock = callback, callback_group, clock
        self._period, self._canceled = period_ns, False
        self._next = clock._nanoseconds() + period_ns
        self._jumps = None
        if isinstance(clock, ROSClock):
            back = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1))
            self._jumps = clock.create_jump_callback(back, post_callback=self._restart)

    @property
    def timer_period_ns(self) -> int:
        """Period, ns."""
        return self._period

    def is_canceled(self) -> bool:
        """Return whether the timer is canceled until :meth:`reset`."""
        return self._canceled

    def cancel(self) -> None:
        """Cancel the timer."""
        self._canceled = True

    def reset(self) -> None:
        """Restart the timer: the next call is one period from now."""
        self._next = self.clock._nanoseconds() + self._period
        self._canceled = False

    def time_until_next_call(self) -> int | None:
        """Time until the next call, ns, negative if late; None while canceled."""
        return None if self._canceled else self._next - self.clock._nanoseconds()

    def take(self) -> Callable[[], Any] | None:
        """Return the callback if it is due, else None."""
        left = self.time_until_next_call()
        if left is None or left > 0:
            return None
        self._next += self._period * (1 + -left // self._period)
        return self.callback

    def wait_ns(self) -> int | None:
        """Time to sleep until it is due, ns, at most 0 if it is; None if it is canceled or waits for `/clock`."""
        left = self.time_until_next_call()
        simulated = isinstance(self.clock, ROSClock) and self.clock.ros_time_is_active
        return None if simulated and left is not None and left > 0 else left

    def close(self) -> None:
        """Cancel the timer for good."""
        self.cancel()
        if self._jumps:
            self._jumps.unregister()

    def _restart(self, _: TimeJump) -> None:
        self._next = self.clock._nanoseconds() + self._period

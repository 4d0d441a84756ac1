"""Timers: a callback every period of a clock. A period that was missed is left out, never made up for in a burst."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rlt_ros.middleware.dds.callback_groups import CallbackGroup
from rlt_ros.middleware.dds.clock import Clock, JumpThreshold, ROSClock, TimeJump
from rlt_ros.middleware.dds.time import Duration


class Timer:
    """A timer of a node.

    Args:
        callback: called without arguments.
        callback_group: what it must not run beside.
        period_ns: of ``clock``, ns.
        clock: any; with simulated time the timer stands still while the simulation does.
    """

    entity = None  # no DDS entity to wait for

    def __init__(
        self, callback: Callable[[], Any], callback_group: CallbackGroup, period_ns: int, clock: Clock
    ) -> None:
        if period_ns < 1:
            raise ValueError(f"a timer period of {period_ns} ns; it must be above 0")
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
        """Return whether it stands still until :meth:`reset`."""
        return self._canceled

    def cancel(self) -> None:
        """Stop calling."""
        self._canceled = True

    def reset(self) -> None:
        """Start anew: the next call comes a period from now."""
        self._next = self.clock._nanoseconds() + self._period
        self._canceled = False

    def time_until_next_call(self) -> int | None:
        """Ns of its clock, negative when late; None while it is canceled."""
        return None if self._canceled else self._next - self.clock._nanoseconds()

    def take(self) -> Callable[[], Any] | None:
        """The callback, if it is due."""
        left = self.time_until_next_call()
        if left is None or left > 0:
            return None
        self._next += self._period * (1 + -left // self._period)
        return self.callback

    def wait_ns(self) -> int | None:
        """How long to sleep before it is due, 0 or less if it is; None where sleeping does not bring it nearer."""
        left = self.time_until_next_call()
        simulated = isinstance(self.clock, ROSClock) and self.clock.ros_time_is_active
        return None if simulated and left is not None and left > 0 else left  # then only `/clock` can

    def close(self) -> None:
        """Never call again."""
        self.cancel()
        if self._jumps:
            self._jumps.unregister()

    def _restart(self, _: TimeJump) -> None:
        self._next = self.clock._nanoseconds() + self._period

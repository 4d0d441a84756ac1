"""Clocks: the wall's, the steady one, and ROS time, which is either the wall's or what a simulator says on `/clock`."""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rlt_ros.middleware.dds.time import ClockType, Duration, Time


class ClockChange(enum.IntEnum):
    """What a jump of ROS time did to its source."""

    ROS_TIME_NO_CHANGE = 1
    ROS_TIME_ACTIVATED = 2
    ROS_TIME_DEACTIVATED = 3
    SYSTEM_TIME_NO_CHANGE = 4


@dataclass(frozen=True)
class TimeJump:
    """A jump: what changed, and by how much time went forward or (negative) back."""

    clock_change: ClockChange
    delta: Duration


class JumpThreshold:
    """Which jumps to tell about.

    Args:
        min_forward: smallest step forward, above 0; None for none.
        min_backward: smallest step back, below 0; None for none.
        on_clock_change: also when ROS time starts or stops to be simulated.
    """

    def __init__(
        self, *, min_forward: Duration | None, min_backward: Duration | None, on_clock_change: bool = True
    ) -> None:
        if min_forward is not None and min_forward.nanoseconds <= 0:
            raise ValueError("min_forward must be a positive non-zero duration")
        if min_backward is not None and min_backward.nanoseconds >= 0:
            raise ValueError("min_backward must be a negative non-zero duration")
        if min_forward is None and min_backward is None and not on_clock_change:
            raise ValueError("At least one jump threshold must be enabled")
        self.min_forward, self.min_backward = min_forward, min_backward
        self.on_clock_change = on_clock_change

    def meets(self, jump: TimeJump) -> bool:
        """Return whether ``jump`` is one of these."""
        if jump.clock_change in (ClockChange.ROS_TIME_ACTIVATED, ClockChange.ROS_TIME_DEACTIVATED):
            return self.on_clock_change
        forward, backward = self.min_forward, self.min_backward
        return bool(
            (forward is not None and jump.delta >= forward)
            or (backward is not None and jump.delta <= backward)
        )


class JumpHandle:
    """Keeps a jump callback alive; :meth:`unregister` ends it."""

    def __init__(
        self,
        clock: Clock,
        threshold: JumpThreshold,
        pre_callback: Callable[[], None] | None,
        post_callback: Callable[[TimeJump], None] | None,
    ) -> None:
        if pre_callback is None and post_callback is None:
            raise ValueError("One of pre_callback or post_callback must be callable")
        self._clock, self.threshold = clock, threshold
        self.pre_callback, self.post_callback = pre_callback, post_callback
        clock._jump_handles.append(self)

    def unregister(self) -> None:
        """Stop calling."""
        if self in self._clock._jump_handles:
            self._clock._jump_handles.remove(self)


class Clock:
    """A clock that cannot be set: :class:`ROSClock` for ROS time."""

    _READ = {ClockType.SYSTEM_TIME: time.time_ns, ClockType.STEADY_TIME: time.monotonic_ns}  # noqa: RUF012

    def __new__(cls, *, clock_type: ClockType = ClockType.SYSTEM_TIME) -> Clock:
        """ROS time has a class of its own."""
        return super().__new__(ROSClock if clock_type is ClockType.ROS_TIME else cls)

    def __init__(self, *, clock_type: ClockType = ClockType.SYSTEM_TIME) -> None:
        self._clock_type = clock_type
        self._jump_handles: list[JumpHandle] = []

    @property
    def clock_type(self) -> ClockType:
        """Which clock this is."""
        return self._clock_type

    def now(self) -> Time:
        """The time."""
        return Time(nanoseconds=self._nanoseconds(), clock_type=self._clock_type)

    def _nanoseconds(self) -> int:
        return self._READ[self._clock_type]()

    def create_jump_callback(
        self,
        threshold: JumpThreshold,
        *,
        pre_callback: Callable[[], None] | None = None,
        post_callback: Callable[[TimeJump], None] | None = None,
    ) -> JumpHandle:
        """Have functions called before and after the clock jumps. Keep the handle."""
        return JumpHandle(self, threshold, pre_callback, post_callback)


class ROSClock(Clock):
    """ROS time: the wall's, until simulated time is switched on."""

    def __new__(cls, **_: Any) -> ROSClock:
        """Without a choice of type."""
        return object.__new__(cls)

    def __init__(self, **_: Any) -> None:
        super().__init__(clock_type=ClockType.ROS_TIME)
        self._lock = threading.Lock()
        self._simulated: int | None = None  # ns; None while it is the wall's

    @property
    def ros_time_is_active(self) -> bool:
        """Return whether time is simulated."""
        return self._simulated is not None

    def now(self) -> Time:
        """Simulated time, 0 before the first `/clock` message; else the wall's."""
        return super().now()

    def _nanoseconds(self) -> int:
        simulated = self._simulated
        return time.time_ns() if simulated is None else simulated

    def _set_ros_time_is_active(self, enabled: bool) -> None:
        if enabled != self.ros_time_is_active:
            change = ClockChange.ROS_TIME_ACTIVATED if enabled else ClockChange.ROS_TIME_DEACTIVATED
            self._change(0 if enabled else None, change)

    def set_ros_time_override(self, time: Time) -> None:
        """Set simulated time; ignored while time is the wall's."""
        if self.ros_time_is_active:
            self._change(time.nanoseconds, ClockChange.ROS_TIME_NO_CHANGE)

    def _change(self, simulated: int | None, change: ClockChange) -> None:
        with self._lock:
            after = time.time_ns() if simulated is None else simulated
            jump = TimeJump(change, Duration(nanoseconds=after - self.now().nanoseconds))
            told = [handle for handle in self._jump_handles if handle.threshold.meets(jump)]
            for handle in told:
                if handle.pre_callback:
                    handle.pre_callback()
            self._simulated = simulated
        for handle in told:
            if handle.post_callback:
                handle.post_callback(jump)

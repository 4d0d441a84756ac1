"""Clocks: system time, steady time, and ROS time, which is system time or a simulator's on `/clock`."""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rlt_ros.middleware.dds.time import ClockType, Duration, Time


class ClockChange(enum.IntEnum):
    """Change of the source of ROS time at a jump."""

    ROS_TIME_NO_CHANGE = 1
    ROS_TIME_ACTIVATED = 2
    ROS_TIME_DEACTIVATED = 3
    SYSTEM_TIME_NO_CHANGE = 4


@dataclass(frozen=True)
class TimeJump:
    """Jump of time: change of source, and step forward or (negative) back."""

    clock_change: ClockChange
    delta: Duration


class JumpThreshold:
    """Threshold of reported jumps.

    Args:
        min_forward: smallest step forward, above 0; None for none.
        min_backward: smallest step back, below 0; None for none.
        on_clock_change: True to report the start and end of simulated time.
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
        """Return whether ``jump`` exceeds the threshold."""
        if jump.clock_change in (ClockChange.ROS_TIME_ACTIVATED, ClockChange.ROS_TIME_DEACTIVATED):
            return self.on_clock_change
        forward, backward = self.min_forward, self.min_backward
        return bool(
            (forward is not None and jump.delta >= forward)
            or (backward is not None and jump.delta <= backward)
        )


class JumpHandle:
    """Registration of a jump callback, ended by :meth:`unregister`."""

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
        """Remove the callback."""
        if self in self._clock._jump_handles:
            self._clock._jump_handles.remove(self)


class Clock:
    """Clock of system or steady time; :class:`ROSClock` for ROS time."""

    _READ = {ClockType.SYSTEM_TIME: time.time_ns, ClockType.STEADY_TIME: time.monotonic_ns}  # noqa: RUF012

    def __new__(cls, *, clock_type: ClockType = ClockType.SYSTEM_TIME) -> Clock:
        """Create a :class:`ROSClock` for ROS time."""
        return super().__new__(ROSClock if clock_type is ClockType.ROS_TIME else cls)

    def __init__(self, *, clock_type: ClockType = ClockType.SYSTEM_TIME) -> None:
        self._clock_type = clock_type
        self._jump_handles: list[JumpHandle] = []

    @property
    def clock_type(self) -> ClockType:
        """Type of the clock."""
        return self._clock_type

    def now(self) -> Time:
        """Current time."""
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
        """Register callbacks before and after a jump of the clock; keep the handle."""
        return JumpHandle(self, threshold, pre_callback, post_callback)


class ROSClock(Clock):
    """ROS time: system time, or simulated time once enabled."""

    def __new__(cls, **_: Any) -> ROSClock:
        """Create the clock; its type is fixed."""
        return object.__new__(cls)

    def __init__(self, **_: Any) -> None:
        super().__init__(clock_type=ClockType.ROS_TIME)
        self._lock = threading.Lock()
        # ns; None for system time.
        self._simulated: int | None = None

    @property
    def ros_time_is_active(self) -> bool:
        """True if time is simulated."""
        return self._simulated is not None

    def now(self) -> Time:
        """Simulated time, 0 before the first `/clock` message, or system time."""
        return super().now()

    def _nanoseconds(self) -> int:
        simulated = self._simulated
        return time.time_ns() if simulated is None else simulated

    def _set_ros_time_is_active(self, enabled: bool) -> None:
        if enabled != self.ros_time_is_active:
            change = ClockChange.ROS_TIME_ACTIVATED if enabled else ClockChange.ROS_TIME_DEACTIVATED
            self._change(0 if enabled else None, change)

    def set_ros_time_override(self, time: Time) -> None:
        """Set simulated time; ignored while time is not simulated."""
        if self.ros_time_is_active:
            self._change(time.nanoseconds, ClockChange.ROS_TIME_NO_CHANGE)

    def _change(self, simulated: int | None, change: ClockChange) -> None:
        with self._lock:
            after = time.time_ns() if simulated is None else simulated
            jump = TimeJump(change, Duration(nanoseconds=after - self.now().nanoseconds))
            handles = [handle for handle in self._jump_handles if handle.threshold.meets(jump)]
            for handle in handles:
                if handle.pre_callback:
                    handle.pre_callback()
            self._simulated = simulated
        for handle in handles:
            if handle.post_callback:
                handle.post_callback(jump)

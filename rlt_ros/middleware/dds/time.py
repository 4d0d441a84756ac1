"""Time and duration in whole nanoseconds."""

from __future__ import annotations

import enum
from typing import Any

from rlt_ros.middleware.dds.message import message_class

_SECOND = 1_000_000_000


class ClockType(enum.IntEnum):
    """Clock of a time; times of different clocks cannot be compared."""

    ROS_TIME = 1
    SYSTEM_TIME = 2
    STEADY_TIME = 3


class Duration:
    """Duration; ``nanoseconds`` may be negative."""

    def __init__(self, *, seconds: float = 0, nanoseconds: int = 0) -> None:
        self._nanoseconds = int(seconds * _SECOND) + int(nanoseconds)

    @property
    def nanoseconds(self) -> int:
        """Duration, ns."""
        return self._nanoseconds

    def to_msg(self) -> Any:
        """Convert to ``builtin_interfaces/msg/Duration``."""
        seconds, nanoseconds = divmod(self._nanoseconds, _SECOND)
        return message_class("builtin_interfaces/msg/Duration")(sec=seconds, nanosec=nanoseconds)

    @classmethod
    def from_msg(cls, msg: Any) -> Duration:
        """Convert from ``builtin_interfaces/msg/Duration``."""
        return cls(nanoseconds=msg.sec * _SECOND + msg.nanosec)

    def __repr__(self) -> str:
        return f"Duration(nanoseconds={self._nanoseconds})"

    def __eq__(self, other: object) -> bool:
        return self._nanoseconds == other._nanoseconds if isinstance(other, Duration) else NotImplemented

    def __lt__(self, other: Duration) -> bool:
        return self._nanoseconds < other._nanoseconds

    def __le__(self, other: Duration) -> bool:
        return self._nanoseconds <= other._nanoseconds

    def __hash__(self) -> int:
        return hash(self._nanoseconds)


class Time:
    """Time of one clock, 0 or later."""

    def __init__(
        self, *, seconds: float = 0, nanoseconds: int = 0, clock_type: ClockType = ClockType.SYSTEM_TIME
    ) -> None:
        self._nanoseconds = int(seconds * _SECOND) + int(nanoseconds)
        if not 0 <= self._nanoseconds < 2**63:
            raise ValueError(f"time is {self._nanoseconds} ns; it must be at least 0 and below 2^63")
        self._clock_type = ClockType(clock_type)

    @property
    def nanoseconds(self) -> int:
        """Time since the clock's zero, ns."""
        return self._nanoseconds

    @property
    def clock_type(self) -> ClockType:
        """Type of the clock."""
        return self._clock_type

    def seconds_nanoseconds(self) -> tuple[int, int]:
        """Whole seconds and remaining nanoseconds."""
        return divmod(self._nanoseconds, _SECOND)

    def to_msg(self) -> Any:
        """Convert to ``builtin_interfaces/msg/Time``."""
        seconds, nanoseconds = self.seconds_nanoseconds()
        return message_class("builtin_interfaces/msg/Time")(sec=seconds, nanosec=nanoseconds)

    @classmethod
    def from_msg(cls, msg: Any, clock_type: ClockType = ClockType.ROS_TIME) -> Time:
        """Convert from ``builtin_interfaces/msg/Time``."""
        return cls(nanoseconds=msg.sec * _SECOND + msg.nanosec, clock_type=clock_type)

    def __repr__(self) -> str:
        return f"Time(nanoseconds={self._nanoseconds}, clock_type={self._clock_type.name})"

    def __add__(self, other: Duration) -> Time:
        if not isinstance(other, Duration):
            return NotImplemented
        return Time(nanoseconds=self._nanoseconds + other.nanoseconds, clock_type=self._clock_type)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        if isinstance(other, Time):
            self._require_same_clock(other)
            return Duration(nanoseconds=self._nanoseconds - other._nanoseconds)
        if isinstance(other, Duration):
            return Time(nanoseconds=self._nanoseconds - other.nanoseconds, clock_type=self._clock_type)
        return NotImplemented

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Time):
            return NotImplemented
        self._require_same_clock(other)
        return self._nanoseconds == other._nanoseconds

    def __lt__(self, other: Time) -> bool:
        self._require_same_clock(other)
        return self._nanoseconds < other._nanoseconds

    def __le__(self, other: Time) -> bool:
        self._require_same_clock(other)
        return self._nanoseconds <= other._nanoseconds

    def __hash__(self) -> int:
        return hash((self._nanoseconds, self._clock_type))

    def _require_same_clock(self, other: Time) -> None:
        if self._clock_type is not other._clock_type:
            raise TypeError(f"{self!r} and {other!r} are of different clocks")

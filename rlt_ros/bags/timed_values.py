"""Sequence of timed values with lookup by time."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Generic, TypeVar

T = TypeVar("T")


class TimedValues(Generic[T]):
    """Values in the order of their times, ns."""

    def __init__(self) -> None:
        self._times: list[int] = []
        self._values: list[T] = []

    @property
    def first(self) -> int | None:
        """Time of the first value."""
        return self._times[0] if self._times else None

    @property
    def newest(self) -> int | None:
        """Time of the newest value."""
        return self._times[-1] if self._times else None

    def add(self, moment: int, value: T) -> None:
        """Append a value; times must not decrease."""
        self._times.append(moment)
        self._values.append(value)

    def cut(self, moment: int) -> None:
        """Drop values at ``moment`` or later."""
        index = bisect_left(self._times, moment)
        del self._times[index:], self._values[index:]

    def at(self, moment: int) -> int | None:
        """Time of the newest value at ``moment`` or before."""
        index = bisect_right(self._times, moment)
        return self._times[index - 1] if index else None

    def value(self, moment: int) -> T:
        """Newest value at ``moment`` or before, which must exist."""
        return self._values[bisect_right(self._times, moment) - 1]

    def after(self, moment: int) -> int | None:
        """Time of the next value after ``moment``."""
        index = bisect_right(self._times, moment)
        return self._times[index] if index < len(self._times) else None

    def trim(self, moment: int) -> None:
        """Drop values older than the newest one at ``moment``."""
        index = bisect_right(self._times, moment) - 1
        if index > 0:
            del self._times[:index], self._values[:index]

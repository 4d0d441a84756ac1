"""Joint states: the arm's joints found by name, and their positions at any moment by interpolation."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class JointStateError(ValueError):
    """A joint state that cannot be used; the message says why."""


class JointSample(NamedTuple):
    """The arm at one moment: positions (A,) rad and velocities (A,) rad/s."""

    stamp: int
    position: Array
    velocity: Array


class JointOrder:
    """Finds the arm's joints in messages that name theirs in any order, and more of them.

    Args:
        joints: names of the arm's joints, in the order of the result.
    """

    def __init__(self, joints: Sequence[str]) -> None:
        self._joints = tuple(joints)
        self._names: tuple[str, ...] = ()
        self._places: list[int] = []

    def pick(
        self, names: Sequence[str], position: Sequence[float], velocity: Sequence[float]
    ) -> tuple[Array, Array]:
        """Positions (A,) and velocities (A,) of the arm.

        Raises:
            JointStateError: a joint is missing, the lengths differ, or a value is not finite.
        """
        return self._values(names, position, "positions"), self._values(names, velocity, "velocities")

    def positions(self, names: Sequence[str], position: Sequence[float]) -> Array:
        """Positions (A,) of the arm alone; not every driver sends velocities.

        Raises:
            JointStateError: a joint is missing, the lengths differ, or a value is not finite.
        """
        return self._values(names, position, "positions")

    def _values(self, names: Sequence[str], values: Sequence[float], what: str) -> Array:
        if len(values) != len(names):
            raise JointStateError(
                f"{len(names)} names with {len(values)} {what}; a joint state must have one for every name"
            )
        if tuple(names) != self._names:  # the same in almost every message
            self._find(tuple(names))
        picked = np.asarray(values)[self._places]
        if not np.isfinite(picked).all():
            raise JointStateError(f"{what} {picked} must be finite")
        return picked

    def _find(self, names: tuple[str, ...]) -> None:
        missing = [joint for joint in self._joints if joint not in names]
        if missing:
            raise JointStateError(
                f"it lacks {', '.join(missing)}; it has {', '.join(names[:8])}{' …' if len(names) > 8 else ''}"
            )
        self._names, self._places = names, [names.index(joint) for joint in self._joints]


class JointTrack:
    """The newest joint states, in order.

    Args:
        length: how many are kept.
        gap: ns; between samples further apart nothing is known.
    """

    def __init__(self, length: int, gap: int) -> None:
        self._length, self._gap = length, gap
        self._samples: list[JointSample] = []

    @property
    def newest(self) -> JointSample | None:
        """The newest sample."""
        return self._samples[-1] if self._samples else None

    def add(self, sample: JointSample) -> None:
        """Keep one more, newer than all."""
        self._samples.append(sample)
        del self._samples[: -self._length]

    def clear(self) -> None:
        """Forget all."""
        self._samples.clear()

    def at(self, stamp: int) -> JointSample | None:
        """The arm at ``stamp``, between the samples before and after; None where they are too far apart or missing."""
        index = bisect_left(self._samples, stamp, key=lambda sample: sample.stamp)
        if index == len(self._samples):
            return None
        after = self._samples[index]
        if after.stamp == stamp:
            return after
        if index == 0:
            return None
        before = self._samples[index - 1]
        if after.stamp - before.stamp > self._gap:
            return None
        share = (stamp - before.stamp) / (after.stamp - before.stamp)
        return JointSample(
            stamp,
            before.position + share * (after.position - before.position),
            before.velocity + share * (after.velocity - before.velocity),
        )

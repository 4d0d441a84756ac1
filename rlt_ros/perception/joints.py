"""Joint states: selection of the arm's joints by name, derived velocities, interpolation in time.

An unknown velocity is NaN, because 0 would mean standstill.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

BASELINE = 18_000_000
"""ns, smallest time base of derived velocities. Over one period of a fast driver they would be dominated by encoder
steps (0.0015 rad for 4096 per turn) and stamp jitter; over a much longer time they would be late. Slightly less than
20 ms, so that a driver at 50 Hz with jitter is compared with its previous state."""


class JointStateError(ValueError):
    """Unusable joint state; the message gives the reason."""


class JointSample(NamedTuple):
    """Joint state of the arm: stamp ns, positions (A,) rad and velocities (A,) rad/s, NaN if unknown."""

    stamp: int
    position: Array
    velocity: Array


class JointOrder:
    """Selection of the arm's joints from messages with more joints in any order.

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
        """Positions (A,) and velocities (A,) of the arm, NaN if the driver publishes none.

        The joint_state_broadcaster of ros2_control publishes NaN for unmeasured velocities; other drivers publish an
        empty list.

        Raises:
            JointStateError: a joint is missing, the lengths differ, or a value is not finite.
        """
        return self.positions(names, position), self.velocities(names, velocity)

    def velocities(self, names: Sequence[str], velocity: Sequence[float]) -> Array:
        """Velocities (A,) of the arm, NaN if the driver publishes none.

        Raises:
            JointStateError: a joint is missing, the lengths differ, or a value is infinite.
        """
        if not len(velocity):
            return np.full(len(self._joints), np.nan)
        speeds = self._values(names, velocity, "velocities")
        if np.isinf(speeds).any():
            raise JointStateError(f"velocities {speeds} must be finite")
        return speeds

    def positions(self, names: Sequence[str], position: Sequence[float]) -> Array:
        """Positions (A,) of the arm.

        Raises:
            JointStateError: a joint is missing, the lengths differ, or a value is not finite.
        """
        picked = self._values(names, position, "positions")
        if not np.isfinite(picked).all():
            raise JointStateError(f"positions {picked} must be finite")
        return picked

    def _values(self, names: Sequence[str], values: Sequence[float], what: str) -> Array:
        if len(values) != len(names):
            raise JointStateError(
                f"{len(names)} names with {len(values)} {what}; a joint state must have one for every name"
            )
        # Names are the same in almost every message.
        if tuple(names) != self._names:
            self._find(tuple(names))
        return np.asarray(values, dtype=np.float64)[self._places]

    def _find(self, names: tuple[str, ...]) -> None:
        missing = [joint for joint in self._joints if joint not in names]
        if missing:
            raise JointStateError(
                f"it lacks {', '.join(missing)}; it has {', '.join(names[:8])}{' …' if len(names) > 8 else ''}"
            )
        self._names, self._places = names, [names.index(joint) for joint in self._joints]


class JointGatherer:
    """Joint states of an arm from messages with all of its joints or alternating parts of them.

    Some drivers publish arms and grippers in separate messages on one topic.

    Args:
        joints: names of the arm's joints.
    """

    def __init__(self, joints: Sequence[str]) -> None:
        self._joints = tuple(joints)
        self._order = JointOrder(joints)
        # Joint → stamp, position and velocity, for joints in messages since the last result.
        self._named: dict[str, tuple[int, float, float]] = {}
        self._seen: set[str] = set()
        self.complete = False
        """True once all joints were received."""

    @property
    def missing(self) -> list[str]:
        """Joints that were in no message so far."""
        return [joint for joint in self._joints if joint not in self._seen]

    def add(self, stamp: int, names: Sequence[str], position: Array, velocity: Array) -> JointSample | None:
        """Add a message; returns the arm's state once all joints were received since the last result, else None.

        The stamp is that of the oldest message, the latest time at which all joints are known.

        Args:
            stamp: ns.
            names: (J,) names of the message's joints.
            position: (J,) rad or m.
            velocity: (J,) per second, NaN where unknown.

        Raises:
            JointStateError: lengths differ, or a value is not finite.
        """
        known = set(names)
        if known.issuperset(self._joints):
            measured, speeds = self._order.pick(names, position.tolist(), velocity.tolist())
            self._named.clear()
            self.complete = True
            return JointSample(stamp, measured, speeds)
        part = [joint for joint in self._joints if joint in known]
        if not part:
            return None
        measured, speeds = JointOrder(part).pick(names, position.tolist(), velocity.tolist())
        self._seen.update(part)
        for joint, value, speed in zip(part, measured.tolist(), speeds.tolist(), strict=True):
            self._named[joint] = (stamp, value, speed)
        if len(self._named) < len(self._joints):
            return None
        found = [self._named[joint] for joint in self._joints]
        self._named.clear()
        self.complete = True
        stamps, positions, velocities = zip(*found, strict=True)
        return JointSample(min(stamps), np.array(positions), np.array(velocities))


class JointTrack:
    """Newest joint states, in order, with velocities.

    An unknown velocity is derived from the newest position that is at least `BASELINE` older, so it is late by half of
    that time. Without such a position, as for the first states, it stays NaN.

    Joints turn by less than half a turn between two states: larger differences are jumps at the ±π seam.

    Args:
        length: number of kept states.
        gap: ns, largest time between two states for interpolation and derivation.
    """

    def __init__(self, length: int, gap: int) -> None:
        self._length, self._gap = length, gap
        self._samples: list[JointSample] = []

    @property
    def newest(self) -> JointSample | None:
        """Newest sample, or None."""
        return self._samples[-1] if self._samples else None

    def add(self, sample: JointSample) -> None:
        """Append a sample that is newer than all others."""
        unknown = np.isnan(sample.velocity)
        if unknown.any():
            derived = self._derived(sample.stamp, sample.position)
            sample = sample._replace(velocity=np.where(unknown, derived, sample.velocity))
        self._samples.append(sample)
        del self._samples[: -self._length]

    def clear(self) -> None:
        """Remove all samples."""
        self._samples.clear()

    def at(self, stamp: int) -> JointSample | None:
        """Joint state interpolated at ``stamp``; None if its neighbours are missing or too far apart."""
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
            before.position + share * _difference(after.position, before.position),
            before.velocity + share * (after.velocity - before.velocity),
        )

    def _derived(self, stamp: int, position: Array) -> Array:
        index = bisect_right(self._samples, stamp - BASELINE, key=lambda sample: sample.stamp)
        if index == 0 or stamp - self._samples[index - 1].stamp > self._gap:
            return np.full(position.shape, np.nan)
        before = self._samples[index - 1]
        return _difference(position, before.position) / ((stamp - before.stamp) * 1e-9)


def _difference(after: Array, before: Array) -> Array:
    """Displacement (A,) rad from one position to another, the shorter one across a ±π seam."""
    way = after - before
    seam = (np.abs(way) > math.pi) & (np.abs(way) < 3 * math.pi)
    return np.where(seam, way - np.sign(way) * 2 * math.pi, way) if seam.any() else way

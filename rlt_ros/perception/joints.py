"""Joint states: the arm's joints found by name, their velocities where the driver says none, and both at any moment.

A velocity that is not known is NaN: never 0, which would say that the arm stands.
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
"""ns; a velocity is derived over at least so much. Over one period of a fast driver it would be mostly the steps of the
encoder (0.0015 rad for 4096 a turn) and the jitter of stamps; over much more, that of long ago. It is just under 20 ms,
so that a driver at 50 Hz whose stamps jitter is compared with its last state."""


class JointStateError(ValueError):
    """A joint state that cannot be used; the message says why."""


class JointSample(NamedTuple):
    """The arm at one moment: positions (A,) rad and velocities (A,) rad/s, NaN where they are not known."""

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
        """Positions (A,) and velocities (A,) of the arm, NaN where the driver says none.

        It says none where the velocities are left out, and where one is NaN: the joint_state_broadcaster of
        ros2_control puts that in for what the hardware does not measure.

        Raises:
            JointStateError: a joint is missing, the lengths differ, or a value is not finite.
        """
        return self.positions(names, position), self.velocities(names, velocity)

    def velocities(self, names: Sequence[str], velocity: Sequence[float]) -> Array:
        """Velocities (A,) of the arm alone, NaN where the driver has none.

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
        """Positions (A,) of the arm alone.

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
        if tuple(names) != self._names:  # the same in almost every message
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
    """Joint states of an arm from messages that name all of its joints, or parts of them in turn.

    Drivers that publish arms and grippers apart on one topic name either in each message.

    Args:
        joints: of the arm.
    """

    def __init__(self, joints: Sequence[str]) -> None:
        self._joints = tuple(joints)
        self._order = JointOrder(joints)
        # Joint → stamp, position and velocity of those that a message since the last result named.
        self._named: dict[str, tuple[int, float, float]] = {}
        self._seen: set[str] = set()
        self.complete = False
        """All joints were gathered at least once."""

    @property
    def missing(self) -> list[str]:
        """Joints that no message named so far."""
        return [joint for joint in self._joints if joint not in self._seen]

    def add(self, stamp: int, names: Sequence[str], position: Array, velocity: Array) -> JointSample | None:
        """Take a message; returns the arm once each of its joints was named since the last time, else None.

        The stamp is the oldest of the messages, since no later moment is known of all joints.

        Args:
            stamp: ns.
            names: of the message's joints, J of them.
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
    """The newest joint states, in order, with velocities.

    A velocity that is not known is derived: the difference to the newest position that is at least `BASELINE` older,
    over the time between, so it is late by half of that. Where there is none, as of the first states, it stays NaN.

    No joint turns by half a turn between two states: those that are further apart lie on two sides of a seam.

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
        unknown = np.isnan(sample.velocity)
        if unknown.any():
            derived = self._derived(sample.stamp, sample.position)
            sample = sample._replace(velocity=np.where(unknown, derived, sample.velocity))
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
    """Way (A,) rad from one position to another, the short one where a joint passed a seam between."""
    way = after - before
    seam = (np.abs(way) > math.pi) & (np.abs(way) < 3 * math.pi)
    return np.where(seam, way - np.sign(way) * 2 * math.pi, way) if seam.any() else way

"""Synchronisation of several cameras and the joint states, each at its own rate, into observations at one stamp.

Each picture of the first camera gives the stamp of one observation, which is made or dropped; drops are counted. It
reads no clock; times are ns of the robot's clock, and `now` is the caller's reading (None before the first time).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rlt_ros.perception.joints import Array, JointSample, JointTrack
from rlt_ros.perception.observation import Observation
from rlt_ros.perception.pictures import Pixels
from rlt_ros.store.parameters import check, parameter

EXACT, LATEST = "exact", "latest"

_MAX_PICTURES = 8
"""Kept pictures per camera and pending observations: a third of a second at 25 Hz."""

_MAX_JOINT_STATES = 1000
"""Kept joint states, one second at 1 kHz."""


@dataclass(frozen=True)
class SyncConfig:
    """Matching and age limits of samples."""

    policy: str = parameter(
        EXACT,
        help="Matching of samples. `exact`: pictures of all cameras within `tolerance` of the observation's stamp, "
        "joints interpolated to it. `latest`: the newest available sample of each source, none older than `max_age`.",
        choices=(EXACT, LATEST),
    )
    tolerance: float = parameter(
        0.015,
        help="Largest time between pictures of one observation, with `exact`.",
        unit="s",
        low=0.0,
        source="slightly less than half the period of a 30-Hz camera",
    )
    max_age: float = parameter(
        0.3,
        help="Largest age of arriving samples and of observations.",
        unit="s",
        low=0.01,
    )
    max_future: float = parameter(
        0.3,
        help="Largest lead of a stamp over the node's clock; later samples are dropped.",
        unit="s",
        low=0.0,
    )
    max_gap: float = parameter(
        0.1,
        help="Largest time between two joint states for interpolation and for derived velocities.",
        unit="s",
        low=0.001,
    )
    clock_jump: float = parameter(
        1.0,
        help="Backward step of a source's stamps above which its clock counts as reset and all samples are cleared; a "
        "smaller one is a sample out of order.",
        unit="s",
        low=0.01,
        source="NTP-synchronised clocks differ by far less, resets by seconds",
    )

    def __post_init__(self) -> None:
        check(self)


class Synchroniser:
    """Synchroniser from samples to observations.

    Args:
        config: matching and age limits.
        cameras: names; the first camera sets the observations' stamps.
        drop: drop(kind, reason): called for every unused sample; `kind` names its counter.
    """

    def __init__(self, config: SyncConfig, cameras: Sequence[str], drop: Callable[[str, str], None]) -> None:
        self._policy = config.policy
        self._tolerance, self._max_age, self._max_future, self._jump = (
            _ns(seconds)
            for seconds in (config.tolerance, config.max_age, config.max_future, config.clock_jump)
        )
        self._drop = drop
        self._pace = cameras[0]
        self._pictures = {name: _Pictures() for name in cameras}
        self._joints = JointTrack(_MAX_JOINT_STATES, _ns(config.max_gap))
        self._moments: deque[int] = deque()
        self.resets = 0
        """Number of backward clock jumps."""
        self.made = 0
        """Number of observations."""

    def add_joints(
        self, stamp: int, position: Array, velocity: Array, now: int | None, *, relocated: bool = False
    ) -> list[Observation]:
        """Add positions (A,) rad and velocities (A,) rad/s; returns the completed observations.

        `relocated` clears earlier joint states, so that no interpolation spans a jump.

        A NaN velocity is derived from positions. Without one there are no observations, because a policy's action for
        an assumed velocity would move the arm.
        """
        newest = self._joints.newest
        if not self._is_usable("joint state", stamp, newest.stamp if newest else None, now):
            return []
        if relocated:
            self._joints.clear()
        self._joints.add(JointSample(stamp, position, velocity))
        return self._complete(now)

    def add_picture(self, camera: str, stamp: int, picture: Pixels, now: int | None) -> list[Observation]:
        """Add a picture (h, w, 3); returns the completed observations."""
        track = self._pictures[camera]
        if not self._is_usable(f"picture of {camera}", stamp, track.newest, now):
            return []
        track.add(stamp, picture)
        if camera == self._pace:
            if len(self._moments) == _MAX_PICTURES:
                self._drop_oldest("too many newer ones arrived")
            self._moments.append(stamp)
        return self._complete(now)

    def reset(self) -> None:
        """Clear all samples, after a clock jump."""
        self.resets += 1
        self._joints.clear()
        self._moments.clear()
        for track in self._pictures.values():
            track.clear()

    def _is_usable(self, what: str, stamp: int, newest: int | None, now: int | None) -> bool:
        """Return whether to add a sample; a rejected one is counted. A backward clock jump resets all."""
        if stamp <= 0:
            self._drop(f"{what} without stamp", "its driver must set the stamp")
            return False
        if now is not None and stamp - now > self._max_future:
            self._drop(
                f"{what} from the future", f"stamped {(stamp - now) * 1e-9:.3f} s ahead of the node's clock"
            )
            return False
        if now is not None and now - stamp > self._max_age:
            self._drop(f"stale {what}", f"{(now - stamp) * 1e-9:.3f} s old on arrival")
            return False
        if newest is None or stamp > newest:
            return True
        if newest - stamp > self._jump:
            self.reset()
            return True
        if stamp == newest:
            self._drop(f"duplicate {what}", f"a second one stamped {stamp} ns")
        else:
            self._drop(f"{what} out of order", f"{(newest - stamp) * 1e-9:.3f} s older than the newest")
        return False

    def _complete(self, now: int | None) -> list[Observation]:
        """Make the observations whose samples are complete, oldest first."""
        made = []
        while self._moments:
            stamp = self._moments[0]
            if now is not None and now - stamp > self._max_age:
                self._drop_oldest(
                    f"late by {(now - stamp - self._max_age) * 1e-9:.3f} s", kind="late observation"
                )
                continue
            if self._policy == EXACT and not self._is_decided(stamp):
                break
            observation = self._make(stamp)
            if observation is None:
                continue
            self._moments.popleft()
            self.made += 1
            made.append(observation)
        return made

    def _is_decided(self, stamp: int) -> bool:
        """Return whether no later sample can be nearer to ``stamp`` than the available ones."""
        joints = self._joints.newest
        return (
            joints is not None
            and joints.stamp >= stamp
            and all(track.newest is not None and track.newest >= stamp for track in self._pictures.values())
        )

    def _make(self, stamp: int) -> Observation | None:
        exact = self._policy == EXACT
        images = {}
        for camera, track in self._pictures.items():
            found = track.nearest(stamp, self._tolerance) if exact else track.at_most(self._max_age, stamp)
            if found is None:
                self._drop_oldest(f"no picture of {camera} near enough")
                return None
            images[camera] = found
        joints = self._joints.at(stamp)
        newest = self._joints.newest
        if joints is None and not exact and newest and abs(stamp - newest.stamp) <= self._max_age:
            joints = newest
        if joints is None:
            self._drop_oldest("no joint states around it")
            return None
        if np.isnan(joints.velocity).any():
            self._drop_oldest("no joint velocities and no earlier joint state to derive them from")
            return None
        return Observation(stamp, images, joints.position, joints.velocity)

    def _drop_oldest(self, reason: str, *, kind: str = "incomplete observation") -> None:
        stamp = self._moments.popleft()
        self._drop(kind, f"the one at {stamp * 1e-9:.3f} s: {reason}")


class _Pictures:
    """Newest pictures of one camera, in order."""

    def __init__(self) -> None:
        self._stamps: list[int] = []
        self._pictures: list[Pixels] = []

    @property
    def newest(self) -> int | None:
        """Stamp of the newest picture, ns, or None."""
        return self._stamps[-1] if self._stamps else None

    def add(self, stamp: int, picture: Pixels) -> None:
        """Append a picture that is newer than all others."""
        self._stamps.append(stamp)
        self._pictures.append(picture)
        # One more than pending observations, for the picture before the oldest one.
        del self._stamps[: -_MAX_PICTURES - 1], self._pictures[: -_MAX_PICTURES - 1]

    def clear(self) -> None:
        """Remove all pictures."""
        self._stamps.clear()
        self._pictures.clear()

    def nearest(self, stamp: int, tolerance: int) -> Pixels | None:
        """Picture nearest to ``stamp`` within ``tolerance`` ns, or None."""
        index = bisect_left(self._stamps, stamp)
        around = [i for i in (index - 1, index) if 0 <= i < len(self._stamps)]
        best = min(around, key=lambda i: abs(self._stamps[i] - stamp), default=None)
        if best is None or abs(self._stamps[best] - stamp) > tolerance:
            return None
        return self._pictures[best]

    def at_most(self, age: int, stamp: int) -> Pixels | None:
        """Newest picture, or None if it is older than ``age`` ns at ``stamp``."""
        return self._pictures[-1] if self._stamps and stamp - self._stamps[-1] <= age else None


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)

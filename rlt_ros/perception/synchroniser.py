"""Joins what comes from several cameras and the joints, each at its own pace, into observations of one moment.

The first camera sets the pace: each of its pictures is the moment of one observation, which is made or dropped, and
what is dropped is counted. It reads no clock; times are nanoseconds of the robot's clock, and `now` is what the caller
reads there (None before there is any time).
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
from rlt_ros.rlt.parameters import check, parameter

EXACT, LATEST = "exact", "latest"

_PICTURES = 8
"""Pictures kept of a camera, and moments that wait for the rest of theirs: a third of a second at 25 Hz."""

_JOINT_STATES = 1000
"""Joint states kept, one second at 1 kHz."""


@dataclass(frozen=True)
class SyncConfig:
    """Which samples belong together, and which are too old."""

    policy: str = parameter(
        EXACT,
        help="`exact`: every camera's picture within `tolerance` of the moment, joints interpolated to it. `latest`: "
        "the newest of each source that is at hand, none older than `max_age`.",
        choices=(EXACT, LATEST),
    )
    tolerance: float = parameter(
        0.015,
        help="Greatest time between pictures of one observation, with `exact`.",
        unit="s",
        low=0.0,
        source="just under half the period of a 30-Hz camera",
    )
    max_age: float = parameter(
        0.3,
        help="What is older than this is not used: samples when they come, observations.",
        unit="s",
        low=0.01,
    )
    max_future: float = parameter(
        0.3, help="What is stamped further ahead of the node's clock is dropped.", unit="s", low=0.0
    )
    max_gap: float = parameter(
        0.1,
        help="Joint states further apart are not interpolated, nor are velocities derived from them where the driver "
        "says none.",
        unit="s",
        low=0.001,
    )
    clock_jump: float = parameter(
        1.0,
        help="A source that steps back by more is a clock that was set back, and everything kept is forgotten; by "
        "less, it is a sample out of order.",
        unit="s",
        low=0.01,
        source="clocks that are kept by NTP differ by far less, resets by seconds",
    )

    def __post_init__(self) -> None:
        check(self)


class Synchroniser:
    """Samples in, observations out.

    Args:
        config: what belongs together.
        cameras: names, that of the camera which sets the pace first.
        drop: told (kind, reason) of everything that is not used.
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
        self._joints = JointTrack(_JOINT_STATES, _ns(config.max_gap))
        self._moments: deque[int] = deque()
        self.resets = 0
        """Times that a clock jumped back."""
        self.made = 0
        """Observations."""

    def add_joints(
        self, stamp: int, position: Array, velocity: Array, now: int | None, *, relocated: bool = False
    ) -> list[Observation]:
        """Take in positions (A,) rad and velocities (A,) rad/s; returns the observations that this completes.

        Nothing is interpolated across a jump: with `relocated` the joint states before are forgotten.

        A velocity that is NaN is derived from positions. Until that is possible there are no observations: what a
        policy makes of an invented one would move the arm.
        """
        newest = self._joints.newest
        if not self._is_usable("joint state", stamp, newest.stamp if newest else None, now):
            return []
        if relocated:
            self._joints.clear()
        self._joints.add(JointSample(stamp, position, velocity))
        return self._complete(now)

    def add_picture(self, camera: str, stamp: int, picture: Pixels, now: int | None) -> list[Observation]:
        """Take in a picture (h, w, 3); returns the observations that this completes."""
        track = self._pictures[camera]
        if not self._is_usable(f"picture of {camera}", stamp, track.newest, now):
            return []
        track.add(stamp, picture)
        if camera == self._pace:
            if len(self._moments) == _PICTURES:
                self._give_up("too many newer ones came")
            self._moments.append(stamp)
        return self._complete(now)

    def reset(self) -> None:
        """Forget everything: time jumped."""
        self.resets += 1
        self._joints.clear()
        self._moments.clear()
        for track in self._pictures.values():
            track.clear()

    def _is_usable(self, what: str, stamp: int, newest: int | None, now: int | None) -> bool:
        """Return whether to add a sample, else count it. A clock that was set back makes everything new."""
        if stamp <= 0:
            self._drop(f"{what} without stamp", "its driver must stamp it")
            return False
        if now is not None and stamp - now > self._max_future:
            self._drop(
                f"{what} from the future", f"stamped {(stamp - now) * 1e-9:.3f} s ahead of the clock here"
            )
            return False
        if now is not None and now - stamp > self._max_age:
            self._drop(f"stale {what}", f"{(now - stamp) * 1e-9:.3f} s old when it came")
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
        """The observations whose samples are all there, oldest first."""
        made = []
        while self._moments:
            stamp = self._moments[0]
            if now is not None and now - stamp > self._max_age:
                self._give_up(
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
        """Return whether no sample that comes later can be nearer to ``stamp`` than those at hand."""
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
                self._give_up(f"no picture of {camera} near enough")
                return None
            images[camera] = found
        joints = self._joints.at(stamp)
        newest = self._joints.newest
        if joints is None and not exact and newest and abs(stamp - newest.stamp) <= self._max_age:
            joints = newest
        if joints is None:
            self._give_up("no joint states around it")
            return None
        if np.isnan(joints.velocity).any():
            self._give_up("no joint velocities, nor an earlier joint state that they can be derived from")
            return None
        return Observation(stamp, images, joints.position, joints.velocity)

    def _give_up(self, reason: str, *, kind: str = "incomplete observation") -> None:
        stamp = self._moments.popleft()
        self._drop(kind, f"the one at {stamp * 1e-9:.3f} s: {reason}")


class _Pictures:
    """The newest pictures of one camera, in order."""

    def __init__(self) -> None:
        self._stamps: list[int] = []
        self._pictures: list[Pixels] = []

    @property
    def newest(self) -> int | None:
        """Stamp of the newest."""
        return self._stamps[-1] if self._stamps else None

    def add(self, stamp: int, picture: Pixels) -> None:
        """Keep one more, newer than all."""
        self._stamps.append(stamp)
        self._pictures.append(picture)
        # One more than moments can wait, for the one before the oldest moment.
        del self._stamps[: -_PICTURES - 1], self._pictures[: -_PICTURES - 1]

    def clear(self) -> None:
        """Forget all."""
        self._stamps.clear()
        self._pictures.clear()

    def nearest(self, stamp: int, tolerance: int) -> Pixels | None:
        """The picture nearest to ``stamp``, if it is within ``tolerance``."""
        index = bisect_left(self._stamps, stamp)
        around = [i for i in (index - 1, index) if 0 <= i < len(self._stamps)]
        best = min(around, key=lambda i: abs(self._stamps[i] - stamp), default=None)
        if best is None or abs(self._stamps[best] - stamp) > tolerance:
            return None
        return self._pictures[best]

    def at_most(self, age: int, stamp: int) -> Pixels | None:
        """The newest picture, unless it is older than ``age`` at ``stamp``."""
        return self._pictures[-1] if self._stamps and stamp - self._stamps[-1] <= age else None


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)

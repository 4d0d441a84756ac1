"""One gripper convention for all data: 0 open, 1 closed.

Data sets disagree four ways (ratio, millimetres from 35 to 120, 0 to 120, radians that fall as the gripper closes), and
some documentation says the opposite of its data (genie_sim issue 164, AgiBot-World issues 106 and 133). So the range is
taken from percentiles of what a data set's grippers were observed to do, and the direction from how their state follows
the action, whose convention is the same everywhere. A gripper that never moves shows no range: it has that of the other
side, or of values of its size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlt_ros.data.episode import FloatArray
from rlt_ros.data.errors import EpisodeError

Side = NDArray[np.floating]

_RATIO = (-0.05, 1.05)
"""A ratio, with the overshoot of a controller."""
_RADIANS = -0.785
"""Open in radians; closed is 0."""
_MILLIMETRES = (35.0, 120.0)
"""Open and closed of AgiBot World; other releases begin at 0."""
_MOVED = 0.15
"""Share of the usual range by which a gripper must have moved to show its own: sensors of idle ones drift by 2 mm."""
_FOLLOWS = 0.2
"""Correlation of state and action that tells a direction."""
_PERCENTILES = (0.5, 99.5)
"""Ends of a range; single values beyond are glitches."""
_WIDER = 0.05
"""Share of a range by which an episode's values must leave it to revise it."""
_ABSURD = 10.0
"""Ranges by which values that cannot be of the same gripper leave one."""


@dataclass(frozen=True)
class GripperScale:
    """Meaning of a data set's gripper values.

    Attributes:
        open: value when open.
        closed: value when closed.
        observed: the gripper moved, so the range is its own; otherwise it is that of the other side, or the usual one.
    """

    open: float
    closed: float
    observed: bool = True

    def normalise(self, values: Side) -> FloatArray:
        """0 open to 1 closed."""
        scaled = (np.asarray(values, np.float64) - self.open) / (self.closed - self.open)
        return np.clip(scaled, 0.0, 1.0).astype(np.float32)

    def restore(self, values: Side) -> FloatArray:
        """The data set's values again; inverse of `normalise` between open and closed."""
        return (self.open + np.asarray(values, np.float64) * (self.closed - self.open)).astype(np.float32)

    def widened(self, values: Side) -> GripperScale:
        """The scale that takes values (T,) of an episode in; itself where they do not leave it.

        Raises:
            EpisodeError: they are far outside.
        """
        finite = values[np.isfinite(values)]
        if not len(finite):
            return self
        low, high = _range(finite)
        ends = sorted((self.open, self.closed))
        span = ends[1] - ends[0]
        beyond = max(ends[0] - low, high - ends[1])
        if beyond > _ABSURD * span and self.observed:
            raise EpisodeError(
                "has gripper values far outside those of other episodes",
                f"{low:g} to {high:g}, others {ends[0]:g} to {ends[1]:g}; leave it out with --episodes",
            )
        if beyond <= _WIDER * span or not _has_moved(low, high):
            return self
        low, high = (min(low, ends[0]), max(high, ends[1])) if self.observed else (low, high)
        return GripperScale(high, low) if self.open > self.closed else GripperScale(low, high)


@dataclass
class GripperScales:
    """Scales of left and right gripper, of state and of action; revised where an episode has wider values."""

    state: tuple[GripperScale, GripperScale]
    action: tuple[GripperScale, GripperScale]

    def revise(self, episode: GripperValues) -> str:
        """Widen the scales for the values of an episode; returns the change in words, empty where there is none.

        Raises:
            EpisodeError: its values are far outside.
        """
        state = _each(self.state, episode.state)
        action = _each(self.action, episode.action)
        changes = [
            f"{kind} {side}: {old.open:g} to {old.closed:g} became {new.open:g} to {new.closed:g}"
            for kind, before, after in (("state", self.state, state), ("action", self.action, action))
            for side, old, new in zip(("left", "right"), before, after, strict=True)
            if old != new
        ]
        self.state, self.action = state, action
        return "; ".join(changes)

    @classmethod
    def from_summary(cls, summary: Mapping[str, Mapping[str, Any]]) -> GripperScales:
        """Scales of a `summary`."""
        state, action = (
            tuple(
                GripperScale(float(one["open"]), float(one["closed"]), bool(one["observed"]))
                for one in (summary[f"{kind}_left"], summary[f"{kind}_right"])
            )
            for kind in ("state", "action")
        )
        return cls((state[0], state[1]), (action[0], action[1]))

    def steps(self) -> list[list[int]]:
        """Ends of all scales in steps of a twentieth of the usual range: equal where scales differ by a little."""
        steps = []
        for scale in (*self.state, *self.action):
            start, end = _usual(*sorted((scale.open, scale.closed)))
            steps.append([round(20 * value / (end - start)) for value in (scale.open, scale.closed)])
        return steps

    def summary(self) -> dict[str, dict[str, float | bool]]:
        """For a report."""
        named = {"state_left": self.state[0], "state_right": self.state[1]}
        named |= {"action_left": self.action[0], "action_right": self.action[1]}
        return {
            name: {"open": scale.open, "closed": scale.closed, "observed": scale.observed}
            for name, scale in named.items()
        }


@dataclass(frozen=True)
class GripperValues:
    """Left and right gripper in one episode: (T, 2) states and (T, 2) actions in the data set's units."""

    state: NDArray[np.floating]
    action: NDArray[np.floating]


def observe(episodes: Sequence[GripperValues]) -> GripperScales:
    """Scales of a data set from its episodes; those of a ratio where none could be read."""
    if not episodes:
        unknown = (GripperScale(0.0, 1.0, False), GripperScale(0.0, 1.0, False))
        return GripperScales(unknown, unknown)
    state = np.concatenate([episode.state for episode in episodes])
    action = np.concatenate([episode.action for episode in episodes])
    sides = [_one_side(state[:, side], action[:, side]) for side in (0, 1)]
    return GripperScales(_of_both(sides[0][0], sides[1][0]), _of_both(sides[0][1], sides[1][1]))


def _each(scales: tuple[GripperScale, GripperScale], values: Side) -> tuple[GripperScale, GripperScale]:
    left, right = (scale.widened(values[:, side]) for side, scale in enumerate(scales))
    return _of_both(left, right)


def _of_both(left: GripperScale, right: GripperScale) -> tuple[GripperScale, GripperScale]:
    """Scales of both sides; one that did not move has that of the other, which is of the same make."""
    if left.observed and not right.observed:
        return left, replace(left, observed=False)
    if right.observed and not left.observed:
        return replace(right, observed=False), right
    return left, right


def _one_side(state: Side, action: Side) -> tuple[GripperScale, GripperScale]:
    finite = np.isfinite(state) & np.isfinite(action)
    state, action = state[finite], action[finite]
    if len(state) == 0:
        return observe([]).state
    moved = _has_moved(*_range(state)) and _has_moved(*_range(action))
    falls = moved and np.corrcoef(state, action)[0, 1] < -_FOLLOWS
    return _scale(state, falls=bool(falls), ratio=False), _scale(action, falls=False, ratio=True)


def _scale(values: Side, *, falls: bool, ratio: bool) -> GripperScale:
    low, high = _range(values)
    if not _has_moved(low, high):
        return GripperScale(*_usual(low, high), False)
    if ratio and _is_ratio(low, high):
        return GripperScale(0.0, 1.0)
    return GripperScale(high, low) if falls else GripperScale(low, high)


def _range(values: Side) -> tuple[float, float]:
    low = np.percentile(values, _PERCENTILES[0], method="nearest")
    return float(low), float(np.percentile(values, _PERCENTILES[1], method="nearest"))


def _is_ratio(low: float, high: float) -> bool:
    return low >= _RATIO[0] and high <= _RATIO[1]


def _usual(low: float, high: float) -> tuple[float, float]:
    """Open and closed of values of a size."""
    if _is_ratio(low, high):
        return 0.0, 1.0
    if low < 0:
        return _RADIANS, 0.0
    start, end = _MILLIMETRES
    return _MILLIMETRES if abs(low - start) < _MOVED * (end - start) else (0.0, end)


def _has_moved(low: float, high: float) -> bool:
    start, end = _usual(low, high)
    return high - low > _MOVED * (end - start)

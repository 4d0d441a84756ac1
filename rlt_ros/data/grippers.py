"""Common gripper convention for all data: 0 open, 1 closed.

Data sets use four conventions (ratio, millimetres from 35 to 120, 0 to 120, radians that fall as the gripper closes),
and some documentation contradicts its data (genie_sim issue 164, AgiBot-World issues 106 and 133). The range is
therefore estimated from percentiles of a data set's gripper values, and the direction from the correlation of state and
action, since actions have the same convention everywhere. A gripper without motion gets the range of the other side,
or the usual one for its values.
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
"""Range of a ratio, with the overshoot of a controller."""
_RADIANS = -0.785
"""Open in radians; closed is 0."""
_MILLIMETRES = (35.0, 120.0)
"""Open and closed of AgiBot World; other releases begin at 0."""
MIN_MOTION_SHARE = 0.15
"""Share of the usual range that a gripper must move to have a range of its own; idle sensors drift by 2 mm."""
MIN_CORRELATION = 0.2
"""Correlation of state and action that determines a direction."""
_PERCENTILES = (0.5, 99.5)
"""Ends of a range; single values beyond are glitches."""
MAX_EXCESS_SHARE = 0.05
"""Share of a range by which an episode's values may leave it without a revision."""
MAX_EXCESS_RANGES = 10.0
"""Ranges by which values leave one if they cannot belong to the same gripper."""


@dataclass(frozen=True)
class GripperScale:
    """Meaning of a data set's gripper values.

    Attributes:
        open: value when open.
        closed: value when closed.
        observed: the gripper moved; otherwise the range is that of the other side, or the usual one.
    """

    open: float
    closed: float
    observed: bool = True

    def normalise(self, values: Side) -> FloatArray:
        """Normalise values to 0 open to 1 closed."""
        scaled = (np.asarray(values, np.float64) - self.open) / (self.closed - self.open)
        return np.clip(scaled, 0.0, 1.0).astype(np.float32)

    def widen(self, values: Side) -> GripperScale:
        """Scale widened by the values (T,) of an episode; itself if they are inside.

        Raises:
            EpisodeError: the values are far outside.
        """
        finite = values[np.isfinite(values)]
        if not len(finite):
            return self
        low, high = _range(finite)
        ends = sorted((self.open, self.closed))
        span = ends[1] - ends[0]
        beyond = max(ends[0] - low, high - ends[1])
        if beyond > MAX_EXCESS_RANGES * span and self.observed:
            raise EpisodeError(
                "has gripper values far outside those of other episodes",
                f"{low:g} to {high:g}, others {ends[0]:g} to {ends[1]:g}; leave it out with --episodes",
            )
        if beyond <= MAX_EXCESS_SHARE * span or not _has_moved(low, high):
            return self
        low, high = (min(low, ends[0]), max(high, ends[1])) if self.observed else (low, high)
        return GripperScale(high, low) if self.open > self.closed else GripperScale(low, high)


@dataclass
class GripperScales:
    """Scales of left and right gripper, of state and action; revised by episodes with wider values."""

    state: tuple[GripperScale, GripperScale]
    action: tuple[GripperScale, GripperScale]

    def revise(self, episode: GripperValues) -> str:
        """Widen the scales by the values of an episode; return a description of the change, empty without one.

        Raises:
            EpisodeError: the values are far outside.
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
        """Inverse of `summary`."""
        state, action = (
            tuple(
                GripperScale(float(one["open"]), float(one["closed"]), bool(one["observed"]))
                for one in (summary[f"{kind}_left"], summary[f"{kind}_right"])
            )
            for kind in ("state", "action")
        )
        return cls((state[0], state[1]), (action[0], action[1]))

    def steps(self) -> list[list[int]]:
        """Ends of all scales in units of a twentieth of the usual range: equal for similar scales."""
        steps = []
        for scale in (*self.state, *self.action):
            start, end = _usual(*sorted((scale.open, scale.closed)))
            steps.append([round(20 * value / (end - start)) for value in (scale.open, scale.closed)])
        return steps

    def summary(self) -> dict[str, dict[str, float | bool]]:
        """Scales as a mapping, for a report."""
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


def estimate_scales(episodes: Sequence[GripperValues]) -> GripperScales:
    """Estimate the scales of a data set from its episodes; those of a ratio without any episode."""
    if not episodes:
        unknown = (GripperScale(0.0, 1.0, False), GripperScale(0.0, 1.0, False))
        return GripperScales(unknown, unknown)
    state = np.concatenate([episode.state for episode in episodes])
    action = np.concatenate([episode.action for episode in episodes])
    sides = [_one_side(state[:, side], action[:, side]) for side in (0, 1)]
    return GripperScales(_share_range(sides[0][0], sides[1][0]), _share_range(sides[0][1], sides[1][1]))


def _each(scales: tuple[GripperScale, GripperScale], values: Side) -> tuple[GripperScale, GripperScale]:
    left, right = (scale.widen(values[:, side]) for side, scale in enumerate(scales))
    return _share_range(left, right)


def _share_range(left: GripperScale, right: GripperScale) -> tuple[GripperScale, GripperScale]:
    """Scales of both sides; one without motion gets that of the other, which is of the same make."""
    if left.observed and not right.observed:
        return left, replace(left, observed=False)
    if right.observed and not left.observed:
        return replace(right, observed=False), right
    return left, right


def _one_side(state: Side, action: Side) -> tuple[GripperScale, GripperScale]:
    finite = np.isfinite(state) & np.isfinite(action)
    state, action = state[finite], action[finite]
    if len(state) == 0:
        return estimate_scales([]).state
    moved = _has_moved(*_range(state)) and _has_moved(*_range(action))
    falls = moved and np.corrcoef(state, action)[0, 1] < -MIN_CORRELATION
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
    """Open and closed of the usual range for values of this size."""
    if _is_ratio(low, high):
        return 0.0, 1.0
    if low < 0:
        return _RADIANS, 0.0
    start, end = _MILLIMETRES
    return _MILLIMETRES if abs(low - start) < MIN_MOTION_SHARE * (end - start) else (0.0, end)


def _has_moved(low: float, high: float) -> bool:
    start, end = _usual(low, high)
    return high - low > MIN_MOTION_SHARE * (end - start)

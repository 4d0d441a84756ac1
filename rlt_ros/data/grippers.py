"""One gripper convention for all data: 0 open, 1 closed.

Data sets disagree four ways (ratio, millimetres from 35 to 120, 0 to 120, radians that fall as the gripper closes), and
some documentation says the opposite of its data (genie_sim issue 164, AgiBot-World issues 106 and 133). So the range is
taken from what a data set's grippers were observed to do, and the direction from how their state follows the action,
whose convention is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlt_ros.data.episode import FloatArray

_RATIO = (-0.05, 1.05)  # a ratio with the overshoot of a controller
_MOVED = 0.05  # share of the largest value by which a gripper must have moved to tell its range
_FOLLOWS = 0.2  # correlation of state and action that tells a direction


@dataclass(frozen=True)
class GripperScale:
    """What a data set's gripper values mean.

    Attributes:
        open: value when open.
        closed: value when closed.
        observed: whether the range was seen; otherwise it is the one that values of this size usually have.
    """

    open: float
    closed: float
    observed: bool = True

    def normalise(self, values: NDArray[np.floating]) -> FloatArray:
        """0 open to 1 closed."""
        scaled = (np.asarray(values, np.float64) - self.open) / (self.closed - self.open)
        return np.clip(scaled, 0.0, 1.0).astype(np.float32)

    def restore(self, values: NDArray[np.floating]) -> FloatArray:
        """The data set's values again; inverse of `normalise` between open and closed."""
        return (self.open + np.asarray(values, np.float64) * (self.closed - self.open)).astype(np.float32)


@dataclass(frozen=True)
class GripperScales:
    """Scales of left and right gripper, of state and of action."""

    state: tuple[GripperScale, GripperScale]
    action: tuple[GripperScale, GripperScale]

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
    """What one episode's grippers did, left and right: (T, 2) states and (T, 2) actions in the data set's units."""

    state: NDArray[np.floating]
    action: NDArray[np.floating]


def observe(episodes: Sequence[GripperValues]) -> GripperScales:
    """Scales of a data set from what some of its episodes did; those of a ratio where none could be read."""
    if not episodes:
        unknown = (GripperScale(0.0, 1.0, False), GripperScale(0.0, 1.0, False))
        return GripperScales(unknown, unknown)
    state = np.concatenate([episode.state for episode in episodes])
    action = np.concatenate([episode.action for episode in episodes])
    sides = [_one_side(state[:, side], action[:, side]) for side in (0, 1)]
    return GripperScales((sides[0][0], sides[1][0]), (sides[0][1], sides[1][1]))


def _one_side(state: NDArray[np.floating], action: NDArray[np.floating]) -> tuple[GripperScale, GripperScale]:
    finite = np.isfinite(state) & np.isfinite(action)
    state, action = state[finite], action[finite]
    if len(state) == 0:
        return observe([]).state
    falls = _moved(state) and _moved(action) and np.corrcoef(state, action)[0, 1] < -_FOLLOWS
    return _scale(state, falls=bool(falls), ratio=False), _scale(action, falls=False, ratio=True)


def _scale(values: NDArray[np.floating], *, falls: bool, ratio: bool) -> GripperScale:
    low, high = float(values.min()), float(values.max())
    is_ratio = low >= _RATIO[0] and high <= _RATIO[1]
    if ratio and is_ratio:
        return GripperScale(0.0, 1.0)
    if not _moved(values):
        if is_ratio:
            return GripperScale(0.0, 1.0, False)
        return GripperScale(-0.785, 0.0, False) if low < 0 else GripperScale(0.0, 120.0, False)
    return GripperScale(high, low) if falls else GripperScale(low, high)


def _moved(values: NDArray[np.floating]) -> bool:
    return float(np.ptp(values)) > _MOVED * max(float(np.abs(values).max()), 1e-9)

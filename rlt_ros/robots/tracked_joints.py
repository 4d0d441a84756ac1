"""Joints of an arm for the joint tracker: limits, speeds and continuous joints."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlt_ros.robots.turns import TURN, UNLIMITED, Mask
from rlt_ros.robots.urdf_joints import JointLimits

Array = NDArray[np.float64]

SPEED_FACTOR = 1.5
"""Greatest speed that counts as motion, in URDF velocity limits: drivers overshoot, and hands guide faster."""

HAND_SPEED = 4.0
"""rad/s; plausible speed of every joint. Hands guide an arm at up to 3 rad/s."""

SLIDE_SPEED = 1.0
"""m/s; plausible speed of prismatic joints."""

# rad; the turn of a joint with a smaller range is unambiguous.
_MIN_RANGE = TURN + 1e-3


@dataclass(frozen=True)
class TrackedJoints:
    """Joints of an arm for the joint tracker.

    Attributes:
        names: A joints.
        lower: (A,) rad or m, least position.
        upper: (A,) rad or m, greatest position.
        speed: (A,) rad/s or m/s, greatest plausible speed.
        continuous: (A,) joints that turn without end, which a driver may report in any turn.
        home: (A,) rad or m; the first state of a continuous joint is in the turn nearest to this.
    """

    names: tuple[str, ...]
    lower: Array
    upper: Array
    speed: Array
    continuous: Mask
    home: Array

    def __post_init__(self) -> None:
        """Check shapes and ranges; raise ValueError naming the field."""
        for name in ("lower", "upper", "speed", "continuous", "home"):
            value = getattr(self, name)
            if value.shape != (len(self.names),) or not np.isfinite(value).all():
                raise ValueError(
                    f"tracked joints: {name} must be ({len(self.names)},) and finite, got {value}"
                )
        if not (self.speed > 0).all():
            raise ValueError(f"tracked joints: speed must be above 0, got {self.speed}")

    @property
    def dim(self) -> int:
        """Number of joints A."""
        return len(self.names)

    def first(self, count: int) -> TrackedJoints:
        """First `count` joints."""
        return TrackedJoints(
            self.names[:count],
            self.lower[:count],
            self.upper[:count],
            self.speed[:count],
            self.continuous[:count],
            self.home[:count],
        )


def build_tracked_joints(
    names: Sequence[str],
    urdf: Mapping[str, JointLimits],
    declared: Collection[str] | None,
    home: Mapping[str, float],
) -> TrackedJoints:
    """Tracked joints of a robot.

    Args:
        names: A joints.
        urdf: joint → type and limits. A joint that it lacks has no limits.
        declared: joints that turn without end; None takes the continuous ones of the URDF.
        home: joint → position in rad or m; joints without one take the position nearest to 0 within their limits.

    Raises:
        ValueError: a declared joint cannot turn without end.
    """
    limits = [urdf.get(name, JointLimits("continuous", -math.inf, math.inf, 0.0)) for name in names]
    if declared is None:
        continuous = [
            name in urdf and joint.kind == "continuous" for name, joint in zip(names, limits, strict=True)
        ]
    else:
        continuous = [name in declared for name in names]
    for name, joint, endless in zip(names, limits, continuous, strict=True):
        if endless and joint.kind not in ("revolute", "continuous"):
            raise ValueError(
                f"`continuous_joints` names {name}, which is {joint.kind} in the URDF; leave it out"
            )
        if endless and joint.upper - joint.lower < _MIN_RANGE:
            raise ValueError(
                f"`continuous_joints` names {name}, which the URDF limits to {joint.lower:.4g} … {joint.upper:.4g}; "
                "only a joint that turns more than once can be in the list"
            )
    lower = np.array([max(joint.lower, -UNLIMITED) for joint in limits])
    upper = np.array([min(joint.upper, UNLIMITED) for joint in limits])
    velocity = np.array([joint.velocity for joint in limits])
    floor = np.array([SLIDE_SPEED if joint.kind == "prismatic" else HAND_SPEED for joint in limits])
    middle = np.clip(0.0, lower, upper)
    return TrackedJoints(
        tuple(names),
        lower,
        upper,
        speed=np.maximum(SPEED_FACTOR * velocity, floor),
        continuous=np.array(continuous, dtype=bool),
        home=np.array([home.get(name, other) for name, other in zip(names, middle, strict=True)]),
    )

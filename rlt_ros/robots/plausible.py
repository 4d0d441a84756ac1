"""Checks for implausible numbers of a URDF or profile: swapped limits, degrees for rad, millimetres for metres."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from rlt_ros.robots.kinematics import Kinematics
from rlt_ros.robots.turns import UNLIMITED

Array = NDArray[np.float64]

# rad; arms turn two or three times, and limits in degrees are larger.
_MAX_ANGLE = 6 * np.pi
# rad/s; hobby servos claim 10, and speeds in degrees are larger.
_MAX_ANGULAR_SPEED = 50.0
# m; a lift or finger in millimetres is larger.
_MAX_LENGTH = 10.0


def implausible_limits(arm: Kinematics) -> Iterator[str]:
    """Faults of the joint limits of a URDF, one sentence each."""
    for i, joint in enumerate(arm.joints):
        lower, upper, velocity = arm.lower[i], arm.upper[i], arm.velocity_limit[i]
        greatest = max(abs(lower), abs(upper))
        if not lower < upper:
            yield f"joint {joint} has the range {lower:g} to {upper:g}; its limits are swapped or missing"
        elif arm.prismatic[i] and greatest > _MAX_LENGTH:
            yield f"joint {joint} slides from {lower:g} to {upper:g} m; these look like millimetres"
        elif not arm.prismatic[i] and _MAX_ANGLE < greatest < UNLIMITED:
            yield f"joint {joint} turns from {lower:g} to {upper:g} rad; these look like degrees"
        if not arm.prismatic[i] and velocity > _MAX_ANGULAR_SPEED:
            yield f"joint {joint} turns at {velocity:g} rad/s; this looks like degrees per second"


def outside(joints: Sequence[str], position: Array, lower: Array, upper: Array) -> Iterator[str]:
    """Joints of a posture outside their limits, one sentence each."""
    hint = "; these look like degrees" if np.abs(position).max() > _MAX_ANGLE else ""
    for joint, value, low, high in zip(joints, position, lower, upper, strict=True):
        if not low <= value <= high:
            yield f"{joint} is at {value:g}, outside its limits {low:g} to {high:g}{hint}"

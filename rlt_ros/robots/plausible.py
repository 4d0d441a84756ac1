"""Numbers of a URDF or profile that cannot be meant: swapped limits, degrees for radians, millimetres for metres."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from rlt_ros.robots.kinematics import Kinematics

Array = NDArray[np.float64]

_ANGLE = 6 * np.pi  # rad; arms turn two or three times, and limits in degrees are larger
_ANGULAR_SPEED = 50.0  # rad/s; hobby servos claim 10, and speeds in degrees are larger
_LENGTH = 10.0  # m; a lift or finger in millimetres is larger
_ENDLESS = 1000.0  # rad; from here on a limit means that there is none, and degrees never get there


def implausible_limits(arm: Kinematics) -> Iterator[str]:
    """What is wrong with the joint limits of a URDF, a sentence each."""
    for i, joint in enumerate(arm.joints):
        lower, upper, velocity = arm.lower[i], arm.upper[i], arm.velocity_limit[i]
        greatest = max(abs(lower), abs(upper))
        if not lower < upper:
            yield f"joint {joint} goes from {lower:g} to {upper:g}; its limits are swapped or missing"
        elif arm.prismatic[i] and greatest > _LENGTH:
            yield f"joint {joint} slides from {lower:g} to {upper:g} m; these look like millimetres"
        elif not arm.prismatic[i] and _ANGLE < greatest < _ENDLESS:
            yield f"joint {joint} turns from {lower:g} to {upper:g} rad; these look like degrees"
        if not arm.prismatic[i] and velocity > _ANGULAR_SPEED:
            yield f"joint {joint} turns at {velocity:g} rad/s; this looks like degrees a second"


def outside(joints: Sequence[str], position: Array, lower: Array, upper: Array) -> Iterator[str]:
    """Joints of a posture that are beyond their limits, a sentence each."""
    hint = "; these look like degrees" if np.abs(position).max() > _ANGLE else ""
    for joint, value, low, high in zip(joints, position, lower, upper, strict=True):
        if not low <= value <= high:
            yield f"{joint} stands at {value:g}, outside its limits {low:g} to {high:g}{hint}"

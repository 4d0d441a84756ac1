"""Joint states of one driver or several, under the robot's own joint names and in rad."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlt_ros.robots.interface import PartProfile

Array = NDArray[Any]


@dataclass(frozen=True)
class Joints:
    """Joints ``names`` at ``stamp`` ns: positions (J,) rad or m, and velocities (J,), NaN if unknown."""

    stamp: int
    names: tuple[str, ...]
    positions: Array
    velocities: Array


class JointStateReader:
    """Reader of the joint states of a robot's drivers, which it merges.

    Args:
        parts: of the drivers.
    """

    def __init__(self, parts: Sequence[PartProfile]) -> None:
        self._parts = tuple(parts)
        self._joint_names = [part.joint_names for part in parts]
        self._newest: list[Joints | None] = [None] * len(self._parts)

    @property
    def is_plain(self) -> bool:
        """Return whether messages need no conversion: a single driver with the robot's names, in rad."""
        (*others, part) = self._parts
        return not others and not part.message_names and part.joint_order is None and part.unit == "rad"

    def read(
        self, index: int, stamp: int, names: Sequence[str], positions: Array, velocities: Array
    ) -> Joints | None:
        """Joints in a message of driver ``index``; of several drivers, all joints once each has sent a new message.

        The stamp is the oldest of them, the latest moment that is known of all.

        Raises:
            ValueError: the message does not have the joints of the profile.
        """
        part, joint_names = self._parts[index], self._joint_names[index]
        if part.joint_order is not None:
            if len(positions) != len(part.joint_order):
                raise ValueError(
                    f"{len(positions)} joints; `joint_order` of the profile has {len(part.joint_order)}"
                )
            joints: tuple[str, ...] = part.joint_order
        else:
            joints = tuple(joint_names.get(name, name) for name in names)
            if len(positions) != len(joints):
                raise ValueError(f"{len(joints)} names with {len(positions)} positions; each name needs one")
        if len(velocities) not in (0, len(joints)):
            raise ValueError(
                f"{len(joints)} joints with {len(velocities)} velocities; each needs one, or none has one"
            )
        # Joints outside the policy may be prismatic; only the part's own joints are angles in its unit.
        angles = set(part.command_joints)
        factor = np.array([part.scale if name in angles else 1.0 for name in joints])
        state = Joints(
            stamp,
            joints,
            positions * factor,
            velocities * factor if len(velocities) else np.full(len(joints), np.nan),
        )
        if len(self._parts) == 1:
            return state
        self._newest[index] = state
        return self._merged()

    def _merged(self) -> Joints | None:
        parts = [joints for joints in self._newest if joints is not None]
        if len(parts) < len(self._parts):
            return None
        self._newest = [None] * len(self._parts)
        # A name that two drivers use for joints outside the profile is ambiguous.
        names = [name for joints in parts for name in joints.names]
        names_sent = [
            part.message_name(name)
            for part, joints in zip(self._parts, parts, strict=True)
            for name in joints.names
        ]
        known = [
            name in joint_names.values()
            for joint_names, joints in zip(self._joint_names, parts, strict=True)
            for name in joints.names
        ]
        keep = [i for i, name in enumerate(names) if known[i] or names_sent.count(names_sent[i]) == 1]
        positions = np.concatenate([joints.positions for joints in parts])
        velocities = np.concatenate([joints.velocities for joints in parts])
        return Joints(
            min(joints.stamp for joints in parts),
            tuple(names[i] for i in keep),
            positions[keep],
            velocities[keep],
        )

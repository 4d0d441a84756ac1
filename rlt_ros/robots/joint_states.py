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
    """Joints ``names`` at ``stamp`` ns: positions (J,) rad or m and velocities (J,), NaN where the driver says none."""

    stamp: int
    names: tuple[str, ...]
    positions: Array
    velocities: Array


class JointStateReader:
    """Reads the joint states of a robot's drivers; of several it makes one.

    Args:
        parts: the drivers.
    """

    def __init__(self, parts: Sequence[PartProfile]) -> None:
        self._parts = tuple(parts)
        self._named = [part.named for part in parts]
        self._newest: list[Joints | None] = [None] * len(self._parts)

    @property
    def is_plain(self) -> bool:
        """Return whether messages need no reading: one driver that has the robot's names and rad."""
        (*others, part) = self._parts
        return not others and not part.message_names and part.joint_order is None and part.unit == "rad"

    def read(
        self, index: int, stamp: int, names: Sequence[str], positions: Array, velocities: Array
    ) -> Joints | None:
        """What driver ``index`` says; with several, all of them once each has said something new.

        The stamp is the oldest of them, since no later moment is known of all.

        Raises:
            ValueError: the message does not have the joints that the profile says it has.
        """
        part, named = self._parts[index], self._named[index]
        if part.joint_order is not None:
            if len(positions) != len(part.joint_order):
                raise ValueError(
                    f"it has {len(positions)} joints; `joint_order` of the profile has {len(part.joint_order)}"
                )
            told: tuple[str, ...] = part.joint_order
        else:
            told = tuple(named.get(name, name) for name in names)
            if len(positions) != len(told):
                raise ValueError(
                    f"{len(told)} names with {len(positions)} positions; one is needed for every name"
                )
        if len(velocities) not in (0, len(told)):
            raise ValueError(
                f"{len(told)} joints with {len(velocities)} velocities; one is needed for each, or none"
            )
        # Joints that the policy does not move may be prismatic; only the part's own ones are angles in its unit.
        angles = set(part.carried)
        factor = np.array([part.scale if name in angles else 1.0 for name in told])
        joints = Joints(
            stamp,
            told,
            positions * factor,
            velocities * factor if len(velocities) else np.full(len(told), np.nan),
        )
        if len(self._parts) == 1:
            return joints
        self._newest[index] = joints
        return self._merged()

    def _merged(self) -> Joints | None:
        parts = [joints for joints in self._newest if joints is not None]
        if len(parts) < len(self._parts):
            return None
        self._newest = [None] * len(self._parts)
        # A name that two drivers use for joints that no profile names says nothing.
        names = [name for joints in parts for name in joints.names]
        told = [
            part.told(name) for part, joints in zip(self._parts, parts, strict=True) for name in joints.names
        ]
        known = [
            name in named.values()
            for named, joints in zip(self._named, parts, strict=True)
            for name in joints.names
        ]
        keep = [i for i, name in enumerate(names) if known[i] or told.count(told[i]) == 1]
        positions = np.concatenate([joints.positions for joints in parts])
        velocities = np.concatenate([joints.velocities for joints in parts])
        return Joints(
            min(joints.stamp for joints in parts),
            tuple(names[i] for i in keep),
            positions[keep],
            velocities[keep],
        )

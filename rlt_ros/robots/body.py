"""Poses of all links of a robot for TF, from its URDF and joint positions by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pinocchio as pin
from numpy.typing import NDArray

from rlt_ros.robots.urdf_joints import KinematicsError
from rlt_ros.robots.urdf_model import find_link, link_name, read_urdf


@dataclass(frozen=True)
class LinkPose:
    """Pose of a link in its parent link.

    Attributes:
        parent, child: names of the links.
        translation: (3,) m.
        quaternion: (4,) x, y, z, w.
    """

    parent: str
    child: str
    translation: NDArray[np.float64]
    quaternion: NDArray[np.float64]


class Body:
    """All links of a robot.

    Args:
        urdf: path of the robot's URDF.
        posture: positions (rad or m) of unmeasured joints; all others start at 0.
    """

    def __init__(self, urdf: Path, posture: Mapping[str, float]) -> None:
        self._model = read_urdf(urdf)
        self._data = self._model.createData()
        self._index = {name: self._model.joints[i].idx_q for i, name in enumerate(self._model.names) if i > 0}
        self._q = pin.neutral(self._model)
        self._set(posture)
        links = [i for i, frame in enumerate(self._model.frames) if frame.type == pin.FrameType.BODY]
        parents = [(link, self._parent_link(link)) for link in links]
        attached = [(link, parent) for link, parent in parents if parent is not None]
        joint = [frame.parentJoint for frame in self._model.frames]
        self._moving = [(link, parent) for link, parent in attached if joint[link] != joint[parent]]
        self._fixed = [(link, parent) for link, parent in attached if joint[link] == joint[parent]]

    def moving(self, positions: Mapping[str, float]) -> list[LinkPose]:
        """Links behind a moving joint, at ``positions``; other joints keep theirs, unknown names are ignored."""
        self._set(positions)
        return self._poses(self._moving)

    def fixed(self) -> list[LinkPose]:
        """Links that never move in their parent."""
        return self._poses(self._fixed)

    @property
    def joints(self) -> tuple[str, ...]:
        """Names of the joints that move."""
        return tuple(self._index)

    @property
    def links(self) -> tuple[str, ...]:
        """Names of all links, the root first."""
        return tuple(
            link_name(frame.name) for frame in self._model.frames if frame.type == pin.FrameType.BODY
        )

    def pose(self, link: str, positions: Mapping[str, float]) -> LinkPose:
        """Pose of a link in the root, at ``positions``; other joints keep theirs.

        Raises:
            KinematicsError: there is no such link or joint, or a position is not finite.
        """
        unknown = sorted(set(positions) - set(self._index))
        if unknown:
            raise KinematicsError(f"no joint named {', '.join(unknown)}; there are {', '.join(self.joints)}")
        infinite = sorted(name for name, value in positions.items() if not math.isfinite(value))
        if infinite:
            raise KinematicsError(f"the position of {', '.join(infinite)} must be a finite number")
        frame = find_link(self._model, link)
        self._set(positions)
        pin.framesForwardKinematics(self._model, self._data, self._q)
        pose = self._data.oMf[frame]
        return LinkPose(self.links[0], link, pose.translation.copy(), pin.Quaternion(pose.rotation).coeffs())

    def _set(self, positions: Mapping[str, float]) -> None:
        for name, value in positions.items():
            if name in self._index:
                self._q[self._index[name]] = value

    def _parent_link(self, link: int) -> int | None:
        """Next link towards the root; None for the root itself."""
        frame = self._model.frames[link].parentFrame
        while self._model.frames[frame].type != pin.FrameType.BODY:
            if frame == 0:
                return None
            frame = self._model.frames[frame].parentFrame
        return int(frame)

    def _poses(self, pairs: list[tuple[int, int]]) -> list[LinkPose]:
        pin.framesForwardKinematics(self._model, self._data, self._q)
        poses = []
        for link, parent in pairs:
            pose = self._data.oMf[parent].actInv(self._data.oMf[link])
            names = [link_name(self._model.frames[frame].name) for frame in (parent, link)]
            poses.append(
                LinkPose(names[0], names[1], pose.translation.copy(), pin.Quaternion(pose.rotation).coeffs())
            )
        return poses

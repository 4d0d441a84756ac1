"""Forward and inverse kinematics of one arm, by Pinocchio on the robot's URDF.

The joints outside the arm are locked at a given posture, so the reduced model has exactly the arm's joints, in the
given order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pinocchio as pin
from numpy.typing import NDArray

from rlt_ros.robots.urdf_joints import KinematicsError
from rlt_ros.robots.urdf_model import find_link, read_urdf

Array = NDArray[np.float64]

MIN_DEXTERITY = 0.03
"""m/rad; an arm below this dexterity is at a singularity. Homes in use have 0.12 to 0.15."""

# m; makes turns of the tip comparable with its displacements.
_HAND_LENGTH = 0.3


class Kinematics:
    """Kinematics of the chain that moves `tip`, for the arm `joints`, with the rest of the robot locked.

    Args:
        urdf: path of the robot's URDF.
        joints: names of the arm's joints, in the order of every joint vector here.
        tip: link of all poses.
        posture: positions (rad or m) of joints outside the arm; all others are locked at 0.

    Poses are homogeneous 4×4 matrices in the URDF's root frame, metres.
    """

    def __init__(self, urdf: Path, joints: Sequence[str], tip: str, posture: Mapping[str, float]) -> None:
        full = read_urdf(urdf)
        unknown = [name for name in (*joints, *posture) if not full.existJointName(name)]
        if unknown:
            raise KinematicsError(f"{urdf}: no joint named {unknown}; it has {list(full.names)[1:]}")
        find_link(full, tip)
        reference = pin.neutral(full)
        for name, value in posture.items():
            reference[full.joints[full.getJointId(name)].idx_q] = value
        locked = [i for i, name in enumerate(full.names) if i > 0 and name not in joints]
        self._model = pin.buildReducedModel(full, locked, reference)
        self._data = self._model.createData()
        self._frame = find_link(self._model, tip)
        # Pinocchio orders joints along the tree, joint vectors here have the caller's order.
        self._order = np.array([self._model.joints[self._model.getJointId(name)].idx_q for name in joints])
        self.joints = tuple(joints)
        kinds = [self._model.joints[self._model.getJointId(name)].shortname() for name in joints]
        self.prismatic = tuple(kind.startswith("JointModelP") for kind in kinds)
        self.lower: Array = self._model.lowerPositionLimit[self._order].copy()
        self.upper: Array = self._model.upperPositionLimit[self._order].copy()
        self.velocity_limit: Array = self._model.velocityLimit[self._order].copy()

    def forward(self, q: Array) -> Array:
        """Pose (4, 4) of the tip at joint positions `q` (A,), rad."""
        pin.forwardKinematics(self._model, self._data, self._tree_order(q))
        placement = pin.updateFramePlacement(self._model, self._data, self._frame)
        return np.asarray(placement.homogeneous).copy()

    def jacobian(self, q: Array) -> Array:
        """Jacobian (6, A) of the tip's linear (m) and angular (rad) velocity in root axes."""
        columns = pin.computeFrameJacobian(
            self._model, self._data, self._tree_order(q), self._frame, pin.LOCAL_WORLD_ALIGNED
        )
        return np.asarray(columns)[:, self._order]

    def dexterity(self, q: Array) -> float:
        """Least singular value of the Jacobian at `q` (A,), turns weighed by 0.3 m; near 0 at a singularity."""
        jacobian = self.jacobian(q)
        jacobian[3:] *= _HAND_LENGTH
        return float(np.linalg.svd(jacobian, compute_uv=False)[-1])

    def inverse(self, pose: Array, seed: Array, *, tolerance: float = 1e-5, iterations: int = 100) -> Array:
        """Joint positions (A,) inside the limits that put the tip at `pose`, near `seed`.

        Raises:
            KinematicsError: not reached to `tolerance` (m and rad) within the limits.
        """
        q = np.clip(seed, self.lower, self.upper)
        error = pose_error(self.forward(q), pose)
        for _ in range(iterations):
            if np.abs(error).max() < tolerance:
                return q
            q = np.clip(q + self.step_towards(q, error, damping=1e-3), self.lower, self.upper)
            error = pose_error(self.forward(q), pose)
        raise KinematicsError(
            f"no joint position reaches {np.round(pose[:3, 3], 3).tolist()} m: {np.abs(error).max():.2g} "
            f"remains after {iterations} iterations; move the target into the arm's workspace"
        )

    def step_towards(self, q: Array, twist: Array, *, damping: float) -> Array:
        """Joint displacement (A,) for a small displacement `twist` (6,) of the tip, damped least squares."""
        jacobian = self.jacobian(q)
        return jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + damping**2 * np.eye(6), twist)

    def _tree_order(self, q: Array) -> Array:
        tree = np.empty(len(self._order))
        tree[self._order] = q
        return tree


def pose_error(current: Array, target: Array) -> Array:
    """Displacement (6,) from `current` to `target`: metres, then rotation vector (rad), in root axes."""
    rotation = pin.log3(target[:3, :3] @ current[:3, :3].T)
    return np.concatenate([target[:3, 3] - current[:3, 3], rotation])


def rotation(vector: Array) -> Array:
    """Rotation matrix (3, 3) of a rotation vector (3,), rad."""
    return np.asarray(pin.exp3(vector))

"""Conventions of AgiBot's data sets: names and order of joints and cameras, and vectors of described fields.

Sources: AgibotTech/genie_sim (``utils/name_utils.py``, ``dataset/convert``, ``data_collection/server/recording``) and
OpenDriveLab/AgiBot-World. The left arm comes first. The length of a vector differs between releases, so it is cut by
its ``field_descriptions`` and never by position.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlt_ros.data.episode import Camera, FloatArray, Note, RecordedEpisode, differences
from rlt_ros.data.errors import DataError, EpisodeError
from rlt_ros.data.grippers import GripperScales, GripperValues

ARM_JOINTS = (
    *(f"idx2{number}_arm_l_joint{number}" for number in range(1, 8)),
    *(f"idx6{number}_arm_r_joint{number}" for number in range(1, 8)),
)
GRIPPERS = ("left_gripper", "right_gripper")
CAMERAS = {
    "top_head": "head",
    "head_color": "head",
    "hand_left_color": "hand_left",
    "hand_right_color": "hand_right",
}
"""Camera of a data set → camera of robot profiles; others keep their name."""

HANDS_LEFT_OUT = "has dexterous hands, which are left out; its arms and cameras are used"
"""Remark on an episode of arms without grippers."""

_STATE = ("state/joint/position", "state/left_effector/position", "state/right_effector/position")
_ACTION = ("action/joint/position", "action/left_effector/position", "action/right_effector/position")


class Fields:
    """Positions of the fields in a vector, by ``field_descriptions`` of a feature in ``meta/info.json``.

    Args:
        descriptions: field → ``{"indices": […]}``.
        width: length of the vector.
        feature: name of the vector in messages.
    """

    def __init__(self, descriptions: Mapping[str, Any], width: int, feature: str) -> None:
        """Raise `DataError` for a description that does not fit the vector."""
        self._feature = feature
        self._indices: dict[str, list[int]] = {}
        for name, description in descriptions.items():
            indices = description.get("indices") if isinstance(description, Mapping) else description
            if not isinstance(indices, list) or not all(
                isinstance(index, int) and 0 <= index < width for index in indices
            ):
                raise DataError(
                    f"{feature}: the indices of field {name} are {indices}; expected numbers below {width}"
                )
            if indices:
                self._indices[name] = indices

    def take(self, vectors: NDArray[np.floating], name: str, width: int) -> NDArray[np.floating]:
        """Field (T, width) of vectors (T, N). Raises `EpisodeError` if it is absent or has another width."""
        part = self.find(vectors, name)
        if part is None:
            raise EpisodeError(f"lacks the field {name} of {self._feature}")
        if part.shape[1] != width:
            raise EpisodeError(f"has {part.shape[1]} values in {name} of {self._feature}, not {width}")
        return part

    def find(self, vectors: NDArray[np.floating], name: str) -> NDArray[np.floating] | None:
        """Field of vectors (T, N); None if the release has none."""
        indices = self._indices.get(name)
        return None if indices is None else vectors[:, indices]


def grippers_of(
    state: NDArray[np.floating], action: NDArray[np.floating], states: Fields, actions: Fields
) -> GripperValues | None:
    """Gripper values from the vectors of an episode; None for dexterous hands, which have several joints."""
    hands = [states.find(state, name) for name in _STATE[1:]]
    if any(part is not None and part.shape[1] > 1 for part in hands):
        return None
    return GripperValues(
        np.hstack([states.take(state, name, 1) for name in _STATE[1:]]),
        np.hstack([actions.take(action, name, 1) for name in _ACTION[1:]]),
    )


def arms_of(
    state: NDArray[np.floating], action: NDArray[np.floating], states: Fields, actions: Fields
) -> tuple[NDArray[np.floating], NDArray[np.floating] | None, NDArray[np.floating]]:
    """Positions, velocities if recorded, and commands of both arms, each (T, 14)."""
    velocity = states.find(state, "state/joint/velocity")
    return (
        states.take(state, _STATE[0], 14),
        velocity if velocity is not None and velocity.shape[1] == 14 else None,
        actions.take(action, _ACTION[0], 14),
    )


def make_episode(
    *,
    name: str,
    task: str,
    instruction: str,
    hz: float,
    stamps: NDArray[np.int64],
    arms: tuple[NDArray[np.floating], NDArray[np.floating] | None, NDArray[np.floating]],
    grippers: GripperValues | None,
    scales: GripperScales,
    human: NDArray[np.bool_],
    cameras: Mapping[str, Camera],
) -> RecordedEpisode:
    """Create an episode of both arms, and of the grippers unless they are None. ``arms``: see `arms_of`."""
    position, velocity, command = (None if part is None else np.asarray(part, np.float32) for part in arms)
    assert position is not None and command is not None
    lengths = {len(stamps), len(position), len(command)}
    if len(lengths) != 1 or (velocity is not None and velocity.shape != position.shape):
        raise EpisodeError("has joint values of different lengths")
    moved = differences(position, hz) if velocity is None else velocity
    notes: tuple[Note, ...] = ()
    joints = ARM_JOINTS
    if grippers is not None:
        gripper_state, gripper_action, notes = _normalise(grippers, scales, len(stamps))
        joints = (*ARM_JOINTS, *GRIPPERS)
        position, command = np.hstack([position, gripper_state]), np.hstack([command, gripper_action])
        moved = np.hstack([moved, differences(gripper_state, hz)])
    return RecordedEpisode(
        name=name,
        task=task,
        instruction=instruction,
        hz=hz,
        stamps=stamps,
        joints=joints,
        position=position,
        velocity=moved,
        command=command,
        human=human,
        success=None,
        cameras=cameras,
        notes=notes,
    )


def _normalise(
    grippers: GripperValues, scales: GripperScales, rows: int
) -> tuple[FloatArray, FloatArray, tuple[Note, ...]]:
    """States and actions (T, 2) of grippers, 0 open to 1 closed, and a note if the scales were revised."""
    if {len(grippers.state), len(grippers.action)} != {rows}:
        raise EpisodeError("has gripper values of another length than its joint values")
    for name, values in (("grippers", grippers.state), ("gripper actions", grippers.action)):
        if not np.isfinite(values).all():
            raise EpisodeError(f"has NaN or infinite values in {name}")
    change = scales.revise(grippers)
    states = np.stack([scales.state[side].normalise(grippers.state[:, side]) for side in (0, 1)], axis=1)
    actions = np.stack([scales.action[side].normalise(grippers.action[:, side]) for side in (0, 1)], axis=1)
    remark = "has wider gripper values than the episodes that the scales were taken from"
    remedy = f"{change}; earlier episodes have the narrower scale: convert them again"
    return states, actions, ((remark, remedy),) if change else ()

"""Demonstrations that this package recorded, as episodes with one picture a row."""

from __future__ import annotations

from pathlib import PurePosixPath

import numpy as np

from rlt_ros.data.container import Container, EpisodeRef, Files, Hints
from rlt_ros.data.demonstrations import Demonstration, DemonstrationError, load
from rlt_ros.data.episode import Camera, Episode
from rlt_ros.data.errors import EpisodeError, Skips
from rlt_ros.data.grippers import GripperScales, GripperValues
from rlt_ros.data.video import ArrayCamera


class Recorded:
    """All demonstrations in a container.

    Args:
        container: where the files are.
        hints: names of the joints, which the files do not hold.
    """

    layout = "demonstrations"

    def __init__(self, container: Container, hints: Hints) -> None:
        self._joints = hints.joints
        self.problems = Skips()
        self.refs = [
            EpisodeRef(path.removesuffix(".safetensors"), (path,))
            for path in sorted(container.files)
            if PurePosixPath(path).suffix == ".safetensors"
        ]

    def survey(self, ref: EpisodeRef) -> tuple[str, ...]:
        """No gripper is among the joints."""
        return ()

    def grippers(self, ref: EpisodeRef, files: Files) -> GripperValues:
        """Never asked for; see `survey`."""
        raise EpisodeError("has no grippers")

    def load(self, ref: EpisodeRef, files: Files, scales: GripperScales | None) -> Episode:
        """Read an episode."""
        try:
            demonstration = load(files.path(ref.needs[0]))
        except DemonstrationError as error:
            raise EpisodeError(f"is no demonstration that can be read ({str(error)[-120:]})") from error
        return episode_of(demonstration, ref.name, self._joints)


def episode_of(demonstration: Demonstration, name: str, joints: tuple[str, ...] = ()) -> Episode:
    """An episode of the control steps at which pictures were taken.

    The command of a row is the last one before the next picture: where the arm was to be when that was taken.

    Raises:
        EpisodeError: pictures were taken at uneven steps, or the joints do not fit.
    """
    steps = demonstration.image_steps
    strides = np.unique(np.diff(steps)) if len(steps) > 1 else np.array([1])
    if len(strides) != 1:
        raise EpisodeError("has pictures at uneven control steps")
    stride = int(strides[0])
    names = joints or tuple(f"joint_{index}" for index in range(demonstration.action_dim))
    if len(names) != demonstration.action_dim:
        raise EpisodeError(f"has {demonstration.action_dim} joints, and {len(names)} names were given")
    cameras: dict[str, Camera] = {
        camera: ArrayCamera(pictures) for camera, pictures in demonstration.images.items()
    }
    return Episode(
        name=name,
        task=demonstration.task,
        instruction=demonstration.instruction,
        hz=demonstration.hz / stride,
        stamps=np.round(steps * (1e9 / demonstration.hz)).astype(np.int64),
        joints=names,
        position=np.array(demonstration.position[steps]),
        velocity=np.array(demonstration.velocity[steps]),
        command=np.array(demonstration.command[np.minimum(steps + stride - 1, demonstration.steps - 1)]),
        human=np.zeros(len(steps), np.bool_),
        success=demonstration.success,
        cameras=cameras,
    )

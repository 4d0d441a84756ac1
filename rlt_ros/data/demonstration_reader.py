"""Reader of this package's demonstrations as episodes with one image per row."""

from __future__ import annotations

from pathlib import PurePosixPath

import numpy as np

from rlt_ros.data.container import Container, EpisodeRef, Files, Hints
from rlt_ros.data.demonstrations import Demonstration, DemonstrationError, load
from rlt_ros.data.episode import Camera, RecordedEpisode
from rlt_ros.data.errors import EpisodeError, Skips
from rlt_ros.data.grippers import GripperScales, GripperValues
from rlt_ros.data.video import ArrayCamera


class DemonstrationReader:
    """Reader of all demonstrations in a container.

    Args:
        container: files of the data set.
        hints: names of the joints, which the files do not contain.
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
        """Return no file: the joints include no gripper."""
        return ()

    def grippers(self, ref: EpisodeRef, files: Files) -> GripperValues:
        """Raise `EpisodeError`; never called, see `survey`."""
        raise EpisodeError("has no grippers")

    def load(self, ref: EpisodeRef, files: Files, scales: GripperScales | None) -> RecordedEpisode:
        """Read an episode."""
        try:
            demonstration = load(files.path(ref.needs[0]))
        except DemonstrationError as error:
            raise EpisodeError(f"is no demonstration that can be read ({str(error)[-120:]})") from error
        return episode_of(demonstration, ref.name, self._joints)


def episode_of(demonstration: Demonstration, name: str, joints: tuple[str, ...] = ()) -> RecordedEpisode:
    """Episode of the control steps with images.

    The command of a row is the last one before the next image.

    Raises:
        EpisodeError: the control steps of images are uneven, or the number of joints differs.
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
    return RecordedEpisode(
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

"""Recorded episode of any data set: the common type of all readers.

A row is one observation and the command after it. Images are decoded on request, forwards, one at a time, so an episode
of any length only costs the memory of its joint values and a few frames.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rlt_ros.data.errors import EpisodeError

FloatArray = NDArray[np.float32]
Note = tuple[str, str]
"""Remark, equal for all episodes that it applies to, and its detail."""
# Characters whose removal keeps two sentences the same task.
_PLAIN = re.compile(r"[a-z0-9\s_.,;:!?'\"()/-]*")
# Characters; file names have 255 bytes for all of their parts.
_SLUG = 60
Picture = NDArray[np.uint8]


class Camera(Protocol):
    """Images of one camera, one per row of the episode."""

    def frames(self, rows: Sequence[int], size: tuple[int, int] | None = None) -> Iterator[Picture]:
        """RGB images (h, w, 3) of some rows, which must increase.

        Args:
            rows: selected rows.
            size: height and width; None for the recorded size.

        Raises:
            EpisodeError: an image is missing or cannot be decoded.
        """
        ...


@dataclass(frozen=True)
class RecordedEpisode:
    """``T`` rows of one recording.

    ``command[t]`` is the absolute joint target that followed the observation of row ``t``.
    """

    name: str
    """Unique in its data set."""
    task: str
    """Short name of the task."""
    instruction: str
    """Instruction of the robot."""
    hz: float
    """Rows per second."""
    stamps: NDArray[np.int64]
    """(T,) ns, strictly increasing; arbitrary start if the data set has no clock."""
    joints: tuple[str, ...]
    """A names. Grippers of a known convention are ``left_gripper`` and ``right_gripper``: 0 open, 1 closed."""
    position: FloatArray
    """(T, A) rad or m."""
    velocity: FloatArray
    """(T, A) per second."""
    command: FloatArray
    """(T, A) joint targets."""
    human: NDArray[np.bool_]
    """(T,) True for rows in which a human had taken over from a policy."""
    success: bool | None
    """Success of the task; None if unknown."""
    cameras: Mapping[str, Camera]
    notes: tuple[Note, ...] = ()
    """Remarks on a recording that is usable all the same."""

    def __post_init__(self) -> None:
        """Raise `EpisodeError` naming the first inconsistency."""
        if not self.hz > 0:
            raise EpisodeError(f"has {self.hz} rows per second")
        if len(self.stamps) == 0 or np.any(np.diff(self.stamps) <= 0):
            raise EpisodeError("has stamps that do not increase" if len(self.stamps) else "is empty")
        if len(set(self.joints)) != len(self.joints):
            raise EpisodeError("names a joint twice")
        shape = (len(self.stamps), len(self.joints))
        for name in ("position", "velocity", "command"):
            array = getattr(self, name)
            if array.shape != shape:
                raise EpisodeError(f"has {name} of another length than its stamps and joints")
            if not np.isfinite(array).all():
                raise EpisodeError(f"has NaN or infinite values in {name}")
        if self.human.shape != shape[:1]:
            raise EpisodeError("has take-over labels of another length")

    @property
    def rows(self) -> int:
        """Number of rows T."""
        return len(self.stamps)

    @property
    def proprio(self) -> FloatArray:
        """(T, 2A): positions, then velocities."""
        return np.concatenate([self.position, self.velocity], axis=1)

    def select(self, joints: Sequence[str]) -> RecordedEpisode:
        """Select joints, in the given order.

        Raises:
            EpisodeError: a joint is missing.
        """
        if tuple(joints) == self.joints:
            return self
        missing = [joint for joint in joints if joint not in self.joints]
        if missing:
            raise EpisodeError(f"lacks the joints {', '.join(missing)} (it has {', '.join(self.joints)})")
        places = [self.joints.index(joint) for joint in joints]
        part: dict[str, Any] = {
            name: getattr(self, name)[:, places] for name in ("position", "velocity", "command")
        }
        return dataclasses.replace(self, joints=tuple(joints), **part)

    def rename_cameras(self, names: Mapping[str, str]) -> RecordedEpisode:
        """Keep only the cameras that are the values of ``names``, under its keys.

        Raises:
            EpisodeError: a camera is missing.
        """
        missing = [old for old in names.values() if old not in self.cameras]
        if missing:
            have = ", ".join(self.cameras) or "none"
            raise EpisodeError(f"lacks the cameras {', '.join(missing)} (it has {have})")
        return dataclasses.replace(self, cameras={new: self.cameras[old] for new, old in names.items()})

    def frames(
        self, rows: Sequence[int], size: tuple[int, int] | None = None
    ) -> Iterator[dict[str, Picture]]:
        """Images of all cameras at some rows."""
        streams = {name: camera.frames(rows, size) for name, camera in self.cameras.items()}
        for _ in rows:
            yield {name: next(stream) for name, stream in streams.items()}


def differences(position: FloatArray, hz: float) -> FloatArray:
    """(T, A) velocities of positions: central differences, one-sided at the ends."""
    if len(position) < 2:
        return np.zeros_like(position)
    return np.gradient(position, 1 / hz, axis=0).astype(np.float32)


def slug(text: str) -> str:
    """Short name of a sentence: lower-case ASCII words joined by underscores.

    If that loses letters (another script, a long sentence), a digest of the sentence is appended, so that file names
    stay plain and two tasks never share one.
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    words = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
    short = words[:_SLUG].rstrip("_")
    if short == words and re.fullmatch(_PLAIN, plain):
        return short or "task"
    digest = hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{short or 'task'}_{digest[:8]}"

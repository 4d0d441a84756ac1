"""One recorded episode of any data set: the type that every reader makes and every user of data takes.

A row is one observation and the command that followed it. Pictures are decoded when they are asked for, forwards, one
at a time, so an episode of any length costs the memory of its joint values and of a few frames.
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
"""Remark that is the same for all episodes that it applies to, and its detail."""
# Characters that a sentence may lose and still be the same task.
_PLAIN = re.compile(r"[a-z0-9\s_.,;:!?'\"()/-]*")
# Characters; file names have room for 255 bytes with everything around it.
_SLUG = 60
Picture = NDArray[np.uint8]


class Camera(Protocol):
    """Pictures of one camera, one a row of the episode."""

    def frames(self, rows: Sequence[int], size: tuple[int, int] | None = None) -> Iterator[Picture]:
        """RGB pictures (h, w, 3) of some rows, which must increase.

        Args:
            rows: which rows.
            size: height and width to scale to; left out, as they were recorded.

        Raises:
            EpisodeError: a picture is missing or cannot be decoded.
        """
        ...


@dataclass(frozen=True)
class Episode:
    """``T`` rows of one recording.

    ``command[t]`` is the absolute joint target that followed the observation of row ``t``.
    """

    name: str
    """Unique in its data set."""
    task: str
    """Short name of the task."""
    instruction: str
    """What the robot was told."""
    hz: float
    """Rows a second."""
    stamps: NDArray[np.int64]
    """(T,) ns, strictly increasing; from an arbitrary start where the data set has no clock."""
    joints: tuple[str, ...]
    """A names. Grippers of a known convention are ``left_gripper`` and ``right_gripper``: 0 open, 1 closed."""
    position: FloatArray
    """(T, A) rad or m."""
    velocity: FloatArray
    """(T, A) per second."""
    command: FloatArray
    """(T, A) joint targets."""
    human: NDArray[np.bool_]
    """(T,) rows in which a human had taken over from a policy."""
    success: bool | None
    """Success of the task; None where the data set does not say."""
    cameras: Mapping[str, Camera]
    notes: tuple[Note, ...] = ()
    """Remarks on a recording that can be used all the same."""

    def __post_init__(self) -> None:
        """Raise `EpisodeError` naming what does not fit."""
        if not self.hz > 0:
            raise EpisodeError(f"has {self.hz} rows a second")
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

    def select(self, joints: Sequence[str]) -> Episode:
        """The same episode of some joints, in their order.

        Raises:
            EpisodeError: it lacks one.
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

    def rename_cameras(self, names: Mapping[str, str]) -> Episode:
        """The same episode with only the cameras that are the values of ``names``, under its keys.

        Raises:
            EpisodeError: it lacks one.
        """
        missing = [old for old in names.values() if old not in self.cameras]
        if missing:
            have = ", ".join(self.cameras) or "none"
            raise EpisodeError(f"lacks the cameras {', '.join(missing)} (it has {have})")
        return dataclasses.replace(self, cameras={new: self.cameras[old] for new, old in names.items()})

    def frames(
        self, rows: Sequence[int], size: tuple[int, int] | None = None
    ) -> Iterator[dict[str, Picture]]:
        """Pictures of all cameras at some rows, together."""
        streams = {name: camera.frames(rows, size) for name, camera in self.cameras.items()}
        for _ in rows:
            yield {name: next(stream) for name, stream in streams.items()}


def differences(position: FloatArray, hz: float) -> FloatArray:
    """(T, A) velocities of positions: central differences, one-sided at the ends."""
    if len(position) < 2:
        return np.zeros_like(position)
    return np.gradient(position, 1 / hz, axis=0).astype(np.float32)


def slug(text: str) -> str:
    """A short name of a sentence: lower-case ASCII words with underscores between.

    Where that loses letters (another script, a long sentence) a digest of the sentence is appended: file names stay
    plain, and two tasks never share one.
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    words = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
    short = words[:_SLUG].rstrip("_")
    if short == words and re.fullmatch(_PLAIN, plain):
        return short or "task"
    digest = hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{short or 'task'}_{digest[:8]}"

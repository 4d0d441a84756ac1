"""Common reader of LeRobot's formats: data sets of a container, and tables of their episodes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any, ClassVar

from rlt_ros.data.container import Container, EpisodeRef, Files, Hints
from rlt_ros.data.episode import Camera, RecordedEpisode
from rlt_ros.data.errors import EpisodeError, Skips
from rlt_ros.data.grippers import GripperScales, GripperValues
from rlt_ros.data.lerobot import IMAGES, LeRobotDataset, roots
from rlt_ros.data.lerobot_tables import Tables
from rlt_ros.data.video import EXACT, VideoCamera


class LeRobotReader(ABC):
    """Reader of all data sets of a format in a container.

    Args:
        container: files of the data sets.
        hints: information from the user.

    Raises:
        DataError: a description cannot be read.
    """

    layout: ClassVar[str]
    version: ClassVar[str]
    """Beginning of the format's `codebase_version`."""

    def __init__(self, container: Container, hints: Hints) -> None:
        self.refs: list[EpisodeRef] = []
        self.problems = Skips()
        self._sets: dict[str, LeRobotDataset] = {}
        self._tables = Tables()
        for root in roots(container, self.version):
            self._sets[root] = LeRobotDataset(container, root, hints)
            self._list(container, root)

    def survey(self, ref: EpisodeRef) -> tuple[str, ...]:
        """Files with the grippers of an episode; empty without a convention to be estimated."""
        return ref.needs[:1] if self._sets[ref.info["root"]].has_grippers else ()

    def grippers(self, ref: EpisodeRef, files: Files) -> GripperValues:
        """Gripper values of an episode."""
        grippers = self._sets[ref.info["root"]].grippers(self._rows(ref, files))
        if grippers is None:
            raise EpisodeError("has no grippers")
        return grippers

    def load(self, ref: EpisodeRef, files: Files, scales: GripperScales | None) -> RecordedEpisode:
        """Read an episode."""
        dataset = self._sets[ref.info["root"]]
        rows = self._rows(ref, files)
        cameras: dict[str, Camera] = dataset.picture_cameras(rows)
        times = dataset.times(rows)
        for key, (path, start, end) in ref.info["videos"].items():
            # Up to half a row later the nearest image still belongs to this episode.
            if end is not None and start + times[-1] > end - 0.5 / dataset.fps + EXACT:
                raise EpisodeError(
                    "has a video that is shorter than its joint states",
                    f"{key}: rows end at {times[-1]:.3f} s, its pictures at {end - start:.3f} s",
                )
            cameras[key] = VideoCamera(
                files.path(path), fps=dataset.fps, rows=len(times), times=start + times
            )
        return dataset.episode(ref.name, ref.info["index"], ref.info["tasks"], rows, cameras, scales)

    def _register(self, container: Container, ref: EpisodeRef) -> None:
        """List a readable episode; count any other one with the reason.

        ``ref.needs`` begins with the table. ``ref.info`` has `root`, `index`, `length`, `tasks`, and `videos`: the path
        of each feature, and start and end of the episode in that file, s; the end may be None.
        """
        absent = [name for name in ref.needs if name not in container.files]
        if ref.needs[0] in absent:
            self.problems.add("lacks its table", ref.name)
        elif absent:
            lacking = [
                key.removeprefix(IMAGES) for key, (path, *_) in ref.info["videos"].items() if path in absent
            ]
            self.problems.add(f"lacks the video of {', '.join(lacking)}", ref.name)
        elif not self._has_task(ref):
            self.problems.add("has no task", ref.name)
        else:
            described = self._sets[ref.info["root"]].described(ref.info["index"])
            self.refs.append(replace(ref, info={**ref.info, "described": described}))

    def _has_task(self, ref: EpisodeRef) -> bool:
        dataset = self._sets[ref.info["root"]]
        return bool(ref.info["tasks"]) or dataset.has_tasks or "high_level_instruction" in dataset.info

    @abstractmethod
    def _list(self, container: Container, root: str) -> None:
        """Register the episodes of the data set at ``root``."""

    @abstractmethod
    def _rows(self, ref: EpisodeRef, files: Files) -> dict[str, Any]:
        """Columns of an episode's table."""

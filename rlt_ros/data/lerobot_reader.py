"""What the readers of LeRobot's formats share: the data sets of a container, and the tables of their episodes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from rlt_ros.data.container import Container, EpisodeRef, Files
from rlt_ros.data.episode import Camera, Episode
from rlt_ros.data.errors import Skips
from rlt_ros.data.grippers import GripperScales, GripperValues
from rlt_ros.data.lerobot import IMAGES, LeRobotDataset, roots
from rlt_ros.data.video import VideoCamera


class LeRobotReader(ABC):
    """All data sets of a format in a container.

    Args:
        container: where they lie.
        fields: names of the elements of vectors, for sets that do not say them.

    Raises:
        DataError: a description cannot be read.
    """

    layout: ClassVar[str]
    version: ClassVar[str]
    """How `codebase_version` of the format begins."""

    def __init__(self, container: Container, fields: Mapping[str, Any] | None = None) -> None:
        self.refs: list[EpisodeRef] = []
        self.problems = Skips()
        self._sets: dict[str, LeRobotDataset] = {}
        for root in roots(container, self.version):
            self._sets[root] = LeRobotDataset(container, root, fields)
            self._list(container, root)

    def survey(self, ref: EpisodeRef) -> tuple[str, ...]:
        """Files from which the grippers of an episode can be seen."""
        return ref.needs[:1] if self._sets[ref.info["root"]].has_grippers else ()

    def grippers(self, ref: EpisodeRef, files: Files) -> GripperValues:
        """What the grippers of an episode did."""
        return self._sets[ref.info["root"]].grippers(self._rows(ref, files))

    def load(self, ref: EpisodeRef, files: Files, scales: GripperScales | None) -> Episode:
        """Read an episode."""
        dataset = self._sets[ref.info["root"]]
        rows = self._rows(ref, files)
        cameras: dict[str, Camera] = dataset.picture_cameras(rows)
        for key, (path, start) in ref.info["videos"].items():
            cameras[key] = VideoCamera(
                files.path(path), fps=dataset.fps, rows=ref.info["length"], start=start
            )
        return dataset.episode(ref.name, ref.info["index"], ref.info["tasks"], rows, cameras, scales)

    def _keep(self, container: Container, ref: EpisodeRef) -> None:
        """List an episode that can be read; count any other one with the reason.

        ``ref.needs`` begins with the table. ``ref.info`` has `root`, `index`, `length`, `tasks`, and `videos`: of each
        feature the path, and the time at which the episode begins in that file, s.
        """
        absent = [name for name in ref.needs if name not in container.files]
        if ref.needs[0] in absent:
            self.problems.add("lacks its table", ref.name)
        elif absent:
            lacking = [
                key.removeprefix(IMAGES) for key, (path, _) in ref.info["videos"].items() if path in absent
            ]
            self.problems.add(f"lacks the video of {', '.join(lacking)}", ref.name)
        elif not ref.info["tasks"] and "high_level_instruction" not in self._sets[ref.info["root"]].info:
            self.problems.add("has no task", ref.name)
        else:
            self.refs.append(ref)

    @abstractmethod
    def _list(self, container: Container, root: str) -> None:
        """Find the episodes of the data set at ``root``."""

    @abstractmethod
    def _rows(self, ref: EpisodeRef, files: Files) -> dict[str, Any]:
        """Columns of an episode's table."""

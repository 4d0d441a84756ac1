"""What the readers of LeRobot's formats share: the data sets of a container, and the tables of their episodes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from rlt_ros.data.container import Container, EpisodeRef, Files
from rlt_ros.data.errors import Skips
from rlt_ros.data.grippers import GripperValues
from rlt_ros.data.lerobot import LeRobotDataset, roots


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

    @abstractmethod
    def _list(self, container: Container, root: str) -> None:
        """Find the episodes of the data set at ``root``."""

    @abstractmethod
    def _rows(self, ref: EpisodeRef, files: Files) -> dict[str, Any]:
        """Columns of an episode's table."""

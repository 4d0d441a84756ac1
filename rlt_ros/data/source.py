"""Data set of any layout as a stream of episodes: layout detection, catalogue, and reading."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from rlt_ros.data.agibot_world import AgiBotWorld
from rlt_ros.data.archive import SPOOL, Archives, Progress, work_folder
from rlt_ros.data.container import Container, EpisodeRef, Files, Folder, Hints, files_below
from rlt_ros.data.demonstration_reader import DemonstrationReader
from rlt_ros.data.episode import RecordedEpisode
from rlt_ros.data.errors import DataError, Skips
from rlt_ros.data.grippers import GripperScales, GripperValues, estimate_scales
from rlt_ros.data.lerobot_v2 import LeRobotV2
from rlt_ros.data.lerobot_v3 import LeRobotV3
from rlt_ros.data.mixed import Mixed
from rlt_ros.data.parts import Archive, group_parts, is_part
from rlt_ros.data.raw import RawEpisodes
from rlt_ros.data.video import VideoCamera
from rlt_ros.store.documents import DocumentError, read_json_file, read_json_object
from rlt_ros.store.lineage import fingerprint
from rlt_ros.store.storage import replacing

_SCALES = "grippers.json"
_HUB_FOLDERS = ("observations", "proprio_stats", "task_info")
"""Folders of AgiBot World on its hub with archives: one per task, or per range of episodes."""

MAX_SURVEYED = 512
"""Episodes for the estimate of gripper scales; reading as many joint files takes a minute."""


class Format(Protocol):
    """Reader of one layout."""

    refs: list[EpisodeRef]
    problems: Skips

    @property
    def layout(self) -> str:
        """Name of the layout."""
        ...

    def survey(self, ref: EpisodeRef) -> tuple[str, ...]:
        """Files with the grippers of an episode; empty without a convention to be estimated."""
        ...

    def grippers(self, ref: EpisodeRef, files: Files) -> GripperValues:
        """Gripper values of an episode."""
        ...

    def load(self, ref: EpisodeRef, files: Files, scales: GripperScales | None) -> RecordedEpisode:
        """Read an episode. Raises `EpisodeError` if it is unusable."""
        ...


FORMATS: tuple[Callable[[Container, Hints], Format], ...] = (
    LeRobotV2,
    LeRobotV3,
    RawEpisodes,
    AgiBotWorld,
    DemonstrationReader,
)
"""Layouts in the order of detection."""


class DataSource:
    """Episodes of a data set.

    Attributes:
        skips: skipped episodes and their reasons, so far.
        notes: remarks on used episodes.
    """

    def __init__(self, container: Container, hints: Hints, *, cache: Path | None = None) -> None:
        """Raise `DataError` without a known layout. Gripper scales are cached in the file ``cache``."""
        self.container = container
        self._hints = hints
        self._format = _detect(container, hints)
        self.skips = Skips()
        self.skips.merge(self._format.problems)
        self.notes = Skips()
        self._cache = cache
        self._scales: GripperScales | None = None
        self._by_name: dict[str, EpisodeRef] | None = None

    @property
    def layout(self) -> str:
        """Name of the layout."""
        return self._format.layout

    @property
    def names(self) -> list[str]:
        """Names of the readable episodes, according to the catalogue."""
        return [ref.name for ref in self._format.refs]

    def fingerprint(self, name: str) -> str:
        """Digest that changes with an episode's files, its description, or the gripper scales."""
        if self._by_name is None:
            self._by_name = {ref.name: ref for ref in self._format.refs}
        ref = self._by_name[name]
        scales = self.gripper_scales() if self._format.survey(ref) else None
        described = [
            self.container.state(ref.needs),
            ref.info,
            asdict(self._hints),
            scales and scales.steps(),
        ]
        content = json.dumps(described, sort_keys=True, default=str)
        return fingerprint(content.encode("utf-8", "surrogatepass"))

    def reasons(self) -> list[str]:
        """Causes of an empty result: a damage, then the reasons of skipping, the most frequent first."""
        return [text for text in (self.container.damage, *self.skips.reasons()) if text]

    def selected(self, wanted: str = "") -> list[str]:
        """Names of all episodes, or of those that a text like ``0-9,12,kitchen/*`` selects by position or name.

        Raises:
            DataError: no episode is selected.
        """
        names = self.names
        if not wanted:
            return names
        chosen: list[str] = []
        for term in wanted.split(","):
            match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", term)
            if match:
                chosen += names[int(match[1]) : int(match[2] or match[1]) + 1]
            else:
                pattern = re.compile(re.escape(term.strip()).replace(r"\*", ".*"))
                chosen += [name for name in names if pattern.fullmatch(name)]
        if not chosen:
            shown = ", ".join(names[:3]) or "none"
            raise DataError(
                f"{self.container.origin}: no episode is {wanted!r}; there are {len(names)} ({shown} …), chosen by "
                "position (0-9,12) or name (with * for anything)"
            )
        return list(dict.fromkeys(chosen))

    def episodes(self, names: Collection[str] | None = None) -> Generator[RecordedEpisode, None, None]:
        """Read episodes in the order of the container; unusable ones are counted in ``skips``.

        The files of an episode exist until the next one is requested.
        """
        refs = self._format.refs
        wanted = refs if names is None else [ref for ref in refs if ref.name in names]
        scales = self.gripper_scales() if wanted else None
        for ref, files in self.container.episodes(wanted):
            episode = self.skips.attempt(ref.name, lambda: self._format.load(ref, files, scales))  # noqa: B023
            if episode is None:
                continue
            try:
                yield episode
            # Cameras have their notes only after use.
            finally:
                self._note(episode)

    def _note(self, episode: RecordedEpisode) -> None:
        for reason, detail in episode.notes:
            self.notes.add(reason, episode.name, detail)
        for camera in episode.cameras.values():
            if isinstance(camera, VideoCamera):
                for reason, detail in camera.notes.items():
                    self.notes.add(reason, episode.name, detail)

    def gripper_scales(self) -> GripperScales | None:
        """Gripper scales estimated from all episodes; None if the layout's values need none.

        Of a data set with more than some hundred episodes, as many are read, evenly spread; a later episode with wider
        values revises the scales. For archives the result is cached, since it takes a pass.
        """
        if self._scales is None:
            survey = [replace(ref, needs=self._format.survey(ref)) for ref in self._format.refs]
            survey = _spread([ref for ref in survey if ref.needs])
            if not survey:
                return None
            complete = [ref for ref in survey if all(name in self.container.files for name in ref.needs)]
            key = self._survey_key(complete)
            self._scales = self._cached_scales(key)
            if self._scales is None:
                self._scales = estimate_scales(self._read_grippers(complete))
                self._cache_scales(key, self._scales)
        return self._scales

    def _read_grippers(self, refs: Sequence[EpisodeRef]) -> list[GripperValues]:
        result: list[GripperValues] = []
        # Unreadable episodes are counted when they are read.
        ignored = Skips()
        for ref, files in self.container.episodes(refs):
            values = ignored.attempt(ref.name, lambda: self._format.grippers(ref, files))  # noqa: B023
            result += [] if values is None else [values]
        return result

    def _survey_key(self, refs: Sequence[EpisodeRef]) -> str:
        """Digest that changes with any file of the estimate."""
        states = [[ref.name, self.container.state(ref.needs)] for ref in refs]
        content = json.dumps([states, asdict(self._hints)], sort_keys=True, default=str)
        return fingerprint(content.encode("utf-8", "surrogatepass"))

    def _cached_scales(self, key: str) -> GripperScales | None:
        try:
            kept = read_json_object(self._cache) if self._cache else {}
            if kept.get("key") != key:
                return None
            return GripperScales.from_summary(kept["scales"])
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def _cache_scales(self, key: str, scales: GripperScales) -> None:
        if self._cache is not None:
            with replacing(self._cache) as part:
                part.write_text(json.dumps({"key": key, "scales": scales.summary()}), encoding="utf-8")


def _spread(refs: Sequence[EpisodeRef]) -> list[EpisodeRef]:
    """All references, or `MAX_SURVEYED` of them at equal distances including the first and the last."""
    if len(refs) <= MAX_SURVEYED:
        return list(refs)
    return [refs[round(place)] for place in np.linspace(0, len(refs) - 1, MAX_SURVEYED)]


def open_source(
    paths: Sequence[Path],
    *,
    work: Path | None = None,
    fields: Path | None = None,
    joints: Sequence[str] = (),
    state: Sequence[str] = (),
    action: Sequence[str] = (),
    spool: int = SPOOL,
    progress: Progress | None = None,
) -> DataSource:
    """Open a data set from a folder, or from archives and parts of archives.

    Args:
        paths: one folder (a data set, or one with archives), or archive files.
        work: folder for catalogues and temporary files; by default one in the user's cache.
        fields: JSON file with field descriptions of ``observation.state`` and ``action``.
        joints: names of the joints, for recordings without names.
        state: features of a LeRobot set that form the state; by default ``observation.state``.
        action: features that form the action; by default ``action``.
        spool: bytes of incomplete episodes of an archive in ``work``.
        progress: called with the progress of reading an archive.

    Raises:
        DataError: the paths contain nothing readable.
    """
    hints = Hints(_read_fields(fields), tuple(joints), tuple(state), tuple(action))
    archives = archives_of(paths)
    folder = paths[0] if len(paths) == 1 and paths[0].is_dir() else None
    if not archives:
        if folder is None:
            raise DataError("no data was given; give a folder, an archive or its parts")
        return DataSource(Folder(folder), hints)
    work = work or work_folder(archives, cache_folder())
    packed = Archives(archives, work, spool=spool, progress=progress)
    container = Mixed(Folder(folder), packed) if folder is not None and archives[0].prefix else packed
    return DataSource(container, hints, cache=work / _SCALES)


def archives_below(folder: Path) -> list[Archive]:
    """Archives in a folder, in its only subfolder with archives, or in those of AgiBot World on its hub.

    Raises:
        DataError: several folders have archives.
    """
    parts = [path for path in files_below(folder) if is_part(path)]
    homes = sorted({path.parent for path in parts})
    hub = [path for path in parts if {*path.relative_to(folder).parts[:-1]} & {*_HUB_FOLDERS}]
    if hub:
        # Other archives, such as those of camera parameters, are not needed.
        return [
            replace(archive, prefix=f"{archive.stem.parent.relative_to(folder).as_posix()}/")
            for archive in group_parts(hub)
        ]
    if len(homes) > 1:
        shown = ", ".join(str(home.relative_to(folder)) for home in homes[:5])
        raise DataError(f"{folder}: archives are in {len(homes)} folders ({shown} …); give one of them")
    return group_parts(parts)


def archives_of(paths: Sequence[Path]) -> list[Archive]:
    """Archives that `open_source` would read; empty for an unpacked folder."""
    if len(paths) == 1 and paths[0].is_dir():
        return archives_below(paths[0])
    return group_parts(paths)


def cache_folder() -> Path:
    """Folder of the catalogues: ``$XDG_CACHE_HOME/rlt_ros/data``."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "rlt_ros" / "data"


def _detect(container: Container, hints: Hints) -> Format:
    for make in FORMATS:
        candidate = make(container, hints)
        if candidate.refs or len(candidate.problems):
            return candidate
    found = ", ".join(list(container.files)[:5]) or "no file"
    damage = f" Reading ended early: {container.damage}" if container.damage else ""
    raise DataError(
        f"{container.origin}: no known layout (LeRobot v2 or v3: meta/info.json; raw: aligned_joints.h5; "
        f"AgiBot World: proprio_stats; demonstrations: *.safetensors). It contains {found}.{damage}"
    )


def _read_fields(path: Path | None) -> Mapping[str, Any] | None:
    if path is None:
        return None
    try:
        fields = read_json_file(path)
    except DocumentError as error:
        raise DataError(str(error)) from error
    if not isinstance(fields, dict) or not fields.keys() <= {"observation.state", "action"}:
        raise DataError(f"{path}: expected an object with the keys observation.state and action")
    return fields

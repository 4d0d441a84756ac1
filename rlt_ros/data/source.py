"""A data set of any layout as a stream of episodes: which layout it is, what is in it, and the episodes one by one."""

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
from rlt_ros.data.episode import Episode
from rlt_ros.data.errors import DataError, Skips
from rlt_ros.data.grippers import GripperScales, GripperValues, observe
from rlt_ros.data.lerobot_v2 import LeRobotV2
from rlt_ros.data.lerobot_v3 import LeRobotV3
from rlt_ros.data.mixed import Mixed
from rlt_ros.data.parts import Archive, group_parts, is_part
from rlt_ros.data.raw import RawEpisodes
from rlt_ros.data.recorded import Recorded
from rlt_ros.data.video import VideoCamera
from rlt_ros.rlt.documents import DocumentError, read_json_file, read_json_object
from rlt_ros.rlt.lineage import fingerprint
from rlt_ros.rlt.storage import replacing

_SCALES = "grippers.json"
_HUB_FOLDERS = ("observations", "proprio_stats", "task_info")
"""Folders of AgiBot World on its hub whose archives are read: one per task, or per range of episodes."""

_SURVEYED = 512
"""Most episodes that gripper scales are taken from: as many joint files are read in a minute."""


class Format(Protocol):
    """A reader of one layout."""

    refs: list[EpisodeRef]
    problems: Skips

    @property
    def layout(self) -> str:
        """Its name."""
        ...

    def survey(self, ref: EpisodeRef) -> tuple[str, ...]:
        """Files from which the grippers of an episode can be seen; none where there is nothing to find out."""
        ...

    def grippers(self, ref: EpisodeRef, files: Files) -> GripperValues:
        """What the grippers of an episode did."""
        ...

    def load(self, ref: EpisodeRef, files: Files, scales: GripperScales | None) -> Episode:
        """Read an episode. Raises `EpisodeError` when it cannot be used."""
        ...


FORMATS: tuple[Callable[[Container, Hints], Format], ...] = (
    LeRobotV2,
    LeRobotV3,
    RawEpisodes,
    AgiBotWorld,
    Recorded,
)
"""Layouts in the order in which they are looked for."""


class DataSource:
    """Episodes of a data set.

    Attributes:
        skips: what was left out so far, and why.
        notes: what was used, and is remarkable.
    """

    def __init__(self, container: Container, hints: Hints, *, cache: Path | None = None) -> None:
        """Raises `DataError` when no known layout is there. Gripper scales are kept in the file ``cache``."""
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
        """Names of the episodes that can be read, as far as the catalogue tells."""
        return [ref.name for ref in self._format.refs]

    def fingerprint(self, name: str) -> str:
        """Digest that changes when an episode's files, its entry in the data set, or the scales of grippers change."""
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
        """Causes of an empty result: a damage, then what was left out, the most frequent first."""
        return [text for text in (self.container.damage, *self.skips.reasons()) if text]

    def selected(self, wanted: str = "") -> list[str]:
        """Names of some episodes: all, or those that a text like ``0-9,12,kitchen/*`` picks by position or name.

        Raises:
            DataError: it picks none, or is none.
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

    def episodes(self, names: Collection[str] | None = None) -> Generator[Episode, None, None]:
        """Episodes in the order in which they can be had; those that cannot be used are counted in ``skips``.

        An episode's files are there until the next one is asked for.
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
            finally:  # cameras know it only after they were used
                self._note(episode)

    def _note(self, episode: Episode) -> None:
        for reason, detail in episode.notes:
            self.notes.add(reason, episode.name, detail)
        for camera in episode.cameras.values():
            if isinstance(camera, VideoCamera):
                for reason, detail in camera.notes.items():
                    self.notes.add(reason, episode.name, detail)

    def gripper_scales(self) -> GripperScales | None:
        """Meaning of gripper values, from all episodes; None where the layout has no convention of its own.

        Of a data set with more than some hundred episodes, as many are read, spread over all of it; an episode with
        wider values than those revises the scales when it comes. Of archives it is kept, for that takes a pass.
        """
        if self._scales is None:
            asked = [replace(ref, needs=self._format.survey(ref)) for ref in self._format.refs]
            asked = _spread([ref for ref in asked if ref.needs])
            if not asked:
                return None
            complete = [ref for ref in asked if all(name in self.container.files for name in ref.needs)]
            key = self._survey_key(complete)
            self._scales = self._kept(key)
            if self._scales is None:
                self._scales = observe(self._surveyed(complete))
                self._keep(key, self._scales)
        return self._scales

    def _surveyed(self, refs: Sequence[EpisodeRef]) -> list[GripperValues]:
        seen: list[GripperValues] = []
        # The reader of the episode counts those that cannot be read.
        quiet = Skips()
        for ref, files in self.container.episodes(refs):
            values = quiet.attempt(ref.name, lambda: self._format.grippers(ref, files))  # noqa: B023
            seen += [] if values is None else [values]
        return seen

    def _survey_key(self, refs: Sequence[EpisodeRef]) -> str:
        """Digest that changes when a file that the scales are taken from does."""
        states = [[ref.name, self.container.state(ref.needs)] for ref in refs]
        content = json.dumps([states, asdict(self._hints)], sort_keys=True, default=str)
        return fingerprint(content.encode("utf-8", "surrogatepass"))

    def _kept(self, key: str) -> GripperScales | None:
        try:
            kept = read_json_object(self._cache) if self._cache else {}
            if kept.get("key") != key:
                return None
            return GripperScales.from_summary(kept["scales"])
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def _keep(self, key: str, scales: GripperScales) -> None:
        if self._cache is not None:
            with replacing(self._cache) as part:
                part.write_text(json.dumps({"key": key, "scales": scales.summary()}), encoding="utf-8")


def _spread(refs: Sequence[EpisodeRef]) -> list[EpisodeRef]:
    """All, or `_SURVEYED` of them at equal distances with the first and the last."""
    if len(refs) <= _SURVEYED:
        return list(refs)
    return [refs[round(place)] for place in np.linspace(0, len(refs) - 1, _SURVEYED)]


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
    """A data set from a folder, or from archives and parts of archives.

    Args:
        paths: one folder (a data set, or one that holds archives), or archive files.
        work: folder for catalogues and files on their way; by default one in the user's cache.
        fields: JSON file with field descriptions of ``observation.state`` and ``action``.
        joints: names of the joints, for recordings that have none.
        state: features of a LeRobot set that make up the state; by default ``observation.state``.
        action: features that make up the action; by default ``action``.
        spool: bytes of incomplete episodes of an archive that may lie in ``work``.
        progress: told how far the reading of an archive is.

    Raises:
        DataError: nothing there can be read.
    """
    hints = Hints(_read_fields(fields), tuple(joints), tuple(state), tuple(action))
    archives = archives_of(paths)
    folder = paths[0] if len(paths) == 1 and paths[0].is_dir() else None
    if not archives:
        if folder is None:
            raise DataError("no data was given; name a folder, an archive or its parts")
        return DataSource(Folder(folder), hints)
    work = work or work_folder(archives, cache_folder())
    packed = Archives(archives, work, spool=spool, progress=progress)
    container = Mixed(Folder(folder), packed) if folder is not None and archives[0].prefix else packed
    return DataSource(container, hints, cache=work / _SCALES)


def archives_below(folder: Path) -> list[Archive]:
    """Archives in a folder, or in the only folder below it that has some, or in those of AgiBot World on its hub.

    Raises:
        DataError: several folders have some.
    """
    parts = [path for path in files_below(folder) if is_part(path)]
    homes = sorted({path.parent for path in parts})
    hub = [path for path in parts if {*path.relative_to(folder).parts[:-1]} & {*_HUB_FOLDERS}]
    if hub:
        # What else is archived there, such as the parameters of cameras, is not needed.
        return [
            replace(archive, prefix=f"{archive.stem.parent.relative_to(folder).as_posix()}/")
            for archive in group_parts(hub)
        ]
    if len(homes) > 1:
        shown = ", ".join(str(home.relative_to(folder)) for home in homes[:5])
        raise DataError(f"{folder}: there are archives in {len(homes)} folders ({shown} …); name one of them")
    return group_parts(parts)


def archives_of(paths: Sequence[Path]) -> list[Archive]:
    """The archives that `open_source` would read; none for an unpacked folder."""
    if len(paths) == 1 and paths[0].is_dir():
        return archives_below(paths[0])
    return group_parts(paths)


def cache_folder() -> Path:
    """Where catalogues are kept: ``$XDG_CACHE_HOME/rlt_ros/data``."""
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
        f"{container.origin}: no known layout is there (LeRobot v2 or v3: meta/info.json; raw: aligned_joints.h5; "
        f"AgiBot World: proprio_stats; demonstrations: *.safetensors). It has {found}.{damage}"
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

"""Reader of AgiBot World (Alpha, Beta): ``proprio_stats``, ``observations`` and ``task_info`` next to each other.

Source: OpenDriveLab/AgiBot-World. ``index`` next to an action lists its valid rows; in the others the arm had no
command, and its own next position replaces it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlt_ros.data import agibot
from rlt_ros.data.container import Container, EpisodeRef, Files, Hints
from rlt_ros.data.episode import Camera, Note, RecordedEpisode, slug
from rlt_ros.data.errors import DataError, EpisodeError, Skips
from rlt_ros.data.grippers import GripperScales, GripperValues
from rlt_ros.data.hdf5 import Arrays, open_arrays
from rlt_ros.data.raw import rate
from rlt_ros.data.video import VideoCamera
from rlt_ros.store.documents import parse_json

_PROPRIO = re.compile(r"^(?P<root>(?:.*/)?)proprio_stats/(?P<task>\d+)/(?P<episode>\d+)/proprio_stats\.h5$")
_VIDEO = re.compile(
    r"^(?P<root>(?:.*/)?)observations/(?P<task>\d+)/(?:\d+-\d+/)?(?P<episode>\d+)/videos/(?P<name>[^/]+)\.mp4$"
)
"""Videos are in a folder per episode; on the hub, unpacked archives add a folder per range of episodes."""

_COLOURS = ("head_color", "hand_left_color", "hand_right_color")
_FISHEYES = {"hand_left_fisheye_color": "hand_left_color", "hand_right_fisheye_color": "hand_right_color"}
"""Camera of arms with dexterous hands → camera that it replaces."""


class AgiBotWorld:
    """Reader of all episodes of this format in a container."""

    layout = "agibot_world"

    def __init__(self, container: Container, hints: Hints) -> None:
        """Raise `DataError` if a task file cannot be read."""
        self.refs: list[EpisodeRef] = []
        self.problems = Skips()
        self._tasks: dict[str, dict[str, str]] = {}
        videos = _videos(container.files)
        for path in sorted(container.files):
            match = _PROPRIO.match(path)
            if match:
                self._add(container, path, match, videos.get(match.groups(), {}))

    def survey(self, ref: EpisodeRef) -> tuple[str, ...]:
        """Files with the grippers of an episode."""
        return ref.needs[:1]

    def grippers(self, ref: EpisodeRef, files: Files) -> GripperValues:
        """Gripper values of an episode."""
        grippers = _read(files.path(ref.needs[0])).grippers
        if grippers is None:
            raise EpisodeError("has no grippers")
        return grippers

    def load(self, ref: EpisodeRef, files: Files, scales: GripperScales | None) -> RecordedEpisode:
        """Read an episode."""
        assert scales is not None
        read = _read(files.path(ref.needs[0]))
        stamps, hz = read.stamps, rate(read.stamps)
        cameras: dict[str, Camera] = {
            agibot.CAMERAS.get(name, name): VideoCamera(files.path(path), fps=hz, rows=len(stamps))
            for name, path in ref.info["cameras"].items()
        }
        episode = agibot.make_episode(
            name=ref.name,
            task=slug(ref.info["instruction"]),
            instruction=ref.info["instruction"],
            hz=hz,
            stamps=stamps,
            arms=(read.position, None, read.command),
            grippers=read.grippers,
            scales=scales,
            human=np.zeros(len(stamps), np.bool_),
            cameras=cameras,
        )
        return replace(episode, notes=(*episode.notes, *read.notes))

    def _add(self, container: Container, path: str, match: re.Match[str], videos: Mapping[str, str]) -> None:
        root, task, episode = match["root"], match["task"], match["episode"]
        name = f"{root}{task}/{episode}"
        instruction = self._instructions(container, f"{root}task_info/task_{task}.json").get(episode, "")
        wanted = [*_COLOURS, *(fisheye for fisheye, colour in _FISHEYES.items() if colour not in videos)]
        cameras = {name: videos[name] for name in wanted if name in videos}
        if not instruction:
            self.problems.add("is not in its task_info file", name)
        elif not cameras:
            self.problems.add(
                "lacks its videos", name, f"expected {root}observations/{task}/{episode}/videos/*_color.mp4"
            )
        else:
            info = {"instruction": instruction, "cameras": cameras}
            self.refs.append(EpisodeRef(name, (path, *cameras.values()), info))

    def _instructions(self, container: Container, path: str) -> dict[str, str]:
        """Episode → instruction, from a task file."""
        if path not in self._tasks:
            self._tasks[path] = {}
            if path in container.files:
                try:
                    self._tasks[path] = {
                        str(entry["episode_id"]): _instruction(entry)
                        for entry in parse_json(container.read(path))
                    }
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    raise DataError(f"{container.origin}: {path} does not list episodes ({error})") from error
        return self._tasks[path]


def _videos(files: Collection[str]) -> dict[tuple[str, ...], dict[str, str]]:
    """Root, task and episode → name → path of its videos."""
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for path in sorted(files):
        match = _VIDEO.match(path)
        if match:
            found.setdefault(match.groups()[:3], {}).setdefault(match["name"], path)
    return found


def _instruction(entry: Mapping[str, Any]) -> str:
    steps = (entry.get("label_info") or {}).get("action_config") or []
    texts = [str(step.get("english_action_text") or step.get("action_text") or "") for step in steps]
    return str(entry.get("task_name") or "") or " ".join(text for text in texts if text)


class _Proprio(NamedTuple):
    """Contents of an episode's joint file.

    Attributes:
        stamps: (T,) ns.
        position: (T, 14) rad.
        command: (T, 14) rad.
        grippers: None for arms with dexterous hands or without grippers.
        notes: remarks.
    """

    stamps: NDArray[np.int64]
    position: NDArray[Any]
    command: NDArray[Any]
    grippers: GripperValues | None
    notes: tuple[Note, ...]


def _read(path: Path) -> _Proprio:
    with open_arrays(path) as arrays:
        stamps = arrays.take("timestamp").reshape(-1).astype(np.int64)
        rows = len(stamps)
        position = _matrix(arrays, "state/joint/position", rows, 14)
        command, notes = _arm_commands(arrays, position)
        state = arrays.find("state/effector/position")
        if state is None or state.shape != (rows, 2):
            note = _hands(state, rows)
            return _Proprio(stamps, position, command, None, (*notes, note))
        commands = _valid_commands(arrays, "action/effector", rows, 2)
        if commands is None:
            raise EpisodeError("has no values in action/effector/position")
        valid, action = commands
        # A command holds until the next one.
        places = np.clip(np.searchsorted(valid, np.arange(rows), side="right") - 1, 0, None)
    return _Proprio(stamps, position, command, GripperValues(state, action[places]), notes)


def _hands(state: NDArray[Any] | None, rows: int) -> Note:
    """Note on arms without grippers. Raises `EpisodeError` for values that are not of hands either."""
    if state is None or state.size == 0:
        return "has no grippers; its arms and cameras are used", "state/effector/position is empty"
    if state.ndim != 2 or len(state) != rows:
        raise EpisodeError(f"has state/effector/position of shape {state.shape}, not {(rows, 2)}")
    return (
        agibot.HANDS_LEFT_OUT,
        f"state/effector/position has {state.shape[1]} values per row, grippers have 2",
    )


def _arm_commands(arrays: Arrays, position: NDArray[Any]) -> tuple[NDArray[Any], tuple[Note, ...]]:
    """(T, 14) commands; rows without a command get the next position."""
    commands = np.concatenate([position[1:], position[-1:]])
    found = _valid_commands(arrays, "action/joint", len(position), 14)
    if found is None:
        remark = "has no arm commands; each row's is the next row's position"
        return commands, ((remark, "action/joint/position is empty"),)
    valid, given = found
    commands[valid] = given
    return commands, ()


def _valid_commands(
    arrays: Arrays, path: str, rows: int, width: int
) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Rows with commands, and these commands (N, width); None without any."""
    values = arrays.take(f"{path}/position")
    if values.size % width:
        raise EpisodeError(f"has {path}/position of shape {values.shape}, not (…, {width})")
    values = values.reshape(-1, width)
    index = arrays.find(f"{path}/index")
    if index is None or len(index.reshape(-1)) == 0:
        if len(values) == 0:
            return None
        if len(values) != rows:
            raise EpisodeError(
                f"has another number of rows in {path}", f"{len(values)} of {rows}, and no {path}/index"
            )
        return np.arange(rows), values
    valid = index.reshape(-1).astype(np.int64)
    if (
        np.any(np.diff(valid) <= 0)
        or valid[0] < 0
        or valid[-1] >= rows
        or len(values) not in (rows, len(valid))
    ):
        raise EpisodeError(f"has a wrong index in {path}")
    return valid, values[valid] if len(values) == rows else values


def _matrix(arrays: Arrays, path: str, rows: int, width: int) -> NDArray[Any]:
    array = arrays.take(path)
    if array.shape != (rows, width):
        raise EpisodeError(f"has {path} of shape {array.shape}, not {(rows, width)}")
    return array

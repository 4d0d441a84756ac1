"""Reader of AgiBot World (Alpha, Beta): ``proprio_stats``, ``observations`` and ``task_info`` side by side.

Source: OpenDriveLab/AgiBot-World. ``index`` beside an action lists the rows in which it is valid; in the others the arm
was not commanded, and its own next position stands in.
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
from rlt_ros.data.episode import Camera, Episode, Note, slug
from rlt_ros.data.errors import DataError, EpisodeError, Skips
from rlt_ros.data.grippers import GripperScales, GripperValues
from rlt_ros.data.hdf5 import Arrays, open_arrays
from rlt_ros.data.raw import rate
from rlt_ros.data.video import VideoCamera
from rlt_ros.rlt.documents import parse_json

_PROPRIO = re.compile(r"^(?P<root>(?:.*/)?)proprio_stats/(?P<task>\d+)/(?P<episode>\d+)/proprio_stats\.h5$")
_VIDEO = re.compile(
    r"^(?P<root>(?:.*/)?)observations/(?P<task>\d+)/(?:\d+-\d+/)?(?P<episode>\d+)/videos/(?P<name>[^/]+)\.mp4$"
)
"""Videos lie in a folder per episode, on the hub and where its archives were unpacked within one per range of them."""

_COLOURS = ("head_color", "hand_left_color", "hand_right_color")
_FISHEYES = {"hand_left_fisheye_color": "hand_left_color", "hand_right_fisheye_color": "hand_right_color"}
"""Camera of arms with dexterous hands → the one in whose place it is."""


class AgiBotWorld:
    """All episodes of this format in a container."""

    layout = "agibot_world"

    def __init__(self, container: Container, hints: Hints) -> None:
        """Raises `DataError` when a task file cannot be read."""
        self.refs: list[EpisodeRef] = []
        self.problems = Skips()
        self._tasks: dict[str, dict[str, str]] = {}
        videos = _videos(container.files)
        for path in sorted(container.files):
            match = _PROPRIO.match(path)
            if match:
                self._add(container, path, match, videos.get(match.groups(), {}))

    def survey(self, ref: EpisodeRef) -> tuple[str, ...]:
        """Files from which the grippers of an episode can be seen."""
        return ref.needs[:1]

    def grippers(self, ref: EpisodeRef, files: Files) -> GripperValues:
        """Values of the grippers in an episode."""
        grippers = _read(files.path(ref.needs[0])).grippers
        if grippers is None:
            raise EpisodeError("has no grippers")
        return grippers

    def load(self, ref: EpisodeRef, files: Files, scales: GripperScales | None) -> Episode:
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
        """Episode → what the robot was told, from a task file."""
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
    """One episode's joint file.

    Attributes:
        stamps: (T,) ns.
        position: (T, 14) rad.
        command: (T, 14) rad.
        grippers: None of arms that have dexterous hands, or nothing.
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
        held = arrays.find("state/effector/position")
        if held is None or held.shape != (rows, 2):
            what = _hands(held, rows)
            return _Proprio(stamps, position, command, None, (*notes, what))
        asked = _given(arrays, "action/effector", rows, 2)
        if asked is None:
            raise EpisodeError("has no values in action/effector/position")
        valid, given = asked
        # The last command holds until the next one.
        places = np.clip(np.searchsorted(valid, np.arange(rows), side="right") - 1, 0, None)
    return _Proprio(stamps, position, command, GripperValues(held, given[places]), notes)


def _hands(held: NDArray[Any] | None, rows: int) -> Note:
    """Remark on arms without grippers. Raises `EpisodeError` for values that are of no hands either."""
    if held is None or held.size == 0:
        return "has no grippers; its arms and cameras are used", "state/effector/position is empty"
    if held.ndim != 2 or len(held) != rows:
        raise EpisodeError(f"has state/effector/position of shape {held.shape}, not {(rows, 2)}")
    return (
        agibot.HANDS_LEFT_OUT,
        f"state/effector/position has {held.shape[1]} values a row, grippers have 2",
    )


def _arm_commands(arrays: Arrays, position: NDArray[Any]) -> tuple[NDArray[Any], tuple[Note, ...]]:
    """(T, 14) commands; rows that were not commanded get the next position."""
    commands = np.concatenate([position[1:], position[-1:]])
    found = _given(arrays, "action/joint", len(position), 14)
    if found is None:
        remark = "has no arm commands; each row's is the next row's position"
        return commands, ((remark, "action/joint/position is empty"),)
    valid, given = found
    commands[valid] = given
    return commands, ()


def _given(arrays: Arrays, path: str, rows: int, width: int) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Rows in which there are commands, and those (N, width); None where there is none at all."""
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

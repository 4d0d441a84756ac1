"""Reader of AgiBot World (Alpha, Beta): ``proprio_stats``, ``observations`` and ``task_info`` side by side.

Source: OpenDriveLab/AgiBot-World. ``index`` beside an action lists the rows in which it is valid; in the others the arm
was not commanded, and its own next position stands in.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlt_ros.data import agibot
from rlt_ros.data.container import Container, EpisodeRef, Files, Hints
from rlt_ros.data.episode import Camera, Episode, slug
from rlt_ros.data.errors import DataError, EpisodeError, Skips
from rlt_ros.data.grippers import GripperScales, GripperValues
from rlt_ros.data.hdf5 import Arrays, open_arrays
from rlt_ros.data.json_text import parse
from rlt_ros.data.raw import rate
from rlt_ros.data.video import VideoCamera

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
        """What the grippers of an episode did."""
        return _read(files.path(ref.needs[0]))[2]

    def load(self, ref: EpisodeRef, files: Files, scales: GripperScales | None) -> Episode:
        """Read an episode."""
        assert scales is not None
        stamps, arms, grippers = _read(files.path(ref.needs[0]))
        hz = rate(stamps)
        cameras: dict[str, Camera] = {
            agibot.CAMERAS.get(name, name): VideoCamera(files.path(path), fps=hz, rows=len(stamps))
            for name, path in ref.info["cameras"].items()
        }
        return agibot.make_episode(
            name=ref.name,
            task=slug(ref.info["instruction"]),
            instruction=ref.info["instruction"],
            hz=hz,
            stamps=stamps,
            arms=arms,
            grippers=grippers,
            scales=scales,
            human=np.zeros(len(stamps), np.bool_),
            cameras=cameras,
        )

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
                        str(entry["episode_id"]): _instruction(entry) for entry in parse(container.read(path))
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


def _read(
    path: Path,
) -> tuple[NDArray[np.int64], tuple[NDArray[Any], None, NDArray[Any]], GripperValues]:
    """Stamps, arms as `rlt_ros.data.agibot.make_episode` takes them, and grippers."""
    with open_arrays(path) as arrays:
        stamps = arrays.take("timestamp").reshape(-1).astype(np.int64)
        rows = len(stamps)
        position = _matrix(arrays, "state/joint/position", rows, 14)
        held = _matrix(arrays, "state/effector/position", rows, 2)
        command = _commands(arrays, "action/joint", position)
        asked = _commands(arrays, "action/effector", None, rows=rows, width=2)
    return stamps, (position, None, command), GripperValues(held, asked)


def _commands(
    arrays: Arrays, path: str, position: NDArray[Any] | None, *, rows: int = 0, width: int = 0
) -> NDArray[Any]:
    """(T, N) commands. Rows that were not commanded get the next position, or the last command."""
    rows, width = position.shape if position is not None else (rows, width)
    values = arrays.take(f"{path}/position")
    if values.size % width:
        raise EpisodeError(f"has {path}/position of shape {values.shape}, not (…, {width})")
    values = values.reshape(-1, width)
    index = arrays.find(f"{path}/index")
    if index is None or len(index.reshape(-1)) == 0:
        if len(values) != rows:
            raise EpisodeError(f"has another number of rows in {path}")
        return values
    valid = index.reshape(-1).astype(np.int64)
    if (
        np.any(np.diff(valid) <= 0)
        or valid[0] < 0
        or valid[-1] >= rows
        or len(values) not in (rows, len(valid))
    ):
        raise EpisodeError(f"has a wrong index in {path}")
    given = values[valid] if len(values) == rows else values
    if position is None:
        return given[np.clip(np.searchsorted(valid, np.arange(rows), side="right") - 1, 0, None)]
    commands = np.concatenate([position[1:], position[-1:]])
    commands[valid] = given
    return commands


def _matrix(arrays: Arrays, path: str, rows: int, width: int) -> NDArray[Any]:
    array = arrays.take(path)
    if array.shape != (rows, width):
        raise EpisodeError(f"has {path} of shape {array.shape}, not {(rows, width)}")
    return array

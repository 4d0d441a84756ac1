"""Reader of raw episodes of Genie Sim's data collection: ``aligned_joints.h5`` and images or videos.

Source: AgibotTech/genie_sim, ``data_collection/server/recording``. The joint file has one group per frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlt_ros.data import agibot
from rlt_ros.data.container import Container, EpisodeRef, Files, Hints
from rlt_ros.data.episode import Camera, RecordedEpisode, slug
from rlt_ros.data.errors import EpisodeError, Skips
from rlt_ros.data.grippers import GripperScales, GripperValues
from rlt_ros.data.hdf5 import open_arrays
from rlt_ros.data.lerobot_tables import MAX_ROWS
from rlt_ros.data.video import PictureCamera, VideoCamera
from rlt_ros.store.documents import parse_json

JOINTS = "aligned_joints.h5"
_COLOURS = ("head_color", "hand_left_color", "hand_right_color")
MAX_TASK_BYTES = 16 << 20
"""A task file has a few kB."""
_ARRAYS = {
    "position": ("state/joint/position", 14),
    "command": ("action/joint/position", 14),
}
_GRIPPERS = {
    "state_left": "state/left_effector/position",
    "state_right": "state/right_effector/position",
    "action_left": "action/left_effector/position",
    "action_right": "action/right_effector/position",
}


class RawEpisodes:
    """Reader of all raw episodes in a container."""

    layout = "raw"

    def __init__(self, container: Container, hints: Hints) -> None:
        self.refs: list[EpisodeRef] = []
        self.problems = Skips()
        for path in sorted(container.files):
            if path == JOINTS or path.endswith("/" + JOINTS):
                self._add(container, path.removesuffix(JOINTS))

    def survey(self, ref: EpisodeRef) -> tuple[str, ...]:
        """Files with the grippers of an episode."""
        return ref.needs[:1]

    def grippers(self, ref: EpisodeRef, files: Files) -> GripperValues:
        """Gripper values of an episode."""
        grippers = _grippers(_read(files.path(ref.needs[0])))
        if grippers is None:
            raise EpisodeError("has no grippers")
        return grippers

    def load(self, ref: EpisodeRef, files: Files, scales: GripperScales | None) -> RecordedEpisode:
        """Read an episode."""
        assert scales is not None
        arrays = _read(files.path(ref.needs[0]))
        stamps = arrays["stamps"].astype(np.int64)
        hz = rate(stamps)
        cameras: dict[str, Camera] = {}
        for name, path in ref.info["cameras"].items():
            found = files.all(path)
            logical = agibot.CAMERAS[name]
            if path.endswith(".mp4"):
                cameras[logical] = VideoCamera(found[0], fps=hz, rows=len(stamps))
            elif len(found) != len(stamps):
                raise EpisodeError("has another number of pictures than joint states")
            else:
                cameras[logical] = PictureCamera(found)
        task, instruction = _task(files.path(ref.needs[1]))
        grippers = _grippers(arrays)
        episode = agibot.make_episode(
            name=ref.name,
            task=task,
            instruction=instruction,
            hz=hz,
            stamps=stamps,
            arms=(arrays["position"], None, arrays["command"]),
            grippers=grippers,
            scales=scales,
            human=np.zeros(len(stamps), np.bool_),
            cameras=cameras,
        )
        if grippers is not None:
            return episode
        width = arrays["state_left"].shape[1]
        detail = f"{_GRIPPERS['state_left']} has {width} values per row, a gripper has 1"
        return replace(episode, notes=(*episode.notes, (agibot.HANDS_LEFT_OUT, detail)))

    def _add(self, container: Container, root: str) -> None:
        name = root.rstrip("/") or "episode"
        cameras = {}
        for colour in _COLOURS:
            candidates = (
                f"{root}{colour}.mp4",
                f"{root}camera/*/{colour}.jpg",
                f"{root}camera/*/{colour}.png",
            )
            found = next((path for path in candidates if path in container.files), None)
            if found is not None:
                cameras[colour] = found
        if f"{root}data_info.json" not in container.files:
            self.problems.add("lacks data_info.json", name)
        elif not cameras:
            self.problems.add("lacks its pictures", name)
        else:
            needs = (root + JOINTS, f"{root}data_info.json", *cameras.values())
            self.refs.append(EpisodeRef(name, needs, {"cameras": cameras}))


def rate(stamps: NDArray[np.int64]) -> float:
    """Rows per second, rounded to an integer, since recorded stamps jitter. Raises `EpisodeError` below two rows."""
    if len(stamps) < 2:
        raise EpisodeError("has less than two rows")
    middle = float(np.median(np.diff(stamps)))
    if middle <= 0:
        raise EpisodeError("has stamps that do not increase")
    return float(max(1, round(1e9 / middle)))


def _read(path: Path) -> dict[str, NDArray[Any]]:
    with open_arrays(path) as arrays:
        frames = sum(name.isdigit() for name in arrays.names())
        if not 0 < frames <= MAX_ROWS:
            raise EpisodeError(f"has {frames} frames in its joint file")
        result = {}
        for key, (name, width) in _ARRAYS.items():
            rows = [arrays.take(f"{frame}/{name}").reshape(-1) for frame in range(frames)]
            if {len(row) for row in rows} != {width}:
                raise EpisodeError(f"has vectors of another length in {name}")
            result[key] = np.stack(rows)
        for key, name in _GRIPPERS.items():
            rows = [arrays.take(f"{frame}/{name}").reshape(-1) for frame in range(frames)]
            if len({len(row) for row in rows}) != 1:
                raise EpisodeError(f"has vectors of different lengths in {name}")
            result[key] = np.stack(rows)
        stamps = [arrays.take(f"{frame}/main_timestamp").reshape(-1) for frame in range(frames)]
        if {len(stamp) for stamp in stamps} != {1}:
            raise EpisodeError("has frames without a stamp")
        result["stamps"] = np.concatenate(stamps)
    return result


def _grippers(arrays: Mapping[str, NDArray[Any]]) -> GripperValues | None:
    """Values of both grippers; None for arms with dexterous hands, which have several joints."""
    if any(arrays[key].shape[1] != 1 for key in _GRIPPERS):
        return None
    return GripperValues(
        np.hstack([arrays["state_left"], arrays["state_right"]]),
        np.hstack([arrays["action_left"], arrays["action_right"]]),
    )


def _task(path: Path) -> tuple[str, str]:
    if path.stat().st_size > MAX_TASK_BYTES:
        raise EpisodeError(f"has a data_info.json of more than {MAX_TASK_BYTES} bytes")
    try:
        info = parse_json(path.read_bytes())
        name = str(info.get("english_task_name") or info.get("task_name") or "")
        steps = info.get("label_info", {}).get("action_config") or []
        texts = [str(step.get("english_action_text") or step.get("action_text") or "") for step in steps]
    except (ValueError, AttributeError) as error:
        raise EpisodeError("has a data_info.json that cannot be read") from error
    instruction = name or " ".join(text for text in texts if text)
    if not instruction:
        raise EpisodeError("has no task")
    return slug(instruction), instruction

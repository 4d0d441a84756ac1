"""Common parts of LeRobot's data sets v2.x and v3.0: ``meta/info.json``, and tables of states and actions.

Format: huggingface/lerobot, ``lerobot/datasets`` at v0.3.3 (v2.1) and v0.4.4 (v3.0). AgiBot's sets are LeRobot sets
with vectors of many fields (`rlt_ros.data.agibot`); others name the elements of their vectors.
"""

from __future__ import annotations

import dataclasses
import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlt_ros.data import agibot
from rlt_ros.data.container import Container, Hints
from rlt_ros.data.episode import Camera, FloatArray, Note, RecordedEpisode, differences, slug
from rlt_ros.data.errors import DataError, EpisodeError
from rlt_ros.data.grippers import GripperScales, GripperValues
from rlt_ros.data.interventions import human_rows
from rlt_ros.data.lerobot_names import JointPairs, element_names
from rlt_ros.data.lerobot_tables import Columns
from rlt_ros.data.seams import without_seams
from rlt_ros.data.video import DEPTH_FORMATS, EXACT, PictureCamera, is_deep
from rlt_ros.store.documents import parse_json
from rlt_ros.store.lineage import fingerprint

INFO = "meta/info.json"
STATE, ACTION = "observation.state", "action"
IMAGES = "observation.images."
HUMAN = "complementary_info.is_intervention"
SUCCESS = "next.success"
_STAMP, _TASK = "timestamp", "task_index"
_MAX_WIDTH = 4096
# rad or m; grippers in the convention of `RecordedEpisode` stay within it, with the overshoot of a controller.
_RATIO = 1.05
_PLACE = re.compile(r"\{(\w+)(?::0?(\d)d)?\}")


class LeRobotDataset:
    """Description of a data set, and conversion of its rows to episodes.

    Args:
        container: files of the data set.
        root: folder of the data set in it, with a ``/`` at the end, or empty.
        hints: information from the user.
    """

    def __init__(self, container: Container, root: str, hints: Hints) -> None:
        """Raise `DataError` if the file does not describe a data set of states and actions."""
        self.origin = f"{container.origin}: {root}{INFO}"
        self.root = root
        self.info = self._json(container.read(root + INFO))
        self._keys = {STATE: hints.state or (STATE,), ACTION: hints.action or (ACTION,)}
        try:
            self.fps = float(self.info["fps"])
            features: dict[str, Any] = self.info["features"]
            kinds = {key: str(feature["dtype"]) for key, feature in features.items()}
            self._check_keys(features, kinds)
            parts = {
                key: int(np.prod(features[key]["shape"])) for keys in self._keys.values() for key in keys
            }
            self.widths = {key: sum(parts[part] for part in keys) for key, keys in self._keys.items()}
            self.depth = [key for key, feature in features.items() if _is_depth(key, feature)]
            described = {
                key: (hints.fields or {}).get(key) or features[key].get("field_descriptions")
                for key, keys in self._keys.items()
                if keys == (key,)
            }
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(
                f"{self.origin}: describes no states and actions ({type(error).__name__}: {error})"
            ) from error
        if not 0 < self.fps <= 1000 or not all(0 < width <= _MAX_WIDTH for width in self.widths.values()):
            raise DataError(
                f"{self.origin}: has {self.fps} frames per second and vectors of {self.widths} elements"
            )
        self.videos = [key for key, kind in kinds.items() if kind == "video" and key not in self.depth]
        pictures = [key for key, kind in kinds.items() if kind == "image" and key not in self.depth]
        single = [_STAMP, *(key for key in (HUMAN, SUCCESS, _TASK) if key in features)]
        self.columns = Columns(parts | dict.fromkeys(single, 1), frozenset(parts), pictures)
        self._tasks = task_texts(container, root)
        self._fields: tuple[agibot.Fields, agibot.Fields] | None = None
        if any(described.values()):
            state, action = (
                agibot.Fields(described.get(key) or {}, self.widths[key], key) for key in (STATE, ACTION)
            )
            self._fields = (state, action)
        else:
            names = [self._names(features, key) for key in (STATE, ACTION)]
            widths = (self.widths[STATE], self.widths[ACTION])
            self._joints = JointPairs(names[0], names[1], widths, hints.joints, self.origin)

    def _check_keys(self, features: Mapping[str, Any], kinds: Mapping[str, str]) -> None:
        """Raise `DataError` if a feature of the state or the action is absent, and list the available ones."""
        for option, what in (("--state-key", STATE), ("--action-key", ACTION)):
            absent = [key for key in self._keys[what] if key not in features]
            if absent:
                numbers = [
                    f"{key} ({int(np.prod(features[key]['shape']))})"
                    for key, kind in kinds.items()
                    if kind.startswith("float") and key != _STAMP
                ]
                raise DataError(
                    f"{self.origin}: describes no {', '.join(absent)}; of numbers it has "
                    f"{', '.join(numbers) or 'nothing'}; name the feature with {option} KEY[,KEY…]"
                )

    def _names(self, features: Mapping[str, Any], what: str) -> list[str] | None:
        """Names of the elements of a vector of one or more features; None if one has no names."""
        found = []
        for key in self._keys[what]:
            width = int(np.prod(features[key]["shape"]))
            names = element_names(features[key].get("names"), width, f"{self.origin}: {key}")
            if names is None and width == 1:
                names = [key.rsplit(".", 1)[-1]]
            if names is None:
                return None
            found += names
        return found

    def described(self, index: int) -> str:
        """Digest of an episode's description, apart from its files."""
        high = self.info.get("high_level_instruction")
        features = [self.info["features"][key] for keys in self._keys.values() for key in keys]
        label = high.get(str(index)) if isinstance(high, Mapping) else None
        human = [
            self.info[key].get(str(index))
            for key in ("take_over", "intervention_info")
            if isinstance(self.info.get(key), Mapping)
        ]
        content = [self.fps, features, label, human, sorted(self._tasks.items())]
        return fingerprint(json.dumps(content, sort_keys=True).encode("utf-8", "surrogatepass"))

    @property
    def has_grippers(self) -> bool:
        """True if the data set has a gripper convention to be estimated."""
        return self._fields is not None or set(agibot.GRIPPERS) <= set(self._joints.names)

    @property
    def has_tasks(self) -> bool:
        """True if episodes without a task can get one from the index in their tables."""
        return bool(self._tasks) and _TASK in self.columns.widths

    def _json(self, data: bytes) -> dict[str, Any]:
        try:
            info = parse_json(data)
        except ValueError as error:
            raise DataError(f"{self.origin}: is not JSON ({error}); fetch it again") from error
        if not isinstance(info, dict):
            raise DataError(f"{self.origin}: is no JSON object; fetch it again")
        return info

    def instruction(self, episode: int, tasks: Sequence[str]) -> str:
        """Instruction of an episode: AgiBot's sentence if available, else the task."""
        high = self.info.get("high_level_instruction")
        label = high.get(str(episode)) if isinstance(high, Mapping) else None
        sentence = label.get("high_level_instruction") if isinstance(label, Mapping) else label
        text = sentence if isinstance(sentence, str) and sentence.strip() else next(iter(tasks), "")
        if not text:
            raise EpisodeError("has no task")
        return text

    def tasks_of(self, tasks: Sequence[str], rows: Mapping[str, NDArray[Any]]) -> list[str]:
        """Tasks of an episode: those of its description, else those of its rows by index."""
        if tasks or _TASK not in rows:
            return list(tasks)
        indices = dict.fromkeys(int(index) for index in rows[_TASK])
        return [self._tasks[index] for index in indices if index in self._tasks]

    def grippers(self, rows: Mapping[str, NDArray[Any]]) -> GripperValues | None:
        """Gripper values of an episode; None for arms with dexterous hands."""
        state, action = self._vector(rows, STATE), self._vector(rows, ACTION)
        if self._fields is not None:
            return agibot.grippers_of(state, action, *self._fields)
        places = [self._joints.names.index(name) for name in agibot.GRIPPERS]
        return GripperValues(self._joints.state(state)[0][:, places], action[:, places])

    def _vector(self, rows: Mapping[str, NDArray[Any]], what: str) -> NDArray[Any]:
        return np.concatenate([rows[key] for key in self._keys[what]], axis=1)

    def times(self, rows: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        """(T,) time of each row since the beginning of the episode, s. See `row_times`."""
        return row_times(rows[_STAMP], self.fps)[0]

    def episode(
        self,
        name: str,
        index: int,
        tasks: Sequence[str],
        rows: Mapping[str, NDArray[Any]],
        cameras: Mapping[str, Camera],
        scales: GripperScales | None,
    ) -> RecordedEpisode:
        """Create the episode of a table's rows, see `rlt_ros.data.lerobot_tables.Tables`."""
        times, notes = row_times(rows[_STAMP], self.fps)
        human = human_rows(self.info, index, len(times))
        if HUMAN in rows:
            human |= rows[HUMAN].astype(bool)
        tasks = self.tasks_of(tasks, rows)
        instruction = self.instruction(index, tasks)
        if len(set(tasks)) > 1:
            notes.append(("has several tasks; the first is used", "; ".join(tasks)))
        common: dict[str, Any] = {
            "name": name,
            "task": slug(tasks[0] if tasks else instruction),
            "instruction": instruction,
            "hz": self.fps,
            "stamps": np.round(times * 1e9).astype(np.int64),
            "human": human,
            "cameras": {_camera(key): camera for key, camera in cameras.items()},
        }
        absent = [key for key in self.columns.pictures if key not in cameras] + self.depth
        if absent:
            notes.append(("has depth images, which are left out", ", ".join(absent)))
        if self._fields is not None:
            assert scales is not None
            grippers = self.grippers(rows)
            if grippers is None:
                notes.append((agibot.HANDS_LEFT_OUT, "its effectors have more than one value per row"))
            made = agibot.make_episode(
                arms=agibot.arms_of(self._vector(rows, STATE), self._vector(rows, ACTION), *self._fields),
                grippers=grippers,
                scales=scales,
                **common,
            )
            return dataclasses.replace(made, notes=(*notes, *made.notes))
        position, velocity, command = self._motion(rows, scales, times)
        return RecordedEpisode(
            joints=self._joints.names,
            position=position,
            velocity=velocity,
            command=command,
            success=bool(rows[SUCCESS].any()) if SUCCESS in rows else None,
            notes=(*notes, *self._joints.unit_notes(position, command)),
            **common,
        )

    def _motion(
        self, rows: Mapping[str, NDArray[Any]], scales: GripperScales | None, times: NDArray[np.float64]
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Positions, velocities and commands (T, A)."""
        position, velocity = self._joints.state(self._vector(rows, STATE))
        command = self._vector(rows, ACTION).astype(np.float32)
        for what, values in (("position", position), ("command", command)):
            if not np.isfinite(values).all():
                raise EpisodeError(f"has NaN or infinite values in {what}")
        self._joints.check_targets(position, command)
        position, command = without_seams(position, command)
        scaled = []
        if scales is not None:
            position, command = position.copy(), command.copy()
            for side, gripper in enumerate(agibot.GRIPPERS):
                place = self._joints.names.index(gripper)
                pair = (scales.state[side], scales.action[side])
                # Ratios keep their range, even if a gripper never closed fully.
                if any(max(abs(scale.open), abs(scale.closed)) > _RATIO for scale in pair):
                    position[:, place] = pair[0].normalise(position[:, place])
                    command[:, place] = pair[1].normalise(command[:, place])
                    scaled.append(place)
        derived = derivative(position, times, self.fps)
        if velocity is None:
            return position, derived, command
        velocity[:, scaled] = derived[:, scaled]
        return position, velocity, command

    def picture_cameras(self, rows: Mapping[str, NDArray[Any]]) -> dict[str, Camera]:
        """Cameras with images in the table; 16-bit images are depth, and no camera."""
        return {
            key: PictureCamera(list(rows[key])) for key in self.columns.pictures if not is_deep(rows[key][0])
        }


def row_times(stamps: NDArray[Any], fps: float) -> tuple[NDArray[np.float64], list[Note]]:
    """(T,) times of rows, s, snapped to the grid of ``fps``; a note if rows are missing.

    Raises:
        EpisodeError: two rows are not a multiple of 1 / fps apart, within LeRobot's tolerance.
    """
    times = np.asarray(stamps, np.float64).reshape(-1)
    if not np.isfinite(times).all():
        raise EpisodeError("has NaN or infinite values in timestamp")
    rounding = float(np.abs(times).max() * np.finfo(np.float32).eps)
    gaps = np.diff(times)
    steps = np.round(gaps * fps)
    wrong = (steps < 1) | (np.abs(gaps - steps / fps) > EXACT + 2 * rounding)
    drift = np.abs(times - times[0] - np.concatenate([[0], np.cumsum(steps)]) / fps) > 0.5 / fps
    if wrong.any() or drift.any():
        row = int(np.argmax(wrong)) if wrong.any() else int(np.argmax(drift)) - 1
        raise EpisodeError(
            f"has stamps that do not fit fps {fps:g}",
            f"timestamp is {times[row]:.6g} s in row {row} and {times[row + 1]:.6g} s in the next; correct `fps` in "
            f"{INFO}, or the stamps",
        )
    grid = np.round(times * fps) / fps
    times = np.where(np.abs(grid - times) <= EXACT + rounding, grid, times)
    holes = np.flatnonzero(steps > 1)
    if not len(holes):
        return times, []
    detail = f"{len(holes)} holes, the longest {gaps.max():.3g} s, the first after row {holes[0]}"
    return times, [("has holes in its table; rows before and after them are treated as neighbours", detail)]


def derivative(position: FloatArray, times: NDArray[np.float64], fps: float) -> FloatArray:
    """(T, A) velocities of positions at times with holes, per second."""
    if len(times) < 2 or np.ptp(times) < (len(times) - 0.5) / fps:
        return differences(position, fps)
    return np.gradient(position, times, axis=0).astype(np.float32)


def task_texts(container: Container, root: str) -> dict[int, str]:
    """Task index → text, from ``meta/tasks.jsonl`` (v2) or ``meta/tasks.parquet`` (v3); empty without either.

    Raises:
        DataError: the file cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    lines, table = f"{root}meta/tasks.jsonl", f"{root}meta/tasks.parquet"
    try:
        if lines in container.files:
            entries = [parse_json(line) for line in container.read(lines).splitlines() if line.strip()]
        elif table in container.files:
            entries = pq.read_table(io.BytesIO(container.read(table))).to_pylist()
        else:
            return {}
        texts = {}
        for entry in entries:
            index = int(entry.pop(_TASK))
            # pandas stores the text as the frame's index, whose column has no fixed name.
            text = entry.get("task", next(iter(entry.values()), None))
            if isinstance(text, str) and text.strip():
                texts[index] = text
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{container.origin}: {root}meta/tasks cannot be read ({type(error).__name__}: {error}); fetch it again"
        ) from error
    return texts


def fill(template: Any, **values: int | str) -> str:
    """Fill a template of ``data_path`` or ``video_path``: only named fields are replaced, nothing is evaluated.

    Raises:
        DataError: the template is no text, or has an unknown field.
    """

    def put(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise DataError(f"the path template {template!r} has the unknown place {match[1]!r}")
        value = values[match[1]]
        return f"{value:0{match[2]}d}" if match[2] and isinstance(value, int) else str(value)

    if not isinstance(template, str):
        raise DataError(f"the path template is {template!r}; expected text")
    return _PLACE.sub(put, template)


def roots(container: Container, version: str) -> list[str]:
    """Folders of the LeRobot sets of a version (``v2``, ``v3``) in a container."""
    found = []
    for path in container.files:
        if path == INFO or path.endswith("/" + INFO):
            try:
                stated = parse_json(container.read(path)).get("codebase_version", "")
            except (ValueError, AttributeError) as error:
                raise DataError(
                    f"{container.origin}: {path} is not JSON ({error}); fetch it again"
                ) from error
            if str(stated).startswith(version):
                found.append(path.removesuffix(INFO))
    return sorted(found)


def _is_depth(key: str, feature: Mapping[str, Any]) -> bool:
    """True for a feature that is marked as depth, named so, or has depth pixels."""
    if feature["dtype"] not in ("video", "image"):
        return False
    details = {**(feature.get("video_info") or {}), **(feature.get("info") or {})}
    marks = [{**feature, **details}.get(mark) for mark in ("is_depth_map", "video.is_depth_map")]
    pixels = str(details.get("video.pix_fmt") or "")
    return "depth" in key.rsplit(".", 1)[-1] or any(marks) or pixels.startswith(DEPTH_FORMATS)


def _camera(key: str) -> str:
    name = key.removeprefix(IMAGES)
    return agibot.CAMERAS.get(name, name)

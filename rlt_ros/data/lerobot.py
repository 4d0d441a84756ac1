"""What LeRobot's data sets v2.x and v3.0 have in common: ``meta/info.json``, and tables of states and actions.

Format: huggingface/lerobot, ``lerobot/datasets`` at v0.3.3 (v2.1) and v0.4.4 (v3.0). AgiBot's sets are LeRobot sets
with vectors of many fields (`rlt_ros.data.agibot`); others name the elements of their vectors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlt_ros.data import agibot
from rlt_ros.data.container import Container
from rlt_ros.data.episode import Camera, Episode, differences, slug
from rlt_ros.data.errors import DataError, EpisodeError
from rlt_ros.data.grippers import GripperScales, GripperValues
from rlt_ros.data.interventions import human_rows
from rlt_ros.data.json_text import parse
from rlt_ros.data.seams import without_seams
from rlt_ros.data.video import PictureCamera

INFO = "meta/info.json"
STATE, ACTION = "observation.state", "action"
IMAGES = "observation.images."
HUMAN = "complementary_info.is_intervention"
SUCCESS = "next.success"
MAX_ROWS = 1_000_000
"""Of one episode: nine hours at 30 Hz."""
_MAX_WIDTH = 4096
_PLACE = re.compile(r"\{(\w+)(?::0?(\d)d)?\}")


class LeRobotDataset:
    """``meta/info.json`` of a data set, and how its rows become an episode.

    Args:
        container: where the files are.
        root: folder of the data set in it, with a ``/`` at the end, or empty.
        fields: feature → field descriptions, for releases that do not publish them.
    """

    def __init__(self, container: Container, root: str, fields: Mapping[str, Any] | None = None) -> None:
        """Raises `DataError` when the file does not describe a data set of states and actions."""
        self.origin = f"{container.origin}: {root}{INFO}"
        self.root = root
        self.info = self._json(container.read(root + INFO))
        try:
            self.fps = float(self.info["fps"])
            features: dict[str, Any] = self.info["features"]
            self.widths = {key: int(np.prod(features[key]["shape"])) for key in (STATE, ACTION)}
            kinds = {key: str(feature["dtype"]) for key, feature in features.items()}
            depth = {key for key, feature in features.items() if _is_depth(key, feature)}
            described = {
                key: (fields or {}).get(key) or features[key].get("field_descriptions") for key in self.widths
            }
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise DataError(
                f"{self.origin}: describes no states and actions ({type(error).__name__}: {error})"
            ) from error
        if not 0 < self.fps <= 1000 or not all(0 < width <= _MAX_WIDTH for width in self.widths.values()):
            raise DataError(
                f"{self.origin}: has {self.fps} frames a second and vectors of {self.widths} elements"
            )
        self.videos = [key for key, kind in kinds.items() if kind == "video" and key not in depth]
        self.pictures = [key for key, kind in kinds.items() if kind == "image" and key not in depth]
        self.columns = [STATE, ACTION, "timestamp", *(key for key in (HUMAN, SUCCESS) if key in features)]
        self._fields: tuple[agibot.Fields, agibot.Fields] | None = None
        if any(described.values()):
            state, action = (
                agibot.Fields(described[key] or {}, self.widths[key], key) for key in (STATE, ACTION)
            )
            self._fields = (state, action)
        else:
            self._joints = _Joints(
                self._names(features[STATE], STATE), self._names(features[ACTION], ACTION), self.origin
            )

    @property
    def has_grippers(self) -> bool:
        """Whether a gripper convention is to be found out."""
        return self._fields is not None

    def _json(self, data: bytes) -> dict[str, Any]:
        try:
            info = parse(data)
        except ValueError as error:
            raise DataError(f"{self.origin}: is not JSON ({error}); fetch it again") from error
        if not isinstance(info, dict):
            raise DataError(f"{self.origin}: is no JSON object; fetch it again")
        return info

    def _names(self, feature: Mapping[str, Any], key: str) -> list[str]:
        names = feature.get("names")
        if isinstance(names, Mapping):
            names = [
                name for group in names.values() for name in (group if isinstance(group, list) else [group])
            ]
        if not isinstance(names, list) or len(names) != self.widths[key]:
            if self.widths[key] > 32:  # no arm has as many; somebody's fields are in it
                raise DataError(
                    f"{self.origin}: {key} has {self.widths[key]} elements without names or field_descriptions; say "
                    "what they are with --fields FILE (docs/how-to/data.md)"
                )
            return [f"joint_{index}" for index in range(self.widths[key])]
        return [str(name) for name in names]

    def instruction(self, episode: int, tasks: Sequence[str]) -> str:
        """What the robot was told: AgiBot's sentence where there is one, otherwise the task."""
        high = self.info.get("high_level_instruction")
        label = high.get(str(episode)) if isinstance(high, Mapping) else None
        sentence = label.get("high_level_instruction") if isinstance(label, Mapping) else label
        text = sentence if isinstance(sentence, str) and sentence.strip() else next(iter(tasks), "")
        if not text:
            raise EpisodeError("has no task")
        return text

    def grippers(self, rows: Mapping[str, NDArray[Any]]) -> GripperValues:
        """What the grippers did in an episode."""
        assert self._fields is not None
        return agibot.grippers_of(rows[STATE], rows[ACTION], *self._fields)

    def episode(
        self,
        name: str,
        index: int,
        tasks: Sequence[str],
        rows: Mapping[str, NDArray[Any]],
        cameras: Mapping[str, Camera],
        scales: GripperScales | None,
    ) -> Episode:
        """The episode of some rows of the table, as `read_rows` gives them."""
        count = len(rows["timestamp"])
        human = human_rows(self.info, index, count)
        if HUMAN in rows:
            human |= rows[HUMAN].astype(bool).reshape(-1)
        instruction = self.instruction(index, tasks)
        task = slug(tasks[0] if tasks else instruction)
        stamps = np.round(rows["timestamp"].astype(np.float64).reshape(-1) * 1e9)
        if not np.isfinite(stamps).all():
            raise EpisodeError("has NaN or infinite values in timestamp")
        named = {_camera(key): camera for key, camera in cameras.items()}
        if self._fields is not None:
            assert scales is not None
            return agibot.make_episode(
                name=name,
                task=task,
                instruction=instruction,
                hz=self.fps,
                stamps=stamps.astype(np.int64),
                arms=agibot.arms_of(rows[STATE], rows[ACTION], *self._fields),
                grippers=self.grippers(rows),
                scales=scales,
                human=human,
                cameras=named,
            )
        position, velocity = self._joints.state(rows[STATE])
        position, command = without_seams(position, rows[ACTION].astype(np.float32))
        return Episode(
            name=name,
            task=task,
            instruction=instruction,
            hz=self.fps,
            stamps=stamps.astype(np.int64),
            joints=self._joints.names,
            position=position,
            velocity=differences(position, self.fps) if velocity is None else velocity,
            command=command,
            human=human,
            success=bool(rows[SUCCESS].any()) if SUCCESS in rows else None,
            cameras=named,
        )

    def picture_cameras(self, rows: Mapping[str, NDArray[Any]]) -> dict[str, Camera]:
        """Cameras whose pictures are in the table."""
        return {key: PictureCamera(list(rows[key])) for key in self.pictures}


class _Joints:
    """Which elements of the state belong to which element of the action, by their names."""

    def __init__(self, state: Sequence[str], action: Sequence[str], origin: str) -> None:
        self.names = tuple(name.removesuffix(".pos") for name in action)
        plain = [index for index, name in enumerate(state) if not name.endswith((".vel", ".eff", ".effort"))]
        at = {state[index].removesuffix(".pos"): index for index in plain}
        if set(self.names) <= at.keys():
            self._position = [at[name] for name in self.names]
        elif len(plain) == len(self.names):
            self._position = plain
        else:
            raise DataError(
                f"{origin}: the state {list(state)} does not say where the joints {list(self.names)} of the action are"
            )
        speeds = {
            name.removesuffix(".vel"): index for index, name in enumerate(state) if name.endswith(".vel")
        }
        self._velocity = [speeds[name] for name in self.names] if set(self.names) <= speeds.keys() else None

    def state(self, vectors: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Positions (T, A), and velocities where they are in the state."""
        vectors = vectors.astype(np.float32)
        return vectors[:, self._position], None if self._velocity is None else vectors[:, self._velocity]


def read_rows(
    path: Path, dataset: LeRobotDataset, length: int, *, episode: int | None = None
) -> dict[str, NDArray[Any]]:
    """Columns of one episode: vectors (T, N), single values (T,), pictures as (T,) bytes objects.

    Args:
        path: a Parquet file.
        dataset: whose columns they are.
        length: rows that the episode has by the description of the data set.
        episode: which rows of a file with several.

    Raises:
        EpisodeError: the file cannot be read, a column is absent, or a length is another one.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not 0 < length <= MAX_ROWS:
        raise EpisodeError(f"has {length} rows")
    columns = [*dataset.columns, *dataset.pictures]
    try:
        file = pq.ParquetFile(path)
        absent = sorted(set(columns) - set(file.schema_arrow.names))
        if absent:
            raise EpisodeError(f"lacks the columns {', '.join(absent)}")
        if episode is None and file.metadata.num_rows != length:
            raise EpisodeError("has another number of rows than its data set says")
        if episode is None:
            table = file.read(columns=columns)
        else:
            table = pq.read_table(path, columns=columns, filters=[("episode_index", "==", episode)])
    except (pa.ArrowException, OSError) as error:
        raise EpisodeError(f"has a table that cannot be read ({str(error)[:80]})") from error
    if table.num_rows != length:
        raise EpisodeError("has another number of rows than its data set says")
    widths = {**dataset.widths, "timestamp": 1, HUMAN: 1, SUCCESS: 1}
    rows: dict[str, NDArray[Any]] = {}
    for key in dataset.columns:
        rows[key] = _vectors(table[key], key, length, widths[key])
    for key in dataset.pictures:
        rows[key] = np.array([_picture_bytes(value.as_py()) for value in table[key]], dtype=object)
    return rows


def _vectors(column: Any, key: str, length: int, width: int) -> NDArray[Any]:
    """(T, N) of a column of lists, (T,) of one of numbers."""
    import pyarrow as pa

    array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    lists = (
        pa.types.is_list(array.type)
        or pa.types.is_large_list(array.type)
        or pa.types.is_fixed_size_list(array.type)
    )
    if array.null_count:
        raise EpisodeError(f"has rows without {key}")
    values = array.flatten() if lists else array
    numeric = (
        pa.types.is_floating(values.type)
        or pa.types.is_integer(values.type)
        or pa.types.is_boolean(values.type)
    )
    if not numeric or values.null_count:
        raise EpisodeError(f"has values in {key} that are no numbers")
    if len(values) != length * width:
        raise EpisodeError(f"has vectors of another length in {key}")
    if lists and not pa.types.is_fixed_size_list(array.type):
        lengths = np.diff(array.offsets.to_numpy(zero_copy_only=False))
        if not (lengths == width).all():
            raise EpisodeError(f"has vectors of another length in {key}")
    flat = values.to_numpy(zero_copy_only=False)
    return flat.reshape(length, width) if key in (STATE, ACTION) else flat


def _picture_bytes(value: Any) -> bytes:
    data = value.get("bytes") if isinstance(value, Mapping) else value
    if not isinstance(data, bytes):
        raise EpisodeError("has a picture that is not in its table")
    return data


def fill(template: Any, **values: int | str) -> str:
    """A path of ``data_path`` or ``video_path``: only the named places are filled, nothing is evaluated.

    Raises:
        DataError: the template is none, or names a place that does not exist.
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
                stated = parse(container.read(path)).get("codebase_version", "")
            except (ValueError, AttributeError) as error:
                raise DataError(
                    f"{container.origin}: {path} is not JSON ({error}); fetch it again"
                ) from error
            if str(stated).startswith(version):
                found.append(path.removesuffix(INFO))
    return sorted(found)


def _is_depth(key: str, feature: Mapping[str, Any]) -> bool:
    details = feature.get("info") or feature.get("video_info") or {}
    return "depth" in key.rsplit(".", 1)[-1] or bool(details.get("video.is_depth_map"))


def _camera(key: str) -> str:
    name = key.removeprefix(IMAGES)
    return agibot.CAMERAS.get(name, name)

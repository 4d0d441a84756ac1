"""Synthetic data sets in every published layout, packed and split like the originals, for benchmarks and tests.

Real recordings may not be redistributed (their licence is non-commercial, share-alike). These have their paths, fields
and conventions, and a known truth.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from rlt_ros.data.episode import Picture
from rlt_ros.data.remux import join
from rlt_ros.data.video import encode_picture, encode_video

LAYOUTS = ("lerobot_v2", "lerobot_v3", "raw", "agibot_world")
FPS = 30
INSTRUCTION = "Pick up the block of the named colour"
_COLOURS = {"top_head": "head_color", "hand_left": "hand_left_color", "hand_right": "hand_right_color"}
_START_NS = 1_700_000_000_000_000_000
# Gripper state of AgiBot World, open and closed.
_MILLIMETRES = (35.0, 120.0)
# Of genie_sim's converter for the G2, 159 elements.
_STATE = {
    "state/left_effector/position": [0],
    "state/right_effector/position": [1],
    "state/end/wrench": [],
    "state/joint/position": list(range(30, 44)),
    "state/joint/velocity": list(range(58, 72)),
}
_ACTION = {
    "action/left_effector/position": [0],
    "action/right_effector/position": [1],
    "action/joint/position": list(range(16, 30)),
}
STATE_WIDTH, ACTION_WIDTH = 159, 40


@dataclass(frozen=True)
class SyntheticSpec:
    """Size of a data set."""

    episodes: int = 3
    rows: int = 12
    size: tuple[int, int] = (32, 48)
    """Height and width of images, even."""
    codec: str = "h264"
    noise: bool = False
    """Images of noise, which no codec compresses; one video then serves all episodes."""


@dataclass(frozen=True)
class Truth:
    """True motion of an episode."""

    position: NDArray[np.float32]
    """(T, 14) rad."""
    command: NDArray[np.float32]
    """(T, 14) rad."""
    grip: NDArray[np.float32]
    """(T, 2) 0 open, 1 closed."""


def truth(episode: int, rows: int) -> Truth:
    """Smooth motion, different for each episode, with grippers that close and open."""
    time = np.arange(rows)[:, None] / FPS
    joints = np.arange(14)[None, :]
    position = 0.4 * np.sin(time * (1 + 0.1 * joints) + episode)
    later = 0.4 * np.sin((time + 1 / FPS) * (1 + 0.1 * joints) + episode)
    phase = np.arange(rows)[:, None] * 2 * np.pi / max(rows - 1, 1) + np.array([0.0, 1.0])
    grip = 0.5 - 0.5 * np.cos(phase)
    # Every gripper reaches both ends, as in every recorded grasp.
    grip = (grip - grip.min(axis=0)) / (grip.max(axis=0) - grip.min(axis=0))
    return Truth(position.astype(np.float32), later.astype(np.float32), grip.astype(np.float32))


def pictures(episode: int, camera: int, spec: SyntheticSpec) -> list[Picture]:
    """Images whose brightness identifies episode, camera and row."""
    height, width = spec.size
    if spec.noise:
        random = np.random.default_rng([camera])
        return [random.integers(0, 256, (height, width, 3), np.uint8) for _ in range(spec.rows)]
    return [
        np.full((height, width, 3), brightness(episode, camera, row), np.uint8) for row in range(spec.rows)
    ]


def brightness(episode: int, camera: int, row: int) -> int:
    """Grey value of all pixels of an image."""
    return 20 + (37 * episode + 71 * camera + 11 * row) % 200


def write(folder: Path, layout: str, spec: SyntheticSpec) -> None:
    """Write an unpacked data set of a layout into ``folder``."""
    {
        "lerobot_v2": _lerobot_v2,
        "lerobot_v3": _lerobot_v3,
        "raw": _raw,
        "agibot_world": _agibot_world,
    }[layout](folder, spec)


def pack(
    folder: Path, archive: Path, part_bytes: Sequence[int], *, order: Sequence[Path] | None = None
) -> list[Path]:
    """Pack a folder as ``archive`` (….tar.gz) and cut it into parts; return their paths.

    Args:
        folder: packed folder.
        archive: path of the archive in one piece.
        part_bytes: sizes of the parts, repeated to the end.
        order: files in the order of packing; sorted by default.
    """
    files = order if order is not None else sorted(path for path in folder.rglob("*") if path.is_file())
    archive.parent.mkdir(parents=True, exist_ok=True)
    with _Splitter(archive, part_bytes) as splitter:
        out = cast(BinaryIO, splitter)
        # A higher compression level would cost minutes and save nothing: videos do not shrink.
        with (
            gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1, filename="", mtime=0) as zipped,
            tarfile.open(fileobj=zipped, mode="w|") as tar,
        ):
            for file in files:
                tar.add(file, arcname=str(file.relative_to(folder)))
    return splitter.paths


class _Splitter(io.RawIOBase):
    """Stream that writes numbered parts."""

    def __init__(self, archive: Path, part_bytes: Sequence[int]) -> None:
        self._archive, self._sizes = archive, list(part_bytes)
        self._stream: BinaryIO | None = None
        self._left = 0
        self.paths: list[Path] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        rest = memoryview(data)
        while rest:
            if self._left == 0:
                self.close_part()
                self._left = self._sizes[len(self.paths) % len(self._sizes)]
                self.paths.append(self._archive.with_name(f"{self._archive.name}.{len(self.paths):03d}"))
                self._stream = self.paths[-1].open("wb")
            piece = rest[: self._left]
            assert self._stream is not None
            self._stream.write(piece)
            self._left -= len(piece)
            rest = rest[len(piece) :]
        return len(data)

    def close_part(self) -> None:
        if self._stream is not None:
            self._stream.close()

    def close(self) -> None:
        self.close_part()
        super().close()


def _vectors(episode: int, rows: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """State (T, 159) and action (T, 40); elements outside the fields have values that must not be read."""
    motion = truth(episode, rows)
    state = np.full((rows, STATE_WIDTH), 777.0, np.float32)
    action = np.full((rows, ACTION_WIDTH), 777.0, np.float32)
    state[:, _STATE["state/joint/position"]] = motion.position
    state[:, _STATE["state/joint/velocity"]] = np.gradient(motion.position, 1 / FPS, axis=0)
    state[:, :2] = motion.grip * 120.0
    action[:, _ACTION["action/joint/position"]] = motion.command
    action[:, :2] = motion.grip
    return state, action


def _info(version: str, spec: SyntheticSpec, episodes: int) -> dict[str, Any]:
    def described(fields: dict[str, list[int]]) -> dict[str, Any]:
        return {
            name: {"description": "", "dimensions": len(indices), "indices": indices}
            for name, indices in fields.items()
        }

    features: dict[str, Any] = {
        f"observation.images.{camera}": {
            "dtype": "video",
            "shape": [*spec.size, 3],
            "names": ["height", "width", "channel"],
            "video_info": {"video.fps": float(FPS), "video.codec": spec.codec, "video.is_depth_map": False},
        }
        for camera in _COLOURS
    }
    features["observation.state"] = {
        "dtype": "float32",
        "shape": [STATE_WIDTH],
        "field_descriptions": described(_STATE),
    }
    features["action"] = {
        "dtype": "float32",
        "shape": [ACTION_WIDTH],
        "field_descriptions": described(_ACTION),
    }
    for name in ("episode_index", "frame_index", "index", "task_index", "timestamp"):
        features[name] = {"dtype": "float32" if name == "timestamp" else "int64", "shape": [1], "names": None}
    return {
        "codebase_version": version,
        "robot_type": "g1",
        "total_episodes": episodes,
        "total_frames": episodes * spec.rows,
        "chunks_size": 1000,
        "fps": FPS,
        "splits": {"train": f"0:{episodes}"},
        "features": features,
        "high_level_instruction": {str(i): {"high_level_instruction": INSTRUCTION} for i in range(episodes)},
        # A human took over in rows 3 to 5 of the second episode.
        "take_over": {
            str(i): [{"start_frame_index": 3, "end_frame_index": 5}] if i == 1 else []
            for i in range(episodes)
        },
        "intervention_info": {str(i): {} for i in range(episodes)},
    }


def _table(episode: int, spec: SyntheticSpec) -> Any:
    import pyarrow as pa

    state, action = _vectors(episode, spec.rows)
    rows = np.arange(spec.rows)
    return pa.table(
        {
            "observation.state": pa.FixedSizeListArray.from_arrays(pa.array(state.reshape(-1)), STATE_WIDTH),
            "action": pa.FixedSizeListArray.from_arrays(pa.array(action.reshape(-1)), ACTION_WIDTH),
            "episode_index": pa.array(np.full(spec.rows, episode)),
            "frame_index": pa.array(rows),
            "index": pa.array(rows + episode * spec.rows),
            "task_index": pa.array(np.zeros(spec.rows, np.int64)),
            "timestamp": pa.array((rows / FPS).astype(np.float32)),
        }
    )


def _videos(paths: Sequence[Path], camera: int, spec: SyntheticSpec) -> None:
    """Write the video of a camera for every episode."""
    for episode, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        if spec.noise and episode > 0:
            path.write_bytes(paths[0].read_bytes())
        else:
            encode_video(path, pictures(episode, camera, spec), fps=FPS, codec=spec.codec)


def _lerobot_v2(folder: Path, spec: SyntheticSpec) -> None:
    import pyarrow.parquet as pq

    info = _info("v2.1", spec, spec.episodes)
    info["data_path"] = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
    info["video_path"] = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
    _json(folder / "meta/info.json", info)
    entries = [
        {"episode_index": i, "tasks": ["pick_block_color"], "length": spec.rows} for i in range(spec.episodes)
    ]
    _lines(folder / "meta/episodes.jsonl", entries)
    _lines(folder / "meta/tasks.jsonl", [{"task_index": 0, "task": "pick_block_color"}])
    for episode in range(spec.episodes):
        path = folder / f"data/chunk-000/episode_{episode:06d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(_table(episode, spec), path)
    for number, camera in enumerate(_COLOURS):
        home = folder / f"videos/chunk-000/observation.images.{camera}"
        _videos([home / f"episode_{episode:06d}.mp4" for episode in range(spec.episodes)], number, spec)


def _lerobot_v3(folder: Path, spec: SyntheticSpec) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    info = _info("v3.0", spec, spec.episodes)
    info["data_path"] = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
    info["video_path"] = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
    _json(folder / "meta/info.json", info)
    tables = [_table(episode, spec) for episode in range(spec.episodes)]
    path = folder / "data/chunk-000/file-000.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.concat_tables(tables), path)
    rows: list[dict[str, Any]] = []
    for episode in range(spec.episodes):
        rows.append({"episode_index": episode, "tasks": ["pick_block_color"], "length": spec.rows})
        rows[-1] |= {"data/chunk_index": 0, "data/file_index": 0}
        for camera in _COLOURS:
            key = f"videos/observation.images.{camera}"
            rows[-1] |= {f"{key}/chunk_index": 0, f"{key}/file_index": 0}
            rows[-1] |= {f"{key}/from_timestamp": episode * spec.rows / FPS}
            rows[-1] |= {f"{key}/to_timestamp": (episode + 1) * spec.rows / FPS}
    path = folder / "meta/episodes/chunk-000/file-000.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    for number, camera in enumerate(_COLOURS):
        path = folder / f"videos/observation.images.{camera}/chunk-000/file-000.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        # Noise is the same in every episode, so encoding one is enough.
        if spec.noise:
            one = path.with_name("one.mp4")
            encode_video(one, pictures(0, number, spec), fps=FPS, codec=spec.codec)
            join(path, [one] * spec.episodes, fps=FPS)
            one.unlink()
            continue
        every = (picture for episode in range(spec.episodes) for picture in pictures(episode, number, spec))
        encode_video(path, every, fps=FPS, codec=spec.codec)


def _raw(folder: Path, spec: SyntheticSpec) -> None:
    import h5py

    jpegs: dict[int, list[bytes]] = {}
    for episode in range(spec.episodes):
        home = folder / f"{1000 + episode}"
        home.mkdir(parents=True, exist_ok=True)
        motion = truth(episode, spec.rows)
        with h5py.File(home / "aligned_joints.h5", "w") as file:
            for row in range(spec.rows):
                frame = file.create_group(str(row))
                frame["main_timestamp"] = np.uint64(_START_NS + row * 1_000_000_000 // FPS)
                frame["state/joint/position"] = motion.position[row]
                frame["action/joint/position"] = motion.command[row]
                for side, name in enumerate(("left_effector", "right_effector")):
                    frame[f"state/{name}/position"] = motion.grip[row, side : side + 1] * 120.0
                    frame[f"action/{name}/position"] = motion.grip[row, side : side + 1]
        _json(home / "data_info.json", {"task_name": "pick_block_color", "english_task_name": INSTRUCTION})
        _json(home / "meta_info.json", {"robot_type": "A2D", "version": "v0.0.2"})
        for number, colour in enumerate(_COLOURS.values()):
            if episode == 0 or not spec.noise:
                jpegs[number] = [encode_picture(picture) for picture in pictures(episode, number, spec)]
            for row, data in enumerate(jpegs[number]):
                path = home / f"camera/{row}/{colour}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)


def _agibot_world(folder: Path, spec: SyntheticSpec) -> None:
    import h5py

    task = "327"
    names = [str(648642 + episode) for episode in range(spec.episodes)]
    _json(
        folder / f"task_info/task_{task}.json",
        [
            {"episode_id": int(name), "task_name": INSTRUCTION, "label_info": {"action_config": []}}
            for name in names
        ],
    )
    low, high = _MILLIMETRES
    for episode, name in enumerate(names):
        motion = truth(episode, spec.rows)
        path = folder / f"proprio_stats/{task}/{name}/proprio_stats.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            file["timestamp"] = _START_NS + np.arange(spec.rows) * 1_000_000_000 // FPS
            file["state/joint/position"] = motion.position
            file["state/effector/position"] = low + motion.grip * (high - low)
            file["action/joint/position"] = motion.command
            file["action/joint/index"] = np.arange(spec.rows)
            file["action/effector/position"] = motion.grip
    for number, colour in enumerate(_COLOURS.values()):
        _videos([folder / f"observations/{task}/{name}/videos/{colour}.mp4" for name in names], number, spec)


def _json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def _lines(path: Path, entries: Sequence[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")

"""Files of a LeRobot data set, assembled from finished pieces.

v2.1 has one file per episode; v3.0 joins tables up to 100 MB and videos up to 200 MB, without encoding them again.

Format: huggingface/lerobot at v0.3.3 (v2.1) and v0.4.4 (v3.0).
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlt_ros.data import statistics
from rlt_ros.data.lerobot import ACTION, HUMAN, IMAGES, STATE, SUCCESS
from rlt_ros.data.remux import NotJoinedError, groups, join, place
from rlt_ros.data.video import describe_video
from rlt_ros.store.storage import replacing

VERSIONS = ("v3.0", "v2.1")
CHUNK = 1000
"""Files per folder."""
DATA_BYTES, VIDEO_BYTES = 100 << 20, 200 << 20
PIECE_META, PIECE_COLUMNS = "piece.json", "columns.npz"
_INDICES = ("timestamp", "frame_index", "episode_index", "index", "task_index")
_DATA = {
    "v2.1": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
    "v3.0": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
}
_VIDEO = {
    "v2.1": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    "v3.0": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
}


@dataclasses.dataclass(frozen=True)
class Shape:
    """Common properties of a data set's episodes."""

    fps: int
    joints: tuple[str, ...]
    cameras: Mapping[str, tuple[int, int]]
    """Camera → height and width."""
    success: bool
    """Episodes have a success label."""

    @classmethod
    def of(cls, meta: Mapping[str, Any]) -> Shape:
        """Shape of a piece."""
        cameras = {name: (int(size[0]), int(size[1])) for name, size in meta["cameras"].items()}
        return cls(int(meta["fps"]), tuple(meta["joints"]), cameras, bool(meta["has_success"]))


def assemble(
    out: Path,
    version: str,
    pieces: Sequence[Path],
    metas: Sequence[Mapping[str, Any]],
    shape: Shape,
    robot_type: str,
) -> dict[str, Any]:
    """Write everything except ``meta/info.json``, and return its content.

    Args:
        out: folder of the data set.
        version: one of `VERSIONS`.
        pieces: folder of each episode, with its columns and a video of each camera.
        metas: contents of `PIECE_META` of each.
        shape: common properties.
        robot_type: name of the robot.
    """
    tasks = list(dict.fromkeys(meta["instruction"] for meta in metas))
    (_write_v2 if version == "v2.1" else _write_v3)(out, pieces, metas, tasks, shape)
    return _info(version, metas, tasks, shape, robot_type, out)


def _tables(
    pieces: Sequence[Path], metas: Sequence[Mapping[str, Any]], tasks: Sequence[str]
) -> Iterator[Any]:
    """Table of each episode, in LeRobot's columns."""
    import pyarrow as pa

    start = 0
    for index, (piece, meta) in enumerate(zip(pieces, metas, strict=True)):
        with np.load(piece / PIECE_COLUMNS, allow_pickle=False) as columns:
            data = {key: columns[key] for key in columns.files}
        data["episode_index"] = np.full(meta["rows"], index, np.int64)
        data["index"] = np.arange(start, start + meta["rows"], dtype=np.int64)
        data["task_index"] = np.full(meta["rows"], tasks.index(meta["instruction"]), np.int64)
        start += meta["rows"]
        arrays = {}
        for key, values in data.items():
            flat = pa.array(values.reshape(-1))
            arrays[key] = (
                pa.FixedSizeListArray.from_arrays(flat, values.shape[1]) if values.ndim == 2 else flat
            )
        yield pa.table(arrays).replace_schema_metadata({"huggingface": json.dumps(_hugging_face(data))})


def _hugging_face(data: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, Any]:
    """Description of columns that the `datasets` library stores in a Parquet file."""
    features: dict[str, Any] = {}
    for key, values in data.items():
        value = {"dtype": str(values.dtype), "_type": "Value"}
        features[key] = (
            value if values.ndim == 1 else {"feature": value, "length": values.shape[1], "_type": "Sequence"}
        )
    return {"info": {"features": features}}


def _with_indices(meta: Mapping[str, Any], index: int, start: int, task: int) -> dict[str, statistics.Stats]:
    """Statistics of an episode, including columns that depend on earlier episodes."""
    rows = np.arange(start, start + meta["rows"])[:, None]
    return statistics.arrays(meta["stats"]) | {
        "episode_index": statistics.of_vectors(np.full_like(rows, index)),
        "index": statistics.of_vectors(rows),
        "task_index": statistics.of_vectors(np.full_like(rows, task)),
    }


def _write_v2(
    out: Path, pieces: Sequence[Path], metas: Sequence[Mapping[str, Any]], tasks: Sequence[str], shape: Shape
) -> None:
    import pyarrow.parquet as pq

    meta_folder = out / "meta"
    meta_folder.mkdir(parents=True)
    start = 0
    with (
        (meta_folder / "episodes.jsonl").open("w", encoding="utf-8") as episodes,
        (meta_folder / "episodes_stats.jsonl").open("w", encoding="utf-8") as stats,
    ):
        for index, (table, meta) in enumerate(zip(_tables(pieces, metas, tasks), metas, strict=True)):
            places: dict[str, Any] = {"episode_chunk": index // CHUNK, "episode_index": index}
            path = out / _DATA["v2.1"].format(**places)
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, path)
            for camera in shape.cameras:
                path = out / _VIDEO["v2.1"].format(video_key=IMAGES + camera, **places)
                path.parent.mkdir(parents=True, exist_ok=True)
                place(path, pieces[index] / f"{camera}.mp4")
            entry = {"episode_index": index, "tasks": [meta["instruction"]], "length": meta["rows"]}
            episodes.write(json.dumps(entry, ensure_ascii=False) + "\n")
            one = _with_indices(meta, index, start, tasks.index(meta["instruction"]))
            stats.write(json.dumps({"episode_index": index, "stats": statistics.plain(one)}) + "\n")
            start += meta["rows"]
    with (meta_folder / "tasks.jsonl").open("w", encoding="utf-8") as stream:
        for index, task in enumerate(tasks):
            stream.write(json.dumps({"task_index": index, "task": task}, ensure_ascii=False) + "\n")


def _write_v3(
    out: Path, pieces: Sequence[Path], metas: Sequence[Mapping[str, Any]], tasks: Sequence[str], shape: Shape
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    places = _place_tables(out, _tables(pieces, metas, tasks))
    videos = {camera: _place_videos(out, pieces, metas, camera, shape.fps) for camera in shape.cameras}
    rows = []
    every: dict[str, list[statistics.Stats]] = {}
    start = 0
    for index, meta in enumerate(metas):
        chunk, file = places[index]
        row: dict[str, Any] = {
            "episode_index": index,
            "tasks": [meta["instruction"]],
            "length": meta["rows"],
            "data/chunk_index": chunk,
            "data/file_index": file,
            "dataset_from_index": start,
            "dataset_to_index": start + meta["rows"],
        }
        for camera in shape.cameras:
            chunk, file, begin, end = videos[camera][index]
            key = f"videos/{IMAGES}{camera}"
            row |= {f"{key}/chunk_index": chunk, f"{key}/file_index": file}
            row |= {f"{key}/from_timestamp": begin, f"{key}/to_timestamp": end}
        for name, stats in _with_indices(meta, index, start, tasks.index(meta["instruction"])).items():
            every.setdefault(name, []).append(stats)
            row |= {f"stats/{name}/{kind}": value.tolist() for kind, value in stats.items()}
        row |= {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
        rows.append(row)
        start += meta["rows"]
    path = out / "meta/episodes/chunk-000/file-000.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    pq.write_table(_tasks_table(tasks), out / "meta/tasks.parquet")
    together = {name: statistics.pooled(stats) for name, stats in every.items()}
    together |= _exact(out, (STATE, ACTION))
    write_json(out / "meta/stats.json", statistics.plain(together))


def _exact(out: Path, keys: Sequence[str], limit: int = 200_000) -> dict[str, statistics.Stats]:
    """Statistics of vectors from at most ``limit`` rows, evenly spread.

    pi0.5 normalises by percentiles, and means of episodes' percentiles are wrong (lerobot issue 3804).
    """
    import pyarrow.dataset as ds

    table = ds.dataset(out / "data", format="parquet").to_table(columns=list(keys))
    rows = np.linspace(0, table.num_rows - 1, min(table.num_rows, limit)).round().astype(np.int64)
    result = {}
    for key in keys:
        column = table[key].take(rows).combine_chunks()
        stats = statistics.of_vectors(column.flatten().to_numpy().reshape(len(rows), -1))
        result[key] = stats | {"count": np.array([table.num_rows])}
    return result


def _place_tables(out: Path, tables: Iterator[Any]) -> list[tuple[int, int]]:
    """Write tables into files of limited size, one row group per episode; return chunk and file of each."""
    import pyarrow.parquet as pq

    places: list[tuple[int, int]] = []
    number, size = -1, DATA_BYTES
    writer: Any = None
    try:
        for table in tables:
            if size + table.nbytes > DATA_BYTES:
                number, size = number + 1, 0
                if writer is not None:
                    writer.close()
                path = out / _DATA["v3.0"].format(chunk_index=number // CHUNK, file_index=number % CHUNK)
                path.parent.mkdir(parents=True, exist_ok=True)
                writer = pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
            size += table.nbytes
            places.append((number // CHUNK, number % CHUNK))
    finally:
        if writer is not None:
            writer.close()
    return places


def _place_videos(
    out: Path, pieces: Sequence[Path], metas: Sequence[Mapping[str, Any]], camera: str, fps: int
) -> list[tuple[int, int, float, float]]:
    """Join videos of one coding into files of limited size; return chunk, file, begin and end in s of each."""
    rows = {piece / f"{camera}.mp4": meta["rows"] for piece, meta in zip(pieces, metas, strict=True)}
    places: list[tuple[int, int, float, float]] = []
    pending = groups(list(rows), fps=fps, limit=VIDEO_BYTES)[::-1]
    number = 0
    while pending:
        videos = pending.pop()
        chunk, file = number // CHUNK, number % CHUNK
        path = out / _VIDEO["v3.0"].format(video_key=IMAGES + camera, chunk_index=chunk, file_index=file)
        path.parent.mkdir(parents=True, exist_ok=True)
        if len(videos) == 1:
            place(path, videos[0])
            starts = [0.0, rows[videos[0]] / fps]
        else:
            try:
                starts = join(path, videos, fps=fps)
            except NotJoinedError:
                # Each video alone was decoded when it was written.
                pending += [[video] for video in reversed(videos)]
                continue
        places += [(chunk, file, *span) for span in itertools.pairwise(starts)]
        number += 1
    return places


def _tasks_table(tasks: Sequence[str]) -> Any:
    """Tasks as a pandas frame with the text as index, as LeRobot reads them."""
    import pyarrow as pa

    index = "__index_level_0__"
    column = {"metadata": None, "numpy_type": "int64", "pandas_type": "int64"}
    pandas = {
        "index_columns": [index],
        "column_indexes": [],
        "columns": [
            {"name": "task_index", "field_name": "task_index", **column},
            {
                "name": None,
                "field_name": index,
                "metadata": None,
                "numpy_type": "object",
                "pandas_type": "unicode",
            },
        ],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.0.0",
    }
    table = pa.table(
        {"task_index": pa.array(range(len(tasks)), pa.int64()), index: pa.array(list(tasks), pa.string())}
    )
    return table.replace_schema_metadata({"pandas": json.dumps(pandas)})


def _info(
    version: str,
    metas: Sequence[Mapping[str, Any]],
    tasks: Sequence[str],
    shape: Shape,
    robot: str,
    out: Path,
) -> dict[str, Any]:
    joints = list(shape.joints)
    features: dict[str, Any] = {
        STATE: _vector([f"{joint}.pos" for joint in joints] + [f"{joint}.vel" for joint in joints]),
        ACTION: _vector([f"{joint}.pos" for joint in joints]),
    }
    for camera, size in shape.cameras.items():
        video = next(iter(sorted((out / "videos").rglob(f"*{IMAGES}{camera}/**/*.mp4"))))
        features[IMAGES + camera] = {
            "dtype": "video",
            "shape": [*size, 3],
            "names": ["height", "width", "channels"],
            "info": describe_video(video),
        }
    features[HUMAN] = {"dtype": "bool", "shape": [1], "names": None}
    if shape.success:
        features[SUCCESS] = {"dtype": "bool", "shape": [1], "names": None}
    for name in _INDICES:
        features[name] = {"dtype": "float32" if name == "timestamp" else "int64", "shape": [1], "names": None}
    info = {
        "codebase_version": version,
        "robot_type": robot or None,
        "total_episodes": len(metas),
        "total_frames": sum(meta["rows"] for meta in metas),
        "total_tasks": len(tasks),
        "chunks_size": CHUNK,
        "fps": shape.fps,
        "splits": {"train": f"0:{len(metas)}"},
        "data_path": _DATA[version],
        "video_path": _VIDEO[version],
        "features": features,
    }
    if version == "v2.1":
        return info | {
            "total_videos": len(metas) * len(shape.cameras),
            "total_chunks": -(-len(metas) // CHUNK),
        }
    return info | {"data_files_size_in_mb": DATA_BYTES >> 20, "video_files_size_in_mb": VIDEO_BYTES >> 20}


def _vector(names: list[str]) -> dict[str, Any]:
    return {"dtype": "float32", "shape": [len(names)], "names": names}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file, atomically."""
    with replacing(path) as part:
        part.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

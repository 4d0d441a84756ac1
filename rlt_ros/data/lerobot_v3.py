"""Reader of LeRobot v3.0: tables and videos of many episodes, listed in ``meta/episodes``."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import Any

from rlt_ros.data.container import Container, EpisodeRef, Files
from rlt_ros.data.errors import DataError
from rlt_ros.data.lerobot import fill
from rlt_ros.data.lerobot_reader import LeRobotReader

_DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"


class LeRobotV3(LeRobotReader):
    """Reader of all data sets of this format in a container."""

    layout, version = "lerobot_v3", "v3"

    def _rows(self, ref: EpisodeRef, files: Files) -> dict[str, Any]:
        dataset = self._sets[ref.info["root"]]
        path, length = files.path(ref.needs[0]), ref.info["length"]
        return self._tables.read(path, dataset.columns, length, episode=ref.info["index"])

    def _list(self, container: Container, root: str) -> None:
        tables = sorted(
            path
            for path in container.files
            if path.startswith(f"{root}meta/episodes/") and path.endswith(".parquet")
        )
        if not tables:
            raise DataError(f"{container.origin}: lacks {root}meta/episodes; fetch the whole meta folder")
        for path in tables:
            try:
                for row in _table(container.read(path)):
                    self._add(container, root, row)
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                if isinstance(error, DataError):
                    raise
                raise DataError(f"{container.origin}: {path} does not list episodes ({error})") from error

    def _add(self, container: Container, root: str, row: Mapping[str, Any]) -> None:
        dataset = self._sets[root]
        index = int(row["episode_index"])
        data = fill(
            dataset.info.get("data_path") or _DATA,
            chunk_index=int(row["data/chunk_index"]),
            file_index=int(row["data/file_index"]),
        )
        videos = {}
        for key in dataset.videos:
            path = fill(
                dataset.info.get("video_path") or _VIDEO,
                video_key=key,
                chunk_index=int(row[f"videos/{key}/chunk_index"]),
                file_index=int(row[f"videos/{key}/file_index"]),
            )
            start = float(row[f"videos/{key}/from_timestamp"])
            if not math.isfinite(start):
                raise ValueError(f"episode {index} begins at {start} s of its video")
            end = row.get(f"videos/{key}/to_timestamp")
            videos[key] = (root + path, start, None if end is None else float(end))
        info = {
            "root": root,
            "index": index,
            "length": int(row["length"]),
            "tasks": [str(task) for task in row.get("tasks") or []],
            "videos": videos,
        }
        needs = (root + data, *dict.fromkeys(path for path, *_ in videos.values()))
        self._register(container, EpisodeRef(f"{root}episode_{index:06d}", needs, info))


def _table(data: bytes) -> list[dict[str, Any]]:
    """Rows of a Parquet file without the columns of statistics."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(io.BytesIO(data))
        columns = [name for name in file.schema_arrow.names if not name.startswith("stats/")]
        rows: list[dict[str, Any]] = file.read(columns=columns).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"no Parquet file: {error}") from error
    return rows

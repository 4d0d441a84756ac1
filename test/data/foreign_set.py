"""LeRobot data set of one episode, as others publish it, for tests to change."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlt_ros.data.episode import RecordedEpisode
from rlt_ros.data.source import open_source
from rlt_ros.data.video import encode_video

FPS, ROWS, SIZE = 10, 8, (16, 32)
JOINTS = ["j0", "j1", "j2"]


def grey(picture: int) -> int:
    return 20 + 10 * picture


def motion(width: int = 3, rows: int = ROWS) -> tuple[np.ndarray, np.ndarray]:
    """State and the absolute command that it follows, in rad."""
    time = np.arange(rows + 1)[:, None] / FPS
    path = (0.5 + 0.4 * np.sin(time * (1 + np.arange(width)) * 2)).astype(np.float32)
    return path[:-1].copy(), path[1:].copy()


class Foreign:
    """Data set v2.1 of one episode with adjustable contents."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.state, self.action = motion()
        self.stamps = np.arange(ROWS) / FPS
        self.names: dict[str, Any] = {"observation.state": JOINTS, "action": JOINTS}
        self.info: dict[str, Any] = {}
        self.features: dict[str, Any] = {}
        self.columns: dict[str, Any] = {}
        self.pictures, self.video_fps = ROWS, FPS
        self.tasks: list[str] = ["plug in"]

    def write(self) -> Path:
        vectors = {"observation.state": self.state, "action": self.action}
        table: dict[str, Any] = {
            key: pa.array(values.tolist(), pa.list_(pa.float32())) for key, values in vectors.items()
        }
        rows = len(self.state)
        table |= {"timestamp": pa.array(self.stamps), "task_index": pa.array([0] * rows)}
        table |= {key: pa.array(values) for key, values in self.columns.items()}
        features: dict[str, Any] = {
            key: {"dtype": "float32", "shape": [values.shape[1]], "names": self.names[key]}
            for key, values in vectors.items()
        }
        features |= {key: {"dtype": "int64", "shape": [1], "names": None} for key in ("task_index",)}
        features["observation.images.front"] = {"dtype": "video", "shape": [*SIZE, 3]}
        info = {"codebase_version": "v2.1", "fps": FPS, "features": features | self.features, **self.info}
        (self.home / "meta").mkdir(parents=True)
        (self.home / "meta/info.json").write_text(json.dumps(info))
        entry = {"episode_index": 0, "tasks": self.tasks, "length": rows}
        (self.home / "meta/episodes.jsonl").write_text(json.dumps(entry))
        (self.home / "meta/tasks.jsonl").write_text('{"task_index": 0, "task": "by its index"}')
        path = self.home / "data/chunk-000/episode_000000.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(pa.table(table), path)
        video = self.home / "videos/chunk-000/observation.images.front/episode_000000.mp4"
        video.parent.mkdir(parents=True)
        frames = [np.full((*SIZE, 3), grey(index), np.uint8) for index in range(self.pictures)]
        encode_video(video, frames, fps=self.video_fps, codec="h264")
        return self.home

    def read(self, **options: Any) -> tuple[RecordedEpisode, list[float], dict[str, int]]:
        """Read the episode, the grey values of its pictures, and its notes."""
        source = open_source([self.home if (self.home / "meta").exists() else self.write()], **options)
        pictures: list[float] = []
        found = []
        for episode in source.episodes():
            found.append(episode)
            pictures += [float(one["front"].mean()) for one in episode.frames(range(episode.rows))]
        assert len(found) == 1, source.skips.summary()
        return found[0], pictures, dict(source.notes.counts)

    def refused(self, **options: Any) -> str:
        source = open_source([self.write()], **options)
        assert list(source.episodes()) == []
        (line,) = source.skips.examples
        return line


@pytest.fixture
def foreign(tmp_path: Path) -> Foreign:
    return Foreign(tmp_path / "set")


def near(pictures: Sequence[int]) -> Any:
    return pytest.approx([grey(index) for index in pictures], abs=3)

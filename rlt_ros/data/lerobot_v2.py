"""Reader of LeRobot v2.0 and v2.1: one table and one video per camera for every episode."""

from __future__ import annotations

from typing import Any

from rlt_ros.data.container import Container, EpisodeRef, Files
from rlt_ros.data.errors import DataError
from rlt_ros.data.lerobot import IMAGES, fill
from rlt_ros.data.lerobot_reader import LeRobotReader
from rlt_ros.store.documents import parse_json

_DATA = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
_VIDEO = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"


class LeRobotV2(LeRobotReader):
    """Reader of all data sets of this format in a container."""

    layout, version = "lerobot_v2", "v2"

    def _rows(self, ref: EpisodeRef, files: Files) -> dict[str, Any]:
        columns = self._sets[ref.info["root"]].columns
        return self._tables.read(files.path(ref.needs[0]), columns, ref.info["length"])

    def _list(self, container: Container, root: str) -> None:
        dataset = self._sets[root]
        path = f"{root}meta/episodes.jsonl"
        if path not in container.files:
            raise DataError(
                f"{container.origin}: lacks {path}, which lists the episodes; fetch the whole meta folder"
            )
        chunks = dataset.info.get("chunks_size") or 1000
        if not isinstance(chunks, int) or chunks < 1:
            raise DataError(f"{dataset.origin}: `chunks_size` is {chunks!r}; expected a number above 0")
        for number, line in enumerate(container.read(path).splitlines(), start=1):
            if not line.strip():
                continue
            try:
                entry = parse_json(line)
                index, length = int(entry["episode_index"]), int(entry["length"])
                tasks = [str(task) for task in entry.get("tasks") or []]
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
                raise DataError(
                    f"{container.origin}: line {number} of {path} is no episode ({error})"
                ) from error
            self._add(container, root, index, length, tasks, index // chunks)

    def _add(
        self, container: Container, root: str, index: int, length: int, tasks: list[str], chunk: int
    ) -> None:
        dataset = self._sets[root]
        places: dict[str, Any] = {"episode_chunk": chunk, "episode_index": index}
        data = root + fill(dataset.info.get("data_path") or _DATA, **places)
        videos = {}
        for key in dataset.videos:
            # Published sets have the whole key in the path, those of genie_sim's own converter only the camera.
            candidates = [
                root + fill(template, video_key=name, **places)
                for template in (dataset.info.get("video_path") or _VIDEO, _VIDEO)
                for name in (key, key.removeprefix(IMAGES))
            ]
            videos[key] = (
                next((path for path in candidates if path in container.files), candidates[0]),
                0.0,
                None,
            )
        name = f"{root}episode_{index:06d}"
        info = {"root": root, "index": index, "length": length, "tasks": tasks, "videos": videos}
        self._register(container, EpisodeRef(name, (data, *(path for path, *_ in videos.values())), info))

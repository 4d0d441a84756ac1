"""Summary of a data set: layout, episodes, cameras, joints, gripper ranges, and faults."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlt_ros.data.archive import summary
from rlt_ros.data.errors import EpisodeError
from rlt_ros.data.source import DataSource, archives_of


def inspect(source: DataSource, paths: Sequence[Path], *, wanted: str = "") -> dict[str, Any]:
    """Summarise a data set, with the contents of the first selected episode.

    Args:
        source: the data set.
        paths: paths that it was opened from.
        wanted: selection of episodes, see `DataSource.selected`.
    """
    names = source.names and source.selected(wanted)
    scales = source.gripper_scales()
    files = source.container.files
    result: dict[str, Any] = {
        "layout": source.layout,
        "archives": {entry["archive"]: entry for entry in summary(archives_of(paths))},
        "files": sum(entry.count for entry in files.values()),
        "bytes": sum(entry.bytes for entry in files.values()),
        "damage": source.container.damage,
        "rejected": dict(source.container.rejected.counts),
        "episodes": len(names),
        "first_episodes": ", ".join(names[:3]),
        "grippers": scales.summary() if scales is not None else {},
    }
    # Kept alive, since the files exist only until the generator advances.
    episodes = source.episodes(frozenset(names[:1]))
    example = next(episodes, None)
    if example is not None:
        sizes = {}
        for name, camera in example.cameras.items():
            try:
                height, width = next(iter(camera.frames([0]))).shape[:2]
                sizes[name] = f"{height}x{width}"
            except EpisodeError as error:
                sizes[name] = str(error)
        result["example"] = {
            "name": example.name,
            "rows": example.rows,
            "hz": example.hz,
            "task": example.task,
            "instruction": example.instruction,
            "joints": ", ".join(example.joints),
            "cameras": sizes,
            "human_rows": int(example.human.sum()),
        }
    episodes.close()
    result["notes"] = source.notes.summary()
    result["skipped"] = source.skips.summary()
    return result

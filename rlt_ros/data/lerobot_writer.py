"""Writer of LeRobot data sets, v2.1 or v3.0, that LeRobot itself opens.

Episodes are first written as finished pieces, each complete or absent, so that an interrupted writer resumes. `finish`
then assembles the pieces (`rlt_ros.data.lerobot_files`). ``meta/info.json`` is written last and marks a complete data
set.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlt_ros.data import statistics
from rlt_ros.data.episode import Camera, RecordedEpisode
from rlt_ros.data.errors import DataError, EpisodeError
from rlt_ros.data.lerobot import ACTION, HUMAN, IMAGES, INFO, STATE, SUCCESS
from rlt_ros.data.lerobot_files import PIECE_COLUMNS, PIECE_META, VERSIONS, Shape, assemble, write_json
from rlt_ros.data.remux import copy_rows
from rlt_ros.data.video import VideoCamera, describe_video, encode_video
from rlt_ros.store.documents import Kind, read_json_object, require_keys

_META_KEYS: Mapping[str, Kind] = {
    "name": str,
    "source": str,
    "instruction": str,
    "rows": int,
    "fps": int,
    "joints": list,
    "cameras": dict,
    "has_success": bool,
    "stats": dict,
}
_PIECES, _PART = ".pieces", "part"


class LeRobotWriter:
    """Data set in progress.

    Args:
        out: folder of the data set.
        version: one of `VERSIONS`.
        codec: codec of encoded videos, see `rlt_ros.data.video.CODECS`.
        size: height and width of images; None for the recorded size, which keeps videos unchanged.
        robot_type: name of the robot.
        source: name of the converted data set.
    """

    def __init__(
        self,
        out: Path,
        *,
        version: str = "v3.0",
        codec: str = "av1",
        size: tuple[int, int] | None = None,
        robot_type: str = "",
        source: str = "",
    ) -> None:
        """Raise `DataError` if the folder contains a finished data set, or the version is unknown."""
        if version not in VERSIONS:
            raise DataError(f"LeRobot version {version!r} is unknown; there are {', '.join(VERSIONS)}")
        if (out / INFO).exists():
            # Left by a call that was interrupted at its very end.
            shutil.rmtree(out / _PIECES, ignore_errors=True)
            raise DataError(f"{out}: contains a finished data set; choose another folder, or remove it")
        self._out, self._pieces = out, out / _PIECES
        self._version, self._codec, self._size, self._robot = version, codec, size, robot_type
        self._begin({"codec": codec, "size": size and list(size), "source": source})
        self._done: dict[str, str] = {}
        self._shape: Shape | None = None
        for path in sorted(self._pieces.glob(f"*/{PIECE_META}")):
            if path.parent.name != _PART:
                meta = self._meta(path)
                self._done[meta["name"]] = meta["source"]
                self._shape = Shape.of(meta)

    def _begin(self, settings: dict[str, Any]) -> None:
        """Store the settings of the pieces; refuse to continue with others."""
        self._pieces.mkdir(parents=True, exist_ok=True)
        path = self._pieces / "settings.json"
        if not path.exists():
            write_json(path, settings)
            return
        begun = read_json_object(path)
        other = [
            f"{key} {begun.get(key)!r}, not {value!r}"
            for key, value in settings.items()
            if begun.get(key) != value
        ]
        if other:
            raise DataError(
                f"{self._out}: contains a conversion with {'; '.join(other)}; repeat that command, remove "
                f"{self._pieces} to begin again, or choose another --out"
            )

    @property
    def done(self) -> Mapping[str, str]:
        """Written episodes: name → fingerprint of the recording."""
        return dict(self._done)

    def add(self, episode: RecordedEpisode, source: str = "") -> None:
        """Write an episode as a piece, unless it exists with the same fingerprint ``source`` of its recording.

        Raises:
            EpisodeError: the episode is unusable, or differs in joints, cameras or rate from earlier ones.
        """
        if self._done.get(episode.name) == source:
            return
        if not episode.cameras:
            raise EpisodeError("has no camera", "; ".join(" ".join(note) for note in episode.notes))
        odd = [name for name in episode.cameras if not re.fullmatch(r"\w[\w. -]*", name)]
        if odd:
            raise EpisodeError(f"has a camera whose name cannot be a file's: {odd[0]!r}")
        fps = round(episode.hz)
        if abs(fps - episode.hz) > 1e-6:
            raise EpisodeError(
                f"has {episode.hz:g} rows per second, and LeRobot needs a whole number; use demonstrations: "
                "--to demonstrations"
            )
        part = self._pieces / _PART
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        stats = {}
        cameras = {}
        for name, camera in episode.cameras.items():
            video = part / f"{name}.mp4"
            self._video(camera, video, episode.rows, fps)
            described = describe_video(video)
            cameras[name] = (described["video.height"], described["video.width"])
            pictures = VideoCamera(video, fps=fps, rows=episode.rows).frames(statistics.sampled(episode.rows))
            stats[IMAGES + name] = statistics.of_pictures(pictures)
        shape = Shape(fps, episode.joints, cameras, episode.success is not None)
        if self._shape is not None and shape != self._shape:
            raise EpisodeError(
                "differs from earlier episodes in joints, cameras, rate, or in having an outcome"
            )
        columns = _columns(episode)
        stats |= {key: statistics.of_vectors(values) for key, values in columns.items()}
        # The keys are no options of savez.
        np.savez(part / PIECE_COLUMNS, **columns)  # type: ignore[arg-type]
        meta = {
            "name": episode.name,
            "source": source,
            "instruction": episode.instruction,
            "rows": episode.rows,
            "fps": fps,
            "joints": list(episode.joints),
            "cameras": cameras,
            "has_success": shape.success,
            "stats": statistics.plain(stats),
        }
        (part / PIECE_META).write_text(json.dumps(meta), encoding="utf-8")
        piece = self._piece(episode.name)
        # Left by an older version of the recording.
        shutil.rmtree(piece, ignore_errors=True)
        part.rename(piece)
        self._done[episode.name] = source
        self._shape = shape

    def finish(self, provenance: Mapping[str, Any], order: Sequence[str] | None = None) -> dict[str, Any]:
        """Assemble the pieces; return ``info.json``.

        The result depends on the pieces and their order alone, not on the calls that wrote them.

        Args:
            order: names of the episodes; unwritten ones are left out. By default all, as written.
            provenance: origin of the data, stored in ``meta/rlt_ros.json``.

        Raises:
            DataError: no episode was written.
        """
        if self._shape is None:
            raise DataError(
                f"{self._out}: no episode could be written; the reasons are in the list of skipped episodes"
            )
        # Left by an interrupted call.
        for folder in ("data", "videos", "meta"):
            shutil.rmtree(self._out / folder, ignore_errors=True)
        names = [name for name in (self._done if order is None else order) if name in self._done]
        pieces = [self._piece(name) for name in names]
        metas = [self._meta(piece / PIECE_META) for piece in pieces]
        info = assemble(self._out, self._version, pieces, metas, self._shape, self._robot)
        write_json(self._out / "meta/rlt_ros.json", {**provenance, "episodes": names})
        write_json(self._out / INFO, info)
        shutil.rmtree(self._pieces)
        return info

    def _meta(self, path: Path) -> dict[str, Any]:
        """Read the description of a piece."""
        meta = read_json_object(path)
        require_keys(meta, _META_KEYS, origin=path, remedy=f"remove {path.parent} to convert it again")
        return meta

    def _piece(self, name: str) -> Path:
        return self._pieces / hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:24]

    def _video(self, camera: Camera, path: Path, rows: int, fps: int) -> None:
        """Copy the video if possible, otherwise encode it."""
        if self._size is None and isinstance(camera, VideoCamera) and copy_rows(camera, path):
            return
        encode_video(path, camera.frames(range(rows), self._size), fps=fps, codec=self._codec)


def _columns(episode: RecordedEpisode) -> dict[str, np.ndarray[Any, Any]]:
    """Values of an episode by feature, without those that depend on earlier episodes."""
    rows = np.arange(episode.rows)
    columns = {
        STATE: episode.proprio.astype(np.float32),
        ACTION: episode.command.astype(np.float32),
        HUMAN: episode.human,
        "timestamp": (rows / round(episode.hz)).astype(np.float32),
        "frame_index": rows.astype(np.int64),
    }
    if episode.success is not None:
        success = np.zeros(episode.rows, np.bool_)
        success[-1] = episode.success
        columns[SUCCESS] = success
    return columns

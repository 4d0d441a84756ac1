"""Conversion of any layout to LeRobot data sets, or to demonstrations for the built-in VLA.

Written episodes are kept, so a conversion that was interrupted, or that reached a missing part of an archive, resumes
with the same call. With a part missing the result is only finished on request.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np

from rlt_ros.data.demonstrations import Demonstration, save
from rlt_ros.data.episode import RecordedEpisode
from rlt_ros.data.errors import DataError, EmptyResultError, EpisodeError, Skips
from rlt_ros.data.lerobot_writer import LeRobotWriter
from rlt_ros.data.source import DataSource

Advance = Callable[[str], None]
"""Called with the name of each finished episode."""


def to_lerobot(
    source: DataSource,
    out: Path,
    *,
    names: Collection[str],
    version: str = "v3.0",
    codec: str = "av1",
    size: tuple[int, int] | None = None,
    robot_type: str = "",
    partial: bool = False,
    advance: Advance | None = None,
) -> dict[str, Any]:
    """Write some episodes of a data set as a LeRobot data set.

    Args:
        source: the data set.
        out: folder of the new one.
        names: selected episodes, see ``source.selected``.
        version: ``v3.0`` or ``v2.1``.
        codec: codec of encoded videos.
        size: height and width of images; None for the recorded size.
        robot_type: name of the robot.
        partial: finish although the archive ended early.
        advance: called after every episode.

    Returns:
        Numbers of written and skipped episodes.

    Raises:
        DataError: the archive ended early.
        EmptyResultError: no episode could be written.
    """
    writer = LeRobotWriter(
        out, version=version, codec=codec, size=size, robot_type=robot_type, source=source.container.origin
    )
    states = {name: source.fingerprint(name) for name in names}
    before = writer.done
    missing = [name for name in names if before.get(name) != states[name]]
    skips = _for_each(source, missing, lambda episode: writer.add(episode, states[episode.name]), advance)
    if source.container.damage and not partial:
        raise DataError(
            f"{source.container.damage}. {len(writer.done)} episodes are converted and kept in {out}; to finish with "
            "them alone, add --partial"
        )
    provenance = {"source": source.container.origin, "layout": source.layout, "skipped": skips.summary()}
    after = writer.done
    order = [name for name in names if after.get(name) == states[name]]
    if not order:
        raise EmptyResultError(f"{out}: no episode could be written", source.reasons())
    info = writer.finish(provenance, order)
    return {
        "out": str(out),
        "format": f"lerobot {version}",
        "episodes": info["total_episodes"],
        "frames": info["total_frames"],
        "kept_from_before": len(names) - len(missing),
        "skipped": skips.summary(),
        "notes": source.notes.summary(),
        "damage": source.container.damage,
    }


def to_demonstrations(
    source: DataSource,
    out: Path,
    *,
    names: Collection[str],
    size: tuple[int, int],
    every: int = 1,
    advance: Advance | None = None,
) -> dict[str, Any]:
    """Write some episodes of a data set as demonstrations, numbered by their names.

    Args:
        source: the data set.
        out: folder of the files; existing ones are kept.
        names: selected episodes.
        size: height and width of images.
        every: rows between two images.
        advance: called after every episode.
    """
    have = {path.stem.rsplit("-", 1)[-1] for path in out.glob("*-*.safetensors")}
    missing = [name for name in names if str(number(name)) not in have]
    written = 0

    def write(episode: RecordedEpisode) -> None:
        nonlocal written
        save(demonstration(episode, number(episode.name), size=size, every=every), out)
        written += 1

    skips = _for_each(source, missing, write, advance)
    kept = len(names) - len(missing)
    if not kept + written:
        raise EmptyResultError(f"{out}: no demonstration could be written", source.reasons())
    return {
        "out": str(out),
        "format": "demonstrations",
        "episodes": kept + written,
        "kept_from_before": kept,
        "skipped": skips.summary(),
        "notes": source.notes.summary(),
        "damage": source.container.damage,
    }


def number(name: str) -> int:
    """Number (15 digits) of an episode's demonstration.

    It depends on the name alone: positions shift when a part of an archive arrives later, and written demonstrations
    would be taken for other episodes.
    """
    digest = hashlib.sha256(name.encode()).digest()
    return 10**14 + int.from_bytes(digest[:8], "little") % (9 * 10**14)


def demonstration(
    episode: RecordedEpisode, seed: int, *, size: tuple[int, int], every: int = 1
) -> Demonstration:
    """Convert an episode to a demonstration, numbered ``seed``.

    An episode without an outcome counts as a success, since failed demonstrations are not published.
    """
    steps = np.arange(0, episode.rows, every, dtype=np.int32)
    images = {camera: np.empty((len(steps), *size, 3), np.uint8) for camera in episode.cameras}
    for index, pictures in enumerate(episode.frames(steps.tolist(), size)):
        for camera, picture in pictures.items():
            images[camera][index] = picture
    return Demonstration(
        task=episode.task,
        instruction=episode.instruction,
        seed=seed,
        hz=episode.hz,
        success=episode.success is not False,
        position=episode.position,
        velocity=episode.velocity,
        command=episode.command,
        images=images,
        image_steps=steps,
    )


def _for_each(
    source: DataSource,
    names: Collection[str],
    use: Callable[[RecordedEpisode], None],
    advance: Advance | None,
) -> Skips:
    """Process every episode and return the skipped ones of data set and processing."""
    for episode in source.episodes(frozenset(names)):
        try:
            use(episode)
        except EpisodeError as error:
            source.skips.add(error.reason, episode.name, error.detail)
        if advance is not None:
            advance(episode.name)
    return source.skips

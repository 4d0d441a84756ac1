"""Films for the report: two policies side by side from the same start, captioned, padded to the same length."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from rlt_ros.experiments.rollout import End, Episode
from rlt_ros.rlt.storage import replacing
from rlt_ros.sim.workcell import HZ, Workcell

INDEX = "films.json"

Picture = NDArray[np.uint8]
Play = Callable[[int, Callable[[], None]], Episode]
"""Runs the episode of a seed and calls the given function after every control step."""

_SIZE = (480, 360)  # pixels of one side
_BAR = 56  # pixels of the caption above the pictures: below, a player's controls would hide it
_EVERY = 2  # control steps per picture: 25 pictures per second in real time
_PAUSE = 25  # pictures for which the end is held: 1 s
_WORDS = {
    End.SUCCESS: "success",
    End.FAILURE: "failure",
    End.TIMEOUT: "out of time",
    End.NO_APPROACH: "did not come near",
}
_GOOD, _BAD, _NEUTRAL = (110, 220, 140), (250, 130, 110), (225, 228, 232)  # RGB of captions


@dataclass(frozen=True)
class Shot:
    """One policy's episode: its pictures and how it ended."""

    name: str
    pictures: Sequence[Picture]
    end: End
    steps: int

    @property
    def outcome(self) -> str:
        """Outcome and time in the critical phase, for a caption."""
        return f"{_WORDS[self.end]}, {self.steps / HZ:.1f} s" if self.steps else _WORDS[self.end]


def film_starts(
    folder: Path,
    workcell: Workcell,
    policies: Mapping[str, Play],
    seeds: Sequence[int],
    poll: Callable[[], None] = lambda: None,
) -> None:
    """Film the policies side by side, one H.264 file per start, and list the films in `INDEX`.

    Args:
        folder: of the films; those that an earlier call left are replaced.
        workcell: simulated robot.
        policies: name for the caption → how its episode is played.
        seeds: of the starts; none make no film.
        poll: called after every control step; may raise, which leaves the index as it was.

    Raises:
        StorageError: the disk is full; the message names the file.
    """
    entries = []
    for number, seed in enumerate(seeds, start=1):
        shots = [_shoot(workcell, name, play, seed, poll) for name, play in policies.items()]
        path = folder / f"start-{number}.mp4"
        title = f"start {number} of {len(seeds)}"
        _encode(path, _side_by_side(shots, title))
        outcomes = [{"policy": shot.name, "outcome": shot.outcome} for shot in shots]
        entries.append({"file": path.name, "start": title, "outcomes": outcomes})
    if entries:
        with replacing(folder / INDEX) as file:
            file.write_text(json.dumps(entries, indent=1), encoding="utf-8")


def _shoot(workcell: Workcell, name: str, play: Play, seed: int, poll: Callable[[], None]) -> Shot:
    pictures: list[Picture] = []
    count = 0

    def watch() -> None:
        nonlocal count
        poll()
        if count % _EVERY == 0:
            pictures.append(workcell.picture(*_SIZE))
        count += 1

    episode = play(seed, watch)
    pictures.append(workcell.picture(*_SIZE))
    return Shot(name, pictures, episode.end, episode.steps)


def _side_by_side(shots: Sequence[Shot], title: str) -> Iterator[Picture]:
    """Pictures of all shots next to each other; one that is over keeps its last."""
    longest = max(len(shot.pictures) for shot in shots)
    for index in range(longest + _PAUSE):
        yield np.hstack([_captioned(shot, index, title) for shot in shots])


def _captioned(shot: Shot, index: int, title: str) -> Picture:
    last = len(shot.pictures) - 1
    over = index >= last
    seconds = min(index, last) * _EVERY / HZ
    width, height = _SIZE
    picture = Image.new("RGB", (width, height + _BAR), (24, 27, 31))
    picture.paste(Image.fromarray(shot.pictures[min(index, last)]), (0, _BAR))
    draw = ImageDraw.Draw(picture)
    draw.text((14, 6), f"{shot.name} · {title}", font=ImageFont.load_default(size=17), fill=_NEUTRAL)
    colour = (_GOOD if shot.end is End.SUCCESS else _BAD) if over else _NEUTRAL
    text = f"{shot.outcome}{' in the critical phase' if shot.steps else ''}" if over else f"{seconds:.1f} s"
    draw.text((14, 29), text, font=ImageFont.load_default(size=17), fill=colour)
    return np.asarray(picture)


def _encode(path: Path, pictures: Iterator[Picture]) -> None:
    with (
        replacing(path) as part,
        av.open(str(part), "w", format="mp4", options={"movflags": "+faststart"}) as container,
    ):
        stream: Any = None
        for picture in pictures:
            if stream is None:
                options = {"crf": "28", "preset": "veryfast"}
                stream = container.add_stream("libx264", rate=round(HZ / _EVERY), options=options)
                stream.height, stream.width, stream.pix_fmt = *picture.shape[:2], "yuv420p"
                stream.time_base = Fraction(_EVERY, round(HZ))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())

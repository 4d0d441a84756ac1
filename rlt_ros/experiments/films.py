"""Films for the report: two policies next to each other from the same start, captioned, of the same length."""

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

from rlt_ros.experiments.rollout import EpisodeResult
from rlt_ros.learning.run_folder import NO_APPROACH
from rlt_ros.replay.stream import EpisodeOutcome
from rlt_ros.sim.workcell import HZ, Workcell
from rlt_ros.store.storage import replacing

INDEX = "films.json"

Picture = NDArray[np.uint8]
Play = Callable[[int, Callable[[], None]], EpisodeResult]
"""play(seed, watch): run the episode of a seed and call ``watch`` after every control step."""

_SIZE = (480, 360)
"""Width and height of one policy's picture, pixels."""
_CAPTION_HEIGHT = 56
"""Pixels above the pictures; below, a player's controls would hide the caption."""
_STEPS_PER_PICTURE = 2
"""Control steps per picture: 25 pictures per second in real time."""
_END_PICTURES = 25
"""Repetitions of the last picture, 1 s."""
_WORDS = {
    EpisodeOutcome.SUCCESS.word: "success",
    EpisodeOutcome.FAILURE.word: "failure",
    EpisodeOutcome.TIMEOUT.word: "out of time",
    NO_APPROACH: "critical phase not reached",
}
"""Word of an outcome → caption."""

_GOOD, _BAD, _NEUTRAL = (110, 220, 140), (250, 130, 110), (225, 228, 232)
"""Colours of captions, RGB."""


@dataclass(frozen=True)
class Shot:
    """Pictures and outcome of one policy's episode."""

    name: str
    pictures: Sequence[Picture]
    end: str
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
    """Film the policies next to each other, one H.264 file per start, and list the films in `INDEX`.

    Args:
        folder: folder of the films; those of an earlier call are replaced.
        workcell: simulated robot.
        policies: name in the caption → function that runs the policy's episode.
        seeds: seeds of the starts; an empty sequence makes no film.
        poll: called after every control step; if it raises, the index stays unchanged.

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
        if count % _STEPS_PER_PICTURE == 0:
            pictures.append(workcell.picture(*_SIZE))
        count += 1

    episode = play(seed, watch)
    pictures.append(workcell.picture(*_SIZE))
    return Shot(name, pictures, episode.end, episode.steps)


def _side_by_side(shots: Sequence[Shot], title: str) -> Iterator[Picture]:
    """Pictures of all shots next to each other; a finished one repeats its last."""
    longest = max(len(shot.pictures) for shot in shots)
    for index in range(longest + _END_PICTURES):
        yield np.hstack([_captioned(shot, index, title) for shot in shots])


def _captioned(shot: Shot, index: int, title: str) -> Picture:
    last = len(shot.pictures) - 1
    over = index >= last
    seconds = min(index, last) * _STEPS_PER_PICTURE / HZ
    width, height = _SIZE
    picture = Image.new("RGB", (width, height + _CAPTION_HEIGHT), (24, 27, 31))
    picture.paste(Image.fromarray(shot.pictures[min(index, last)]), (0, _CAPTION_HEIGHT))
    draw = ImageDraw.Draw(picture)
    draw.text((14, 6), f"{shot.name} · {title}", font=ImageFont.load_default(size=17), fill=_NEUTRAL)
    colour = (_GOOD if shot.end == EpisodeOutcome.SUCCESS.word else _BAD) if over else _NEUTRAL
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
                stream = container.add_stream("libx264", rate=round(HZ / _STEPS_PER_PICTURE), options=options)
                stream.height, stream.width, stream.pix_fmt = *picture.shape[:2], "yuv420p"
                stream.time_base = Fraction(_STEPS_PER_PICTURE, round(HZ))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())

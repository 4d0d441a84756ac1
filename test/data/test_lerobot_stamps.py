"""Frames of LeRobot sets by their stamps: the right picture for each row, or a refusal with row and value."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from foreign_set import FPS, ROWS, Foreign, foreign, motion, near
from hypothesis import given
from hypothesis import strategies as st

from rlt_ros.data.convert import to_lerobot
from rlt_ros.data.errors import EpisodeError
from rlt_ros.data.lerobot import row_times
from rlt_ros.data.source import open_source

__all__ = ["foreign"]


def test_a_trimmed_table_has_the_pictures_of_its_stamps(foreign: Foreign) -> None:
    foreign.stamps, foreign.pictures = 0.5 + np.arange(ROWS) / FPS, ROWS + 5
    episode, pictures, notes = foreign.read()
    assert pictures == near(range(5, ROWS + 5)) and notes == {}
    assert episode.stamps[0] == 500_000_000


def test_the_trimmed_table_is_converted_with_the_same_pictures(foreign: Foreign, tmp_path: Path) -> None:
    foreign.stamps, foreign.pictures = 0.5 + np.arange(ROWS) / FPS, ROWS + 5
    source = open_source([foreign.write()])
    to_lerobot(source, tmp_path / "out", names=source.names, codec="h264")
    (episode,) = open_source([tmp_path / "out"]).episodes()
    assert [float(one["front"].mean()) for one in episode.frames(range(ROWS))] == near(range(5, ROWS + 5))


def test_holes_keep_pictures_and_speeds_right_and_are_reported(foreign: Foreign) -> None:
    kept = [0, 1, 2, 5, 6, 9, 10]
    whole, command = motion(rows=12)
    foreign.state, foreign.action = whole[kept], command[kept]
    foreign.stamps, foreign.pictures = np.array(kept) / FPS, 12
    episode, pictures, notes = foreign.read()
    assert pictures == near(kept)
    (note,) = notes
    assert note.startswith("has holes in its table")
    assert np.allclose(episode.velocity[3], np.gradient(whole[kept], foreign.stamps, axis=0)[3], atol=1e-5)


@pytest.mark.parametrize("rate", [5, 20, 25])
def test_of_a_video_of_another_rate_the_nearest_picture_is_taken(foreign: Foreign, rate: int) -> None:
    foreign.video_fps = rate
    foreign.pictures = ROWS * rate // FPS + 1
    _, pictures, notes = foreign.read()
    nearest = [
        min(range(foreign.pictures), key=lambda k: (abs(FPS * k - rate * row), k)) for row in range(ROWS)
    ]
    assert pictures == near(nearest)
    assert bool(notes) == (rate != 20)


@pytest.mark.parametrize(
    "stamps",
    [
        np.arange(ROWS) / 20,
        np.arange(ROWS) / 10.5,
        np.zeros(ROWS),
        np.arange(ROWS)[::-1] / FPS,
        np.array([0, 0.1, 0.2, 0.25, 0.4, 0.5, 0.6, 0.7]),
    ],
)
def test_stamps_that_do_not_fit_are_refused_with_row_value_and_remedy(
    foreign: Foreign, stamps: np.ndarray
) -> None:
    foreign.stamps = stamps
    line = foreign.refused()
    assert "has stamps that do not fit fps 10 (timestamp is" in line and "correct `fps`" in line


def test_rates_that_are_no_whole_numbers_fit_their_own_stamps(foreign: Foreign) -> None:
    foreign.info, foreign.stamps = {"fps": 29.97}, np.arange(ROWS) * 1001 / 30000
    foreign.video_fps = 30
    episode, pictures, _ = foreign.read()
    assert episode.hz == 29.97 and pictures == near(range(ROWS))


@given(
    fps=st.sampled_from([5, 10, 29.97, 30, 50]),
    first=st.integers(0, 100_000),
    steps=st.lists(st.integers(1, 4), max_size=30),
    single=st.booleans(),
)
def test_stamps_on_the_grid_fit_in_any_precision(
    fps: float, first: int, steps: list[int], single: bool
) -> None:
    exact = np.cumsum([first, *steps]) / fps
    times, notes = row_times(exact.astype(np.float32) if single else exact, fps)
    assert np.allclose(times, exact, atol=1e-9 if not single else 1e-3 / fps + 1e-4 * exact.max() / 100)
    assert bool(notes) == any(step > 1 for step in steps)


@given(index=st.integers(1, 9), shift=st.floats(0.02, 0.98))
def test_a_stamp_off_the_grid_is_refused(index: int, shift: float) -> None:
    stamps = np.arange(10) / FPS
    stamps[index] += shift / FPS * 0.999
    with pytest.raises(EpisodeError, match="do not fit fps 10"):
        row_times(stamps, FPS)

"""A disk that is full: each file is named, its whole part stays, and writing continues once there is room."""

from __future__ import annotations

import json
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rlt_ros.experiments.films import film_starts
from rlt_ros.experiments.rollout import EpisodeResult
from rlt_ros.report.page import write_page
from rlt_ros.store.journal import Journal, read_records
from rlt_ros.store.stopwatch import WALL_FILE, Stopwatch
from rlt_ros.store.storage import StorageError, replacing


@contextmanager
def room_for(nbytes: int) -> Iterator[None]:
    """Let no file grow beyond ``nbytes``: the kernel writes as much as fits, then refuses, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def test_a_journal_on_a_full_disk_keeps_whole_lines_and_continues(tmp_path: Path) -> None:
    path = tmp_path / "episodes.jsonl"
    journal = Journal(path)
    journal.append({"episode": 0})
    with room_for(30):
        with pytest.raises(
            StorageError, match=r"episodes.jsonl: could not be written .* Free some disk space"
        ):
            journal.append({"episode": 1, "end": "success"})
        assert read_records(path) == journal.records == [{"episode": 0}]
        assert path.read_text() == json.dumps({"episode": 0}) + "\n"
    journal.append({"episode": 1})
    journal.close()
    assert Journal(path).records == [{"episode": 0}, {"episode": 1}]


def test_a_file_on_a_full_disk_keeps_its_old_version_and_leaves_no_part(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text("old")
    with (
        room_for(10),
        pytest.raises(StorageError, match=r"config.json: could not be written .* untouched"),
        replacing(path) as part,
    ):
        part.write_text("new and longer")
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["config.json"]


def test_a_report_on_a_full_disk_is_named_and_the_old_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    with room_for(100), pytest.raises(StorageError, match=r"report.html: could not be written .* untouched"):
        write_page(path, "Run", ["<p>new</p>"])
    assert path.read_text() == "old"
    write_page(path, "Run", ["<p>new</p>"])
    assert "<p>new</p>" in path.read_text()


class Noise:
    """Pictures that cannot be compressed to less than a few kilobytes."""

    def picture(self, width: int, height: int) -> NDArray[np.uint8]:
        return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


def test_a_film_on_a_full_disk_is_named_and_the_old_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "start-1.mp4"
    path.write_text("old")
    workcell: Any = Noise()
    policies = {"RLT": lambda seed, watch: EpisodeResult("success", 1)}
    with room_for(100), pytest.raises(StorageError, match=r"start-1.mp4: could not be written .* untouched"):
        film_starts(tmp_path, workcell, policies, [0])
    assert [file.name for file in tmp_path.iterdir()] == ["start-1.mp4"]
    assert path.read_text() == "old"
    film_starts(tmp_path, workcell, policies, [0])
    assert path.stat().st_size > 1000


def test_wall_time_on_a_full_disk_is_that_of_the_last_saving(tmp_path: Path) -> None:
    (tmp_path / WALL_FILE).write_text("100.0")
    stopwatch = Stopwatch(tmp_path)
    with room_for(3):
        stopwatch.save()
    assert [file.read_text() for file in tmp_path.iterdir()] == ["100.0"]
    stopwatch.save()
    assert float((tmp_path / WALL_FILE).read_text()) > 100.0

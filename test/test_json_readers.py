"""JSON that parses and lacks keys, or has others' values: one sentence with the file and the key, or the file is made
anew; never a traceback."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rlt_ros.bringup import Arguments
from rlt_ros.bringup.progress import is_trained, stopped_text
from rlt_ros.data.lerobot_writer import LeRobotWriter
from rlt_ros.episodes.logbook import Logbook
from rlt_ros.episodes.tasks import load_task
from rlt_ros.experiments.policy import open_policy
from rlt_ros.learning.run_folder import EPISODE_KEYS, episode_line, finished_summary, read_config
from rlt_ros.preflight import check_arguments
from rlt_ros.report.report import write_report
from rlt_ros.serving.policy import ServingConfig, open_run
from rlt_ros.store.journal import Journal
from rlt_ros.vla.weights import read_index

EPISODE = episode_line(
    episode=1, phase="online", success=True, end="success", steps=50, human_share=0.0, robot_minutes=0.1
)
OUTCOME = {
    "success_rate": 0.5,
    "success_ci": [0.2, 0.8],
    "median_steps": 60.0,
    "median_steps_ci": [50.0, 70.0],
    "throughput_per_10min": 5.0,
    "throughput_ci": [4.0, 6.0],
    "successes": 1,
    "episodes": 2,
}
SUMMARY = {
    **{policy: OUTCOME for policy in ("base", "demo", "rlt")},
    "task": "charger",
    "seed": 0,
    "throughput_ratio": 2.0,
    "speed_ratio": 2.0,
    "robot_minutes": 1.0,
    "robot_minutes_asked": 1.0,
    "episodes": 1,
    "wall_seconds": 3.0,
    "takeover_dip": None,
    "versions": {},
}
CONFIG = {"task": "charger", "seed": 0, "vla": "builtin", "rlt": {}, "run": {"robot": "agibot_g1_geniesim"}}
PIECE = {
    "name": "a",
    "source": "b",
    "instruction": "plug",
    "rows": 3,
    "fps": 20,
    "joints": ["j"],
    "cameras": {},
    "has_success": True,
    "stats": {},
}


def arguments(folder: Path) -> Arguments:
    return Arguments(out=str(folder), robot_minutes=1.0, eval_episodes=1)


def logbook(folder: Path) -> None:
    book = Logbook(folder, (), load_task("charger"), seed=0, hz=20.0)
    book.next()
    book.close()


@dataclass(frozen=True)
class Reader:
    """A file with its whole content, and what reads it.

    Attributes:
        file: path below the folder.
        content: with every key.
        read: reads it, given the folder.
        lines: whether the file has one object a line.
        strict: whether each key is required.
    """

    file: str
    content: dict[str, Any]
    read: Callable[[Path], object]
    lines: bool = False
    strict: bool = False


READERS = {
    "report": Reader("summary.json", SUMMARY, write_report),
    "report, outcome": Reader("summary.json", {**SUMMARY, "base": OUTCOME}, write_report),
    "report, episodes": Reader("episodes.jsonl", EPISODE, write_report, lines=True),
    "report, metrics": Reader("metrics.jsonl", {"robot_minutes": 0.1, "q": 1.0}, write_report, lines=True),
    "finished run": Reader("summary.json", SUMMARY, lambda folder: finished_summary(folder, 1.0, 1)),
    "settings of a run": Reader("config.json", CONFIG, read_config),
    "check of a launch": Reader(
        "config.json", CONFIG, lambda folder: check_arguments("train", arguments(folder))
    ),
    "policy of a run": Reader("config.json", CONFIG, open_policy),
    "served policy": Reader("config.json", CONFIG, lambda folder: open_run(folder, ServingConfig())),
    "progress": Reader(
        "episodes.jsonl", EPISODE, lambda folder: is_trained(arguments(folder)), lines=True, strict=True
    ),
    "stop": Reader(
        "episodes.jsonl", EPISODE, lambda folder: stopped_text("train", arguments(folder)), lines=True
    ),
    "log of episodes": Reader("episodes.jsonl", EPISODE, logbook, lines=True, strict=True),
    "log of begun episodes": Reader("begun.jsonl", {"episode": 1, "seed": 3}, logbook, lines=True),
    "weights": Reader("pretrain.json", {"files": {}}, read_index),
    "conversion": Reader(".pieces/x/piece.json", PIECE, LeRobotWriter),
}
WRONG_VALUES = ([], {}, "text", None)


def damaged(content: dict[str, Any]) -> Iterator[tuple[str, bool, dict[str, Any]]]:
    """(key, whether it is missing, the content without it or with another value), keys of sections too."""
    for key, value in content.items():
        without = copy.deepcopy(content)
        del without[key]
        yield key, True, without
        for wrong in WRONG_VALUES:
            yield key, False, {**content, key: wrong}
        if isinstance(value, dict):
            yield from ((inner, missing, {**content, key: one}) for inner, missing, one in damaged(value))


@pytest.mark.parametrize("name", READERS)
def test_a_missing_key_is_one_sentence_or_no_matter(name: str, tmp_path: Path) -> None:
    reader = READERS[name]
    whole = {"summary.json": SUMMARY, "config.json": CONFIG}
    for number, (key, is_missing, content) in enumerate(damaged(reader.content)):
        folder = tmp_path / str(number)
        path = folder / reader.file
        path.parent.mkdir(parents=True)
        for other, text in whole.items():
            (folder / other).write_text(json.dumps(text))
        for journal in ("episodes.jsonl", "metrics.jsonl"):
            (folder / journal).write_text("")
        path.write_text(json.dumps(content) + "\n" * reader.lines)
        try:
            reader.read(folder)
        except Exception as error:
            assert type(error).__module__.startswith("rlt_ros"), (key, content, error)
            assert "\n" not in str(error), (key, content, error)
            # What is read next is missing in this folder: the key was no matter.
            if is_missing and "learner.safetensors" not in str(error):
                assert path.name in str(error) and key in str(error), (key, content, error)
        else:
            assert not (is_missing and reader.strict), (key, content)


def test_a_summary_without_a_key_is_written_again(tmp_path: Path) -> None:
    for key in SUMMARY:
        (tmp_path / "summary.json").write_text(json.dumps({k: v for k, v in SUMMARY.items() if k != key}))
        assert finished_summary(tmp_path, 1.0, 1) is None
    (tmp_path / "summary.json").write_text(json.dumps(SUMMARY))
    assert finished_summary(tmp_path, 1.0, 1) == SUMMARY


def test_a_line_that_is_written_has_the_keys_that_are_read(tmp_path: Path) -> None:
    assert EPISODE.keys() == EPISODE_KEYS.keys()
    journal = Journal(tmp_path / "episodes.jsonl", EPISODE_KEYS)
    journal.append(EPISODE)
    journal.close()
    assert Journal(tmp_path / "episodes.jsonl", EPISODE_KEYS).records == [EPISODE]

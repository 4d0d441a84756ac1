from __future__ import annotations

from pathlib import Path

import pytest

from rlt_ros.bags.errors import BagError
from rlt_ros.bags.labels import read_labels
from rlt_ros.replay.stream import EpisodeOutcome

START, END = 1_700_000_000 * 10**9, 1_700_000_060 * 10**9


def labels(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "labels.yaml"
    path.write_text(text)
    return path


def test_seconds_count_from_the_bags_start_or_from_1970(tmp_path: Path) -> None:
    text = (
        "- {start: 30, end: 40.5, critical: 32, outcome: success}\n- {start: 1700000001.0, end: 1700000009}\n"
    )
    absolute, relative = read_labels(labels(tmp_path, text), start=START, end=END)
    assert (relative.start - START, relative.end - START) == (30 * 10**9, 40_500_000_000)
    assert (relative.critical - START, relative.outcome, relative.reward) == (
        32 * 10**9,
        EpisodeOutcome.SUCCESS,
        1.0,
    )
    assert (absolute.start - START, absolute.critical - START) == (10**9, 10**9)
    assert (absolute.outcome, absolute.reward) == (EpisodeOutcome.ABORTED, 0.0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1", "must be a list of entries"),
        ("[]", "must be a list of entries"),
        ("- 3", "entry 1 is 3; it must be a mapping"),
        ("- {start: 1}", "entry 1: `end` is required"),
        ("- {start: 1, end: 2, reward: 1}", "entry 1: key `reward` is unknown"),
        ("- {start: 1, end: 2}\n- {start: x, end: 4}", "entry 2: `start` is 'x'"),
        ("- {start: -1, end: 2}", "entry 1: `start` is -1"),
        ("- {start: .nan, end: 2}", "entry 1: `start` is nan"),
        ("- {start: 3, end: 2}", "entry 1: `end` is 2; it must be later"),
        ("- {start: 3, end: 5, critical: 5}", "entry 1: `critical` is 5"),
        ("- {start: 3, end: 5, outcome: won}", "entry 1: `outcome` is 'won'; allowed: cut, success, failure"),
        ("- {start: 100, end: 200}", "entry 1: `start` is 100, outside the recording of 60.000 s"),
        ("- {start: 1, end: 5}\n- {start: 4, end: 6}", "entry 2: `start` lies before the `end` of entry 1"),
        ("- {start: [", "is not valid YAML"),
    ],
)
def test_what_cannot_be_is_told_with_file_entry_and_key(tmp_path: Path, text: str, says: str) -> None:
    path = labels(tmp_path, text)
    with pytest.raises(BagError) as told:
        read_labels(path, start=START, end=END)
    assert str(told.value).startswith(f"labels {path}: ") and says in str(told.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BagError, match="cannot be read"):
        read_labels(tmp_path / "none.yaml", start=START, end=END)

"""Rows of a bag's states: equal to those of the live stream, stored once, for every storage and existing replay."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bags import FILE, MCAP, MESSAGE, PLAIN, SQLITE, STORAGE, own, write_bag
from hypothesis import given, settings
from hypothesis import strategies as st
from stream_source import GAMMA, LINEAGE, SHAPES, rows, stream

from rlt_ros.bags.errors import BagError
from rlt_ros.replay.episode_assembler import episode_offset
from rlt_ros.replay.ring import Replay
from rlt_ros.replay.stream import EpisodeOutcome
from rlt_ros.rlt.config import RLTConfig
from rlt_ros.rlt.transition import Window
from rlt_ros.ros.bag_import import BagImport, ImportSettings
from rlt_ros.ros.settings import BagConfig, Setup
from rlt_ros.store.lineage import LineageError

RLT = RLTConfig(chunk=SHAPES.chunk, gamma=GAMMA, replay_capacity=500, z_storage="float32")


def take(out: Path, *bags: Path, **options: Any) -> dict[str, Any]:
    config = BagConfig(bags=tuple(map(str, bags)), out=str(out), states="recorded", **options)
    made = BagImport(ImportSettings(Setup(), config, rlt=RLT))
    try:
        assert list(made.run())[-1] == pytest.approx(made.seconds)
        return made.report()
    finally:
        made.close()


def stored(out: Path) -> list[Window]:
    replay = Replay.attach(out / "replay.rlt", SHAPES, lineage=LINEAGE)
    windows = [replay.window(i) for i in range(len(replay))]
    replay.close()
    return windows


def assert_same(found: Sequence[Window], expected: Sequence[Window]) -> None:
    assert [(w.episode, w.step) for w in found] == [(w.episode, w.step) for w in expected]
    for one, other in zip(found, expected, strict=True):
        for field in dataclasses.fields(Window):
            value = getattr(other, field.name)
            if field.name in ("reward", "discount"):
                value = np.float32(value)
            np.testing.assert_array_equal(getattr(one, field.name), value, field.name)


@pytest.mark.parametrize(
    ("storage", "compression"),
    [
        (MCAP, PLAIN),
        (MCAP, MESSAGE),
        (MCAP, FILE),
        (MCAP, STORAGE),
        (SQLITE, PLAIN),
        (SQLITE, MESSAGE),
        (SQLITE, FILE),
    ],
)
def test_rows_are_those_of_the_stream(tmp_path: Path, storage: Any, compression: Any) -> None:
    outcomes = (EpisodeOutcome.SUCCESS, EpisodeOutcome.FAILURE, EpisodeOutcome.TIMEOUT)
    made = [stream(number, outcome=outcome) for number, outcome in enumerate(outcomes, 1)]
    messages = own(record for one in made for record in one.records)
    bag = write_bag(tmp_path / "bag", messages, storage=storage, compression=compression)
    report = take(tmp_path / "out", bag)
    expected = [row for one in made for row in rows(one)]
    assert_same(stored(tmp_path / "out"), expected)
    assert (report["episodes"], report["successes"], report["failures"]) == (3, 1, 1)
    assert (report["rows"], report["new_rows"]) == (len(expected), len(expected))
    assert not report["skipped"] and not report["damaged"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"replay.rlt", "replay.rlt.lock"}


@settings(max_examples=15)
@given(st.randoms(use_true_random=False), st.integers(0, 20))
def test_interleaving_and_repetition_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, order: random.Random, repeated: int
) -> None:
    folder = tmp_path_factory.mktemp("any")
    made = [
        stream(number, steps=9, outcome=outcome)
        for number, outcome in ((1, EpisodeOutcome.SUCCESS), (2, EpisodeOutcome.ABORTED))
    ]
    records = [record for one in made for record in one.records]
    records += order.sample(records, repeated)
    order.shuffle(records)
    take(folder / "out", write_bag(folder / "bag", own(records)))
    found = sorted(stored(folder / "out"), key=lambda row: (row.episode, row.step))
    assert_same(found, [row for one in made for row in rows(one)])


def test_the_same_bag_again_adds_nothing(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", own(stream(1).records))
    take(tmp_path / "out", bag)
    report = take(tmp_path / "out", bag)
    assert (report["new_rows"], report["renumbered_episodes"]) == (0, 0)
    assert_same(stored(tmp_path / "out"), rows(stream(1)))


def test_what_was_stopped_goes_on(tmp_path: Path) -> None:
    both = [*stream(1).records, *stream(2).records]
    bag = write_bag(tmp_path / "bag", own(both))
    config = BagConfig(bags=(str(bag),), out=str(tmp_path / "out"), states="recorded")
    stopped = BagImport(ImportSettings(Setup(), config, rlt=RLT))
    run = stopped.run()
    for _ in range(len(stream(1).records) + 5):
        next(run)
    stopped.close()
    assert_same(stored(tmp_path / "out"), rows(stream(1)))
    take(tmp_path / "out", bag)
    assert_same(stored(tmp_path / "out"), [*rows(stream(1)), *rows(stream(2))])


def test_another_run_takes_no_ones_place_however_often_it_is_read(tmp_path: Path) -> None:
    own_run = write_bag(tmp_path / "own", own(stream(1).records))
    other = stream(1, steps=11)
    other_run = write_bag(tmp_path / "other", own(other.records))
    take(tmp_path / "out", own_run)
    first = take(tmp_path / "out", other_run)
    again = take(tmp_path / "out", own_run, other_run)
    found = stored(tmp_path / "out")
    assert (first["renumbered_episodes"], again["new_rows"]) == (1, 0)
    assert_same([row for row in found if row.episode == 1], rows(stream(1)))
    moved = [dataclasses.replace(row, episode=1) for row in found if row.episode != 1]
    assert_same(moved, rows(other))


def test_evaluations_and_withdrawn_episodes_leave_no_rows(tmp_path: Path) -> None:
    made = [*stream(1, evaluation=True).records, *stream(2, discarded=True).records, *stream(3).records]
    take(tmp_path / "out", write_bag(tmp_path / "bag", own(made)))
    assert_same(stored(tmp_path / "out"), rows(stream(3)))


def test_robots_in_namespaces_are_told_apart(tmp_path: Path) -> None:
    messages = [
        *own(stream(1).records, namespace="left"),
        *own(stream(1, steps=9).records, namespace="right"),
    ]
    take(tmp_path / "out", write_bag(tmp_path / "bag", sorted(messages, key=lambda one: one[1])))
    found = {row.episode for row in stored(tmp_path / "out")}
    assert found == {1 + episode_offset("left"), 1 + episode_offset("right")}


def test_states_of_other_parts_than_the_rows_are_refused(tmp_path: Path) -> None:
    take(tmp_path / "out", write_bag(tmp_path / "bag", own(stream(1).records)))
    other = dataclasses.replace(LINEAGE, vla="other")
    foreign = write_bag(tmp_path / "foreign", own(stream(2, lineage=other).records))
    with pytest.raises(LineageError, match="vla is `other` there and `v` here"):
        take(tmp_path / "out", foreign)
    assert_same(stored(tmp_path / "out"), rows(stream(1)))


def test_a_recorder_that_was_killed_leaves_what_it_wrote(tmp_path: Path) -> None:
    records = [record for number in range(1, 12) for record in stream(number, steps=60).records]
    bag = write_bag(tmp_path / "bag", own(records))
    (bag / "metadata.yaml").unlink()
    data = (bag / "bag.mcap").read_bytes()
    (bag / "bag.mcap").write_bytes(data[: len(data) // 2])
    report = take(tmp_path / "out", bag)
    found = stored(tmp_path / "out")
    complete = max(row.episode for row in found)
    assert 1 < complete < 11
    assert_same(found, [row for number in range(1, complete + 1) for row in rows(stream(number, steps=60))])
    assert any("ros2 bag reindex" in fault for fault in report["damaged"])
    assert any("cut off" in fault for fault in report["damaged"])
    assert report["skipped"]["without end"]["count"] == 1


def test_a_topic_that_is_missing_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    messages = [one for one in own(stream(1).records) if "rl_state" not in one[0]]
    with pytest.raises(BagError, match=r"/rlt/rl_state \(rlt_ros/msg/RLState\) is not in it"):
        take(tmp_path / "out", write_bag(tmp_path / "bag", messages))
    assert not (tmp_path / "out").exists()


def test_labels_are_for_bags_without_episodes(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", own(stream(1).records))
    with pytest.raises(BagError, match="has episodes of its own"):
        take(tmp_path / "out", bag, outcome="success")

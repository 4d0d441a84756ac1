"""Rows that are stored, sampled and counted."""

from __future__ import annotations

import dataclasses
import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from replay_rows import (
    LINEAGE,
    SHAPES,
    STRIDE,
    assert_same_rows,
    assert_whole,
    episode_rows,
    open_replay,
    patterned_row,
)

from rlt_ros.replay.ring import (
    Replay,
    ReplayError,
    ReplayFormat,
)
from rlt_ros.rlt.config import Shapes
from rlt_ros.rlt.windows import Source, Window
from rlt_ros.store.lineage import Lineage

FEW = settings(max_examples=15, deadline=None)
EPISODES = st.lists(st.tuples(st.integers(1, 40), st.booleans()), min_size=1, max_size=8)
"""Steps, and whether the episode terminates."""


def rows_of(episodes: list[tuple[int, bool]]) -> list[Window]:
    return [
        row
        for number, (steps, terminated) in enumerate(episodes)
        for row in episode_rows(number, steps, terminated=terminated)
    ]


@FEW
@given(EPISODES)
def test_rows_come_back_as_they_were_appended_also_after_reopening(episodes: list[tuple[int, bool]]) -> None:
    rows = rows_of(episodes)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "replay"
        with open_replay(path, capacity=200) as replay:
            assert replay.append(rows) == len(rows)
            assert_same_rows(replay, rows)
        with open_replay(path, capacity=200) as replay:
            assert_same_rows(replay, rows)


@FEW
@given(EPISODES, st.integers(1, 60), st.integers(1, 7))
def test_a_full_ring_keeps_the_newest_rows(
    episodes: list[tuple[int, bool]], capacity: int, at_once: int
) -> None:
    rows = rows_of(episodes * 12)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "replay"
        with open_replay(path, capacity=capacity) as replay:
            for start in range(0, len(rows), at_once):
                replay.append(rows[start : start + at_once])
            assert replay.total == len(rows)
            kept = len(replay)
            assert kept <= capacity
            if all(terminated or steps >= 16 for steps, terminated in episodes):
                assert kept == min(capacity, len(rows))
            assert kept >= min(capacity // 2 + 1, len(rows))
            assert_same_rows(replay, rows[-kept:])
        with open_replay(path, capacity=capacity) as replay:
            assert_same_rows(replay, rows[-kept:])


def test_rows_leave_before_their_states_are_written_over(tmp_path: Path) -> None:
    """Episodes of one window need two states a row, more than the file has for a full ring."""
    rows = [episode_rows(number, 2, terminated=False)[0] for number in range(3000)]
    with open_replay(tmp_path / "replay", capacity=1000) as replay:
        for start in range(0, len(rows), 50):
            replay.append(rows[start : start + 50])
        kept = len(replay)
        assert 500 < kept < 1000
        assert_same_rows(replay, rows[-kept:])
        assert replay.append(rows[-kept:]) == 0
        assert replay.append(rows[:1]) == 1


def test_episodes_of_several_robots_may_interleave(tmp_path: Path) -> None:
    pairs = zip(episode_rows(0, 60), episode_rows(1, 60, terminated=False), strict=True)
    rows = [row for pair in pairs for row in pair]
    with open_replay(tmp_path / "replay", capacity=20) as replay:
        for row in rows:
            replay.append([row])
        assert_same_rows(replay, rows[-20:])


@pytest.mark.parametrize("z_storage", ["float16", "bfloat16"])
def test_half_precision_rounds_the_token_and_nothing_else(tmp_path: Path, z_storage: str) -> None:
    dtype = getattr(torch, z_storage)
    rows = episode_rows(0, 21, terminated=False)

    def rounded(z: np.ndarray) -> np.ndarray:
        return torch.from_numpy(z).to(dtype).float().numpy()

    with open_replay(tmp_path / "replay", z_storage=z_storage) as replay:
        replay.append(rows)
        assert replay.sample(4).z.dtype == replay.sample(4).next_z.dtype == dtype
        assert_same_rows(
            replay, [dataclasses.replace(row, z=rounded(row.z), next_z=rounded(row.next_z)) for row in rows]
        )


def test_a_row_is_stored_once_however_often_it_is_appended(tmp_path: Path) -> None:
    rows = episode_rows(0, 30)
    with open_replay(tmp_path / "replay") as replay:
        assert replay.append(rows + rows) == len(rows)
        assert replay.append(rows[3:5]) == 0
        assert_same_rows(replay, rows)
    with open_replay(tmp_path / "replay") as replay:
        assert replay.append(rows + episode_rows(1, 3)) == 2
        assert_same_rows(replay, rows + episode_rows(1, 3))


def test_appending_goes_on_after_reopening(tmp_path: Path) -> None:
    rows = rows_of([(31, True), (17, False), (40, True)])
    for row in rows:
        with open_replay(tmp_path / "replay", capacity=25) as replay:
            replay.append([row])
    with open_replay(tmp_path / "replay", capacity=25) as replay:
        assert_same_rows(replay, rows[-25:])


def test_a_batch_holds_stored_rows_in_the_shapes_of_the_learner(tmp_path: Path) -> None:
    sources = (Source.ACTOR, Source.HUMAN, Source.HUMAN, Source.VLA, Source.HOLD)
    rows = rows_of([(31, True), (17, False)]) + episode_rows(2, 9, sources=sources)
    with open_replay(tmp_path / "replay") as replay:
        replay.append(rows)
        batch = replay.sample(64, torch.Generator().manual_seed(0))
    batch.check_shapes(SHAPES)
    batch.check_values()
    by_token = {row.z.tobytes(): row for row in rows}
    for index in range(64):
        row = by_token[batch.z[index].numpy().tobytes()]
        for name in ("proprio", "reference", "action", "next_z", "next_proprio", "next_reference", "human"):
            np.testing.assert_array_equal(getattr(batch, name)[index], getattr(row, name))
        for name in ("reward", "discount", "valid", "next_valid", "terminated", "truncated"):
            assert getattr(batch, name)[index].item() == pytest.approx(getattr(row, name))


def test_sampling_reaches_every_row_equally(tmp_path: Path) -> None:
    with open_replay(tmp_path / "replay", capacity=20) as replay:
        replay.append(patterned_row(number) for number in range(50))
        drawn = replay.sample(20_000, torch.Generator().manual_seed(0)).reward.long()
    counts = torch.bincount(drawn, minlength=50)
    assert counts[:30].sum() == 0
    assert counts[30:].min() > 850 and counts[30:].max() < 1150  # 1000 each, standard deviation 31


def test_the_same_generator_draws_the_same_batch(tmp_path: Path) -> None:
    with open_replay(tmp_path / "replay") as replay:
        replay.append(patterned_row(number) for number in range(50))
        one, other = (replay.sample(8, torch.Generator().manual_seed(3)).reward for _ in range(2))
        assert torch.equal(one, other)


def test_a_batch_outlives_the_rows_and_the_replay(tmp_path: Path) -> None:
    with open_replay(tmp_path / "replay", capacity=10) as replay:
        replay.append(patterned_row(number) for number in range(10))
        batch = replay.sample(32)
        replay.append(patterned_row(number) for number in range(10, 500))
    assert_whole(batch)
    assert batch.reward.max() < 10


def test_rows_that_are_written_over_while_they_are_gathered_are_drawn_anew(tmp_path: Path) -> None:
    with open_replay(tmp_path / "replay", capacity=10) as replay:
        replay.append(patterned_row(number) for number in range(10))
        reader = Replay.attach(tmp_path / "replay", SHAPES, lineage=LINEAGE)
        gather, calls = reader._map.gather_records, []

        def overtaken(slots: torch.Tensor) -> Any:
            """Between a row's record and its states, the writer comes round the whole ring."""
            records = gather(slots)
            if len(slots) < 32:  # rows that are verified before they may be drawn
                return records
            if not calls:
                replay.append(patterned_row(number) for number in range(10, 700))
            calls.append(slots)
            return records

        reader._map.gather_records = overtaken
        batch = reader.sample(32)
        assert len(calls) == 2
        assert_whole(batch)
        assert batch.reward.min() >= 690
        reader.close()


def test_a_reader_sees_rows_as_soon_as_they_are_appended(tmp_path: Path) -> None:
    with open_replay(tmp_path / "replay") as replay:
        reader = Replay.attach(tmp_path / "replay", SHAPES, lineage=LINEAGE)
        assert len(reader) == 0
        rows = episode_rows(0, 25)
        for count, row in enumerate(rows, 1):
            replay.append([row])
            assert_same_rows(reader, rows[:count])
        reader.close()


def test_stats_count_episodes_by_outcome_and_human_steps_also_after_reopening(tmp_path: Path) -> None:
    with open_replay(tmp_path / "replay") as replay:
        replay.append(episode_rows(0, 20, reward=1.0))
        replay.append(episode_rows(1, 12, reward=1.0))
        replay.append(episode_rows(2, 9, reward=0.0))
        replay.append(episode_rows(3, 8, terminated=False))
        replay.append(episode_rows(4, 20, reward=1.0)[:-1])  # its end has not come yet
        before = replay.stats()
    with open_replay(tmp_path / "replay") as replay:
        stats = replay.stats()
    assert stats == before
    assert (stats.rows, stats.episodes) == (10 + 6 + 5 + 4 + 9, 5)
    assert (stats.successes, stats.failures, stats.truncations) == (2, 1, 1)
    assert stats.human_share == 0.0


def test_human_share_counts_valid_steps_only(tmp_path: Path) -> None:
    with open_replay(tmp_path / "replay") as replay:
        replay.append(episode_rows(0, 6, sources=(Source.HUMAN, Source.ACTOR)))
        assert replay.stats().steps == 4 + 4 + 2
        assert replay.stats().human_share == 0.5


def test_an_empty_replay_says_so(tmp_path: Path) -> None:
    with open_replay(tmp_path / "replay") as replay:
        assert (len(replay), replay.total, replay.stats().rows) == (0, 0, 0)
        with pytest.raises(ReplayError, match="holds no rows"):
            replay.sample(1)
        with pytest.raises(ReplayError, match="row 0 does not exist"):
            replay.window(0)


def test_a_state_in_two_windows_is_stored_once(tmp_path: Path) -> None:
    wide = Shapes(z_dim=2048, proprio_dim=14, chunk=10, action_dim=14)
    twice = 4 * (2 * (2048 + 14 + 140) + 140)
    with open_replay(tmp_path / "replay", capacity=1000, shapes=wide) as replay:
        assert replay.format.row_bytes < 0.6 * twice


def test_the_bytes_are_told_before_they_are_taken_and_taken_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    needed = ReplayFormat(SHAPES, 5000, "float32", 1.0, Lineage()).nbytes
    with caplog.at_level(logging.INFO, "rlt_ros.replay.format"):
        open_replay(tmp_path / "replay", capacity=5000).close()
    assert f"takes {needed / 1e6:,.1f} MB (5000 rows" in caplog.text
    status = (tmp_path / "replay").stat()
    assert status.st_size == needed
    assert status.st_blocks * 512 >= needed


def test_steps_between_rows_follow_the_stride() -> None:
    assert [row.step for row in episode_rows(0, 9)] == list(range(0, 9, STRIDE))

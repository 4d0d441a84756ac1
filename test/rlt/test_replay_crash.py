"""Processes that die or race: real ones, killed with SIGKILL."""

from __future__ import annotations

import logging
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from replay_rows import (
    LINEAGE,
    STRIDE,
    assert_same_rows,
    assert_whole,
    open_replay,
    patterned_row,
    wide,
)

from rlt_ros.replay.ring import Replay, ReplayFormat, ReplayFormatError

CHILD = Path(__file__).with_name("replay_child.py")


def start_writer(path: Path, capacity: int, width: int, last: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(CHILD), str(path), str(capacity), str(width), str(last)]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def test_a_killed_writer_loses_no_row_that_append_has_returned(tmp_path: Path) -> None:
    path, shapes, chance = tmp_path / "replay", wide(4000), random.Random(0)
    total = 0
    for _ in range(4):
        with start_writer(path, 150, 4000, 10**9) as writer:
            assert writer.stdout is not None
            for _ in range(chance.randrange(5, 150)):
                writer.stdout.readline()
            writer.kill()
            reported = [
                line for line in writer.stdout.read().splitlines(keepends=True) if line.endswith("\n")
            ]
        with open_replay(path, capacity=150, shapes=shapes) as replay:
            assert replay.total >= max([total, *map(int, reported)])
            total = replay.total
            assert len(replay) == min(150, total)
            assert_same_rows(replay, (patterned_row(n, shapes) for n in range(total - len(replay), total)))
    assert total > 150  # the ring was killed while it was being written over, too


def test_a_reader_beside_a_writer_that_laps_the_ring_gets_whole_rows_only(tmp_path: Path) -> None:
    path, shapes = tmp_path / "replay", wide(2000)
    open_replay(path, capacity=20, shapes=shapes).close()
    reader = Replay.attach(path, shapes, lineage=LINEAGE)
    generator, laps, batches = torch.Generator().manual_seed(0), set(), 0
    with start_writer(path, 20, 2000, 10**9) as writer:
        while len(laps) < 20 or batches < 1000:
            assert writer.poll() is None
            if len(reader):
                assert_whole(reader.sample(64, generator), shapes)
                laps.add(reader.total // reader.format.row_slots)
                batches += 1
        writer.kill()
    reader.close()


def test_a_killed_writer_leaves_no_lock_behind(tmp_path: Path) -> None:
    with start_writer(tmp_path / "replay", 20, 8, 10**9) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        writer.kill()
    open_replay(tmp_path / "replay", capacity=20, shapes=wide(8)).close()


def test_a_creation_that_was_killed_is_started_anew(tmp_path: Path) -> None:
    (tmp_path / "replay.partial").write_bytes(b"half a file")
    with open_replay(tmp_path / "replay") as replay:
        assert len(replay) == 0
    assert not (tmp_path / "replay.partial").exists()


@pytest.mark.parametrize("region", ["records", "action", "z", "side"])
def test_a_torn_last_row_is_dropped_and_can_be_appended_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, region: str
) -> None:
    rows = [patterned_row(number) for number in range(130)]
    fill(tmp_path / "replay", 130)
    next_state = len(rows) + 4 // STRIDE - 1  # the newest state, in no row but the last
    tear(tmp_path / "replay", region, 129 if region in ("records", "action") else next_state)
    with caplog.at_level(logging.WARNING), open_replay(tmp_path / "replay") as replay:
        assert "dropped the torn rows" in caplog.text
        # Row 29 left the ring when row 129 came.
        assert_same_rows(replay, rows[30:-1])
        assert replay.append(rows[-1:]) == 1
        assert_same_rows(replay, rows[30:])


def test_after_a_power_failure_every_row_is_checked_and_the_longest_whole_run_kept(tmp_path: Path) -> None:
    fill(tmp_path / "replay", 90)
    for row in (20, 70):
        tear(tmp_path / "replay", "action", row)
    lose_power(tmp_path / "replay")
    with open_replay(tmp_path / "replay") as replay:
        assert_same_rows(replay, (patterned_row(number) for number in range(21, 70)))
        replay.append(patterned_row(number) for number in range(200, 240))
    with open_replay(tmp_path / "replay") as replay:
        numbers = [*range(21, 70), *range(200, 240)]
        assert_same_rows(replay, (patterned_row(number) for number in numbers))


def test_a_flushed_replay_is_not_searched_after_a_restart(tmp_path: Path) -> None:
    fill(tmp_path / "replay", 90)
    tear(tmp_path / "replay", "action", 3)
    with open(tmp_path / "replay", "r+b") as file:
        file.seek(4096 + 16)
        file.write(b"0" * 36)
    with open_replay(tmp_path / "replay") as replay:
        assert len(replay) == 90


def test_a_replay_without_one_whole_row_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "replay", 10)
    for row in range(10):
        tear(tmp_path / "replay", "records", row)
    with pytest.raises(ReplayFormatError, match="none of its 10 rows is valid; restore the file"):
        open_replay(tmp_path / "replay")


def fill(path: Path, count: int) -> None:
    with open_replay(path) as replay:
        replay.append(patterned_row(number) for number in range(count))


def tear(path: Path, region: str, number: int) -> None:
    """Write zeros over half of an entry, as a page that never reached the disk."""
    offset, dtype, shape = ReplayFormat.read(path).regions[region]
    size = dtype.itemsize * (shape[1] if len(shape) > 1 else 1)
    with open(path, "r+b") as file:
        file.seek(offset + number % shape[0] * size + size // 2)
        file.write(bytes(size // 2))


def lose_power(path: Path) -> None:
    """Make the file look as if the machine had stopped before a flush: nothing synced, another boot."""
    with open(path, "r+b") as file:
        file.seek(4096 + 8)
        file.write(bytes(8) + b"0" * 36)

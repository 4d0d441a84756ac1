"""Damage inside stored rows: every flipped bit is noticed, sampling leaves the row out, and a repair drops it."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from replay_rows import LINEAGE, SHAPES, episode_rows, open_replay

from rlt_ros.cli.main import main
from rlt_ros.rlt.replay import Replay, ReplayError, ReplayLockedError
from rlt_ros.rlt.replay_format import ReplayFormat
from rlt_ros.rlt.replay_map import ReplayMap
from rlt_ros.rlt.replay_repair import check_replay, repair_replay
from rlt_ros.rlt.storage import StorageError, load_tensors, save_tensors

ROWS = 60


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "replay.rlt"
    with open_replay(path) as replay:
        replay.append([row for episode in range(6) for row in episode_rows(episode, 20)][:ROWS])
    return path


def _used(path: Path) -> list[int]:
    """Offsets of all bytes that stored rows consist of."""
    found = ReplayFormat.read(path)
    mapped = ReplayMap(path, found, writable=False)
    records = mapped.records[:ROWS].copy()
    mapped.close()
    states = sorted({*records["state"].tolist(), *records["next_state"].tolist()})
    offsets: list[int] = []
    for name, slots in (("records", range(ROWS)), ("action", range(ROWS)), ("z", states), ("rest", states)):
        start, dtype, shape = found.regions[name]
        width = dtype.itemsize * int(np.prod(shape[1:], dtype=int))
        offsets += [start + slot * width + byte for slot in slots for byte in range(width)]
    return offsets


def _flip(path: Path, offset: int, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ (1 << bit)]))


def _sampled_steps(path: Path, count: int = 4000) -> Replay:
    replay = Replay.attach(path, SHAPES, lineage=LINEAGE)
    replay.sample(count, torch.Generator().manual_seed(0))
    return replay


def test_each_of_200_flipped_bits_is_noticed_and_left_out(path: Path) -> None:
    choose, used = random.Random(0), _used(path)
    for _ in range(200):
        offset, bit = choose.choice(used), choose.randrange(8)
        _flip(path, offset, bit)
        damaged = check_replay(path).damaged
        assert damaged, offset
        _flip(path, offset, bit)
    assert not check_replay(path).damaged


def test_sampling_leaves_damaged_rows_out_and_counts_them(path: Path) -> None:
    found = ReplayFormat.read(path)
    start, record, _ = found.regions["records"]
    offset = start + 7 * record.itemsize + record.fields["reward"][1]  # type: ignore[index]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(np.float32(1e4).tobytes())
    with _sampled_steps(path) as replay:
        assert replay.damaged == 1
        batch = replay.sample(4000, torch.Generator().manual_seed(1))
        assert float(batch.reward.max()) < 1e4


def test_a_value_out_of_range_with_a_right_checksum_is_left_out(path: Path) -> None:
    """Rows of a version that took everything."""
    mapped = ReplayMap(path, ReplayFormat.read(path), writable=True)
    mapped.action[5, 0] = 5e31
    mapped.records["crc"][5] = mapped.checksum(mapped.records[5])
    mapped.close()
    assert [row.row for row in check_replay(path).damaged] == [5]
    with _sampled_steps(path) as replay:
        assert replay.damaged == 1
        assert float(replay.sample(4000).action.abs().max()) < 1e4


def test_a_replay_without_a_sound_row_is_refused(path: Path) -> None:
    mapped = ReplayMap(path, ReplayFormat.read(path), writable=True)
    mapped.rest[:] = float("nan")
    mapped.close()
    with Replay.attach(path, SHAPES, lineage=LINEAGE) as replay, pytest.raises(ReplayError, match="not one"):
        replay.sample(64)
    with pytest.raises(ReplayError, match="not one"):
        repair_replay(path)
    assert not list(path.parent.glob("*.damaged"))


def test_a_repair_drops_the_damaged_rows_alone_and_keeps_the_count_of_rows(path: Path) -> None:
    with Replay.attach(path, SHAPES, lineage=LINEAGE) as replay:
        before = [replay.window(index) for index in range(ROWS)]
    mapped = ReplayMap(path, ReplayFormat.read(path), writable=True)
    mapped.action[[3, 20, ROWS - 1]] += 1.0
    mapped.close()
    result, kept = repair_replay(path)
    assert [row.row for row in result.damaged] == [3, 20, ROWS - 1]
    assert kept is not None
    assert check_replay(kept).damaged == result.damaged
    assert check_replay(path) == dataclasses.replace(result, rows=ROWS - 3, damaged=())
    with open_replay(path) as replay:
        assert replay.total == ROWS
        sound = [row for number, row in enumerate(before) if number not in (3, 20, ROWS - 1)]
        for index, row in enumerate(sound):
            found = replay.window(index)
            assert (found.episode, found.step, found.reward) == (row.episode, row.step, row.reward)
            np.testing.assert_array_equal(found.next_z, row.next_z)
            np.testing.assert_array_equal(found.action, row.action)
        assert replay.append(episode_rows(99, 20)) > 0
        assert replay.sample(256).action.isfinite().all()
    assert repair_replay(path)[1] is None


def test_an_episode_is_dropped_by_name(path: Path) -> None:
    result, _ = repair_replay(path, frozenset({2}))
    assert {row.episode for row in result.damaged} == {2}
    with pytest.raises(ReplayError, match="no row of episode 2"):
        repair_replay(path, frozenset({2}))


def test_a_file_in_use_is_not_repaired(path: Path) -> None:
    with open_replay(path), pytest.raises(ReplayLockedError):
        repair_replay(path)


def test_the_command_names_damaged_rows_and_reports_what_it_did(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    offset = ReplayFormat.read(path).regions["action"][0]
    _flip(path, offset, 3)
    assert main(["replay", "check", str(path.parent), "--json"]) == 3
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["damaged"][0]["row"] == 0
    assert main(["replay", "repair", str(path)]) == 0
    assert f"dropped 1 of {ROWS} rows" in capsys.readouterr().out
    assert main(["replay", "check", str(path)]) == 0
    assert main(["replay", "check", str(path.parent / "none.rlt")]) == 2


def test_each_of_200_flipped_bits_of_a_checkpoint_is_refused(tmp_path: Path) -> None:
    choose, path = random.Random(0), tmp_path / "learner.safetensors"
    tensors = {name: torch.randn(5, 7, generator=torch.Generator().manual_seed(1)) for name in ("a", "b")}
    save_tensors(path, tensors, kind="rlt-learner", metadata={"note": "text"})
    size = path.stat().st_size
    for at in [*range(40), *(choose.randrange(size) for _ in range(160))]:
        bit = choose.randrange(8)
        _flip(path, at, bit)
        with pytest.raises(StorageError):
            load_tensors(path, kind="rlt-learner")
        _flip(path, at, bit)
    load_tensors(path, kind="rlt-learner")

"""Damage inside stored rows: every flipped bit is noticed, sampling leaves the row out, and a repair drops it."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from replay_rows import LINEAGE, SHAPES, episode_rows, open_replay, patterned_row

from rlt_ros.cli.main import main
from rlt_ros.replay.format import PAGE, ReplayFormat, ReplayFormatError
from rlt_ros.replay.map import ReplayMap
from rlt_ros.replay.repair import check_replay, repair_replay
from rlt_ros.replay.ring import Replay, ReplayError, ReplayLockedError
from rlt_ros.replay.verify import _in_range
from rlt_ros.rlt.ranges import out_of_range
from rlt_ros.store.storage import StorageError, load_tensors, save_tensors

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
    for name, slots in (("records", range(ROWS)), ("action", range(ROWS)), ("z", states), ("side", states)):
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


def _page_bytes(path: Path) -> list[int]:
    """Offsets of all bytes of the header and of the page of counters that mean something."""
    length = len(ReplayFormat.read(path).header())
    return [*range(length), *range(PAGE, PAGE + 52), *range(PAGE + 64, PAGE + 88)]


def test_each_of_200_flipped_bits_of_header_and_counters_is_noticed_and_loses_nothing(path: Path) -> None:
    choose, used = random.Random(1), _page_bytes(path)
    counters = [(PAGE + byte, bit) for byte in (*range(8), *range(64, 72)) for bit in range(8)]
    for offset, bit in [*counters, *((choose.choice(used), choose.randrange(8)) for _ in range(72))]:
        whole = path.read_bytes()
        _flip(path, offset, bit)
        if offset < PAGE:
            with pytest.raises(ReplayFormatError):
                check_replay(path)
        else:
            result = check_replay(path)
            assert result.counters, (offset, bit)
            assert result.rows == ROWS
            assert not result.damaged
            with Replay.attach(path, SHAPES, lineage=LINEAGE) as replay:
                assert len(replay) == ROWS
            with open_replay(path) as replay:
                assert replay.total == ROWS
            assert not check_replay(path).counters
        path.write_bytes(whole)


def _as_before(path: Path, count: int) -> None:
    """A file of the version that kept no copies of its counters."""
    with path.open("r+b") as file:
        file.seek(PAGE)
        file.write(count.to_bytes(8, "little"))
        file.seek(PAGE + 64)
        file.write(bytes(24))


def test_a_file_of_the_version_before_goes_on_and_gets_copies(path: Path) -> None:
    _as_before(path, ROWS)
    assert not check_replay(path).counters
    with open_replay(path) as replay:
        assert replay.total == ROWS
    _flip(path, PAGE, 4)
    assert check_replay(path).rows == ROWS


def test_a_version_before_that_appended_to_a_file_with_copies_loses_no_row(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(PAGE + 64)
        file.write(((ROWS - 20) ^ (2**64 - 1)).to_bytes(8, "little"))
    with open_replay(path) as replay:
        assert replay.total == ROWS


def test_a_smaller_count_without_a_copy_is_refused_and_repaired(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, rows = tmp_path / "replay.rlt", 200
    with open_replay(path, capacity=300) as replay:
        replay.append(patterned_row(number) for number in range(rows))
    _as_before(path, rows & ~128)
    assert check_replay(path).counters
    with pytest.raises(ReplayFormatError, match="replay repair"):
        open_replay(path, capacity=300)
    with pytest.raises(ReplayFormatError, match="replay repair"):
        Replay.attach(path, SHAPES, lineage=LINEAGE)
    assert main(["replay", "check", str(path)]) == 3
    assert "row 199 is stored; `rlt-ros replay repair` corrects it" in capsys.readouterr().out
    assert main(["replay", "repair", str(path)]) == 0
    assert "row 199 is stored; corrected" in capsys.readouterr().out
    with open_replay(path, capacity=300) as replay:
        assert len(replay) == rows


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


@given(
    value=st.one_of(st.floats(width=32), st.sampled_from([1e4, -1e4, 10008.0, -10008.0, 65504.0, -0.0])),
    at=st.integers(0, 15),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32]),
)
def test_the_range_is_the_same_for_a_block_of_rows_as_for_each_value(
    value: float, at: int, dtype: torch.dtype
) -> None:
    values = torch.linspace(-9000.0, 9000.0, 16).to(dtype)
    values[at] = value
    assert _in_range(values) == (not out_of_range(values.float()))


def test_a_replay_without_a_sound_row_is_refused(path: Path) -> None:
    mapped = ReplayMap(path, ReplayFormat.read(path), writable=True)
    mapped.side[:] = float("nan")
    mapped.close()
    with Replay.attach(path, SHAPES, lineage=LINEAGE) as replay, pytest.raises(ReplayError, match="none of"):
        replay.sample(64)
    with pytest.raises(ReplayError, match="none of"):
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

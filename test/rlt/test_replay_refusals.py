"""Inputs that a replay rejects, and its state afterwards."""

from __future__ import annotations

import dataclasses
import errno
import resource
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from replay_rows import (
    LINEAGE,
    SHAPES,
    assert_same_rows,
    episode_rows,
    open_replay,
    patterned_row,
)

from rlt_ros.replay.ring import (
    Replay,
    ReplayError,
    ReplayFormatError,
    ReplayFullError,
    ReplayLockedError,
)
from rlt_ros.rlt.windows import WindowError
from rlt_ros.store.lineage import Lineage, LineageError


def test_a_second_writer_is_refused_while_readers_are_welcome(tmp_path: Path) -> None:
    first = open_replay(tmp_path / "replay")
    with pytest.raises(ReplayLockedError, match=r"being written by process \d+; stop it, or attach"):
        open_replay(tmp_path / "replay")
    readers = [Replay.attach(tmp_path / "replay", SHAPES, lineage=LINEAGE) for _ in range(2)]
    first.append(episode_rows(0, 10))
    assert [len(reader) for reader in readers] == [5, 5]
    first.close()
    open_replay(tmp_path / "replay").close()


def test_a_reader_cannot_append(tmp_path: Path) -> None:
    open_replay(tmp_path / "replay").close()
    reader = Replay.attach(tmp_path / "replay", SHAPES, lineage=LINEAGE)
    with pytest.raises(ReplayError, match=r"attached for sampling; open\(\) it to append"):
        reader.append(episode_rows(0, 5))


def test_attaching_to_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(ReplayFormatError, match="there is no replay"):
        Replay.attach(tmp_path / "replay", SHAPES, lineage=LINEAGE)


@pytest.mark.parametrize("field", ["z", "next_proprio", "reference", "action"])
def test_a_row_with_nan_is_refused_and_nothing_of_its_batch_is_stored(tmp_path: Path, field: str) -> None:
    rows = episode_rows(0, 10)
    bad = getattr(rows[3], field).copy()
    bad.flat[0] = np.nan
    rows[3] = dataclasses.replace(rows[3], **{field: bad})
    with open_replay(tmp_path / "replay") as replay:
        with pytest.raises(WindowError, match=f"`{field}` of window 6 of episode 0 holds 1 values"):
            replay.append(rows)
        assert len(replay) == 0


@pytest.mark.parametrize("field", ["z", "next_z", "proprio", "reference", "action", "source"])
def test_a_row_of_another_shape_is_refused(tmp_path: Path, field: str) -> None:
    row = episode_rows(0, 10)[0]
    row = dataclasses.replace(row, **{field: getattr(row, field)[1:]})
    with (
        open_replay(tmp_path / "replay") as replay,
        pytest.raises(WindowError, match=f"`{field}` of window 0 of episode 0 has shape"),
    ):
        replay.append([row])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"valid": 0}, "`valid` of window 0 of episode 0 is 0, expected 1 to 4"),
        ({"next_valid": 5}, "`next_valid` of window 0 of episode 0 is 5, expected 1 to 4"),
        ({"terminated": True}, "terminated with discount"),
        ({"reward": float("inf")}, "`reward` and `discount` of window 0"),
    ],
)
def test_a_row_that_contradicts_itself_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    row = dataclasses.replace(episode_rows(0, 20)[0], **change)
    with open_replay(tmp_path / "replay") as replay, pytest.raises(WindowError, match=message):
        replay.append([row])


def test_a_token_out_of_range_is_refused(tmp_path: Path) -> None:
    row = episode_rows(0, 10)[0]
    row = dataclasses.replace(row, z=row.z + np.float32(70_000))
    with (
        open_replay(tmp_path / "replay", z_storage="float16") as replay,
        pytest.raises(WindowError, match=r"`z` of window 0 .* beyond ±10000"),
    ):
        replay.append([row])


def test_a_row_that_cannot_be_written_leaves_the_replay_usable(tmp_path: Path) -> None:
    rows = episode_rows(0, 10)
    too_large = dataclasses.replace(rows[1], episode=2**70)
    with open_replay(tmp_path / "replay") as replay:
        replay.append(rows[:1])
        with pytest.raises(OverflowError):
            replay.append([rows[1], too_large])
        assert_same_rows(replay, rows[:1])
        assert replay.append(rows) == len(rows) - 1
        assert_same_rows(replay, rows)


def test_a_row_of_another_lineage_is_refused(tmp_path: Path) -> None:
    row = dataclasses.replace(episode_rows(0, 10)[0], lineage=5)
    with (
        open_replay(tmp_path / "replay") as replay,
        pytest.raises(LineageError, match="window 0 of episode 0 has lineage 0000000000000005"),
    ):
        replay.append([row])


def test_a_replay_of_another_lineage_is_refused(tmp_path: Path) -> None:
    open_replay(tmp_path / "replay").close()
    other = Lineage(vla="v", token="another", stats="s")
    with pytest.raises(LineageError, match=r"replay .* was made by other parts: token is `t` there"):
        Replay.attach(tmp_path / "replay", SHAPES, lineage=other)
    with pytest.raises(LineageError, match="token is `t` there and `another` here"):
        Replay.open(tmp_path / "replay", SHAPES, 100, gamma=0.9, lineage=other, z_storage="float32")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shapes": dataclasses.replace(SHAPES, z_dim=9)}, r"`z_dim` 8 \(requested 9\)"),
        ({"shapes": dataclasses.replace(SHAPES, chunk=2)}, r"`chunk` 4 \(requested 2\)"),
        ({"capacity": 101}, r"`capacity` 100 \(requested 101\)"),
        ({"gamma": 0.99}, r"`gamma` 0.9 \(requested 0.99\)"),
        ({"z_storage": "float16"}, r"`z_storage` float32 \(requested float16\)"),
    ],
)
def test_a_replay_of_other_sizes_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    open_replay(tmp_path / "replay").close()
    asked = {"shapes": SHAPES, "capacity": 100, "gamma": 0.9, "z_storage": "float32", **change}
    with pytest.raises(ReplayFormatError, match=message):
        Replay.open(tmp_path / "replay", lineage=LINEAGE, **asked)


@pytest.mark.parametrize("content", [b"", b"RLT", b"PK\x03\x04" * 4000])
def test_a_foreign_file_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "replay").write_bytes(content)
    with pytest.raises(ReplayFormatError, match="is no replay file; give another path"):
        open_replay(tmp_path / "replay")
    assert (tmp_path / "replay").read_bytes() == content


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    open_replay(tmp_path / "replay").close()
    size = (tmp_path / "replay").stat().st_size
    with open(tmp_path / "replay", "r+b") as file:
        file.truncate(size - 4096)
    with pytest.raises(
        ReplayFormatError, match=f"has {size - 4096:,} bytes and its header promises {size:,}"
    ):
        open_replay(tmp_path / "replay")


def test_a_damaged_header_is_refused(tmp_path: Path) -> None:
    open_replay(tmp_path / "replay").close()
    content = (tmp_path / "replay").read_bytes()
    (tmp_path / "replay").write_bytes(content.replace(b'"capacity": 100', b'"capacity": 900', 1))
    with pytest.raises(ReplayFormatError, match="damaged header"):
        open_replay(tmp_path / "replay")


@pytest.mark.parametrize(
    ("change", "message"),
    [({"capacity": 0}, "capacity is 0"), ({"z_storage": "int8"}, "`z_storage` is `int8`; choose one of")],
)
def test_impossible_settings_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ReplayError, match=message):
        Replay.open(tmp_path / "replay", SHAPES, **{"capacity": 10, **change}, gamma=0.9, lineage=LINEAGE)
    assert list(tmp_path.iterdir()) == []


def test_a_file_beyond_the_size_limit_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(
            ReplayFullError, match=r"needs [\d,]+ bytes and [\d,]+ are free \(File too large\)"
        ):
            open_replay(tmp_path / "replay", capacity=100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [entry.name for entry in tmp_path.iterdir()] == ["replay.lock"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """A file system of 4 MB."""
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(tmp_path)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_a_full_disk_shows_at_creation_and_takes_nothing_from_existing_rows(small_disk: Path) -> None:
    rows = [patterned_row(number) for number in range(900)]
    with open_replay(small_disk / "replay", capacity=1000) as replay:
        replay.append(rows[:300])
        with open(small_disk / "filler", "wb", buffering=0) as filler, pytest.raises(OSError) as full:
            while True:
                filler.write(bytes(4096))
        assert full.value.errno == errno.ENOSPC
        with pytest.raises(ReplayFullError, match=r"needs [\d,]+ bytes and 0 are free .*Make room"):
            open_replay(small_disk / "another", capacity=1000)
        assert not (small_disk / "another").exists()
        replay.append(rows[300:])
    with open_replay(small_disk / "replay", capacity=1000) as replay:
        assert_same_rows(replay, rows)

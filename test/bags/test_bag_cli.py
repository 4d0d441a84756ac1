"""``rlt-ros bag to-replay``: exit status and reasons where a bag gives no rows."""

from __future__ import annotations

from pathlib import Path

import pytest
from bags import own, write_bag
from stream_source import SHAPES, stream

from rlt_ros.cli.main import main
from rlt_ros.cli.output import EXIT_EMPTY


def to_replay(bag: Path, out: Path) -> int:
    settings = ("--set", f"rlt.chunk={SHAPES.chunk}", "--set", "rlt.z_storage=float32")
    return main(["bag", "to-replay", str(bag), "--states", "recorded", "--out", str(out), *settings])


def test_a_bag_that_gives_no_rows_exits_with_its_own_status_and_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluated, cut_off = stream(1, evaluation=True), stream(2)
    bag = write_bag(tmp_path / "bag", own([*evaluated.records, *cut_off.records[:-1]]))
    assert to_replay(bag, tmp_path / "out") == EXIT_EMPTY == 3
    assert "the bags gave no rows: 1 × without end, e.g. episode 2" in capsys.readouterr().err


def test_a_bag_that_was_read_before_is_not_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag = write_bag(tmp_path / "bag", own(stream().records))
    assert [to_replay(bag, tmp_path / "out") for _ in range(2)] == [0, 0]
    assert "0 rows are new" in capsys.readouterr().out

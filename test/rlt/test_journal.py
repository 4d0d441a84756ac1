"""A run's journal keeps every whole line, whatever happened to the last one."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlt_ros.store.journal import Journal


def test_lines_come_back_in_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "a.jsonl")
    journal.append({"n": 1})
    journal.append({"n": 2})
    journal.close()
    assert Journal(tmp_path / "a.jsonl").records == [{"n": 1}, {"n": 2}]


@pytest.mark.parametrize("torn", [b'{"n": 3', b'{"n": 3}', b"\x00\x00\x00\n", b"[3]\n"])
def test_a_torn_last_line_is_dropped_and_the_next_one_is_whole(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"n": 1}\n' + torn)
    journal = Journal(path)
    assert journal.records == [{"n": 1}]
    journal.append({"n": 2})
    journal.close()
    assert path.read_bytes() == b'{"n": 1}\n{"n": 2}\n'


def test_what_json_cannot_say_is_refused_and_leaves_the_file_alone(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "a.jsonl")
    with pytest.raises(ValueError, match="JSON"):
        journal.append({"loss": float("nan")})
    assert (tmp_path / "a.jsonl").read_bytes() == b""

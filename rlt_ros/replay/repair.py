"""Check of every row of a replay, and repair of the file without its damaged rows."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlt_ros.replay.format import ReplayError, ReplayFormat, ReplayFormatError
from rlt_ros.replay.map import ReplayMap
from rlt_ros.replay.writer import RingWriter, lock_for_writing, read_window


@dataclasses.dataclass(frozen=True)
class DamagedRow:
    """Row that is excluded from learning.

    Attributes:
        row: number since the file was created.
        episode, step: identity, unreliable if the record itself is damaged.
        fault: description of the damage.
    """

    row: int
    episode: int
    step: int
    fault: str


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """Result of a check.

    Attributes:
        rows: stored rows.
        damaged: rows with a wrong checksum or a value out of range, oldest first.
        counters: damage of the counter page, one description each.
    """

    rows: int
    damaged: tuple[DamagedRow, ...]
    counters: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Result as plain values."""
        return dataclasses.asdict(self)


def check_replay(path: Path) -> CheckResult:
    """Verify the counters and the checksum and range of every stored row, also while another process writes the file.

    Raises:
        ReplayFormatError: the file does not exist, is foreign or truncated, or has a damaged header.
    """
    mapped = ReplayMap(path, _format(path), writable=False)
    try:
        return _check(mapped)
    finally:
        mapped.close()


def repair_replay(path: Path, drop_episodes: frozenset[int] = frozenset()) -> tuple[CheckResult, Path | None]:
    """Write the file again without its damaged rows and keep the original next to it.

    Damaged counters are corrected in the original. Rows keep their order, and the total number of rows stays, because
    updates per row depend on it.

    Args:
        path: the file; no other process may write it.
        drop_episodes: ids of episodes to drop.

    Returns:
        Check result with the dropped rows, and the path of the original; None if no row was dropped.

    Raises:
        ReplayLockedError: another process writes the file.
        ReplayError: no row is valid, or an episode to drop has no row.
    """
    found = _format(path)
    with lock_for_writing(path):
        mapped = ReplayMap(path, found, writable=True)
        try:
            counters = tuple(mapped.counter_faults())
            mapped.mend_counters()
            result = _with_episodes(mapped, _check(mapped), drop_episodes)
            result = dataclasses.replace(result, counters=counters)
            if not result.damaged:
                return result, None
            _copy(mapped, found, {damaged.row for damaged in result.damaged}, _unfinished(path))
        finally:
            mapped.close()
        before = path.with_name(f"{path.name}.damaged")
        os.replace(path, before)
        os.replace(_unfinished(path), path)
    return result, before


def _format(path: Path) -> ReplayFormat:
    if not path.is_file():
        raise ReplayFormatError(f"there is no replay {path}; give the file, for instance RUN/replay.rlt")
    return ReplayFormat.read(path)


def _check(mapped: ReplayMap) -> CheckResult:
    first, stop = mapped.checked_range()
    damaged = [_damaged(mapped, row, fault) for row, fault in mapped.faults(first, stop)]
    # A running writer may have overwritten the oldest rows meanwhile.
    oldest = mapped.checked_range()[0]
    stored = tuple(row for row in damaged if row.row >= oldest)
    return CheckResult(stop - first, stored, tuple(mapped.counter_faults()))


def _damaged(mapped: ReplayMap, row: int, fault: str) -> DamagedRow:
    record = mapped.records[row % mapped.format.row_slots]
    return DamagedRow(row, int(record["episode"]), int(record["step"]), fault)


def _with_episodes(mapped: ReplayMap, result: CheckResult, episodes: frozenset[int]) -> CheckResult:
    first, stop = mapped.checked_range()
    known = {row.row for row in result.damaged}
    named = [
        _damaged(mapped, row, "is of a dropped episode")
        for row in range(first, stop)
        if row not in known and int(mapped.records["episode"][row % mapped.format.row_slots]) in episodes
    ]
    missing = episodes - {row.episode for row in (*named, *result.damaged)}
    if missing:
        raise ReplayError(f"replay {mapped.path} holds no row of episode {min(missing)}; nothing was dropped")
    return CheckResult(result.rows, tuple(sorted((*result.damaged, *named), key=lambda row: row.row)))


def _copy(mapped: ReplayMap, found: ReplayFormat, left_out: set[int], path: Path) -> None:
    first, stop = mapped.checked_range()
    sound = [row for row in range(first, stop) if row not in left_out]
    if not sound:
        raise ReplayError(
            f"replay {mapped.path}: none of its {stop - first} rows would remain; "
            "restore the file, or start a new one"
        )
    found.create(path)
    copy = ReplayMap(path, found, writable=True)
    try:
        copy.mark_boot()
        writer = RingWriter(copy, start=stop - len(sound))
        writer.append(_windows(mapped, sound))
        copy.flush()
    finally:
        copy.close()


def _windows(mapped: ReplayMap, rows: list[int]) -> Iterator[Any]:
    for row in rows:
        yield read_window(mapped, row)


def _unfinished(path: Path) -> Path:
    return path.with_name(f"{path.name}.repaired")

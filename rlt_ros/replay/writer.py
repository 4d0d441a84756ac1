"""Writer of the replay: detection of new rows, reuse of stored states, eviction of old rows."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from rlt_ros.replay.format import STATE_REUSE_WINDOW, WRITE_AHEAD_ROWS, ReplayLockedError
from rlt_ros.replay.map import ReplayMap
from rlt_ros.rlt.transition import FloatArray, RowOutcome, Window, lineage_id
from rlt_ros.store.lineage import LineageError

SCALARS = (
    "episode", "step", "lineage", "reward", "discount", "valid", "next_valid", "terminated", "truncated",
)  # fmt: skip
"""Fields common to a window and its record."""


class RingWriter:
    """Single writer of a mapped replay, see :func:`lock_for_writing`."""

    def __init__(self, mapped: ReplayMap, *, start: int | None = None) -> None:
        """Continue the file, or give the first row of an empty one the number ``start``."""
        self._map, self._format = mapped, mapped.format
        self._lineage_id = lineage_id(mapped.format.lineage)
        self._resume()
        if start is not None:
            self._first = self._stop = start

    def append(self, windows: Iterable[Window]) -> int:
        """Append windows, see :meth:`rlt_ros.replay.ring.Replay.append`."""
        fresh: dict[tuple[int, int], Window] = {}
        for window in windows:
            self._check(window)
            key = (window.episode, window.step)
            if key not in self._keys:
                fresh.setdefault(key, window)
        try:
            for count, window in enumerate(fresh.values(), 1):
                self._write(window)
                if count % WRITE_AHEAD_ROWS == 0 or count == len(fresh):
                    self._map.publish(self._stop)
        # Also on Ctrl-C: unpublished rows do not exist, so the writer's indices must not contain them.
        except BaseException:
            self._resume()
            raise
        return len(fresh)

    def _resume(self) -> None:
        """Rebuild the indices from the file: keys of stored rows and the newest reusable states."""
        self._first, self._stop = self._map.valid_range()
        records = self._map.gather_records(torch.arange(self._first, self._stop) % self._format.row_slots)
        self._keys = set(zip(records["episode"].tolist(), records["step"].tolist(), strict=True))
        self._states_end = int(records["states_end"][-1]) if len(records) else 0
        self._recent: dict[tuple[int, int], int] = {}
        for record in records[-STATE_REUSE_WINDOW:]:
            episode, step, valid = (int(record[name]) for name in ("episode", "step", "valid"))
            self._recent[episode, step] = int(record["state"])
            if not record["terminated"]:
                self._recent[episode, step + valid] = int(record["next_state"])

    def _check(self, window: Window) -> None:
        window.check(self._format.shapes)
        if window.lineage != self._lineage_id:
            raise LineageError(
                f"window {window.step} of episode {window.episode} has lineage {window.lineage:016x}, replay "
                f"{self._map.path} has {self._lineage_id:016x}: other frozen parts made it; give another path"
            )

    def _write(self, window: Window) -> None:
        """Write the next row into slots that no stored row uses; publishing it is a separate step."""
        row = self._stop
        slot = row % self._format.row_slots
        own = (window.episode, window.step)
        after = own if window.terminated else (window.episode, window.step + window.valid)
        record = np.zeros(1, self._format.record)
        record["row"], record["lineage"] = row, window.lineage
        record["state"] = self._state(own, window.z, window.proprio, window.reference)
        record["next_state"] = self._state(after, window.next_z, window.next_proprio, window.next_reference)
        record["states_end"], record["oldest_row"] = self._states_end, self._evict(row + 1)
        record["source"], record["outcome"] = window.source, window.outcome
        for name in SCALARS:
            record[name] = getattr(window, name)
        self._map.action[slot].copy_(torch.tensor(window.action).reshape(-1))
        record["crc"] = self._map.checksum(record[0])
        self._map.records[slot] = record[0]
        self._keys.add(own)
        self._stop = row + 1

    def _state(self, key: tuple[int, int], z: FloatArray, proprio: FloatArray, reference: FloatArray) -> int:
        """Number of an equal stored state with ``key``; writes the state if there is none."""
        token = torch.tensor(z, dtype=self._format.z_dtype)
        side = torch.from_numpy(np.concatenate((proprio, reference.reshape(-1)), dtype=np.float32))
        known = self._recent.get(key, -1)
        if known >= max(0, self._states_end - STATE_REUSE_WINDOW):
            slot = known % self._format.state_slots
            if torch.equal(self._map.z[slot], token) and torch.equal(self._map.side[slot], side):
                return known
        number = self._states_end
        slot = number % self._format.state_slots
        self._map.z[slot].copy_(token)
        self._map.side[slot].copy_(side)
        self._states_end = number + 1
        # Remove and insert, to keep the dictionary ordered by age.
        self._recent.pop(key, None)
        self._recent[key] = number
        if len(self._recent) > 2 * STATE_REUSE_WINDOW:
            self._recent.pop(next(iter(self._recent)))
        return number

    def _evict(self, stop: int) -> int:
        """Evict rows to make room for row ``stop - 1``; returns the oldest valid row."""
        layout = self._format
        while stop - self._first > layout.capacity or (
            self._first < stop - 1
            and self._states_end - self._states_before(self._first) > layout.live_states
        ):
            record = self._map.records[self._first % layout.row_slots]
            self._keys.discard((int(record["episode"]), int(record["step"])))
            self._first += 1
        return self._first

    def _states_before(self, row: int) -> int:
        """Number of states written when a row was complete."""
        return int(self._map.records["states_end"][row % self._format.row_slots])


def read_window(mapped: ReplayMap, row: int) -> Window:
    """Read the stored row with number ``row``; only its token is rounded to ``z_storage``."""
    shapes = mapped.format.shapes
    record = mapped.records[row % mapped.format.row_slots]
    chunk = (shapes.chunk, shapes.action_dim)
    arrays: dict[str, Any] = {}
    for state in ("", "next_"):
        slot = int(record[f"{state}state"]) % mapped.format.state_slots
        side = mapped.side[slot].numpy().copy()
        arrays[f"{state}z"] = mapped.z[slot].float().numpy().copy()
        arrays[f"{state}proprio"] = side[: shapes.proprio_dim]
        arrays[f"{state}reference"] = side[shapes.proprio_dim :].reshape(chunk)
    return Window(
        action=mapped.action[row % mapped.format.row_slots].numpy().reshape(chunk).copy(),
        outcome=RowOutcome(int(record["outcome"])),
        source=record["source"].copy(),
        **arrays,
        **{name: record[name].item() for name in SCALARS},
    )


def lock_for_writing(path: Path) -> IO[bytes]:
    """Take the writer's lock. The kernel releases it at every end of the process."""
    lock = open(f"{path}.lock", "a+b", buffering=0)  # noqa: SIM115 - lives as long as the replay
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        owner = lock.read().decode(errors="replace").strip() or "unknown"
        lock.close()
        raise ReplayLockedError(
            f"replay {path} is being written by process {owner}; stop it, or attach() to sample from it"
        ) from None
    # The owner is for the message above; on a full disk the lock works without it.
    with contextlib.suppress(OSError):
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n".encode())
    return lock

"""Episode numbers of a bag in the replay: no episode is stored twice, and none replaces another.

An episode keeps its number if the replay has the same rows, or none, under it. If another run uses the number, it gets
an offset derived from the bag's identity. The same bag therefore always gets the same numbers, and stored episodes are
recognised.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from rlt_ros.replay.episode_assembler import LARGEST_EPISODE
from rlt_ros.replay.ring import Replay
from rlt_ros.rlt.transition import Window
from rlt_ros.store.lineage import fingerprint


class StoredRows:
    """Lookup of an episode's rows in a growing replay.

    Args:
        replay: returns the replay, None before it exists.
    """

    def __init__(self, replay: Callable[[], Replay | None]) -> None:
        self._replay, self._seen = replay, 0
        # Episode → its absolute rows.
        self._rows: dict[int, list[int]] = defaultdict(list)

    def of(self, episode: int) -> dict[int, Window]:
        """Step → stored row of an episode."""
        replay = self._replay()
        if replay is None:
            return {}
        start, episodes, _, _ = replay.row_labels(self._seen)
        for row, number in enumerate(episodes.tolist(), start):
            self._rows[number].append(row)
        self._seen = start + len(episodes)
        first = replay.total - len(replay)
        windows = (replay.window(row - first) for row in self._rows.get(episode, ()) if row >= first)
        return {window.step: window for window in windows}


class Numbering:
    """Assignment of episode numbers for one robot of a bag.

    Args:
        stored: stored rows.
        z_type: type of stored tokens.
        source: identity of this bag and robot.

    Attributes:
        moved: episodes that changed their number.
    """

    def __init__(self, stored: StoredRows, z_type: torch.dtype, source: str) -> None:
        self._stored, self._z_type, self._source = stored, z_type, source
        self.moved = 0

    def place(self, windows: list[Window]) -> list[Window]:
        """Rows of an episode under the number of their storage."""
        episode = windows[0].episode
        for attempt in itertools.count():
            number = episode + self._offset(attempt)
            if self._fits(number, windows):
                self.moved += attempt > 0
                return [dataclasses.replace(window, episode=number) for window in windows]
        raise AssertionError

    def _offset(self, attempt: int) -> int:
        if attempt == 0:
            return 0
        made = fingerprint(f"{self._source}\0{attempt}".encode())
        return (1 + int(made[:5], 16)) * LARGEST_EPISODE

    def _fits(self, number: int, windows: list[Window]) -> bool:
        """True if the replay has no rows under a number, or the same ones."""
        there = self._stored.of(number)
        if not there:
            return True
        common = [window for window in windows if window.step in there]
        return bool(common) and all(same_row(there[one.step], one, self._z_type) for one in common)


def same_row(stored: Window, made: Window, z_type: torch.dtype) -> bool:
    """True if a stored row equals a new one, apart from the episode's number."""
    for field in dataclasses.fields(Window):
        if field.name != "episode" and not np.array_equal(
            _as_stored(field.name, getattr(stored, field.name), z_type),
            _as_stored(field.name, getattr(made, field.name), z_type),
        ):
            return False
    return True


def _as_stored(name: str, value: Any, z_type: torch.dtype) -> Any:
    if name in ("z", "next_z"):
        return torch.from_numpy(value).to(z_type).float().numpy()
    return np.float32(value) if name in ("reward", "discount") else value

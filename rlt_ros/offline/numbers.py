"""Under which numbers the episodes of a bag are stored, so that none is stored twice and none takes another's place.

An episode that the replay has with the same rows, or does not have, keeps its number. Where it has another one of that
number, from another run, the number gets an offset that the bag's identity makes. So the same bag leads to the same
numbers whenever it is read, and what is there already is recognised.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from rlt_ros.rlt.assembly import LARGEST_EPISODE
from rlt_ros.rlt.lineage import fingerprint
from rlt_ros.rlt.replay import Replay
from rlt_ros.rlt.transition import Window


class StoredRows:
    """Finds the rows of an episode in a replay that grows.

    Args:
        replay: gives the replay, None while there is none.
    """

    def __init__(self, replay: Callable[[], Replay | None]) -> None:
        self._replay, self._seen = replay, 0
        self._rows: dict[int, list[int]] = defaultdict(
            list
        )  # episode → its rows, counted since the file was made

    def of(self, episode: int) -> dict[int, Window]:
        """Step → row, of those that are stored."""
        replay = self._replay()
        if replay is None:
            return {}
        start, episodes, _, _ = replay.labels(self._seen)
        for row, number in enumerate(episodes.tolist(), start):
            self._rows[number].append(row)
        self._seen = start + len(episodes)
        first = replay.total - len(replay)
        windows = (replay.window(row - first) for row in self._rows.get(episode, ()) if row >= first)
        return {window.step: window for window in windows}


class Numbering:
    """Places the episodes of one robot of a bag.

    Args:
        stored: rows that are there.
        z_type: type in which tokens are stored.
        source: what tells this bag and robot from all others.

    Attributes:
        moved: episodes that did not keep their number.
    """

    def __init__(self, stored: StoredRows, z_type: torch.dtype, source: str) -> None:
        self._stored, self._z_type, self._source = stored, z_type, source
        self.moved = 0

    def place(self, windows: list[Window]) -> list[Window]:
        """The rows of an episode under the number at which they are, or may be, stored."""
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
        """Return whether nothing is stored under a number, or only what is the same."""
        there = self._stored.of(number)
        if not there:
            return True
        common = [window for window in windows if window.step in there]
        return bool(common) and all(same_row(there[one.step], one, self._z_type) for one in common)


def same_row(stored: Window, made: Window, z_type: torch.dtype) -> bool:
    """Return whether a row that was stored is the one that was made, whatever their episodes are called."""
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

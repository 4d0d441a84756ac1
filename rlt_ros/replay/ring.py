"""Durable replay: a memory-mapped ring of windows that one process appends to and any number sample from.

    with Replay.open(path, shapes, 200_000, gamma=0.99, lineage=lineage) as replay:    # the writer
        replay.append(builder.add_step(step))

    replay = Replay.attach(path, shapes, lineage=lineage)                              # the learner
    batch = replay.sample(256, generator)

A batch is gathered directly from the file's pages, without messages. The writer never waits for a reader. After
gathering, a reader draws rows again that were overwritten in the meantime.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from rlt_ros.replay.format import (
    ReplayError,
    ReplayFormat,
    ReplayFormatError,
    ReplayFullError,
    ReplayLockedError,
)
from rlt_ros.replay.map import ReplayMap, memory_fence
from rlt_ros.replay.sound import SoundRows
from rlt_ros.replay.verify import GatheredRows
from rlt_ros.replay.writer import RingWriter, lock_for_writing, read_window
from rlt_ros.rlt.batch import Batch
from rlt_ros.rlt.config import Shapes
from rlt_ros.rlt.transition import RowOutcome, Source, Window
from rlt_ros.store.lineage import Lineage

__all__ = [
    "Replay",
    "ReplayError",
    "ReplayFormat",
    "ReplayFormatError",
    "ReplayFullError",
    "ReplayLockedError",
    "ReplayStats",
]


@dataclasses.dataclass(frozen=True)
class ReplayStats:
    """Statistics of the stored rows.

    Attributes:
        rows: stored rows.
        episodes: different episodes, finished or not.
        successes: episodes that terminated with a reward.
        failures: episodes that terminated without one.
        truncations: truncated episodes (time-out, abort).
        steps: executed steps in all windows; a step counts once per window.
        human_share: share of those steps that a human commanded, 0..1.
    """

    rows: int
    episodes: int
    successes: int
    failures: int
    truncations: int
    steps: int
    human_share: float


class RowLabels(NamedTuple):
    """Labels of N successive rows.

    Attributes:
        start: absolute number of the first row, counted since the file was created.
        episodes: (N,) episode id of each row.
        outcomes: (N,) :class:`RowOutcome` of each row.
        human: (N,) True if a human acted in the row.
    """

    start: int
    episodes: NDArray[np.int64]
    outcomes: NDArray[np.uint8]
    human: NDArray[np.bool_]


class Replay:
    """Replay file, opened by :meth:`open` (to write and sample) or :meth:`attach` (to sample)."""

    def __init__(self, mapped: ReplayMap, lock: IO[bytes] | None) -> None:
        self._map, self._lock, self._shapes = mapped, lock, mapped.format.shapes
        self._writer = None if lock is None else RingWriter(mapped)
        self._sound = SoundRows(mapped)

    @classmethod
    def open(
        cls,
        path: str | Path,
        shapes: Shapes,
        capacity: int,
        *,
        gamma: float,
        lineage: Lineage,
        z_storage: str = "float16",
    ) -> Replay:
        """Open the replay for writing; creates a missing file, with all its bytes.

        Args:
            path: the file; ``<path>.lock`` next to it is the writer's lock.
            shapes: sizes of states and actions.
            capacity: rows kept.
            gamma: discount per control step of the windows' rewards.
            lineage: frozen parts that make the rows.
            z_storage: type of stored and sampled tokens.

        Raises:
            ReplayLockedError: another process writes this file.
            ReplayFullError: the disk has no room for the file.
            ReplayFormatError: the file is foreign, truncated, or was made with other sizes.
            LineageError: the file holds rows of other frozen parts.
        """
        path = Path(path)
        wanted = ReplayFormat(shapes, capacity, z_storage, gamma, lineage)
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = lock_for_writing(path)
        try:
            if not path.exists():
                wanted.create(path)
            found = ReplayFormat.read(path)
            wanted.require_fits(found, path)
            mapped = ReplayMap(path, found, writable=True)
            mapped.repair()
            return cls(mapped, lock)
        except BaseException:
            lock.close()
            raise

    @classmethod
    def attach(cls, path: str | Path, shapes: Shapes, *, lineage: Lineage) -> Replay:
        """Open an existing replay for sampling, also while another process writes it.

        Raises:
            ReplayFormatError: the file does not exist, is foreign or truncated, or was made with other shapes.
            LineageError: the file holds rows of other frozen parts.
        """
        path = Path(path)
        if not path.exists():
            raise ReplayFormatError(f"there is no replay {path}; start the process that writes it first")
        found = ReplayFormat.read(path)
        dataclasses.replace(found, shapes=shapes, lineage=lineage).require_fits(found, path)
        mapped = ReplayMap(path, found, writable=False)
        mapped.require_count()
        return cls(mapped, None)

    @property
    def format(self) -> ReplayFormat:
        """Sizes, types and lineage of the file."""
        return self._map.format

    @property
    def total(self) -> int:
        """Rows stored since the file was created, including overwritten ones; the base of updates per row."""
        return self._map.committed

    def __len__(self) -> int:
        first, stop = self._map.valid_range()
        return stop - first

    def sample(self, batch_size: int, generator: Generator | None = None) -> Batch:
        """Draw ``batch_size`` rows, uniformly and with replacement, as copies.

        Tokens keep their storage type. Rows with a wrong checksum or values out of range are excluded and counted, see
        :attr:`damaged`. Raises :class:`ReplayError` while the replay holds no valid row.
        """
        first, stop = self._sound.valid_range()
        rows = torch.randint(first, stop, (batch_size,), generator=generator)
        while True:
            gathered = self._map.gather(rows)
            memory_fence()
            first, stop = self._sound.valid_range()
            # Rows that were overwritten meanwhile and damaged rows are drawn again.
            again = (rows < first) | self._sound.excluded(rows)
            if not bool(again.any()):
                return self._batch(gathered)
            rows[again] = torch.randint(first, stop, (int(again.sum()),), generator=generator)

    @property
    def damaged(self) -> int:
        """Damaged rows, excluded from sampling."""
        return self._sound.damaged

    def window(self, index: int) -> Window:
        """Stored row ``index``, 0 being the oldest; only its token is rounded to ``z_storage``."""
        first, stop = self._map.valid_range()
        if not 0 <= index < stop - first:
            raise ReplayError(
                f"row {index} does not exist: replay {self._map.path} holds {stop - first} rows; give a smaller index"
            )
        return read_window(self._map, first + index)

    def stats(self) -> ReplayStats:
        """Count the stored rows by their small records: milliseconds for 200,000 rows."""
        first, stop = self._map.valid_range()
        records = self._records(torch.arange(first, stop))
        memory_fence()
        records = records[max(0, self._map.valid_range()[0] - first) :]
        outcomes = np.bincount(records["outcome"], minlength=len(RowOutcome))
        steps = int(records["valid"].sum())
        return ReplayStats(
            rows=len(records),
            episodes=len(np.unique(records["episode"])),
            successes=int(outcomes[RowOutcome.SUCCESS]),
            failures=int(outcomes[RowOutcome.FAILURE]),
            truncations=int(outcomes[RowOutcome.TRUNCATED]),
            steps=steps,
            human_share=float((records["source"] == Source.HUMAN).sum()) / max(1, steps),
        )

    def row_labels(self, first: int = 0) -> RowLabels:
        """Episode id, outcome and human flag of all rows from absolute row ``first``."""
        while True:
            start, stop = self._map.valid_range()
            start = max(start, min(first, stop))
            records = self._records(torch.arange(start, stop))
            memory_fence()
            if self._map.valid_range()[0] <= start:
                human = (records["source"] == Source.HUMAN).any(axis=1)
                return RowLabels(start, records["episode"].copy(), records["outcome"].copy(), human)

    def append(self, windows: Iterable[Window]) -> int:
        """Store windows, oldest first; returns the number of new ones. A stored (episode, step) is not replaced.

        All windows are checked before the first is stored. On return they are safe from a crash of the process.

        Raises:
            WindowError: a window of wrong shape, or with a value out of range (`rlt_ros.rlt.ranges`).
            LineageError: a window made by other frozen parts than the file's.
        """
        if self._writer is None:
            raise ReplayError(f"replay {self._map.path} was attached for sampling; open() it to append")
        return self._writer.append(windows)

    def flush(self) -> None:
        """Wait until all rows are on the disk, safe from a power failure; for checkpoints."""
        self._map.flush()

    def close(self) -> None:
        """Close the file; the writer flushes it first."""
        if self._lock is not None:
            self._map.flush()
            self._lock.close()
            self._lock = self._writer = None
        self._map.close()

    def __enter__(self) -> Replay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _records(self, rows: Tensor) -> NDArray[Any]:
        return self._map.gather_records(rows % self.format.row_slots)

    def _batch(self, gathered: GatheredRows) -> Batch:
        """Views of the copies as a batch."""
        records, action, z, side = gathered
        shapes, count = self._shapes, len(records)
        proprio = side[:, : shapes.proprio_dim]
        reference = side[:, shapes.proprio_dim :].unflatten(1, (shapes.chunk, shapes.action_dim))
        return Batch(
            z=z[:count],
            proprio=proprio[:count],
            reference=reference[:count],
            action=action.view(count, shapes.chunk, shapes.action_dim),
            reward=_column(records, "reward"),
            discount=_column(records, "discount"),
            next_z=z[count:],
            next_proprio=proprio[count:],
            next_reference=reference[count:],
            valid=_column(records, "valid").long(),
            next_valid=_column(records, "next_valid").long(),
            terminated=_column(records, "terminated"),
            truncated=_column(records, "truncated"),
            human=torch.from_numpy(records["source"] == Source.HUMAN),
        )


def _column(records: NDArray[Any], name: str) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(records[name]))

"""Durable replay: a memory-mapped ring of windows that one process appends to and any number sample from.

    with Replay.open(path, shapes, 200_000, gamma=0.99, lineage=lineage) as replay:    # the writer
        replay.append(builder.add_step(step))

    replay = Replay.attach(path, shapes, lineage=lineage)                              # the learner
    batch = replay.sample(256, generator)

Nothing is sent from one to the other: a batch is gathered straight from the file's pages. The writer never
waits for a reader. A reader checks after gathering that none of its rows was written over in the meantime,
and draws those anew.
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

from rlt_ros.rlt.batch import Batch
from rlt_ros.rlt.config import Shapes
from rlt_ros.rlt.lineage import Lineage
from rlt_ros.rlt.replay_format import (
    ReplayError,
    ReplayFormat,
    ReplayFormatError,
    ReplayFullError,
    ReplayLockedError,
)
from rlt_ros.rlt.replay_map import ReplayMap, memory_fence
from rlt_ros.rlt.replay_sound import SoundRows
from rlt_ros.rlt.replay_verify import GatheredRows
from rlt_ros.rlt.replay_writer import RingWriter, lock_for_writing, read_window
from rlt_ros.rlt.transition import Outcome, Source, Window

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
    """What the stored rows contain, counted from the rows themselves.

    Attributes:
        rows: stored rows.
        episodes: different episodes among them, finished or not.
        successes: episodes that terminated with a reward.
        failures: episodes that terminated without one.
        truncations: episodes that were cut (time-out, abort).
        steps: executed steps in all windows; a step counts once for each window that holds it.
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
    """What is known of N successive rows without their states.

    Attributes:
        start: number of the first row, since the file was created.
        episodes: (N,) whose each row is.
        outcomes: (N,) :class:`Outcome` of each row.
        human: (N,) whether a human acted in it.
    """

    start: int
    episodes: NDArray[np.int64]
    outcomes: NDArray[np.uint8]
    human: NDArray[np.bool_]


class Replay:
    """See the module. Made by :meth:`open` (writes and samples) or :meth:`attach` (samples)."""

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
        """Open the replay for writing; creates the file, with all its bytes, where there is none.

        Args:
            path: the file; ``<path>.lock`` beside it tells writers of each other.
            shapes: sizes of states and actions.
            capacity: rows kept.
            gamma: discount per control step behind the windows' rewards.
            lineage: frozen parts that make the rows.
            z_storage: type in which tokens are stored and sampled.

        Raises:
            ReplayLockedError: another process writes this file.
            ReplayFullError: no room for the file.
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
            ReplayFormatError: there is no such file, it is foreign or truncated, or was made with other
                shapes.
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

    @staticmethod
    def bytes_needed(shapes: Shapes, capacity: int, *, z_storage: str = "float16") -> int:
        """Bytes that a replay of this size takes on the disk, all of them from the start."""
        return ReplayFormat(shapes, capacity, z_storage, 1.0, Lineage()).nbytes

    @property
    def format(self) -> ReplayFormat:
        """Sizes, types and lineage of the file."""
        return self._map.format

    @property
    def total(self) -> int:
        """Rows stored since the file was created, overwritten ones too; what updates per row are paid for."""
        return self._map.committed

    def __len__(self) -> int:
        first, stop = self._map.living()
        return stop - first

    def sample(self, batch_size: int, generator: Generator | None = None) -> Batch:
        """``batch_size`` rows, uniformly and with replacement, as tensors of their own.

        Tokens keep the type in which they are stored. Rows whose checksum differs or whose values are out of range are
        left out and counted, see :attr:`damaged`. Raises :class:`ReplayError` while the replay holds no sound row.
        """
        first, stop = self._sound.living()
        rows = torch.randint(first, stop, (batch_size,), generator=generator)
        while True:
            gathered = self._map.gather(rows)
            memory_fence()
            first, stop = self._sound.living()
            # Rows that were overwritten meanwhile are drawn again, as damaged ones are.
            again = (rows < first) | self._sound.excluded(rows)
            if not bool(again.any()):
                return self._batch(gathered)
            rows[again] = torch.randint(first, stop, (int(again.sum()),), generator=generator)

    @property
    def damaged(self) -> int:
        """Stored rows that were found damaged and are never sampled."""
        return self._sound.damaged

    def window(self, index: int) -> Window:
        """The stored row ``index``, 0 being the oldest; only its token is rounded to ``z_storage``."""
        first, stop = self._map.living()
        if not 0 <= index < stop - first:
            raise ReplayError(f"row {index} was asked for; replay {self._map.path} holds {stop - first} rows")
        return read_window(self._map, first + index)

    def stats(self) -> ReplayStats:
        """Count what the stored rows contain. Reads the small records only: milliseconds for 200,000 rows."""
        first, stop = self._map.living()
        records = self._records(torch.arange(first, stop))
        memory_fence()
        records = records[max(0, self._map.living()[0] - first) :]
        outcomes = np.bincount(records["outcome"], minlength=len(Outcome))
        steps = int(records["valid"].sum())
        return ReplayStats(
            rows=len(records),
            episodes=len(np.unique(records["episode"])),
            successes=int(outcomes[Outcome.SUCCESS]),
            failures=int(outcomes[Outcome.FAILURE]),
            truncations=int(outcomes[Outcome.TRUNCATED]),
            steps=steps,
            human_share=float((records["source"] == Source.HUMAN).sum()) / max(1, steps),
        )

    def labels(self, first: int = 0) -> RowLabels:
        """Whose the rows are, how these ended and who acted, from row ``first`` since the file was created."""
        while True:
            start, stop = self._map.living()
            start = max(start, min(first, stop))
            records = self._records(torch.arange(start, stop))
            memory_fence()
            if self._map.living()[0] <= start:
                human = (records["source"] == Source.HUMAN).any(axis=1)
                return RowLabels(start, records["episode"].copy(), records["outcome"].copy(), human)

    def append(self, windows: Iterable[Window]) -> int:
        """Store windows, oldest first; returns how many were new. A stored (episode, step) stays as it is.

        All windows are checked before the first is stored. They are safe from a crash of the process when
        this returns.

        Raises:
            WindowError: a window of wrong shape, or with a value out of range (`rlt_ros.rlt.ranges`).
            LineageError: a window made by other frozen parts than the file's.
        """
        if self._writer is None:
            raise ReplayError(f"replay {self._map.path} was attached for sampling; open() it to append")
        return self._writer.append(windows)

    def flush(self) -> None:
        """Wait until all rows are on the disk, against a power failure; for checkpoints."""
        self._map.flush()

    def close(self) -> None:
        """Flush, where this is the writer, and let go of the file."""
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
        records, action, z, rest = gathered
        shapes, count = self._shapes, len(records)
        proprio = rest[:, : shapes.proprio_dim]
        reference = rest[:, shapes.proprio_dim :].unflatten(1, (shapes.chunk, shapes.action_dim))
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

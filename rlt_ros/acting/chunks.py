"""Current and next action chunk by control step; late, repeated and foreign chunks are refused."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlt_ros.acting.records import InputRefused
from rlt_ros.replay.stream import ActionChunk
from rlt_ros.robots.action_space import ActionSpace
from rlt_ros.robots.safety import Reference
from rlt_ros.robots.turns import Mask
from rlt_ros.store.lineage import FROZEN_PARTS, Lineage

Array = NDArray[np.float64]

# ns, greatest difference of the clocks of two machines.
_MAX_CLOCK_SKEW = 100_000_000


class ChunkRefused(InputRefused):
    """Unusable chunk."""


@dataclass(frozen=True)
class Row:
    """One step of a chunk.

    Attributes:
        chunk: of the row.
        index: of the row in its chunk.
        target: (A,) rad, chosen by the policy.
        reference: target proposed by the VLA.
    """

    chunk: ActionChunk
    index: int
    target: Array
    reference: Reference


class _ScheduledChunk:
    """Chunk with the control step of its first row."""

    def __init__(self, chunk: ActionChunk, first: int, continuous: Mask | None) -> None:
        self.chunk, self.first = chunk, first
        anchor, self.unit = chunk.anchor.astype(np.float64), chunk.scale.astype(np.float64)
        space = ActionSpace(self.unit, continuous)
        self.targets = space.decode(anchor, chunk.action.astype(np.float64))
        self.references = space.decode(anchor, chunk.reference.astype(np.float64))

    @property
    def end(self) -> int:
        return self.first + len(self.targets)

    def row(self, step: int) -> Row | None:
        if not self.first <= step < self.end:
            return None
        index = step - self.first
        return Row(self.chunk, index, self.targets[index], Reference(self.references[index], self.unit))


class ChunkBuffer:
    """Scheduled chunks of one episode.

    Args:
        dim: joints A of the arm.
        max_age: s, greatest age of a chunk's observation.
        continuous: (A,) joints that turn without end; None for none.
    """

    def __init__(self, dim: int, max_age: float, continuous: Mask | None = None) -> None:
        self._dim, self._max_age, self._continuous = dim, round(max_age * 1e9), continuous
        self._current: _ScheduledChunk | None = None
        self._next: _ScheduledChunk | None = None
        # Stamp and id of the newest chunk.
        self._newest = (0, 0)
        self._lineage: Lineage | None = None
        self._episode = 0

    def begin(self, episode: int) -> None:
        """Begin an episode; its first chunk sets the lineage of all."""
        self.clear()
        self._episode, self._newest, self._lineage = episode, (0, 0), None

    def clear(self) -> None:
        """Drop the plan."""
        self._current = self._next = None

    def check(self, chunk: ActionChunk, now: int) -> None:
        """Raise :class:`ChunkRefused` unless a chunk received at ROS time `now`, ns, may be executed."""
        name = f"chunk {chunk.chunk} for step {chunk.step}"
        if len(chunk.anchor) != self._dim:
            raise ChunkRefused(
                "wrong shape", f"{name} moves {len(chunk.anchor)} joints; the arm has {self._dim}"
            )
        if chunk.episode != self._episode:
            raise ChunkRefused(
                "other episode", f"{name} is of episode {chunk.episode}; episode {self._episode} runs"
            )
        if now - chunk.stamp > self._max_age:
            raise ChunkRefused(
                "stale chunk", f"the observation of {name} is {(now - chunk.stamp) * 1e-9:.2f} s old"
            )
        if chunk.stamp - now > _MAX_CLOCK_SKEW:
            ahead = (chunk.stamp - now) * 1e-9
            raise ChunkRefused("chunk from the future", f"{name} is {ahead:.2f} s ahead; check the clocks")
        if (chunk.stamp, chunk.chunk) == self._newest:
            raise ChunkRefused("duplicate chunk", f"{name} was received before")
        if (chunk.stamp, chunk.chunk) < self._newest:
            raise ChunkRefused("chunk out of order", f"{name} is older than the newest one")
        if self._lineage and not _same_frozen_parts(chunk.lineage, self._lineage):
            raise ChunkRefused(
                "other lineage", f"{name} is of {chunk.lineage}; the episode began with {self._lineage}"
            )

    def schedule(self, chunk: ActionChunk, first: int, step: int) -> None:
        """Schedule a checked chunk; it replaces one for the same step that has not begun.

        Args:
            chunk: to execute.
            first: control step of its first row.
            step: next control step; a chunk that has rows left for it is finished before the new one begins.

        Raises:
            ChunkRefused: all its rows are in the past, or another chunk for the same step has begun.
        """
        scheduled, current = _ScheduledChunk(chunk, first, self._continuous), self._current
        if scheduled.end <= step:
            raise ChunkRefused(
                "late chunk", f"chunk {chunk.chunk} ends at step {scheduled.end}; the next step is {step}"
            )
        if current and first <= current.first < step < current.end:
            raise ChunkRefused(
                "late chunk",
                f"chunk {chunk.chunk} for step {first} is too late: chunk {current.chunk.chunk} has begun",
            )
        self._newest = (chunk.stamp, chunk.chunk)
        self._lineage = self._lineage or chunk.lineage
        if current and current.end > step and first > current.first:
            self._next = scheduled
        else:
            self._current, self._next = scheduled, None

    def row(self, step: int) -> Row | None:
        """Planned row of a control step; None without one."""
        if self._current and step >= self._current.end and self._next:
            self._current, self._next = self._next, None
        return self._current.row(step) if self._current else None

    @property
    def newest_step(self) -> int | None:
        """Requested control step of the newest chunk, which another may replace until it begins; None without one."""
        newest = self._next or self._current
        return newest.chunk.step if newest else None

    @property
    def has_next(self) -> bool:
        """Return whether the next chunk has arrived."""
        return self._next is not None

    def end(self, step: int) -> tuple[int, Array | None]:
        """First control step from `step` on without a plan, and the target (A,) rad before it; None without one."""
        row = self.row(step)
        if row is None or self._current is None:
            return step, None
        return self._current.end, self._current.targets[-1]


def _same_frozen_parts(one: Lineage, other: Lineage) -> bool:
    return all(getattr(one, part) == getattr(other, part) for part in FROZEN_PARTS)

"""Requests for chunks: when the next one is due, which answers are expected, and how long they take."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from rlt_ros.control.chunks import ChunkBuffer, ChunkRefused
from rlt_ros.control.config import BLOCK, ControlConfig
from rlt_ros.rlt.stream import ActionChunk, ChunkRequest, EpisodeState

Array = NDArray[np.float64]

# Newest chunks that overlap of which the latency is kept.
_LATENCIES = 100
# Newest commands that are kept; a joint state is seldom older than the first of them.
_SENT = 50


class ChunkRequester:
    """Asks for the chunk after the one that is executed.

    Args:
        config: of the executor.
        chunks: of the episode.
        hz: control rate, 1/s.
    """

    def __init__(self, config: ControlConfig, chunks: ChunkBuffer, hz: float) -> None:
        self._config, self._chunks = config, chunks
        self._timeout = round(config.chunk_timeout * 1e9)
        self._period = round(1e9 / hz)
        # Steps.
        self._ahead = math.ceil(config.overlap_delay * hz - 1e-6)
        # When, and at which step, the newest request was made.
        self._asked: tuple[int, int] | None = None
        self._asked_for: set[int] = set()
        # ns
        self._latencies: deque[int] = deque(maxlen=_LATENCIES)
        # Stamps and targets.
        self._sent: deque[tuple[int, Array]] = deque(maxlen=_SENT)

    @property
    def latencies(self) -> Array:
        """Time (n,) s from request to arrival of the newest chunks that overlap, at most 100."""
        return 1e-9 * np.array(self._latencies, dtype=np.float64)

    def forget(self) -> None:
        """Drop the plan and what was asked for."""
        self._chunks.clear()
        self._asked = None
        self._asked_for.clear()

    def starts_at(self, setpoint: Array) -> None:
        """Commands so far say nothing about the motion from here, (A,) rad."""
        self._sent.clear()
        self._sent.append((0, setpoint))

    def commanded(self, stamp: int, target: Array) -> None:
        """Take in a command (A,) rad of ROS time `stamp`, ns."""
        self._sent.append((stamp, target))

    def accept(self, chunk: ActionChunk, now: int) -> None:
        """Take in that a chunk came at steady time `now`, ns.

        Raises:
            ChunkRefused: it was not asked for.
        """
        if chunk.step not in self._asked_for and chunk.step != self._chunks.newest_step:
            asked = sorted(self._asked_for) or "none"
            raise ChunkRefused(
                "unasked chunk", f"chunk {chunk.chunk} for step {chunk.step}; asked for {asked}"
            )
        if self._asked and chunk.step in self._asked_for:
            if chunk.step > self._asked[1]:
                self._latencies.append(now - self._asked[0])
            # Also where it comes too late: then another one is asked for at once.
            self._asked = None
            self._asked_for.clear()

    def request(
        self, episode: EpisodeState, step: int, measured: tuple[int, Array], now: int
    ) -> ChunkRequest | None:
        """The chunk to ask for at a step, unless an answer is awaited.

        An arm for which nothing is planned waits, so its chunk is made from what is seen there, in `overlap` too.

        Args:
            episode: that runs.
            step: control step.
            measured: stamp, ns, and positions (A,) rad of the newest joint state.
            now: steady time, ns.
        """
        first, target, expected = step, None, None
        if self._config.boundary == BLOCK:
            if self._chunks.row(step) is not None:
                return None
        elif self._chunks.complete:
            return None
        else:
            first, target = self._chunks.end(step)
            if first - step > self._ahead:
                return None
        if self._asked is not None and now - self._asked[0] < self._timeout:
            return None
        stamp, position = measured
        if target is not None:
            expected = position + (target - self._followed(stamp))
        self._asked = (now, step)
        self._asked_for.add(first)
        return ChunkRequest(
            stamp, episode.episode, first, episode.phase, overlap=expected is not None, expected=expected
        )

    def _followed(self, measured: int) -> Array:
        """Newest command (A,) rad with a period to follow it before the arm was `measured`, ns; else the last one."""
        latest = measured - self._period
        done = (target for stamp, target in reversed(self._sent) if stamp <= latest)
        return next(done, self._sent[-1][1])

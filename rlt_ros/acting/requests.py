"""Requests for chunks: due time, expected answers and latency."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from rlt_ros.acting.chunks import ChunkBuffer, ChunkRefused
from rlt_ros.acting.config import BLOCK, ControlConfig
from rlt_ros.replay.stream import ActionChunk, ChunkRequest, EpisodeState

Array = NDArray[np.float64]

# Newest overlapping chunks with a latency in the statistics.
_LATENCIES = 100
# Newest commands that are kept; a joint state is seldom older than the oldest of them.
_COMMANDS = 50


class ChunkRequester:
    """Requests the chunk after the current one.

    Args:
        config: of the executor.
        chunks: of the episode.
        hz: control rate, 1/s.
    """

    def __init__(self, config: ControlConfig, chunks: ChunkBuffer, hz: float) -> None:
        self._config, self._chunks = config, chunks
        self._timeout = round(config.chunk_timeout * 1e9)
        self._period = round(1e9 / hz)
        # Control steps from a request to the first step of its chunk.
        self._ahead = math.ceil(config.overlap_delay * hz - 1e-6)
        # Steady time, ns, and control step of the newest request without an answer.
        self._open: tuple[int, int] | None = None
        # First control steps of all chunks that may still arrive.
        self._requested: set[int] = set()
        # ns
        self._latencies: deque[int] = deque(maxlen=_LATENCIES)
        # Stamps, ns, and targets (A,) rad.
        self._commands: deque[tuple[int, Array]] = deque(maxlen=_COMMANDS)

    @property
    def latencies(self) -> Array:
        """Latencies (n,) s from request to arrival of the newest overlapping chunks, at most 100."""
        return 1e-9 * np.array(self._latencies, dtype=np.float64)

    def forget(self) -> None:
        """Drop the plan and all requests."""
        self._chunks.clear()
        self._open = None
        self._requested.clear()

    def restart_at(self, setpoint: Array) -> None:
        """Start from rest at (A,) rad, without the commands so far."""
        self._commands.clear()
        self._commands.append((0, setpoint))

    def record_command(self, stamp: int, target: Array) -> None:
        """Record a command (A,) rad of ROS time `stamp`, ns."""
        self._commands.append((stamp, target))

    def accept(self, chunk: ActionChunk, now: int) -> None:
        """Match a chunk received at steady time `now`, ns, with its request.

        Raises:
            ChunkRefused: it was not requested.
        """
        if chunk.step not in self._requested and chunk.step != self._chunks.newest_step:
            requested = sorted(self._requested) or "none"
            raise ChunkRefused(
                "unrequested chunk",
                f"chunk {chunk.chunk} for step {chunk.step}; requested steps: {requested}",
            )
        if self._open and chunk.step in self._requested:
            if chunk.step > self._open[1]:
                self._latencies.append(now - self._open[0])
            # Also for a late chunk, so that the next request follows at once.
            self._open = None
            self._requested.clear()

    def request(
        self, episode: EpisodeState, step: int, measured: tuple[int, Array], now: int
    ) -> ChunkRequest | None:
        """Request that is due at a control step; None while an answer is pending, or none is needed.

        Without a plan the arm waits, so its chunk is computed from an observation of the waiting arm, in `overlap` too.

        Args:
            episode: running one.
            step: control step.
            measured: stamp, ns, and positions (A,) rad of the newest joint state.
            now: steady time, ns.
        """
        first, target, expected = step, None, None
        if self._config.boundary == BLOCK:
            if self._chunks.row(step) is not None:
                return None
        elif self._chunks.has_next:
            return None
        else:
            first, target = self._chunks.end(step)
            if first - step > self._ahead:
                return None
        if self._open is not None and now - self._open[0] < self._timeout:
            return None
        stamp, position = measured
        if target is not None:
            expected = position + (target - self._followed(stamp))
        self._open = (now, step)
        self._requested.add(first)
        return ChunkRequest(
            stamp, episode.episode, first, episode.phase, overlap=expected is not None, expected=expected
        )

    def _followed(self, measured: int) -> Array:
        """Newest command (A,) rad at least a period before the joint state `measured`, ns; else the last command."""
        latest = measured - self._period
        followed = (target for stamp, target in reversed(self._commands) if stamp <= latest)
        return next(followed, self._commands[-1][1])

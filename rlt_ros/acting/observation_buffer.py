"""Matching of observations to control steps: camera stamps and command stamps on one clock."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlt_ros.perception import Observation

Array = NDArray[np.float64]

CLOCK_RESET_NS = 1_000_000_000
"""ns by which a stamp lies behind the newest after the clock was set back; less is a message out of order."""

BUFFERED_OBSERVATIONS = 100
"""4 s at 25 Hz; states are computed within two chunks."""


@dataclass(frozen=True)
class TimedObservation:
    """Observation and its arrival, s on the steady clock."""

    observation: Observation
    arrived: float


@dataclass(frozen=True)
class StateQuery:
    """Inputs of the RL state of one control step.

    Attributes:
        step: control step.
        source: observation at the step, or some steps earlier.
        lookahead: number of these steps.
        position: (A,) rad, joint positions at the step; None if they are those of ``source``.
    """

    step: int
    source: TimedObservation
    lookahead: int = 0
    position: Array | None = None


class ObservationBuffer:
    """Newest observations in the order of their stamps; a clock that is set back clears them."""

    def __init__(self) -> None:
        self._entries: deque[TimedObservation] = deque(maxlen=BUFFERED_OBSERVATIONS)

    def add(self, observation: Observation, arrived: float) -> bool:
        """Append an observation; False if it is not newer than the newest."""
        if self._entries:
            behind = self._entries[-1].observation.stamp - observation.stamp
            if behind > CLOCK_RESET_NS:
                self._entries.clear()
            elif behind >= 0:
                return False
        self._entries.append(TimedObservation(observation, arrived))
        return True

    @property
    def newest(self) -> TimedObservation | None:
        """Observation with the latest stamp."""
        return self._entries[-1] if self._entries else None

    def before(self, stamp: int, *, at_most: int) -> TimedObservation | None:
        """Newest observation at ``stamp`` or up to ``at_most`` ns before it."""
        for entry in reversed(self._entries):
            if entry.observation.stamp <= stamp:
                return entry if stamp - entry.observation.stamp <= at_most else None
        return None

    def after(self, stamp: int, *, at_most: int) -> TimedObservation | None:
        """Oldest observation at ``stamp`` or up to ``at_most`` ns after it."""
        found = None
        for entry in reversed(self._entries):
            if entry.observation.stamp < stamp:
                break
            found = entry
        return found if found and found.observation.stamp - stamp <= at_most else None

    def position(self, stamp: int) -> Array | None:
        """Joint positions (A,) rad at ``stamp``, interpolated; the newest ones after the last observation."""
        later: Observation | None = None
        for entry in reversed(self._entries):
            earlier = entry.observation
            if earlier.stamp <= stamp:
                if later is None:
                    return earlier.position
                share = (stamp - earlier.stamp) / (later.stamp - earlier.stamp)
                return earlier.position + share * (later.position - earlier.position)
            later = earlier
        return None

"""Which observation precedes which control step: stamps of cameras and stamps of commands on one clock."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlt_ros.perception import Observation

Array = NDArray[np.float64]

_JUMP = 1_000_000_000
"""ns by which a stamp lies behind the newest when the clock was set back; less is a message out of order."""

_KEPT = 100
"""Observations kept, 4 s at 25 Hz: their states are computed within two chunks."""


@dataclass(frozen=True)
class Seen:
    """An observation and when it arrived, s on the steady clock."""

    observation: Observation
    arrived: float


@dataclass(frozen=True)
class Frame:
    """What the state of a control step is made from.

    Attributes:
        step: control step.
        seen: what was seen before it, or some steps earlier.
        ahead: how many.
        position: (A,) rad, where the arm is at the step; None where that is ``seen``.
    """

    step: int
    seen: Seen
    ahead: int = 0
    position: Array | None = None


class Timeline:
    """The newest observations in the order of their stamps.

    Attributes:
        unordered: observations dropped because a newer one, or the same, was there already.
        jumps: times that the clock was set back, which forgets all observations before.
    """

    def __init__(self) -> None:
        self._seen: deque[Seen] = deque(maxlen=_KEPT)
        self.unordered = self.jumps = 0

    def add(self, observation: Observation, arrived: float) -> bool:
        """Take an observation; False if it is not newer than the newest."""
        if self._seen:
            behind = self._seen[-1].observation.stamp - observation.stamp
            if behind > _JUMP:
                self._seen.clear()
                self.jumps += 1
            elif behind >= 0:
                self.unordered += 1
                return False
        self._seen.append(Seen(observation, arrived))
        return True

    @property
    def newest(self) -> Seen | None:
        """The observation with the latest stamp."""
        return self._seen[-1] if self._seen else None

    def before(self, stamp: int, *, at_most: int) -> Seen | None:
        """The newest observation at ``stamp`` or up to ``at_most`` ns before it."""
        for seen in reversed(self._seen):
            if seen.observation.stamp <= stamp:
                return seen if stamp - seen.observation.stamp <= at_most else None
        return None

    def after(self, stamp: int, *, at_most: int) -> Seen | None:
        """The oldest observation at ``stamp`` or up to ``at_most`` ns after it."""
        found = None
        for seen in reversed(self._seen):
            if seen.observation.stamp < stamp:
                break
            found = seen
        return found if found and found.observation.stamp - stamp <= at_most else None

    def position(self, stamp: int) -> Array | None:
        """Where the arm was at ``stamp``, (A,) rad: between the observations around it, or the newest one's."""
        later: Observation | None = None
        for seen in reversed(self._seen):
            one = seen.observation
            if one.stamp <= stamp:
                if later is None:
                    return one.position
                share = (stamp - one.stamp) / (later.stamp - one.stamp)
                return one.position + share * (later.position - one.position)
            later = one
        return None

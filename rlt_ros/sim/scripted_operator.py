"""Scripted operator: supervises the policy and takes over when it makes no progress.

Like the demonstrator, whose motions it uses, it has privileged access to the socket's pose. Its commands are executed
and learned from as human interventions.
"""

from __future__ import annotations

import numpy as np

from rlt_ros.sim.demonstrator import Array, Demonstrator
from rlt_ros.sim.workcell import Workcell


class ScriptedOperator:
    """Operator that takes over after a time without progress towards the mated pose, and finishes the task.

    Args:
        workcell: workcell of the policy.
        patience: control steps without progress before the take-over.
        progress: m, smallest relevant gain.
    """

    def __init__(self, workcell: Workcell, *, patience: int = 100, progress: float = 0.001) -> None:
        self._workcell, self._patience, self._progress = workcell, patience, progress
        self.begin(0)

    def begin(self, seed: int) -> None:
        """Start the critical phase of the episode with `seed`; the policy acts."""
        self._seed, self._idle, self._nearest = seed, 0, float("inf")
        self._human: Demonstrator | None = None

    @property
    def acts(self) -> bool:
        """True after the take-over."""
        return self._human is not None

    def observe_step(self) -> None:
        """Record the progress of one control step."""
        distance = float(np.linalg.norm(self._workcell.relative[:3]))
        if distance < self._nearest - self._progress:
            self._nearest, self._idle = distance, 0
        else:
            self._idle += 1

    def take_over_if_stuck(self) -> None:
        """Take over without recent progress; called at chunk borders, since a human needs a moment too."""
        if self._human is None and self._idle >= self._patience:
            self._human = Demonstrator(self._workcell, self._seed)

    def command(self) -> Array:
        """Joint target (A,) rad of the operator's next step.

        Raises:
            RuntimeError: the policy still acts.
        """
        if self._human is None:
            raise RuntimeError("the operator has not taken over; check `acts` first")
        return self._human.command()[0]

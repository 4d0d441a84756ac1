"""A scripted operator who watches the policy work and takes over where it has stopped getting on.

Like the demonstrator, whose hands it has, it may look at where the socket is. What it commands is executed and learned
from as a human intervention; nothing else of what it knows leaves it.
"""

from __future__ import annotations

import numpy as np

from rlt_ros.sim.demonstrator import Array, Demonstrator
from rlt_ros.sim.workcell import Workcell


class ScriptedOperator:
    """Takes over once the tool has come no nearer to its mated pose for a while, and then finishes the job.

    Args:
        workcell: where the policy works.
        patience: control steps without progress after which the operator takes over.
        progress: m; a smaller gain does not count.
    """

    def __init__(self, workcell: Workcell, *, patience: int = 100, progress: float = 0.001) -> None:
        self._workcell, self._patience, self._progress = workcell, patience, progress
        self.begin(0)

    def begin(self, seed: int) -> None:
        """The critical phase of the episode with `seed` begins; the policy acts."""
        self._seed, self._idle, self._nearest = seed, 0, float("inf")
        self._human: Demonstrator | None = None

    @property
    def acts(self) -> bool:
        """Return whether the operator has taken over."""
        return self._human is not None

    def watch(self) -> None:
        """See one control step done."""
        distance = float(np.linalg.norm(self._workcell.relative[:3]))
        if distance < self._nearest - self._progress:
            self._nearest, self._idle = distance, 0
        else:
            self._idle += 1

    def decide(self) -> None:
        """Take over now if the policy is stuck; called at chunk borders, as hands need a moment too."""
        if self._human is None and self._idle >= self._patience:
            self._human = Demonstrator(self._workcell, self._seed)

    def command(self) -> Array:
        """Joint target (7,) rad of the operator's next step.

        Raises:
            RuntimeError: the policy still acts.
        """
        if self._human is None:
            raise RuntimeError("the operator has not taken over; ask `acts` first")
        return self._human.command()[0]

"""The learner at work on a growing replay: what is owed, in small pieces, and what can be continued after a crash.

The replay's rows are the only account: how many there are, which episodes ended and how. So it does not matter when the
learner hears of them, or whether it ran while they came; from the same rows it owes, pays and opens its gates alike.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from rlt_ros.rlt.checkpoint import export_actor, load_learner, save_learner
from rlt_ros.rlt.config import RLTConfig
from rlt_ros.rlt.learner import Learner
from rlt_ros.rlt.pacing import UpdateDebt
from rlt_ros.rlt.replay import Replay
from rlt_ros.rlt.transition import Outcome

_SCALE_ROWS = 20_000
"""Rows of the base policy from which input statistics and action bounds are fitted."""


@dataclass(frozen=True)
class Measurement:
    """What the learner says about itself.

    Attributes:
        updates: critic updates made.
        owed: critic updates still owed.
        rows: rows that they are owed to.
        values: metric → value.
    """

    updates: int
    owed: float
    rows: int
    values: dict[str, float]


class OnlineLearner:
    """Pays a replay's update debt.

    Args:
        config: hyper-parameters.
        replay: attached for sampling.
        checkpoint: file to continue from, if it exists, and to save to.
        seed: of initial weights, noise and sampling.
        device: where to compute.
        metrics_every: critic updates between two measurements.

    Raises:
        StorageError: the checkpoint is damaged, or of other sizes.
        LineageError: the checkpoint is of other frozen parts than the replay.
    """

    def __init__(
        self,
        config: RLTConfig,
        replay: Replay,
        checkpoint: Path,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
        metrics_every: int = 200,
    ) -> None:
        self.config, self.lineage = config, replay.format.lineage
        self.learner = Learner(config, replay.format.shapes, device=device, seed=seed)
        self.debt = UpdateDebt.from_config(config)
        self._replay, self._checkpoint, self._metrics_every = replay, checkpoint, metrics_every
        if checkpoint.exists():
            self.debt.load_state(load_learner(checkpoint, self.learner, lineage=self.lineage))
        self.resumed = self.learner.critic_steps > 0

    @property
    def acting(self) -> bool:
        """Whether the actor may take over from the VLA."""
        return self.debt.is_open and not self.learner.warming_up

    def look(self) -> int:
        """Account for rows and episodes that are new in the replay; returns how many rows."""
        start, _, outcomes = self._replay.labels(self.debt.rows)
        before = self.debt.rows
        self.debt.add_rows(start - before)  # written over before anybody looked; their outcomes are lost
        run = 0
        for outcome in outcomes:
            run += 1
            if outcome != Outcome.NONE:
                self.debt.add_rows(run)
                self.debt.add_episode(success=outcome == Outcome.SUCCESS)
                run = 0
        self.debt.add_rows(run)
        return self.debt.rows - before

    def pay(self, seconds: float) -> Iterator[Measurement]:
        """Make updates that are owed for about ``seconds``, and measure now and then.

        Raises:
            NonFiniteError, BatchError: updates were refused because of NaN or infinity.
        """
        end = time.monotonic() + seconds
        if self.debt.due() and self.learner.critic_steps == 0:
            # The bounds and statistics of everything that follows come from the base policy's rows.
            rows = min(len(self._replay), _SCALE_ROWS)
            self.learner.fit_scale(self._replay.sample(rows, self.learner.sampling))
        while self.debt.due():
            measurement = self._update()
            if measurement:
                yield measurement
            if time.monotonic() >= end:
                return

    def _update(self) -> Measurement | None:
        learner, count = self.learner, self.config.critic_updates
        batch = self._replay.sample(learner.rows_per_update, learner.sampling).to(learner.device)
        metrics = learner.update(batch)
        self.debt.pay(count)
        if learner.critic_steps % self._metrics_every >= count:
            return None
        learner.check(batch)
        values = {name: float(value) for name, value in {**metrics, **learner.diagnose(batch)}.items()}
        return Measurement(learner.critic_steps, self.debt.owed, self.debt.rows, values)

    def export(self) -> bytes:
        """The current actor, for a message or a file."""
        return export_actor(self.learner, lineage=self.lineage)

    def save(self) -> None:
        """Write the checkpoint."""
        save_learner(self._checkpoint, self.learner, lineage=self.lineage, extra=self.debt.state())

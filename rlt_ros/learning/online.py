"""Online learner: pays the update debt of a growing replay in slices; resumable after a crash.

Update debt and gates depend on the replay's rows alone: their number and the outcomes of their episodes. The same rows
give the same updates, regardless of the time of their arrival and of the learner's restarts.
"""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import torch

from rlt_ros.learning.checkpoint import export_actor, load_learner, save_learner
from rlt_ros.learning.pacing import UpdateDebt
from rlt_ros.replay.ring import Replay
from rlt_ros.rlt.config import RLTConfig
from rlt_ros.rlt.learner import Learner
from rlt_ros.rlt.transition import RowOutcome
from rlt_ros.store.lineage import Lineage, fingerprint

_SCALE_ROWS = 20_000
"""Rows of the base policy from which input statistics and action bounds are fitted."""


@dataclasses.dataclass(frozen=True)
class Measurement:
    """Progress and metrics of the learner.

    Attributes:
        updates: critic updates made.
        owed: critic updates owed.
        rows: replay rows counted so far.
        values: metric → value.
    """

    updates: int
    owed: float
    rows: int
    values: dict[str, float]

    def line(self, robot_minutes: float) -> dict[str, float]:
        """Line of ``metrics.jsonl``; `robot_minutes` is the critical-phase time of the rows."""
        return {
            "robot_minutes": robot_minutes,
            "updates": self.updates,
            "utd_debt": self.owed,
            **self.values,
        }


class SuccessRates:
    """Success rates of the base policy before take-over and of the actor's last ``rolling`` episodes.

    An episode with human steps counts as a failure of both.
    """

    def __init__(self, rolling: int) -> None:
        # Successes and episodes.
        self._base: list[int] = [0, 0]
        self._recent: deque[bool] = deque(maxlen=rolling)
        # Running episodes with human steps.
        self._helped: set[int] = set()

    def note_human(self, episode: int) -> None:
        """Mark an episode as helped by a human."""
        self._helped.add(episode)

    def add(self, episode: int, success: bool, *, acting: bool) -> None:
        """Count a finished episode; ``acting`` is True if the actor had taken over."""
        success = success and episode not in self._helped
        self._helped.discard(episode)
        if acting:
            self._recent.append(success)
        else:
            self._base[0] += success
            self._base[1] += 1

    def report(self, learner: Learner) -> None:
        """Update the learner's success-gated beta, once both rates are known."""
        if self._recent and self._base[1]:
            learner.report_success(sum(self._recent) / len(self._recent), self._base[0] / self._base[1])

    def state(self) -> dict[str, str]:
        """Counts as text, for a checkpoint's metadata."""
        recent = "".join("1" if success else "0" for success in self._recent)
        helped = ",".join(map(str, sorted(self._helped)))
        base = f"{self._base[0]},{self._base[1]}"
        return {"success.base": base, "success.recent": recent, "success.helped": helped}

    def load_state(self, metadata: dict[str, str]) -> None:
        """Restore the result of :meth:`state`; checkpoints of the in-process trainer lack it."""
        if "success.base" in metadata:
            self._base = [int(count) for count in metadata["success.base"].split(",")]
            self._recent.extend(digit == "1" for digit in metadata["success.recent"])
            self._helped = {int(number) for number in metadata.get("success.helped", "").split(",") if number}


class OnlineLearner:
    """Learner that pays a replay's update debt.

    Args:
        config: hyper-parameters.
        replay: attached for sampling.
        checkpoint: file to continue from, if it exists, and to save to.
        seed: seed of initial weights, noise and sampling.
        device: device of all computation.
        metrics_every: critic updates between two measurements.
        rolling: episodes of the actor's success rate, for a success-gated beta.

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
        rolling: int = 20,
    ) -> None:
        self.config, self.lineage = config, replay.format.lineage
        self.learner = Learner(config, replay.format.shapes, device=device, seed=seed)
        self.debt = UpdateDebt.from_config(config)
        self._replay, self._checkpoint, self._metrics_every = replay, checkpoint, metrics_every
        self._success = SuccessRates(rolling)
        if checkpoint.exists():
            kept = load_learner(checkpoint, self.learner, lineage=self.lineage)
            self.debt.load_state(kept)
            self._success.load_state(kept)

    @property
    def acting(self) -> bool:
        """True once the actor may replace the VLA."""
        return self.debt.is_open and not self.learner.warming_up

    @property
    def damaged_rows(self) -> int:
        """Damaged rows, excluded from sampling."""
        return self._replay.damaged

    def count_new_rows(self) -> int:
        """Add new rows and episodes of the replay to the debt; returns the number of rows."""
        start, episodes, outcomes, human = self._replay.row_labels(self.debt.rows)
        before = self.debt.rows
        # The writer may drop rows torn by a power failure; updates made for them stay.
        if start < before:
            self.debt.rows = before = start
        # Rows overwritten since the last count: their outcomes are unknown.
        self.debt.add_rows(start - before)
        run = 0
        for episode, outcome, helped in zip(episodes.tolist(), outcomes, human, strict=True):
            run += 1
            if helped:
                self._success.note_human(episode)
            if outcome != RowOutcome.NONE:
                self.debt.add_rows(run)
                success = bool(outcome == RowOutcome.SUCCESS)
                self._success.add(episode, success, acting=self.acting)
                self.debt.add_episode(success=success)
                run = 0
        self.debt.add_rows(run)
        self._success.report(self.learner)
        return self.debt.rows - before

    def train_slice(self, seconds: float) -> Iterator[Measurement]:
        """Make owed updates for about ``seconds``; yields a measurement every ``metrics_every`` critic updates.

        Raises:
            NonFiniteError, BatchError: updates were skipped because of NaN or infinity.
        """
        end = time.monotonic() + seconds
        if self.debt.due() and self.learner.critic_steps == 0:
            # Bounds and statistics are fitted once, from the base policy's rows.
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
        values["damaged_rows"] = float(self.damaged_rows)
        return Measurement(learner.critic_steps, self.debt.owed, self.debt.rows, values)

    def export(self) -> tuple[bytes, Lineage, int]:
        """Current actor as bytes for a message or a file, its lineage and its version."""
        actor = fingerprint(self.learner.actor.state_dict())
        lineage = dataclasses.replace(self.lineage, actor=actor)
        return export_actor(self.learner, lineage=self.lineage), lineage, self.learner.actor_steps

    def save(self) -> None:
        """Write the checkpoint."""
        kept = {**self.debt.state(), **self._success.state()}
        save_learner(self._checkpoint, self.learner, lineage=self.lineage, extra=kept)

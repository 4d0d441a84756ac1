"""The learner at work on a growing replay: what is owed, in small pieces, and what can be continued after a crash.

The replay's rows are the only account: how many there are, which episodes ended and how. So it does not matter when the
learner hears of them, or whether it ran while they came; from the same rows it owes, pays and opens its gates alike.
"""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import torch

from rlt_ros.rlt.checkpoint import export_actor, load_learner, save_learner
from rlt_ros.rlt.config import RLTConfig
from rlt_ros.rlt.learner import Learner
from rlt_ros.rlt.lineage import Lineage, fingerprint
from rlt_ros.rlt.pacing import UpdateDebt
from rlt_ros.rlt.replay import Replay
from rlt_ros.rlt.transition import Outcome

_SCALE_ROWS = 20_000
"""Rows of the base policy from which input statistics and action bounds are fitted."""


@dataclasses.dataclass(frozen=True)
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

    def line(self, robot_minutes: float) -> dict[str, float]:
        """A line of ``metrics.jsonl``; `robot_minutes` is the critical-phase time behind the rows."""
        return {
            "robot_minutes": robot_minutes,
            "updates": self.updates,
            "utd_debt": self.owed,
            **self.values,
        }


class SuccessRates:
    """How often the base policy succeeded before the actor took over, and the actor lately.

    An episode in which a human acted is no success of either.
    """

    def __init__(self, rolling: int) -> None:
        self._base: list[int] = [0, 0]  # successes, episodes
        self._recent: deque[bool] = deque(maxlen=rolling)
        self._helped: set[int] = set()  # episodes that are not over

    def note_human(self, episode: int) -> None:
        """A human acted in an episode."""
        self._helped.add(episode)

    def add(self, episode: int, success: bool, *, acting: bool) -> None:
        """Note an episode that ended while the actor was, or was not yet, allowed to act."""
        success = success and episode not in self._helped
        self._helped.discard(episode)
        if acting:
            self._recent.append(success)
        else:
            self._base[0] += success
            self._base[1] += 1

    def report(self, learner: Learner) -> None:
        """Tell the learner, once there is something to compare."""
        if self._recent and self._base[1]:
            learner.report_success(sum(self._recent) / len(self._recent), self._base[0] / self._base[1])

    def state(self) -> dict[str, str]:
        """As text, for a checkpoint's metadata."""
        recent = "".join("1" if success else "0" for success in self._recent)
        helped = ",".join(map(str, sorted(self._helped)))
        base = f"{self._base[0]},{self._base[1]}"
        return {"success.base": base, "success.recent": recent, "success.helped": helped}

    def load_state(self, metadata: dict[str, str]) -> None:
        """Take over what :meth:`state` gave; the in-process trainer's checkpoints have none of it."""
        if "success.base" in metadata:
            self._base = [int(count) for count in metadata["success.base"].split(",")]
            self._recent.extend(digit == "1" for digit in metadata["success.recent"])
            self._helped = {int(number) for number in metadata.get("success.helped", "").split(",") if number}


class OnlineLearner:
    """Pays a replay's update debt.

    Args:
        config: hyper-parameters.
        replay: attached for sampling.
        checkpoint: file to continue from, if it exists, and to save to.
        seed: of initial weights, noise and sampling.
        device: where to compute.
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
        """Return whether the actor may take over from the VLA."""
        return self.debt.is_open and not self.learner.warming_up

    @property
    def damaged_rows(self) -> int:
        """Stored rows that sampling found damaged and leaves out."""
        return self._replay.damaged

    def look(self) -> int:
        """Account for rows and episodes that are new in the replay; returns how many rows."""
        start, episodes, outcomes, human = self._replay.labels(self.debt.rows)
        before = self.debt.rows
        if (
            start < before
        ):  # the writer dropped rows that a power failure had torn; what was learned, was learned
            self.debt.rows = before = start
        self.debt.add_rows(start - before)  # written over before anybody looked; their outcomes are lost
        run = 0
        for episode, outcome, helped in zip(episodes.tolist(), outcomes, human, strict=True):
            run += 1
            if helped:
                self._success.note_human(episode)
            if outcome != Outcome.NONE:
                self.debt.add_rows(run)
                success = bool(outcome == Outcome.SUCCESS)
                self._success.add(episode, success, acting=self.acting)
                self.debt.add_episode(success=success)
                run = 0
        self.debt.add_rows(run)
        self._success.report(self.learner)
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
        values["damaged_rows"] = float(self.damaged_rows)
        return Measurement(learner.critic_steps, self.debt.owed, self.debt.rows, values)

    def export(self) -> tuple[bytes, Lineage, int]:
        """The current actor as bytes for a message or a file, its lineage and its version."""
        actor = fingerprint(self.learner.actor.state_dict())
        lineage = dataclasses.replace(self.lineage, actor=actor)
        return export_actor(self.learner, lineage=self.lineage), lineage, self.learner.actor_steps

    def save(self) -> None:
        """Write the checkpoint."""
        kept = {**self.debt.state(), **self._success.state()}
        save_learner(self._checkpoint, self.learner, lineage=self.lineage, extra=kept)

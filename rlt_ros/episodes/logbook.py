"""Log of a run's episodes, written at once, and the next episode of the plan.

``episodes.jsonl`` has one line per finished episode, for the report; ``begun.jsonl`` has one line per started episode,
so that no id is used twice after a kill. Rows of an interrupted episode can then not be mistaken for another's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlt_ros.episodes.machine import Assignment, FinishedEpisode
from rlt_ros.episodes.narration import TITLES, Goal
from rlt_ros.episodes.plan import EVALUATION_SEED, SEEDS_PER_RUN, Kind, Stage
from rlt_ros.episodes.tasks import TaskProfile
from rlt_ros.learning.run_folder import (
    EPISODE_KEYS,
    EPISODES_FILE,
    NO_APPROACH,
    TRAINING_PHASES,
    episode_line,
    of_phase,
)
from rlt_ros.replay.stream import EpisodeOutcome
from rlt_ros.store.journal import Journal, require_lines

_DEMONSTRATION_KEYS = {key: EPISODE_KEYS[key] for key in ("episode", "phase", "steps")}
"""Keys of the lines of others, which are counted alone."""


class Logbook:
    """Episodes of a run.

    Args:
        folder: folder of the run; an existing log is continued.
        plan: stages of the run.
        task: task of all episodes.
        seed: seed of the run.
        hz: control rate, 1/s.
    """

    def __init__(
        self, folder: Path, plan: Sequence[Stage], task: TaskProfile, *, seed: int, hz: float
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._plan, self._task, self._seed, self._hz = tuple(plan), task, seed, hz
        self._journal = Journal(folder / EPISODES_FILE, _DEMONSTRATION_KEYS)
        require_lines(
            [record for record in self._journal.records if record["phase"] != "demo"],
            EPISODE_KEYS,
            self._journal.path,
        )
        self._begun = Journal(folder / "begun.jsonl", {"episode": int})
        self._repeated: Assignment | None = None
        finished = {record["episode"] for record in self._journal.records}
        begun = [record["episode"] for record in self._begun.records]
        self.interrupted: int | None = begun[-1] if begun and begun[-1] not in finished else None
        """Episode that was running when the previous node ended, or None."""

    @property
    def stage(self) -> Stage | None:
        """First unfinished stage, or None."""
        return next((stage for stage in self._plan if not self._is_done(stage)), None)

    @property
    def robot_minutes(self) -> float:
        """Robot time of training in the critical phase, min."""
        return sum(record["steps"] for record in self._trained()) / self._hz / 60.0

    @property
    def newest_stored(self) -> int:
        """Id of the newest episode with rows; 0 without one."""
        return max((record["episode"] for record in self._trained() if record["steps"]), default=0)

    def failed_approaches(self) -> int:
        """Number of newest consecutive training episodes that did not reach the critical phase."""
        trained = self._trained()
        return next(
            (i for i, record in enumerate(reversed(trained)) if record["end"] != NO_APPROACH), len(trained)
        )

    def progress(self) -> str:
        """Describe the progress of the plan."""
        stage = self.stage
        if stage is None:
            return "the plan is done"
        goal = Goal(stage.kind.value, stage.episodes, stage.minutes)
        return f"{TITLES[goal.kind]}: {goal.progress(self._journal.records)}"

    @property
    def goals(self) -> list[Goal]:
        """Phases of the plan."""
        return [Goal(stage.kind.value, stage.episodes, stage.minutes) for stage in self._plan]

    @property
    def records(self) -> Sequence[dict[str, Any]]:
        """Episodes that count, oldest first."""
        return self._journal.records

    def next(self, *, above: int = 0) -> Assignment | None:
        """Record the next episode as started and return it; None when the plan is done.

        Args:
            above: largest id already used elsewhere.
        """
        stage = self.stage
        if stage is None:
            return None
        # The numbers of the demonstrator's episodes are seeds, not ids.
        noted = [record for record in self._journal.records if record["phase"] != "demo"]
        ids = [record["episode"] for record in (*self._begun.records, *noted)]
        again, self._repeated = self._repeated, None
        seed = again.seed if again and again.kind is stage.kind else self._next_seed(stage.kind)
        assignment = Assignment(
            episode=max([*ids, above], default=0) + 1,
            seed=seed,
            kind=stage.kind,
            task=self._task.name,
            instruction=self._task.instruction,
            approach_steps=self._task.approach_steps,
            critical_steps=self._task.critical_steps,
        )
        self._begun.append({"episode": assignment.episode, "seed": seed, "kind": stage.kind.value})
        return assignment

    def note(self, done: FinishedEpisode) -> dict[str, Any] | None:
        """Record a finished episode; returns its line, or None for one that is not recorded.

        Withdrawn episodes and aborted evaluations are not recorded: they do not measure the policy.
        """
        self._repeated = done.assignment if done.repeat else None
        kind, aborted = done.assignment.kind, done.outcome is EpisodeOutcome.ABORTED
        if done.repeat or (aborted and (kind.evaluates or not done.steps)):
            return None
        if kind.evaluates:
            phase, minutes = kind.value, 0.0
        else:
            phase, minutes = "online" if done.actor_acted else "warmup", done.steps / self._hz / 60.0
        line = episode_line(
            episode=done.assignment.episode,
            phase=phase,
            success=done.outcome is EpisodeOutcome.SUCCESS,
            end=done.end,
            steps=done.steps,
            human_share=done.human_share,
            robot_minutes=self.robot_minutes + minutes,
        )
        record = {**line, "seed": done.assignment.seed}
        self._journal.append(record)
        return record

    def close(self) -> None:
        """Close the files."""
        self._journal.close()
        self._begun.close()

    def _is_done(self, stage: Stage) -> bool:
        if stage.minutes is not None:
            return self.robot_minutes >= stage.minutes
        return stage.episodes is not None and self._count(stage.kind) >= stage.episodes

    def _count(self, kind: Kind) -> int:
        if not kind.evaluates:
            return len(self._trained())
        return len(of_phase(self._journal.records, kind.value))

    def _next_seed(self, kind: Kind) -> int:
        if kind.evaluates:
            return EVALUATION_SEED + self._count(kind)
        return self._seed * SEEDS_PER_RUN + len(self._trained())

    def _trained(self) -> list[dict[str, Any]]:
        return [record for record in self._journal.records if record["phase"] in TRAINING_PHASES]

"""Online RLT in the simulator, in one process: warm-up, RL in the critical phase, evaluation, report.

Results are written at once: episodes and measurements as lines, rows in the replay, the learner at checkpoints. A
restarted run continues after any kind of interruption.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from rlt_ros.episodes.narration import Goal
from rlt_ros.episodes.plan import EVALUATION_SEED, FAILED_APPROACHES
from rlt_ros.episodes.plan import SEEDS_PER_RUN as _SEEDS_PER_RUN
from rlt_ros.experiments.conclusion import (
    Record,
    episode_record,
    films,
    keep_summary,
    recorded,
    summarise_run,
    training,
)
from rlt_ros.experiments.evaluation import demonstrations, evaluation_seeds, rollouts
from rlt_ros.experiments.policy import live_policy
from rlt_ros.experiments.progress_view import ProgressView
from rlt_ros.experiments.rollout import EpisodeResult, Rollout
from rlt_ros.experiments.run_config import TrainingSettings, build_settings, config_document
from rlt_ros.learning.checkpoint import PolicyUpdate
from rlt_ros.learning.online import OnlineLearner
from rlt_ros.learning.run_folder import (
    CHECKPOINT_FILE,
    EPISODE_KEYS,
    EPISODES_FILE,
    METRICS_FILE,
    NO_APPROACH,
    REPLAY_FILE,
    REPORT_FILE,
    TRAINING_PHASES,
    finished_summary,
    keep_config,
)
from rlt_ros.replay.ring import Replay
from rlt_ros.robots.profile import load_profile
from rlt_ros.sim.scripted_operator import ScriptedOperator
from rlt_ros.sim.station import station
from rlt_ros.sim.tasks import TASKS
from rlt_ros.sim.workcell import HZ, Start, Workcell
from rlt_ros.store.interruption import Interrupted
from rlt_ros.store.journal import Journal
from rlt_ros.store.parameters import ConfigError
from rlt_ros.store.stopwatch import Stopwatch
from rlt_ros.vla.frozen import FrozenEncoder
from rlt_ros.vla.loading import BUILTIN, load_frozen

_SLICE_TIME = 0.5
"""s of updates between two polls for a stop request."""


class TrainingError(RuntimeError):
    """Training cannot continue; the message gives reason and remedy."""


def train(
    *,
    task: str,
    seed: int,
    robot_minutes: float,
    eval_episodes: int,
    out: Path,
    vla: str = BUILTIN,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    poll: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Train one task, or continue its run; returns the summary.

    Args:
        task: name of a task of the simulator.
        seed: seed of all random generators.
        robot_minutes: min, budget of critical-phase robot time, including warm-up.
        eval_episodes: episodes of each evaluation.
        out: folder of the run.
        vla: `builtin` for the included weights of the robot, or a folder of `rlt-ros pretrain`.
        overrides: section → key → value that differs from the default.
        poll: called at interruptible points; may raise `Interrupted`.

    Raises:
        ConfigError: the folder holds a run with other settings.
        Interrupted: ``poll`` raised it; the message contains the progress.
    """
    if seed < 0 or (seed + 1) * _SEEDS_PER_RUN > EVALUATION_SEED:
        raise ConfigError(f"--seed {seed}: choose 0 to {EVALUATION_SEED // _SEEDS_PER_RUN - 1}")
    chosen = build_settings(overrides or {}, origin="training settings")
    keep_config(out, config_document(task, seed, vla, chosen))
    if (summary := finished_summary(out, robot_minutes, eval_episodes)) is not None:
        return summary
    torch.set_num_threads(chosen.run.threads)
    robot = chosen.run.robot
    frozen = load_frozen(vla, task, robot, load_profile(robot).continuous)
    run = Training(out, task, seed, chosen, frozen, poll)
    try:
        return run.complete(robot_minutes, eval_episodes)
    except Interrupted:
        raise Interrupted(
            f"stopped after {run.robot_minutes:.1f} of {robot_minutes:g} robot minutes; the same command continues"
        ) from None
    finally:
        run.close()


class Training:
    """Training run: robot, frozen parts, learner and files.

    Args:
        out: folder of the run.
        task: name of the task.
        seed: seed of the run.
        chosen: settings.
        frozen: token and reference from pixels.
        poll: called at interruptible points: between control steps and slices of updates.
    """

    def __init__(
        self,
        out: Path,
        task: str,
        seed: int,
        chosen: TrainingSettings,
        frozen: FrozenEncoder,
        poll: Callable[[], None] = lambda: None,
    ) -> None:
        self._out, self._seed, self._settings, self._poll = out, seed, chosen, poll
        config = chosen.rlt
        self._frozen = frozen
        profile = load_profile(chosen.run.robot)
        self.workcell = Workcell(TASKS[task], station(profile))
        joints = len(self.workcell.robot.arm)
        if frozen.action_space.dim != joints:
            raise ConfigError(
                f"robot {chosen.run.robot} has {joints} joints, and the VLA moves {frozen.action_space.dim}: make "
                f"weights with `rlt-ros pretrain --robot {chosen.run.robot}`"
            )
        self._start = Start(chosen.run.start)
        self.rollout = Rollout(self.workcell, frozen, config, profile, start=self._start)
        self._operator = ScriptedOperator(self.workcell) if chosen.run.operator == "scripted" else None
        self._replay = Replay.open(
            out / REPLAY_FILE,
            self.rollout.shapes,
            config.replay_capacity,
            gamma=config.gamma,
            lineage=frozen.lineage,
            z_storage=config.z_storage,
        )
        self._online = OnlineLearner(
            config,
            self._replay,
            out / CHECKPOINT_FILE,
            seed=seed,
            metrics_every=chosen.run.metrics_every,
            rolling=chosen.run.rolling,
        )
        self.learner = self._online.learner
        self._episodes = Journal(out / EPISODES_FILE, EPISODE_KEYS)
        self._metrics = Journal(out / METRICS_FILE)
        self._view: ProgressView | None = None
        self._wall = Stopwatch(out)
        self._next_episode = self._first_free_episode()

    def complete(self, robot_minutes: float, eval_episodes: int) -> dict[str, Any]:
        """Complete the run, write summary and report; returns the summary."""
        goals = [Goal(kind, episodes=eval_episodes) for kind in ("eval_base", "demo", "eval_rlt")]
        goals.insert(2, Goal("train", minutes=robot_minutes))
        self._view = ProgressView(self._out, goals, self._episodes.records)
        self._evaluate("eval_base", eval_episodes)
        self._evaluate("demo", eval_episodes)
        while self.robot_minutes < robot_minutes:
            self._train_one_episode()
        self._save()
        self._evaluate("eval_rlt", eval_episodes)
        run = self._settings.run
        self._view.note(f"filming {run.video_episodes} starts, and writing {self._out / REPORT_FILE}")
        films(self._out, self.workcell, self.rollout, self._policy, run.video_episodes, self._poll)
        summary = summarise_run(
            self._episodes.records,
            task=self.workcell.task.name,
            robot=run.robot,
            seed=self._seed,
            robot_minutes_asked=robot_minutes,
            rolling=run.rolling,
            updates=self.learner.critic_steps,
            wall_seconds=self._wall.seconds,
            lineage=self._frozen.lineage,
        )
        keep_summary(self._out, summary)
        return summary

    @property
    def robot_minutes(self) -> float:
        """Critical-phase robot time of training, min."""
        return sum(r["steps"] for r in self._trained()) / HZ / 60.0

    @property
    def _policy(self) -> PolicyUpdate:
        return live_policy(self.learner, self._frozen.lineage)

    def close(self) -> None:
        """Save the learner and close files and renderer."""
        self._save()
        if self._view:
            self._view.close()
        self._wall.save()
        for resource in (self._episodes, self._metrics, self._replay, self.workcell):
            resource.close()

    def _train_one_episode(self) -> None:
        number = self._next_episode
        self._next_episode += 1
        seed = self._seed * _SEEDS_PER_RUN + number - 1
        acting = self._online.acting
        episode = self.rollout.run(
            seed,
            self._policy if acting else None,
            episode=number,
            collect=self._replay.append,
            operator=self._operator if acting else None,
            watch=self._poll,
        )
        self._note("online" if acting else "warmup", episode, number)
        if episode.end == NO_APPROACH:
            self._require_approach()
        self._learn()
        if number % self._settings.run.checkpoint_every == 0:
            self._save()

    def _require_approach(self) -> None:
        """Raise TrainingError if the VLA keeps missing the critical phase, which leaves no data to learn from."""
        recent = [r["end"] for r in self._trained()[-FAILED_APPROACHES:]]
        if recent == [NO_APPROACH] * FAILED_APPROACHES:
            raise TrainingError(
                f"the VLA did not reach the critical phase in {FAILED_APPROACHES} successive episodes; "
                "train it longer, or give --set run.start=critical to begin directly before the critical phase"
            )

    def _learn(self) -> None:
        """Pay the update debt of new replay rows."""
        self._online.count_new_rows()
        while self._online.debt.due():
            self._poll()
            self._wall.keep()
            for measured in self._online.train_slice(_SLICE_TIME):
                record = measured.line(self.robot_minutes)
                self._metrics.append(record)
                if self._view:
                    self._view.measured(record)

    def _note(self, phase: str, episode: EpisodeResult, number: int) -> None:
        spent = self.robot_minutes
        if phase in TRAINING_PHASES:
            spent += episode.steps / HZ / 60.0
        record = episode_record(phase, episode, number, spent)
        self._episodes.append(record)
        self._wall.keep()
        if self._view:
            self._view.episode()

    def _evaluate(self, phase: str, count: int) -> None:
        """Run the evaluation episodes that the journal lacks."""
        seeds = evaluation_seeds(count)[len(self._recorded(phase)) :]
        if phase == "demo":
            done = demonstrations(self.workcell, seeds, self._start)
        else:
            policy = None if phase == "eval_base" else self._policy
            done = rollouts(self.rollout, policy, seeds, watch=self._poll)
        for seed, episode in zip(seeds, done, strict=True):
            self._note(phase, episode, seed)
            self._poll()

    def _recorded(self, phase: str) -> list[EpisodeResult]:
        return recorded(self._episodes.records, phase)

    def _trained(self) -> list[Record]:
        return training(self._episodes.records)

    def _first_free_episode(self) -> int:
        """First unused episode id; an interrupted episode has rows but no line."""
        last_row = self._replay.window(len(self._replay) - 1).episode if len(self._replay) else 0
        return 1 + max([last_row, *(record["episode"] for record in self._trained())])

    def _save(self) -> None:
        self._replay.flush()
        self._online.save()

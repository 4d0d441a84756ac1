"""Online RLT in the simulator, in one process: warm-up, RL in the critical phase, evaluation, report.

Everything that a run has done is on the disk as soon as it is done: episodes and measurements as lines, rows in the
replay, the learner at checkpoints. A run that was stopped in any way goes on when it is started again.
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
from rlt_ros.experiments.rollout import End, Episode, Rollout
from rlt_ros.experiments.run_config import Settings, run_settings, settings
from rlt_ros.experiments.watch import Watch
from rlt_ros.interruption import Interrupted
from rlt_ros.rlt.checkpoint import PolicyUpdate
from rlt_ros.rlt.journal import Journal
from rlt_ros.rlt.online import OnlineLearner
from rlt_ros.rlt.parameters import ConfigError
from rlt_ros.rlt.replay import Replay
from rlt_ros.rlt.run_folder import (
    CHECKPOINT_FILE,
    EPISODE_KEYS,
    EPISODES_FILE,
    METRICS_FILE,
    REPLAY_FILE,
    REPORT_FILE,
    TRAINING_PHASES,
    finished_summary,
    keep_config,
)
from rlt_ros.rlt.stopwatch import Stopwatch
from rlt_ros.robots.profile import load_profile
from rlt_ros.sim.scripted_operator import ScriptedOperator
from rlt_ros.sim.station import station
from rlt_ros.sim.tasks import TASKS
from rlt_ros.sim.workcell import HZ, Start, Workcell
from rlt_ros.vla.frozen import FrozenEncoder
from rlt_ros.vla.loading import BUILTIN, load_frozen

_SLICE = 0.5  # s of updates between two polls for a request to stop


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why and what to do."""


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
    """Train one task, or go on training it, and return the run's summary.

    Args:
        task: name of a task of the simulator.
        seed: of everything random in training.
        robot_minutes: critical-phase robot time to spend, warm-up included.
        eval_episodes: episodes of each evaluation.
        out: folder of the run.
        vla: `builtin` for the weights that ship for the robot, or a folder that `rlt-ros pretrain` made.
        overrides: section → key → value beside the defaults.
        poll: called where the work can be stopped; may raise `Interrupted`.

    Raises:
        ConfigError: the folder holds a run with other settings.
        Interrupted: ``poll`` raised it; the message contains the progress.
    """
    if seed < 0 or (seed + 1) * _SEEDS_PER_RUN > EVALUATION_SEED:
        raise ConfigError(f"--seed {seed}: choose 0 to {EVALUATION_SEED // _SEEDS_PER_RUN - 1}")
    chosen = settings(overrides or {}, origin="training settings")
    keep_config(out, run_settings(task, seed, vla, chosen))
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
    """One run: the robot, the frozen parts, the learner and what is kept of them.

    Args:
        out: folder of the run.
        task: name of the task.
        seed: of the run.
        chosen: settings.
        frozen: token and reference from pixels.
        poll: called where the work can be stopped: between control steps and slices of updates.
    """

    def __init__(
        self,
        out: Path,
        task: str,
        seed: int,
        chosen: Settings,
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
        self._watch: Watch | None = None
        self._wall = Stopwatch(out)
        self._next_episode = self._first_free_episode()

    def complete(self, robot_minutes: float, eval_episodes: int) -> dict[str, Any]:
        """Do what is still missing of the run, write summary and report, and return the summary."""
        goals = [Goal(kind, episodes=eval_episodes) for kind in ("eval_base", "demo", "eval_rlt")]
        goals.insert(2, Goal("train", minutes=robot_minutes))
        self._watch = Watch(self._out, goals, self._episodes.records)
        self._evaluate("eval_base", eval_episodes)
        self._evaluate("demo", eval_episodes)
        while self.robot_minutes < robot_minutes:
            self._train_one_episode()
        self._save()
        self._evaluate("eval_rlt", eval_episodes)
        run = self._settings.run
        self._watch.note(f"filming {run.video_episodes} starts, and writing {self._out / REPORT_FILE}")
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
        """Critical-phase robot time that training has used, minutes."""
        return sum(r["steps"] for r in self._trained()) / HZ / 60.0

    @property
    def _policy(self) -> PolicyUpdate:
        return live_policy(self.learner, self._frozen.lineage)

    def close(self) -> None:
        """Keep the learner as it is and let go of files and renderer."""
        self._save()
        if self._watch:
            self._watch.close()
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
        if episode.end is End.NO_APPROACH:
            self._require_approach()
        self._learn()
        if number % self._settings.run.checkpoint_every == 0:
            self._save()

    def _require_approach(self) -> None:
        """Without a critical phase there is nothing to learn from, so a VLA that never gets there is an error."""
        recent = [r["end"] for r in self._trained()[-FAILED_APPROACHES:]]
        if recent == [End.NO_APPROACH.value] * FAILED_APPROACHES:
            raise TrainingError(
                f"the VLA did not bring the tool near the socket in {FAILED_APPROACHES} successive episodes; "
                "train it longer, or give --set run.start=critical to begin right before the precise part"
            )

    def _learn(self) -> None:
        """Pay the updates that are owed for what is new in the replay."""
        self._online.look()
        while self._online.debt.due():
            self._poll()
            self._wall.keep()
            for measured in self._online.pay(_SLICE):
                record = measured.line(self.robot_minutes)
                self._metrics.append(record)
                if self._watch:
                    self._watch.measured(record)

    def _note(self, phase: str, episode: Episode, number: int) -> None:
        spent = self.robot_minutes
        if phase in TRAINING_PHASES:
            spent += episode.steps / HZ / 60.0
        record = episode_record(phase, episode, number, spent)
        self._episodes.append(record)
        self._wall.keep()
        if self._watch:
            self._watch.episode()

    def _evaluate(self, phase: str, count: int) -> None:
        """Run those evaluation episodes that the journal lacks."""
        seeds = evaluation_seeds(count)[len(self._recorded(phase)) :]
        if phase == "demo":
            done = demonstrations(self.workcell, seeds, self._start)
        else:
            policy = None if phase == "eval_base" else self._policy
            done = rollouts(self.rollout, policy, seeds, watch=self._poll)
        for seed, episode in zip(seeds, done, strict=True):
            self._note(phase, episode, seed)
            self._poll()

    def _recorded(self, phase: str) -> list[Episode]:
        return recorded(self._episodes.records, phase)

    def _trained(self) -> list[Record]:
        return training(self._episodes.records)

    def _first_free_episode(self) -> int:
        """An episode that was interrupted has rows but no line; its number is not used again."""
        last_row = self._replay.window(len(self._replay) - 1).episode if len(self._replay) else 0
        return 1 + max([last_row, *(record["episode"] for record in self._trained())])

    def _save(self) -> None:
        self._replay.flush()
        self._online.save()

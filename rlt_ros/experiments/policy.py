"""Policy of a run, loaded from its folder for use in the simulator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rlt_ros.experiments.rollout import Rollout
from rlt_ros.experiments.run_config import TrainingConfig, build_settings
from rlt_ros.learning.checkpoint import PolicyUpdate, load_learner
from rlt_ros.learning.run_folder import CHECKPOINT_FILE, CONFIG_FILE, read_config
from rlt_ros.rlt.learner import Learner
from rlt_ros.robots.profile import load_profile
from rlt_ros.sim.station import station
from rlt_ros.sim.tasks import simulated
from rlt_ros.sim.workcell import Start, Workcell
from rlt_ros.store.lineage import Lineage
from rlt_ros.vla.loading import load_frozen


@dataclass
class LoadedPolicy:
    """Policy of a run with its simulated robot."""

    workcell: Workcell
    rollout: Rollout
    learner: Learner
    start: Start
    run: TrainingConfig
    seed: int
    lineage: Lineage

    @property
    def update(self) -> PolicyUpdate:
        """Actor of the learner."""
        return live_policy(self.learner, self.lineage)


def live_policy(learner: Learner, lineage: Lineage) -> PolicyUpdate:
    """Actor of a running learner; it changes with every update."""
    return PolicyUpdate(learner.actor, learner.actor_steps, lineage)


def open_policy(run_dir: Path, *, trained: bool = True) -> LoadedPolicy:
    """Load the policy of a run's latest checkpoint.

    Args:
        run_dir: folder of the run.
        trained: True to require a checkpoint; otherwise an untrained run is loaded too.

    Raises:
        StorageError: the checkpoint is missing or damaged.
        ConfigError: the simulator has no scene for the run's task.
    """
    config = read_config(run_dir, ("rlt", "run", "vla", "task", "seed"))
    chosen = build_settings(
        {name: config[name] for name in ("rlt", "run")}, origin=str(run_dir / CONFIG_FILE)
    )
    profile = load_profile(chosen.run.robot)
    frozen = load_frozen(config["vla"], config["task"], chosen.run.robot, profile.continuous)
    workcell = Workcell(simulated(config["task"]), station(profile))
    start = Start(chosen.run.start)
    rollout = Rollout(workcell, frozen, chosen.rlt, profile, start=start)
    learner = Learner(chosen.rlt, rollout.shapes, seed=config["seed"])
    if trained or (run_dir / CHECKPOINT_FILE).exists():
        load_learner(run_dir / CHECKPOINT_FILE, learner, lineage=frozen.lineage)
    return LoadedPolicy(workcell, rollout, learner, start, chosen.run, config["seed"], frozen.lineage)

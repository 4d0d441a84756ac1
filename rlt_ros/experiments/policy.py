"""The policy of a run, opened from its folder and ready to act in the simulator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rlt_ros.experiments.rollout import Rollout
from rlt_ros.experiments.run_config import RunConfig, settings
from rlt_ros.rlt.checkpoint import PolicyUpdate, load_learner
from rlt_ros.rlt.learner import Learner
from rlt_ros.rlt.lineage import Lineage
from rlt_ros.rlt.run_folder import CHECKPOINT_FILE, CONFIG_FILE, read_config
from rlt_ros.robots.profile import load_profile
from rlt_ros.sim.station import station
from rlt_ros.sim.tasks import simulated
from rlt_ros.sim.workcell import Start, Workcell
from rlt_ros.vla.loading import load_frozen


@dataclass
class LoadedPolicy:
    """A run's policy, ready to act."""

    workcell: Workcell
    rollout: Rollout
    learner: Learner
    start: Start
    run: RunConfig
    seed: int
    lineage: Lineage

    @property
    def update(self) -> PolicyUpdate:
        """The learner's actor, ready to act."""
        return live_policy(self.learner, self.lineage)


def live_policy(learner: Learner, lineage: Lineage) -> PolicyUpdate:
    """The actor that a learner is training; it changes with the next update."""
    return PolicyUpdate(learner.actor, learner.actor_steps, lineage)


def open_policy(run_dir: Path, *, trained: bool = True) -> LoadedPolicy:
    """The policy of a run, as its last checkpoint has it.

    Args:
        run_dir: folder of the run.
        trained: require a checkpoint; otherwise a run that has learned nothing yet is opened too.

    Raises:
        StorageError: there is no checkpoint, or it is damaged.
        ConfigError: the run was not done in the simulator, which has no scene for its task.
    """
    config = read_config(run_dir, ("rlt", "run", "vla", "task", "seed"))
    chosen = settings({name: config[name] for name in ("rlt", "run")}, origin=str(run_dir / CONFIG_FILE))
    profile = load_profile(chosen.run.robot)
    frozen = load_frozen(config["vla"], config["task"], chosen.run.robot, profile.continuous)
    workcell = Workcell(simulated(config["task"]), station(profile))
    start = Start(chosen.run.start)
    rollout = Rollout(workcell, frozen, chosen.rlt, profile, start=start)
    learner = Learner(chosen.rlt, rollout.shapes, seed=config["seed"])
    if trained or (run_dir / CHECKPOINT_FILE).exists():
        load_learner(run_dir / CHECKPOINT_FILE, learner, lineage=frozen.lineage)
    return LoadedPolicy(workcell, rollout, learner, start, chosen.run, config["seed"], frozen.lineage)

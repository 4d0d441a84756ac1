"""Policy of a run as a source of joint targets: VLA, token, actor and the robot's limits, without a simulator."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from rlt_ros.acting.policy_holder import sample_chunk
from rlt_ros.learning.checkpoint import PolicyUpdate, load_actor
from rlt_ros.learning.run_folder import CHECKPOINT_FILE, CONFIG_FILE, read_config
from rlt_ros.perception import Observation
from rlt_ros.rlt.config import RLTConfig, Shapes
from rlt_ros.robots.profile import DEFAULT_ROBOT, RobotProfile, load_profile
from rlt_ros.robots.safety import SafetyFilter
from rlt_ros.serving.errors import RequestError
from rlt_ros.store.parameters import ConfigError, build
from rlt_ros.store.storage import StorageError
from rlt_ros.vla.fit import require_fit
from rlt_ros.vla.frozen import FrozenVLA
from rlt_ros.vla.loading import load_frozen

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ServingConfig:
    """Settings of a served policy.

    Attributes:
        acts: `actor` for the trained policy, `vla` for the frozen VLA alone.
        approach_steps: control steps at the start of an episode that the VLA acts in.
        hz: execution rate of the peer, 1/s; None for that of the robot profile.
        seed: seed of the VLA's noise.
    """

    acts: str = "actor"
    approach_steps: int = 0
    hz: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse invalid values."""
        if self.acts not in ("actor", "vla"):
            raise ConfigError(f"`acts` is {self.acts!r}; it must be actor or vla")
        if self.approach_steps < 0 or (self.hz is not None and not 0 < self.hz < 1000):
            raise ConfigError(
                f"`approach_steps` is {self.approach_steps} and `hz` {self.hz}; they are at least 0, and 0 to 1000"
            )


class ServedPolicy:
    """Safe joint targets from observations. Safe to use from several threads, one episode at a time.

    Args:
        frozen: VLA and token.
        profile: robot profile.
        rlt: settings of the run.
        actor: trained actor; None serves the VLA alone.
        serving: settings.

    Raises:
        ConfigError: VLA, robot and settings do not fit together.
    """

    def __init__(
        self,
        frozen: FrozenVLA,
        profile: RobotProfile,
        rlt: RLTConfig,
        actor: PolicyUpdate | None,
        serving: ServingConfig,
    ) -> None:
        require_fit(frozen.vla, profile, chunk=rlt.chunk)
        self.profile, self.serving = profile, serving
        self._frozen, self._rlt, self._actor = frozen, rlt, actor if serving.acts == "actor" else None
        arm = profile.kinematics()
        self._safety = SafetyFilter(profile.limits(arm), profile.control_hz, arm)
        self._lock = threading.Lock()
        self._episode = 0
        self.pass_seconds = 0.0
        """Duration of the last pass through VLA, token and actor."""
        self.reset()

    @property
    def cameras(self) -> tuple[str, ...]:
        """Cameras of the VLA."""
        return self._frozen.spec.cameras

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the VLA's images, pixels."""
        return self._frozen.spec.image_size

    @property
    def hz(self) -> float:
        """Rate of the steps of `decide`, 1/s."""
        return self.serving.hz or self.profile.control_hz

    def reset(self) -> None:
        """Start a new episode."""
        with self._lock:
            self._episode += 1
            self._steps = 0
            self._noise = torch.Generator().manual_seed(self.serving.seed + self._episode)

    def decide(self, observation: Observation, instruction: str) -> Array:
        """Joint targets (N, A) rad of the next steps at the peer's rate; the first is one step after the observation.

        Raises:
            RequestError: the VLA refuses the observation, or the result is not finite.
        """
        with self._lock:
            begun = time.perf_counter()
            try:
                features = self._frozen.encode([observation], instruction, self._noise)
            except ValueError as error:
                raise RequestError(f"the VLA refuses the observation: {error}") from error
            state = features.states([self._steps], [observation], self._rlt.chunk)[0]
            chunk = state.reference
            if self._actor is not None and self._steps >= self.serving.approach_steps:
                chunk = sample_chunk(self._actor.actor, state, sigma=0.0, generator=None)
            self.pass_seconds = time.perf_counter() - begun
            targets = self._frozen.action_space.decode(observation.position, chunk.astype(np.float64))
            if not np.isfinite(targets).all():
                raise RequestError("the policy's actions are not finite; hold the arm")
            self._steps += len(targets)
            return resample(
                observation.position,
                self._safe(observation.position, targets),
                self.profile.control_hz,
                self.hz,
            )

    def _safe(self, position: Array, targets: Array) -> Array:
        """Targets within the robot's limits, filtered as in the executor, with an arm that follows exactly."""
        self._safety.reset(position)
        safe, measured = [], position
        for target in targets:
            measured = self._safety.filter(target, measured)
            safe.append(measured)
        return np.stack(safe)


def resample(start: Array, targets: Array, hz: float, target_hz: float) -> Array:
    """Resample targets (N, A): the same path over the same time, linear between steps, at least one step.

    Args:
        start: (A,) start of the path, at time 0.
        targets: (C, A), the first one at 1/hz.
        hz: rate of ``targets``, 1/s.
        target_hz: rate of the result, 1/s.
    """
    if hz == target_hz:
        return targets
    count = max(1, round(len(targets) * target_hz / hz))
    times = np.arange(len(targets) + 1) / hz
    sampled = np.minimum(np.arange(1, count + 1) / target_hz, len(targets) / hz)
    path = np.vstack([start[None], targets])
    return np.stack([np.interp(sampled, times, path[:, joint]) for joint in range(path.shape[1])], axis=1)


def open_run(folder: Path, serving: ServingConfig, *, robot: str = "") -> ServedPolicy:
    """Load the policy of a run folder.

    Args:
        folder: run folder.
        serving: settings.
        robot: profile; empty for that of the run.

    Raises:
        StorageError: the folder is no run, or its checkpoint is missing or damaged.
        ConfigError: the run does not fit this robot.
    """
    try:
        config = read_config(folder, ("task", "rlt"))
    except ConfigError as error:
        raise StorageError(f"{folder}: is no run folder ({error}); give the folder of a run") from error
    task, rlt = config["task"], build(RLTConfig, config["rlt"], origin=str(folder / CONFIG_FILE))
    # A custom task is stored as the path of its file, which has the task's name.
    robot = robot or config.get("run", {}).get("robot", DEFAULT_ROBOT)
    frozen = load_frozen(config.get("vla", "builtin"), Path(task).stem, robot)
    actor = None
    if serving.acts == "actor":
        dim = frozen.action_space.dim
        shapes = Shapes(frozen.z_dim, 2 * dim, rlt.chunk, dim)
        actor = load_actor(folder / CHECKPOINT_FILE, shapes=shapes, lineage=frozen.lineage)
    return ServedPolicy(frozen, load_profile(robot), rlt, actor, serving)

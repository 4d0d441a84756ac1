"""The policy of a run, asked for joint targets: VLA, token, actor and the robot's limits, without a simulator."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from rlt_ros.perception import Observation
from rlt_ros.rlt.checkpoint import PolicyUpdate, load_actor
from rlt_ros.rlt.config import RLTConfig, Shapes
from rlt_ros.rlt.parameters import ConfigError, build
from rlt_ros.rlt.run_folder import CHECKPOINT_FILE, CONFIG_FILE, read_config
from rlt_ros.rlt.storage import StorageError
from rlt_ros.robots.profile import DEFAULT_ROBOT, RobotProfile, load_profile
from rlt_ros.robots.safety import SafetyFilter
from rlt_ros.serving.errors import RequestError
from rlt_ros.vla.fit import require_fit
from rlt_ros.vla.frozen import FrozenVLA
from rlt_ros.vla.loading import load_frozen
from rlt_ros.vla.policy_holder import sample_chunk

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Serving:
    """How a policy is served.

    Attributes:
        acts: `actor` for the trained policy, `vla` for the frozen VLA alone.
        approach_steps: control steps at the start of an episode in which the VLA acts all the same.
        hz: rate at which the peer executes steps, 1/s; None for that of the robot profile.
        seed: of the VLA's noise.
    """

    acts: str = "actor"
    approach_steps: int = 0
    hz: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.acts not in ("actor", "vla"):
            raise ConfigError(f"`acts` is {self.acts!r}; it must be actor or vla")
        if self.approach_steps < 0 or (self.hz is not None and not 0 < self.hz < 1000):
            raise ConfigError(
                f"`approach_steps` is {self.approach_steps} and `hz` {self.hz}; they are at least 0, and 0 to 1000"
            )


class ServedPolicy:
    """Observations in, safe joint targets out. Safe to use from several threads, one episode at a time.

    Args:
        frozen: VLA and token.
        profile: of the robot.
        rlt: settings of the run.
        actor: the trained actor; None serves the VLA alone.
        serving: how.

    Raises:
        ConfigError: VLA, robot and settings do not belong together.
    """

    def __init__(
        self,
        frozen: FrozenVLA,
        profile: RobotProfile,
        rlt: RLTConfig,
        actor: PolicyUpdate | None,
        serving: Serving,
    ) -> None:
        require_fit(frozen.vla, profile, chunk=rlt.chunk)
        self.profile, self.serving = profile, serving
        self._frozen, self._rlt, self._actor = frozen, rlt, actor if serving.acts == "actor" else None
        arm = profile.kinematics()
        self._safety = SafetyFilter(profile.limits(arm), profile.control_hz, arm)
        self._lock = threading.Lock()
        self._episode = 0
        self.pass_seconds = 0.0
        """How long the last decision took: VLA, token and actor."""
        self.reset()

    @property
    def cameras(self) -> tuple[str, ...]:
        """Cameras that the VLA needs."""
        return self._frozen.spec.cameras

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the pictures that it takes, pixels."""
        return self._frozen.spec.image_size

    @property
    def hz(self) -> float:
        """Rate of the steps of `decide`, 1/s."""
        return self.serving.hz or self.profile.control_hz

    def reset(self) -> None:
        """A new episode begins."""
        with self._lock:
            self._episode += 1
            self._steps = 0
            self._noise = torch.Generator().manual_seed(self.serving.seed + self._episode)

    def decide(self, observation: Observation, instruction: str) -> Array:
        """Joint targets (N, A) rad of the next steps at the peer's rate; the first is a step after the observation.

        Raises:
            RequestError: the VLA cannot take the observation, or nothing finite came of it.
        """
        with self._lock:
            begun = time.perf_counter()
            try:
                seen = self._frozen.encode([observation], instruction, self._noise)
            except ValueError as error:
                raise RequestError(f"the VLA refuses the observation: {error}") from error
            state = seen.states([self._steps], [observation], self._rlt.chunk)[0]
            chunk = state.reference
            if self._actor is not None and self._steps >= self.serving.approach_steps:
                chunk = sample_chunk(self._actor.actor, state, sigma=0.0, generator=None)
            self.pass_seconds = time.perf_counter() - begun
            targets = self._frozen.action_space.decode(observation.position, chunk.astype(np.float64))
            if not np.isfinite(targets).all():
                raise RequestError("the policy's actions are not finite; the arm is to hold")
            self._steps += len(targets)
            return resample(
                observation.position,
                self._safe(observation.position, targets),
                self.profile.control_hz,
                self.hz,
            )

    def _safe(self, position: Array, targets: Array) -> Array:
        """Targets within the robot's limits, as the executor would have sent them to an arm that follows."""
        self._safety.reset(position)
        safe, measured = [], position
        for target in targets:
            measured = self._safety.filter(target, measured)
            safe.append(measured)
        return np.stack(safe)


def resample(start: Array, targets: Array, hz: float, wanted: float) -> Array:
    """Targets (N, A) at another rate: the same path over the same time, linear between steps, at least one step.

    Args:
        start: (A,) where the path begins, at time 0.
        targets: (C, A), the first one at 1/hz.
        hz: their rate, 1/s.
        wanted: the rate of what is returned, 1/s.
    """
    if hz == wanted:
        return targets
    count = max(1, round(len(targets) * wanted / hz))
    given, asked = (
        np.arange(len(targets) + 1) / hz,
        np.minimum(np.arange(1, count + 1) / wanted, len(targets) / hz),
    )
    path = np.vstack([start[None], targets])
    return np.stack([np.interp(asked, given, path[:, joint]) for joint in range(path.shape[1])], axis=1)


def open_run(folder: Path, serving: Serving, *, robot: str = "") -> ServedPolicy:
    """The policy of a run folder.

    Args:
        folder: of the run.
        serving: how it is served.
        robot: profile; empty for that of the run.

    Raises:
        StorageError: there is no such run, or its checkpoint is missing or damaged.
        ConfigError: it does not belong to this robot.
    """
    try:
        config = read_config(folder, ("task", "rlt"))
    except ConfigError as error:
        raise StorageError(
            f"{folder}: is not the folder of a run ({error}); give the folder of one"
        ) from error
    task, rlt = config["task"], build(RLTConfig, config["rlt"], origin=str(folder / CONFIG_FILE))
    # A task of one's own is kept as the path of its file, which has the task's name.
    robot = robot or config.get("run", {}).get("robot", DEFAULT_ROBOT)
    frozen = load_frozen(config.get("vla", "builtin"), Path(task).stem, robot)
    actor = None
    if serving.acts == "actor":
        dim = frozen.action_space.dim
        shapes = Shapes(frozen.z_dim, 2 * dim, rlt.chunk, dim)
        actor = load_actor(folder / CHECKPOINT_FILE, shapes=shapes, lineage=frozen.lineage)
    return ServedPolicy(frozen, load_profile(robot), rlt, actor, serving)

"""One episode in the simulator: the VLA brings the tool near, then a driver acts chunk by chunk until the end.

The same loop collects data, evaluates and makes films; what differs is the driver, and whether windows are built. Only
the critical phase is counted and stored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from rlt_ros.episodes.plan import HELPED_FACTOR
from rlt_ros.perception import Observation
from rlt_ros.rlt.config import RLTConfig, Shapes
from rlt_ros.rlt.transition import ExecutedStep, RLState, Source, Window, lineage_id
from rlt_ros.rlt.windows import WindowBuilder
from rlt_ros.robots.safety import Limits, SafetyFilter
from rlt_ros.sim.scripted_operator import ScriptedOperator
from rlt_ros.sim.workcell import HZ, Start, Workcell
from rlt_ros.vla.frozen import Perceiver

FloatArray = NDArray[np.float32]

# Greatest distance between commanded and measured joint position: the demonstrator's lead of 8 mm is about 0.02 rad.
_LEAD = 0.12


class Choice(NamedTuple):
    """What a driver decides: a chunk (C, A) in policy units, and who it came from."""

    chunk: FloatArray
    source: Source


Driver = Callable[[RLState], Choice]
Sight = Callable[[Observation], Observation]
"""What a policy is shown in the critical phase in place of what the cameras see."""


class End(Enum):
    """How an episode ended."""

    SUCCESS = "success"
    FAILURE = "failure"
    TIMEOUT = "timeout"
    NO_APPROACH = "no_approach"


@dataclass(frozen=True)
class Episode:
    """What happened.

    Attributes:
        end: how it ended.
        steps: control steps of the critical phase.
        human_share: share of the critical steps that a human commanded.
    """

    end: End
    steps: int
    human_share: float = 0.0

    @property
    def success(self) -> bool:
        """Return whether the tool was mated in time."""
        return self.end is End.SUCCESS


class Rollout:
    """Runs episodes of one task.

    Args:
        workcell: the simulated robot.
        frozen: token and reference from pixels.
        config: chunk, stride and discount of the windows.
        start: where episodes begin.
    """

    def __init__(
        self,
        workcell: Workcell,
        frozen: Perceiver,
        config: RLTConfig,
        *,
        start: Start = Start.APPROACH,
    ) -> None:
        self._workcell, self._frozen, self._config, self._start = workcell, frozen, config, start
        arm = workcell.kinematics
        dim = len(arm.joints)
        self.shapes = Shapes(z_dim=frozen.z_dim, proprio_dim=2 * dim, chunk=config.chunk, action_dim=dim)
        limits = Limits(arm.lower, arm.upper, arm.velocity_limit, np.full(dim, _LEAD))
        self._safety = SafetyFilter(limits, HZ)
        self._lineage = lineage_id(frozen.lineage)

    def run(
        self,
        seed: int,
        driver: Driver,
        *,
        episode: int = 0,
        collect: Callable[[list[Window]], object] | None = None,
        sight: Sight | None = None,
        watch: Callable[[], None] | None = None,
        operator: ScriptedOperator | None = None,
    ) -> Episode:
        """One episode under the conditions of `seed`.

        Args:
            seed: of the conditions and of the VLA's noise.
            driver: who acts in the critical phase.
            episode: id under which windows are stored.
            collect: given the windows as they become known; None builds none and skips the pictures in between.
            sight: changes what is seen in the critical phase, for tests of what the policy looks at.
            watch: called after every control step.
            operator: who takes over where the driver gets stuck in the critical phase; None for nobody.
        """
        self._workcell.reset(seed, self._start)
        self._safety.reset(self._workcell.position)
        noise = torch.Generator().manual_seed(seed)
        if not self._approach(noise, watch):
            return Episode(End.NO_APPROACH, 0)
        builder = None
        if collect:
            config = self._config
            builder = WindowBuilder(
                self.shapes,
                self._frozen.action_space.encode,
                episode=episode,
                lineage=self._lineage,
                stride=config.stride,
                gamma=config.gamma,
            )
        if operator:
            operator.begin(seed)
        return self._critical_phase(driver, noise, builder, collect, sight or _as_it_is, watch, operator)

    def _approach(self, noise: torch.Generator, watch: Callable[[], None] | None) -> bool:
        """Let the VLA act until the hand-over; False if it does not get there in time."""
        for start in range(0, self._workcell.task.approach_limit, self._config.chunk):
            observation = self._workcell.observe()
            state = self._states([(start, observation)], noise)[0]
            for target in self._targets(state, state.reference):
                if self._workcell.critical:
                    return True
                self._command(target)
                if watch:
                    watch()
        return self._workcell.critical

    def _critical_phase(
        self,
        driver: Driver,
        noise: torch.Generator,
        builder: WindowBuilder | None,
        collect: Callable[[list[Window]], object] | None,
        sight: Sight,
        watch: Callable[[], None] | None,
        operator: ScriptedOperator | None,
    ) -> Episode:
        step, human_steps, end = 0, 0, None
        frames: list[tuple[int, Observation]] = []
        while end is None:
            # The frames inside the last chunk and the one at its border go through the VLA in one batch.
            frames.append((step, sight(self._workcell.observe())))
            states = self._states(frames, noise)
            if builder and collect:
                collect([window for state in states for window in builder.add_state(state)])
            choice = driver(states[-1])
            frames = []
            if operator:
                operator.decide()
            for offset, target in enumerate(self._targets(states[-1], choice.chunk)):
                if builder and offset and offset % self._config.stride == 0:
                    frames.append((step, sight(self._workcell.observe())))
                source = choice.source
                if operator and operator.acts:
                    target, source = operator.command(), Source.HUMAN
                command, mated = self._command(target)
                if operator:
                    operator.watch()
                if builder and collect:
                    collect(builder.add_step(ExecutedStep(step, command.astype(np.float32), source)))
                step += 1
                human_steps += source is Source.HUMAN
                if watch:
                    watch()
                end = self._end(step, mated, helped=operator is not None and operator.acts)
                if end is not None:
                    break
        if builder and collect:
            collect(self._finish(builder, end, step, frames, noise))
        return Episode(end, step, human_steps / step)

    def _end(self, step: int, mated: bool, *, helped: bool) -> End | None:
        """How the episode ends after `step` steps, if it does. An operator who has taken over gets time to finish."""
        if mated:
            return End.SUCCESS
        if self._workcell.distance > self._workcell.task.lost_distance:
            return End.FAILURE
        limit = self._workcell.task.critical_limit * (HELPED_FACTOR if helped else 1)
        return End.TIMEOUT if step >= limit else None

    def _finish(
        self,
        builder: WindowBuilder,
        end: End,
        step: int,
        frames: list[tuple[int, Observation]],
        noise: torch.Generator,
    ) -> list[Window]:
        """The remaining windows. A time-out cuts the episode; success and failure end it."""
        final = None
        if end is End.TIMEOUT:
            frames = [*frames, (step, self._workcell.observe())]
        states = self._states(frames, noise) if frames else []
        if end is End.TIMEOUT:
            *states, final = states
        windows = [window for state in states for window in builder.add_state(state)]
        terminated = end is not End.TIMEOUT
        reward = 1.0 if end is End.SUCCESS else 0.0
        return windows + builder.finish(terminated=terminated, reward=reward, final_state=final)

    def _states(self, frames: list[tuple[int, Observation]], noise: torch.Generator) -> list[RLState]:
        steps, observations = zip(*frames, strict=True)
        seen = self._frozen.perceive(observations, self._workcell.task.instruction, noise)
        return seen.states(steps, observations, self._config.chunk)

    def _targets(self, state: RLState, chunk: FloatArray) -> NDArray[np.float64]:
        return self._frozen.action_space.decode(state.anchor.astype(np.float64), chunk.astype(np.float64))

    def _command(self, target: NDArray[np.float64]) -> tuple[NDArray[np.float64], bool]:
        """Send one joint target through the safety filter; what was sent, and whether the tool is mated."""
        measured = self._workcell.observe(images=False).position
        command = self._safety.filter(target, measured)
        return command, self._workcell.step(command)


def _as_it_is(observation: Observation) -> Observation:
    return observation

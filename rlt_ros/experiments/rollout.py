"""Episode in the simulator in one process: the graph's own cores, called in the order of its messages.

Robot, executor, inference, episode machine and row assembly are those of the nodes. In lock-step the graph stores the
same rows, bit for bit. Training, evaluations and films use this loop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlt_ros.acting.config import ControlConfig
from rlt_ros.acting.controller import Controller
from rlt_ros.acting.inference import Inference
from rlt_ros.acting.inference_config import InferenceConfig
from rlt_ros.acting.records import Command
from rlt_ros.episodes.machine import Assignment, EpisodeConfig, EpisodeMachine, Event, FinishedEpisode
from rlt_ros.episodes.plan import Kind
from rlt_ros.learning.checkpoint import PolicyUpdate
from rlt_ros.perception import Observation
from rlt_ros.replay.episode_assembler import EpisodeAssembler, RowSpec
from rlt_ros.replay.stream import ActionChunk, ChunkRequest, EpisodeOutcome, Phase
from rlt_ros.rlt.config import RLTConfig, Shapes
from rlt_ros.rlt.transition import Source, Window
from rlt_ros.robots.intervention import Intervention, TakeOver
from rlt_ros.robots.profile import RobotProfile
from rlt_ros.sim.scripted_operator import ScriptedOperator
from rlt_ros.sim.simulated_robot import SimulatedRobot
from rlt_ros.sim.workcell import Start, Workcell
from rlt_ros.vla.frozen import FrozenEncoder

Array = NDArray[np.float64]

Sight = Callable[[Observation], Observation]
"""Change of a policy's observations in the critical phase, for tests of its dependence on them."""

_CONTROL = ControlConfig(lock_step=True)
# All inputs arrive in time, so inference never waits.
_INFERENCE = InferenceConfig(patience=0.0)
_DEVICE = "script"


@dataclass(frozen=True)
class EpisodeResult:
    """Result of one episode.

    Attributes:
        end: outcome, one word of ``episodes.jsonl``.
        steps: control steps of the critical phase.
        human_share: share of the critical steps that a human commanded, 0 to 1.
    """

    end: str
    steps: int
    human_share: float = 0.0

    @property
    def success(self) -> bool:
        """True if the tool was mated in time."""
        return self.end == EpisodeOutcome.SUCCESS.word


class Rollout:
    """Runner of episodes of one task.

    Args:
        workcell: the simulated robot.
        frozen: token and reference from pixels.
        config: chunk, stride and discount of the windows, exploration noise.
        profile: profile of the robot, with the safety limits of every command.
        start: start of the episodes.

    Attributes:
        arm: kinematics of the arm.
        shapes: sizes of states and actions.
        dropped: number of inputs rejected by a core, by kind.

    Raises:
        ConfigError: URDF and profile contradict each other.
    """

    def __init__(
        self,
        workcell: Workcell,
        frozen: FrozenEncoder,
        config: RLTConfig,
        profile: RobotProfile,
        *,
        start: Start = Start.APPROACH,
    ) -> None:
        self.workcell, self.start = workcell, start
        self.frozen, self.config, self.profile = frozen, config, profile
        self.arm = profile.kinematics()
        dim = profile.dim
        self.shapes = Shapes(z_dim=frozen.z_dim, proprio_dim=2 * dim, chunk=config.chunk, action_dim=dim)
        self.dropped: Counter[str] = Counter()

    def run(
        self,
        seed: int,
        policy: PolicyUpdate | None = None,
        *,
        episode: int = 1,
        collect: Callable[[list[Window]], object] | None = None,
        sight: Sight | None = None,
        watch: Callable[[], None] | None = None,
        operator: ScriptedOperator | None = None,
    ) -> EpisodeResult:
        """Run one episode under the conditions of `seed`.

        Args:
            seed: seed of conditions, VLA noise and exploration.
            policy: policy of the critical phase; None for the VLA.
            episode: id of the stored windows, at least 1.
            collect: called with the windows of a training episode, in which the policy explores; None for an
                evaluation.
            sight: change of the observations in the critical phase.
            watch: called after every control step.
            operator: operator who takes over if the policy makes no progress in the critical phase, or None.
        """
        task = self.workcell.task
        kind = Kind.EVAL_RLT if collect is None else Kind.TRAIN
        assignment = Assignment(
            episode, seed, kind, task.name, task.instruction, task.approach_limit, task.critical_limit
        )
        loop = _Loop(self, policy, sight, watch, operator)
        done, windows = loop.run(assignment)
        if collect is not None and windows:
            collect(windows)
        return EpisodeResult(done.end, done.steps, done.human_share)


class _Loop:
    """Cores of one episode.

    Args:
        rollout: robot, frozen half and settings.
        policy: policy of the critical phase; None for the VLA.
        sight: change of the observations in the critical phase.
        watch: called after every control step.
        operator: simulated human.
    """

    def __init__(
        self,
        rollout: Rollout,
        policy: PolicyUpdate | None,
        sight: Sight | None,
        watch: Callable[[], None] | None,
        operator: ScriptedOperator | None,
    ) -> None:
        config, profile, frozen = rollout.config, rollout.profile, rollout.frozen
        self._sight, self._watch, self._dropped = sight, watch, rollout.dropped
        self._robot = SimulatedRobot(rollout.workcell, start=rollout.start, operator=operator)
        self._joints = [self._robot.joint_names.index(name) for name in profile.tracked_joints.names]
        self._arm = self._joints[: profile.dim]
        self._names, self._has_operator = profile.joints, operator is not None
        self._controller = Controller.of_robot(_CONTROL, profile, rollout.arm)
        self._inference = Inference(
            frozen, config, _INFERENCE, profile.control_hz, self._drop, clock=lambda: self._seconds
        )
        if policy is not None:
            self._inference.accept(policy, ages=False)
        self._machine = EpisodeMachine(EpisodeConfig(), self._drop)
        self._rows = EpisodeAssembler(config.stride, self._drop)
        self._rows.spec = RowSpec(rollout.shapes, frozen.action_space.encode, frozen.lineage, config.gamma)
        # Stamp of the newest pictures, ns.
        self._seen = 0
        self._actor_acts = False
        # ns, total time-outs of missing chunks.
        self._waited = 0

    def run(self, assignment: Assignment) -> tuple[FinishedEpisode, list[Window]]:
        """Run the episode; returns its result and its rows."""
        robot, machine = self._robot, self._machine
        self._controller.begin()
        machine.begin(assignment, robot.stamp, self._seconds)
        self._announce()
        robot.reset(assignment.seed)
        self._event(Event.RESET_DONE, robot.stamp)
        while machine.running:
            event = robot.task_event(machine.state.phase)
            if event is None:
                self._step()
            else:
                self._event(Event[event.name], robot.event_stamp(event))
        (done,) = machine.take_finished()
        assembled = self._rows.take(overdue=frozenset(self._rows.waiting))
        return done, [window for one in assembled for window in one.windows]

    @property
    def _now(self) -> int:
        """Steady time, ns."""
        return self._robot.stamp + self._waited

    @property
    def _seconds(self) -> float:
        """Steady time, s."""
        return 1e-9 * self._now

    @property
    def _is_stored(self) -> bool:
        state = self._machine.state
        return state.phase is Phase.CRITICAL and not state.eval

    def _step(self) -> None:
        """Make one control step: measure, decide, command."""
        robot, stamp = self._robot, self._robot.stamp
        if self._has_operator:
            self._update_human()
        sample = robot.joints()
        self._controller.joint_state(stamp, sample.position[self._joints], self._now)
        if self._is_stored and robot.cameras_due:
            self._observe()
        command = self._decide()
        if command.target is not None:
            robot.command(self._names, command.target, command.stamp)
        robot.step()
        record = command.record
        if record is not None:
            self._actor_acts = self._actor_acts or record.source is Source.ACTOR
            self._rows.add_step(record)
            self._machine.step(record.episode, record.step, record.stamp, record.source, self._seconds)
            self._inference.add_step(record.episode, record.step, record.stamp)
            self._announce()
            self._infer()
        if self._watch:
            self._watch()

    def _decide(self) -> Command:
        """Command of this step, after a requested chunk."""
        stamp = self._robot.stamp
        outcome = self._controller.tick(self._now, stamp)
        if outcome.request is not None:
            self._answer(outcome.request)
            outcome = self._controller.tick(self._now, stamp)
        if outcome.command is None:
            # Inference rejected the observation, so the arm holds.
            self._waited += round(_CONTROL.chunk_timeout * 1e9)
            outcome = self._controller.tick(self._now, stamp)
        assert outcome.command is not None, self._controller.hold_reason
        return outcome.command

    def _answer(self, request: ChunkRequest) -> None:
        """Answer a request from the current picture, after the operator's decision about a take-over."""
        critical = request.phase is Phase.CRITICAL
        self._machine.chunk_requested(request.episode, request.step, critical=critical)
        if self._seen != self._robot.stamp:
            self._robot.expose_cameras()
            self._observe()
        if self._has_operator and self._actor_acts and self._is_stored and not self._robot.human_acts:
            self._robot.help_if_stuck()
            if self._robot.human_acts:
                self._update_human()
        self._inference.request(request)
        self._infer()

    def _observe(self) -> None:
        robot, sample = self._robot, self._robot.joints()
        self._seen = robot.stamp
        observation = Observation(
            robot.stamp, robot.pictures(), sample.position[self._arm], sample.velocity[self._arm]
        )
        if self._sight and self._machine.state.phase is Phase.CRITICAL:
            observation = self._sight(observation)
        self._inference.observe(observation)
        self._infer()

    def _update_human(self) -> None:
        command, stamp = self._robot.human_command(), self._robot.stamp
        if command is None:
            human = Intervention(TakeOver.RELEASED, 0.0, np.zeros(0), _DEVICE, stamp)
        else:
            human = Intervention(TakeOver.ENGAGED, 1.0, command, _DEVICE, stamp)
        self._controller.intervention(human, self._now)

    def _infer(self) -> None:
        for made in self._inference.work():
            if isinstance(made, ActionChunk):
                self._controller.chunk(made, self._robot.stamp, self._now)
            else:
                self._rows.add_state(made)

    def _event(self, event: Event, stamp: int) -> None:
        self._machine.event(event, stamp=stamp, now=self._seconds)
        self._announce()

    def _announce(self) -> None:
        """Pass the states of the episode to the other cores."""
        for state in self._machine.take_states():
            if state.phase is Phase.CRITICAL:
                self._robot.expose_cameras()
                self._robot.start_supervision()
            self._controller.episode_state(state)
            self._inference.update_episode(state)
            self._rows.add_episode(state)
            self._infer()

    def _drop(self, kind: str, detail: str) -> None:
        self._dropped[kind] += 1

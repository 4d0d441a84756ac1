"""Core of the executor: messages in as records, one command and one executed step per control step out.

There are two clocks. `now` is steady and never jumps: time-outs are measured on it. `stamp` is ROS time: the time of an
observation or a command. In lock-step the robot's time advances only with a command, so there the age of joint states
and interventions is measured on the stamps of the joint states.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rlt_ros.acting import authority
from rlt_ros.acting.authority import Decision, Inputs
from rlt_ros.acting.chunks import ChunkBuffer, ChunkRefused
from rlt_ros.acting.config import BLOCK, ControlConfig
from rlt_ros.acting.control_step import ControlStep, StepCounters
from rlt_ros.acting.e_stop import EStopState
from rlt_ros.acting.episode import RunningEpisode
from rlt_ros.acting.gripper import Gripper
from rlt_ros.acting.human import HumanInput
from rlt_ros.acting.lock_step import LockStep
from rlt_ros.acting.measured import MeasuredJoints
from rlt_ros.acting.records import Command, TickResult
from rlt_ros.acting.requests import ChunkRequester
from rlt_ros.acting.setpoint import Setpoint
from rlt_ros.replay.stream import ActionChunk, ChunkRequest, EpisodeState, Phase
from rlt_ros.rlt.transition import Source
from rlt_ros.robots.gripper import GripperProfile
from rlt_ros.robots.intervention import Intervention, TakeOver
from rlt_ros.robots.safety import ForwardKinematics, Limits

if TYPE_CHECKING:
    from rlt_ros.robots.kinematics import Kinematics
    from rlt_ros.robots.profile import RobotProfile

Array = NDArray[np.float64]

# ns between two preempting steps, which come outside the period.
_MIN_PREEMPTION_INTERVAL = 500_000_000

RELOCATED = "the arm was moved, or its driver restarted"
JOINTS_LOST = "joint states were silent for too long, or their clock was set back"


class Controller:
    """Decides every control step of one arm.

    Args:
        config: of the executor.
        limits: of the arm.
        hz: control rate, 1/s.
        kinematics: of the arm; needed for a workspace limit.
        gripper: of the arm; None for one without.
        held: number of further joints H that commands must hold.
    """

    def __init__(
        self,
        config: ControlConfig,
        limits: Limits,
        hz: float,
        kinematics: ForwardKinematics | None = None,
        gripper: GripperProfile | None = None,
        held: int = 0,
    ) -> None:
        self._config, self._limits = config, limits
        self._setpoint = Setpoint(limits, hz, kinematics, held=held, teleports=config.lock_step)
        self._gripper = None if gripper is None else Gripper(gripper, hz)
        self._chunks = ChunkBuffer(limits.dim, config.max_chunk_age, limits.continuous)
        self._requests = ChunkRequester(config, self._chunks, hz)
        self._lock_step = LockStep(config)
        self._joints = MeasuredJoints(
            limits.with_held(held).lead,
            config.joint_state_timeout,
            limits.continuous,
            lock_step=config.lock_step,
        )
        self._human = HumanInput(limits.dim, config.intervention_timeout, has_gripper=gripper is not None)
        self._e_stop = EStopState(config.e_stop_timeout)
        self._episode = RunningEpisode()
        self._step = ControlStep(
            limits,
            self._setpoint,
            self._gripper,
            self._episode,
            self._requests,
            lock_step=config.lock_step,
        )
        # The setpoint begins at the next measured position.
        self._begins = True
        # No joint state arrived since the episode began; a reset may have moved the arm.
        self._unseen = False
        # Steady time of the newest preempting step, ns.
        self._preempted: int | None = None

    @classmethod
    def of_robot(cls, config: ControlConfig, profile: RobotProfile, arm: Kinematics) -> Controller:
        """Controller of a robot, with the safety limits of its profile.

        Args:
            config: of the executor.
            profile: of the robot.
            arm: its kinematics.

        Raises:
            ConfigError: limits of profile and URDF contradict each other.
        """
        return cls(
            config, profile.limits(arm), profile.control_hz, arm, profile.gripper, held=len(profile.held)
        )

    def abort_reason(self, now: int) -> str:
        """Reason to abort the running episode at steady time `now`, ns; empty for none."""
        return self._episode.abort_reason(now)

    @property
    def episode(self) -> EpisodeState:
        """Newest state of the episode."""
        return self._episode.state

    @property
    def hold_reason(self) -> str:
        """Reason why the arm holds; empty while it is commanded."""
        return self._step.hold_reason

    @property
    def counters(self) -> StepCounters:
        """Counters of all control steps."""
        return self._step.counters

    @property
    def refused_targets(self) -> int:
        """Number of targets that were not finite or had a wrong shape."""
        return self._setpoint.safety.refused

    @property
    def latencies(self) -> Array:
        """Latencies (n,) s from request to arrival of the newest overlapping chunks, at most 100."""
        return self._requests.latencies

    @property
    def limits(self) -> Limits:
        """Limits of the arm."""
        return self._limits

    @property
    def measured(self) -> Array | None:
        """Newest measured positions (A,) rad of the arm; None before the first."""
        joints = self._joints.positions
        return None if joints is None else joints[: self._limits.dim]

    @property
    def gripper(self) -> float | None:
        """Gripper command in the robot's unit; None under an e-stop, and before the first command of a human."""
        return None if self._gripper is None or self._e_stop.pressed else self._gripper.command

    @property
    def commanding(self) -> bool:
        """Return whether a policy or a human commands the arm, or may in the next step.

        A joint state that cannot follow from the last one is accepted only while this is False.
        """
        return not self._e_stop.pressed and (self._human.newest.phase.commands or self._episode.acts)

    def joint_state(
        self, stamp: int, positions: Array, now: int, gripper: float | None = None, *, relocated: bool = False
    ) -> None:
        """Accept a joint state.

        Args:
            stamp: ROS time, ns; 0 from drivers that leave it empty.
            positions: (A + H,) rad, of the arm and of the joints that commands must hold.
            now: steady time, ns.
            gripper: 0 open to 1 closed; None if unknown.
            relocated: the arm cannot have moved here from the last position: its driver restarted, or it was moved
                unseen. A running episode is aborted, and no command is sent before policy or human act again.

        Raises:
            InputRefused: not finite, of a wrong shape, repeated or out of order.
        """
        self._joints.check(stamp, positions)
        if self._joints.is_lost(stamp, now) and not self._begins and not self._lock_step.on:
            self._episode.abort(now, JOINTS_LOST)
        if self._joints.is_restart(stamp):
            # The plan belongs to another time.
            self._requests.forget()
            self._human.expire()
            self._begins = True
        if not self._joints.update(stamp, positions, now):
            self._setpoint.lose_track()
            if self._lock_step.on:
                # The simulator was reset. A joint state from before may arrive after the episode has begun, and a
                # plan from there must not be executed from here.
                self._requests.forget()
                self._begins = True
        self._unseen = False
        if relocated:
            self._setpoint.lose_track()
            self._begins = True
            self._episode.abort(now, RELOCATED)
        if self._gripper is not None and gripper is not None:
            self._gripper.measure(gripper)
        self._lock_step.expect_answer(now)

    def joint_state_rejected(self, now: int, *, stamp: int, moved: bool) -> None:
        """Send no command before the next accepted joint state that is not older.

        Args:
            now: steady time, ns.
            stamp: of the rejected joint state, ROS time in ns; 0 without one.
            moved: the arm stays at a position that it cannot have moved to, or two sources publish it; a running
                episode is aborted.
        """
        self._joints.reject(stamp)
        if moved:
            self._episode.abort(now, RELOCATED)

    def episode_state(self, state: EpisodeState) -> None:
        """Accept a state of the episode."""
        changed, is_new = self._episode.update(state)
        if changed:
            self._requests.forget()
        if not self._episode.runs:
            # Simulated time stands still between episodes, so the newest joint state is outdated.
            self._lock_step.answer()
        if is_new:
            self._chunks.begin(state.episode)
            self._begins = True
            self._step.begin_episode()
            # In lock-step the simulator publishes the arm's position after the reset.
            self._unseen = not self._lock_step.on

    def chunk(self, chunk: ActionChunk, stamp: int, now: int) -> None:
        """Accept a chunk received at ROS time `stamp` and steady time `now`, ns.

        Raises:
            ChunkRefused: it may not be executed.
        """
        stamp = self._joints.stamp if self._lock_step.on else stamp
        self._chunks.check(chunk, stamp)
        if chunk.source is Source.ACTOR and self.episode.phase is not Phase.CRITICAL:
            raise ChunkRefused(
                "actor outside its phase", f"chunk {chunk.chunk} is of the actor outside the critical phase"
            )
        self._requests.accept(chunk, now)
        chunk = dataclasses.replace(chunk, anchor=self._joints.in_turn(chunk.anchor))
        first, step = chunk.step, self._episode.step
        if self._config.boundary == BLOCK:
            # The arm has waited for it.
            first = step
        elif self._chunks.row(step) is None:
            # A late chunk begins now, at the position where the arm holds.
            first = max(chunk.step, step)
        self._chunks.schedule(chunk, first, step)

    def intervention(self, human: Intervention, now: int) -> bool:
        """Accept an intervention; return whether it takes over the arm.

        Raises:
            InputRefused: the command has a wrong shape, or is for a gripper that the robot lacks.
        """
        self._human.check(human)
        had_arm = self._human.has_arm
        if had_arm and human.phase is TakeOver.RELEASED:
            # The plan starts from an old position of the arm.
            self._requests.forget()
        if human.phase.commands:
            human = dataclasses.replace(human, command=self._joints.in_turn(human.command))
        self._human.update(human, self._joints.time(now))
        return human.phase.commands and not had_arm

    def e_stop(self, pressed: bool) -> None:
        """Set whether any e-stop is pressed; a release does not continue old plans."""
        if pressed or self._e_stop.pressed:
            self._requests.forget()
        self._e_stop.pressed = pressed

    def hardware_e_stop(self, now: int, pressed: bool = False) -> None:
        """Accept a message of the robot's own e-stop, which cuts the power, at steady time `now`, ns."""
        self._e_stop.update_hardware(now, pressed)

    def tick(self, now: int, stamp: int = 0) -> TickResult:
        """Decide and execute the control step that is due.

        Args:
            now: steady time, ns.
            stamp: ROS time, ns; lock-step uses the stamp of the joint state.

        Returns:
            Command to send, and chunk to request; each None for none.
        """
        lock_step, joints = self._lock_step, self._joints.positions
        if joints is None or lock_step.is_early(running=self._episode.runs):
            return TickResult()
        stamp = self._joints.stamp if lock_step.on else stamp
        self._episode.check_start(now, stamp)
        inputs = self._inputs(now)
        if inputs is None:
            return TickResult()
        request = self._request(inputs, now)
        has_plan = inputs.row is not None
        if inputs.may_plan and lock_step.waits(now, has_plan=has_plan, human=self._human, stamp=stamp):
            return TickResult(None, request)
        decision = authority.decide(inputs, self._step.position)
        return TickResult(self._execute(decision, inputs, now, stamp), request)

    def preempt(self, now: int, stamp: int) -> Command | None:
        """Stop the policy's motion in a step outside the period, because a human took over.

        The human's motion begins at the last command, so nothing is lost. None if the arm may not be commanded, and
        shortly after another such step, so that they stay rare.
        """
        is_rare = self._preempted is None or now - self._preempted > _MIN_PREEMPTION_INTERVAL
        if not self._episode.acts or not is_rare or self._begins:
            return None
        inputs = self._inputs(now)
        if inputs is None or not inputs.may_act:
            return None
        self._preempted = now
        return self._execute(Decision(Source.HUMAN), inputs, now, stamp)

    def begin(self) -> None:
        """Begin to command, or begin again: other nodes may have moved arm and gripper."""
        self._begins = True
        self._requests.forget()
        self._setpoint.forget()
        if self._gripper is not None:
            self._gripper.forget()

    def end(self, now: int, stamp: int) -> Command | None:
        """Last command, which stops the arm; None if it is at rest, or its position is unknown."""
        joints = self._joints.positions
        unknown = self._begins or self._unseen or self._joints.rejected
        if joints is None or unknown or self._joints.timed_out(now):
            return None
        return self._step.brake(joints, now, stamp)

    def _execute(self, decision: Decision, inputs: Inputs, now: int, stamp: int) -> Command | None:
        assert self._joints.positions is not None
        self._lock_step.answer()
        return self._step.execute(decision, inputs, self._joints.positions, now, stamp)

    def _inputs(self, now: int) -> Inputs | None:
        """Inputs of a control step; None while the position of the arm is unknown."""
        joints, timed_out = self._joints.positions, self._joints.timed_out(now)
        stopped = self._e_stop.active(now)
        if self._e_stop.released(stopped) and not self._lock_step.on:
            self._begins = True
        if self._unseen or joints is None or (timed_out and self._begins):
            self._step.hold_reason = authority.JOINTS_TIMED_OUT
            return None
        if self._begins:
            self._step.begin(joints)
            self._begins = False
        out_of_reach = not timed_out and self._step.is_out_of_reach(joints, now)
        acts = self._episode.acts
        return Inputs(
            stopped=stopped,
            timed_out=timed_out,
            rejected=self._joints.rejected,
            human=self._human.newest,
            human_timed_out=self._human.timed_out(self._joints.time(now)),
            running=acts,
            row=self._chunks.row(self._episode.step) if acts else None,
            out_of_reach=out_of_reach,
            inside=self._step.inside,
            powerless=self._e_stop.powerless,
        )

    def _request(self, inputs: Inputs, now: int) -> ChunkRequest | None:
        """Request for a chunk in this step; None while an answer is pending, or none is needed."""
        if not inputs.may_plan or self._lock_step.chunk_timed_out(now):
            return None
        assert self.measured is not None
        measured = self._joints.stamp, self.measured
        return self._requests.request(self.episode, self._episode.step, measured, now)

"""Core of the executor: messages in as records, one command and one executed step per control step out.

There are two clocks. `now` is steady and never jumps: time-outs are measured on it. `stamp` is ROS time: the time of an
observation or a command. In lock-step the robot's time advances only when a command is sent, so there joint states and
human are measured on the stamps of the joint states.
"""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from rlt_ros.control import authority
from rlt_ros.control.authority import Choice, Inputs
from rlt_ros.control.chunks import ChunkBuffer, ChunkRefused
from rlt_ros.control.config import BLOCK, ControlConfig
from rlt_ros.control.episode import RunningEpisode
from rlt_ros.control.gripper import Gripper
from rlt_ros.control.lock_step import LockStep
from rlt_ros.control.measured import MeasuredJoints
from rlt_ros.control.records import Command, InputRefused, Outcome
from rlt_ros.control.requests import ChunkRequester
from rlt_ros.control.setpoint import Setpoint
from rlt_ros.control.stop import Stop
from rlt_ros.control.watchdog import Patience, Watchdog
from rlt_ros.rlt.stream import ActionChunk, ChunkRequest, EpisodeState, Phase, StepRecord
from rlt_ros.rlt.transition import Source
from rlt_ros.robots.gripper import GripperProfile
from rlt_ros.robots.intervention import Intervention, TakeOver
from rlt_ros.robots.safety import ForwardKinematics, Limit, Limits

Array = NDArray[np.float64]

# ns for which a pushed arm may be out of reach of its command before its episode is aborted.
_PATIENCE = 100_000_000
# ns in which the setpoint must come nearer to the position limits that it is outside of.
_RETURN_PATIENCE = 1_000_000_000
# ns
_STEP_IN_PERIOD = 500_000_000

AWAY = "the arm was further from its command than `safety.lead`"
MOVED = "the arm was moved, or its driver restarted"
BARRED = "a joint is outside its limits, and the workspace bars its way back; move the arm by hand"
UNSEEN = "joint states were silent for too long, or their clock was set back"


class Controller:
    """Decides every control step of one arm.

    Args:
        config: of the executor.
        limits: of the arm.
        hz: control rate, 1/s.
        kinematics: of the arm; needed for a workspace limit.
        gripper: of the arm; None for one without.
        held: number of joints H that commands must hold besides the arm's.
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
        self._human_watch = Watchdog(config.intervention_timeout)
        self._stop = Stop(config.e_stop_timeout)
        self._human: Intervention | None = None
        # The setpoint begins at the next measured position.
        self._begins = True
        # Nothing was measured since the episode began; a reset may have moved the arm.
        self._unseen = False
        # The newest joint state was rejected: the arm may be where it says.
        self._doubtful = False
        self._away, self._barred = Patience(_PATIENCE), Patience(_RETURN_PATIENCE)
        self._episode = RunningEpisode()
        self._stepped_in: int | None = None
        self.why_held = authority.NO_EPISODE
        """Why the arm holds, in words; empty while it is commanded."""
        self.sources: Counter[str] = Counter()
        """Executed steps of each source."""
        self.limit_hits: Counter[str] = Counter()
        """Commands that each limit changed."""
        self.unsent = 0
        """Control steps in which nothing could be sent: the arm was out of reach, or not seen."""

    def must_abort(self, now: int) -> str:
        """Reason for which the running episode must be aborted at steady time `now`, ns; empty for none."""
        return self._episode.must_abort(now)

    @property
    def episode(self) -> EpisodeState:
        """The newest state of the episode."""
        return self._episode.state

    @property
    def refused_targets(self) -> int:
        """Targets that the safety filter could not read."""
        return self._setpoint.safety.refused

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
        """Command of the gripper, in its own unit; None under an e-stop, and before a human commanded it."""
        return None if self._gripper is None or self._stop.pressed else self._gripper.command

    @property
    def commanding(self) -> bool:
        """Return whether a policy or a human commands the arm, or may in the next step.

        A joint state that cannot follow from the one before is accepted only while this is False.
        """
        human = self._human is not None and self._human.phase.commands
        return not self._stop.pressed and (human or self._episode.acts)

    def joint_state(
        self, stamp: int, positions: Array, now: int, gripper: float | None = None, *, relocated: bool = False
    ) -> None:
        """Take in a joint state.

        Args:
            stamp: ROS time, ns; 0 from drivers that leave it empty.
            positions: (A + H,) rad, of the arm and of the joints that commands must hold.
            now: steady time, ns.
            gripper: 0 open to 1 closed; None where it is not known.
            relocated: the arm cannot have moved here from the position before: its driver restarted, or it was moved
                unseen. Nothing is sent then before somebody acts, and a running episode is aborted.

        Raises:
            InputRefused: not finite, of a wrong shape, repeated or out of order.
        """
        self._joints.check(stamp, positions)
        self._doubtful = False
        if self._joints.is_lost(stamp, now) and not self._begins and not self._lock_step.on:
            self._episode.abort(now, UNSEEN)
        if self._joints.is_restart(stamp):
            # What was planned is of another time.
            self._requests.forget()
            self._human_watch.reset()
            self._begins = True
        if not self._joints.take(stamp, positions, now):
            self._setpoint.lose_track()
            if self._lock_step.on:
                # The simulator was reset. A joint state from before may arrive after the episode has begun, and what
                # was planned from there must not be executed from here.
                self._requests.forget()
                self._begins = True
        self._unseen = False
        if relocated:
            self._setpoint.lose_track()
            self._begins = True
            self._episode.abort(now, MOVED)
        if self._gripper is not None and gripper is not None:
            self._gripper.measure(gripper)
        self._lock_step.sense(now)

    def joint_state_rejected(self, now: int, *, moved: bool) -> None:
        """Send nothing before the next joint state that can be believed.

        Args:
            now: steady time, ns.
            moved: the arm persists where it cannot have moved to, or two sources publish it: a running episode is
                aborted.
        """
        self._doubtful = True
        if moved:
            self._episode.abort(now, MOVED)

    def episode_state(self, state: EpisodeState) -> None:
        """Take in where the episode is."""
        changed, is_new = self._episode.take(state)
        if changed:
            self._requests.forget()
        if not self._episode.runs:
            # Between episodes simulated time stands still; what is measured now is of the past.
            self._lock_step.answer()
        if is_new:
            self._chunks.begin(state.episode)
            self._begins = True
            self._away.reset()
            # In lock-step the simulator presents the arm after the reset.
            self._unseen = not self._lock_step.on

    def chunk(self, chunk: ActionChunk, stamp: int, now: int) -> None:
        """Take in a chunk that came at ROS time `stamp`.

        Raises:
            ChunkRefused: it may not be executed.
        """
        stamp = self._joints.stamp if self._lock_step.on else stamp
        self._chunks.check(chunk, stamp)
        if chunk.source is Source.ACTOR and self.episode.phase is not Phase.CRITICAL:
            raise ChunkRefused(
                "actor outside its phase", f"chunk {chunk.chunk} is the actor's; the VLA acts now"
            )
        self._requests.accept(chunk, now)
        chunk = dataclasses.replace(chunk, anchor=self._joints.in_turn(chunk.anchor))
        first, step = chunk.step, self._episode.step
        if self._config.boundary == BLOCK:
            # The arm has waited for it.
            first = step
        elif self._chunks.row(step) is None:
            # It comes late: the arm holds where the chunk begins.
            first = max(chunk.step, step)
        self._chunks.place(chunk, first, step)

    def intervention(self, human: Intervention, now: int) -> bool:
        """Take in what the human commands; returns whether this is a take-over.

        Raises:
            InputRefused: the command has a wrong shape, or is for a gripper that the robot lacks.
        """
        if human.phase.commands and human.command.shape != (self._limits.dim,):
            raise InputRefused(
                "unusable intervention",
                f"command of {human.command.shape}; the arm has {self._limits.dim} joints",
            )
        if human.gripper is not None and self._gripper is None:
            raise InputRefused(
                "no gripper to command",
                "the robot's profile has no `gripper`; add the section, or leave it alone",
            )
        acted = self._human is not None and self._human.phase is not TakeOver.RELEASED
        if acted and human.phase is TakeOver.RELEASED:
            # It was made for where the arm was before.
            self._requests.forget()
        if human.phase.commands:
            human = dataclasses.replace(human, command=self._joints.in_turn(human.command))
        self._human = human
        self._human_watch.feed(self._joints.time(now))
        return human.phase.commands and not acted

    def e_stop(self, pressed: bool) -> None:
        """Take in whether any e-stop is pressed. Releasing it does not continue old plans."""
        if pressed or self._stop.pressed:
            self._requests.forget()
        self._stop.pressed = pressed

    def e_stop_speaks(self, now: int, pressed: bool = False) -> None:
        """Take in a message of the robot's own e-stop at steady time ``now``, ns: that it cuts the power, or not."""
        self._stop.hear(now, pressed)

    def tick(self, now: int, stamp: int = 0) -> Outcome:
        """Decide the control step that is due.

        Args:
            now: steady time, ns.
            stamp: ROS time, ns; lock-step takes that of the joint state.

        Returns:
            The command to send, and the chunk to ask for; neither where there is nothing to do.
        """
        lock_step = self._lock_step
        is_early = lock_step.on and not (lock_step.is_due and self._episode.runs)
        if self._joints.positions is None or is_early:
            return Outcome()
        stamp = self._joints.stamp if lock_step.on else stamp
        self._episode.join(now, stamp)
        inputs = self._inputs(now)
        if inputs is None:
            return Outcome()
        request = self._request(inputs, now)
        has_plan, awaits = inputs.row is not None, lock_step.on and inputs.may_plan
        if awaits and lock_step.waits(now, has_plan=has_plan, human=self._human, stamp=stamp):
            return Outcome(None, request)
        choice = authority.decide(inputs, self._last)
        return Outcome(self._execute(choice, inputs, now, stamp), request)

    def step_in(self, now: int, stamp: int) -> Command | None:
        """A step out of turn, in which the arm stops where it is because a human just took it.

        The human's way begins at the last command, so nothing is lost, and the policy moves the arm no further. None
        where anything else keeps the arm from acting, and where this happened a moment ago: steps out of turn are rare.
        """
        out_of_turn = self._stepped_in is None or now - self._stepped_in > _STEP_IN_PERIOD
        if not self._episode.acts or not out_of_turn or self._begins:
            return None
        inputs = self._inputs(now)
        if inputs is None or not inputs.may_act:
            return None
        self._stepped_in = now
        return self._execute(Choice(Source.HUMAN), inputs, now, stamp)

    def begin(self) -> None:
        """Commanding begins, perhaps again: others may have moved arm and gripper meanwhile."""
        self._begins = True
        self._requests.forget()
        self._setpoint.forget()
        if self._gripper is not None:
            self._gripper.forget()

    def end(self, now: int, stamp: int) -> Command | None:
        """Command with which commanding ends; None where the arm stands already, or is not seen."""
        joints = self._joints.positions
        unknown = self._begins or self._unseen or self._doubtful
        if joints is None or unknown or self._joints.silent(now):
            return None
        target = self._setpoint.brake(joints, now)
        return None if target is None else self._command(target, stamp, None)

    @property
    def latencies(self) -> Array:
        """Time (n,) s from request to arrival of the newest chunks that overlap, at most 100."""
        return self._requests.latencies

    @property
    def _last(self) -> Array:
        """Setpoint (A,) rad of the arm."""
        return self._setpoint.position[: self._limits.dim]

    def _inputs(self, now: int) -> Inputs | None:
        """Everything that the decision is made from; None where it is not known where the arm is."""
        joints, blind = self._joints.positions, self._joints.silent(now)
        stopped = self._stop.active(now)
        if self._stop.released(stopped) and not self._lock_step.on:
            self._begins = True
        if self._unseen or joints is None or (blind and self._begins):
            self.why_held = authority.BLIND
            return None
        if self._begins:
            self._setpoint.begin(joints)
            self._requests.starts_at(self._last)
            self._begins = False
        out_of_reach = not blind and self._is_out_of_reach(joints, now)
        acts, inside = self._episode.acts, np.clip(self._last, self._limits.lower, self._limits.upper)
        return Inputs(
            stopped=stopped,
            blind=blind,
            doubtful=self._doubtful,
            human=self._human,
            human_silent=self._human_watch.silent(self._joints.time(now)),
            running=acts,
            row=self._chunks.row(self._episode.step) if acts else None,
            out_of_reach=out_of_reach,
            inside=None if np.array_equal(inside, self._last) else inside,
        )

    def _is_out_of_reach(self, joints: Array, now: int) -> bool:
        """Return whether nothing can be commanded from where the setpoint is; for long, an episode is aborted."""
        if self._away.is_over(self._setpoint.is_away(joints), now):
            self._episode.abort(now, AWAY)
        return self._setpoint.is_obstructed(joints, now)

    def _request(self, inputs: Inputs, now: int) -> ChunkRequest | None:
        """Chunk to ask for in this step; None where an answer is awaited, or is of no use."""
        if not inputs.may_plan or self._lock_step.has_given_up(now):
            return None
        assert self.measured is not None
        measured = self._joints.stamp, self.measured
        return self._requests.request(self.episode, self._episode.step, measured, now)

    def _execute(self, choice: Choice, inputs: Inputs, now: int, stamp: int) -> Command | None:
        safety = self._setpoint.safety
        refused, safety.hit = safety.refused, Limit.NONE
        target = self._advance(choice, inputs, now)
        if self._barred.is_over(choice.why == authority.OUTSIDE and not safety.is_moving, now):
            self._episode.abort(now, BARRED)
        if safety.refused > refused:
            choice = Choice(Source.HOLD, why="the target is not finite")
        if choice.gripper is not None and self._gripper is not None:
            self._gripper.move(choice.gripper)
        if choice.target is None:
            self._requests.starts_at(self._last)
        else:
            self._requests.commanded(stamp, self._last)
        self._lock_step.answer()
        self.unsent += int(target is None and not choice.is_idle)
        self.why_held = self._episode.reason or choice.why
        self.limit_hits.update(safety.hit.names)
        if not self._episode.acts:
            return None if target is None else self._command(target, stamp, None)
        self.sources[choice.source.name.lower()] += 1
        assert self.measured is not None
        record = self._episode.record(choice, stamp, self._last, self.measured, int(safety.hit))
        return self._command(target, stamp, record)

    def _advance(self, choice: Choice, inputs: Inputs, now: int) -> Array | None:
        """Setpoint (A + H,) rad to send; None where nothing is to be sent."""
        setpoint, joints = self._setpoint, self._joints.positions
        assert joints is not None
        if inputs.doubtful:
            return None
        if inputs.blind:
            return setpoint.brake(joints, now)
        if choice.is_idle and not self._lock_step.on:
            return setpoint.follow(joints, now, stopped=inputs.stopped, powerless=self._stop.powerless)
        if inputs.out_of_reach:
            return setpoint.wait(joints, now)
        if choice.target is None:
            return setpoint.hold(joints, now)
        return setpoint.act(choice.target, joints, now, choice.reference)

    def _command(self, target: Array | None, stamp: int, record: StepRecord | None) -> Command:
        gripper = None if self._gripper is None else self._gripper.command
        if target is None:
            return Command(None, stamp, record, gripper)
        dim = self._limits.dim
        return Command(target[:dim], stamp, record, gripper, target[dim:], self._setpoint.is_start)

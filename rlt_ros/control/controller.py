"""The executor's core: records of messages in, one command and one executed step a control step out.

There are two clocks. `now` is steady and never jumps: time-outs are measured on it. `stamp` is ROS time: it says when
an observation was made and when a command was sent. In lock-step the robot's time goes on only when a command is sent,
so there joint states and human are measured on the stamps of the joint states.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter, deque

import numpy as np
from numpy.typing import NDArray

from rlt_ros.control import authority
from rlt_ros.control.authority import Choice, Inputs
from rlt_ros.control.chunks import ChunkBuffer, ChunkRefused, Row
from rlt_ros.control.config import BLOCK, ControlConfig
from rlt_ros.control.gripper import Gripper
from rlt_ros.control.records import Command, InputRefused, Outcome
from rlt_ros.control.watchdog import Watchdog
from rlt_ros.rlt.stream import ActionChunk, ChunkRequest, EpisodeState, Phase, StepRecord
from rlt_ros.rlt.transition import Source
from rlt_ros.robots.gripper import GripperProfile
from rlt_ros.robots.intervention import Intervention, TakeOver
from rlt_ros.robots.safety import ForwardKinematics, Limit, Limits, SafetyFilter

Array = NDArray[np.float64]

_REORDERED = (
    1_000_000_000  # ns; a joint state that is older by less came late, by more the clock was set back
)
_JOINED_LATE = 300_000_000  # ns into the critical phase; whoever begins to count steps there counts wrongly
_OLDER_STATES = 300_000_000  # ns in which those episode states come that were latched before the newest
_LATENCIES = 100  # newest chunks that overlap of which the latency is told
_SENT = 50  # newest commands that are remembered; a joint state is seldom older than the first of them

_SAG = 0.02  # rad; an arm that is further from its command, and was not when measured last, was moved
_STEP_IN_PERIOD = 500_000_000  # ns

LOST_COUNT = "the executor started in the middle of the episode"


class Controller:
    """Decides every control step of one arm.

    Args:
        config: of the executor.
        limits: of the arm.
        hz: control rate, 1/s.
        kinematics: of the arm; needed for a workspace limit.
        gripper: of the arm; None for one without.
    """

    def __init__(
        self,
        config: ControlConfig,
        limits: Limits,
        hz: float,
        kinematics: ForwardKinematics | None = None,
        gripper: GripperProfile | None = None,
    ) -> None:
        self._config, self._limits = config, limits
        self._safety = SafetyFilter(limits, hz, kinematics)
        self._gripper = None if gripper is None else Gripper(gripper, hz)
        self._chunks = ChunkBuffer(limits.dim, config.max_chunk_age)
        self._timeout = round(config.chunk_timeout * 1e9)
        self._human_patience = round(config.intervention_timeout * 1e9)
        self._joints_watch = Watchdog(config.joint_state_timeout)
        self._human_watch = Watchdog(config.intervention_timeout)
        self._e_stop_watch = Watchdog(config.e_stop_timeout)
        self._pressed = False
        self._human: Intervention | None = None
        self._position: Array | None = None
        self._stamp = 0
        self._due: int | None = None  # when the joint state came that lock-step has to answer
        self._anchor = True  # start anew from the measured position
        self._lag: Array = np.zeros(limits.dim)  # rad, behind the command when measured last
        self._unseen = False  # nothing was measured since the episode began; a reset may have moved the arm
        self._episode = EpisodeState(0, Phase.IDLE)
        self._episode_seen = 0
        self._step = 0
        self._lost: int | None = None  # when it was found that steps cannot be numbered
        self._asked: tuple[int, int] | None = None  # when, and at which step, the newest request was made
        self._asked_for: set[int] = set()
        self._stepped_in: int | None = None
        self._ahead = math.ceil(config.overlap_delay * hz - 1e-6)  # steps
        self._latencies: deque[int] = deque(maxlen=_LATENCIES)  # ns
        self._sent: deque[tuple[int, Array]] = deque(maxlen=_SENT)  # stamps and targets
        self._period = round(1e9 / hz)
        self.why_held = authority.NO_EPISODE
        """Why the arm holds, in words; empty while it is commanded."""
        self.sources: Counter[str] = Counter()
        """Executed steps of each source."""
        self.limit_hits: Counter[str] = Counter()
        """Commands that each limit changed."""

    def must_abort(self, now: int) -> bool:
        """Whether the episode that runs must be aborted: this began in its middle, so its steps cannot be numbered.

        Not at once. Whoever joins late hears of the latest episodes one after the other, and only the last may run.
        """
        return self._lost is not None and self._running and now - self._lost > _OLDER_STATES

    @property
    def episode(self) -> EpisodeState:
        """The newest state of the episode."""
        return self._episode

    @property
    def refused_targets(self) -> int:
        """Targets that the safety filter could not read."""
        return self._safety.refused

    def joint_state(self, stamp: int, position: Array, now: int, gripper: float | None = None) -> None:
        """Take in measured positions (A,) rad, and of the gripper if it is known: 0 open to 1 closed.

        Raises:
            InputRefused: not finite, of a wrong shape, repeated or out of order.
        """
        if np.shape(position) != (self._limits.dim,) or not np.isfinite(position).all():
            raise InputRefused(
                "unusable joint state", f"positions {position}; need {self._limits.dim} finite numbers"
            )
        if stamp and self._stamp:  # some drivers leave the stamp empty
            if stamp == self._stamp:
                raise InputRefused("repeated joint state", f"the stamp {stamp} ns came before")
            if 0 < self._stamp - stamp < _REORDERED:
                raise InputRefused(
                    "joint state out of order", f"{(self._stamp - stamp) * 1e-9:.3f} s behind the newest"
                )
            if stamp < self._stamp:
                self._restart_clocks()
        self._position, self._stamp, self._unseen = position, stamp, False
        if self._gripper is not None and gripper is not None:
            self._gripper.measure(gripper)
        self._joints_watch.feed(self._robot_time(now))
        self._due = now

    def episode_state(self, state: EpisodeState) -> None:
        """Take in where the episode is."""
        before, self._episode = self._episode, state
        if (state.episode, state.phase) == (before.episode, before.phase):
            return
        self._forget_plan()
        if not self._running:
            self._due = (
                None  # between episodes simulated time stands still; what is measured now is of the past
            )
            return
        if state.episode != self._episode_seen:
            self._chunks.begin(state.episode)
            self._episode_seen, self._step, self._lost, self._anchor = state.episode, 0, None, True
            self._unseen = not self._config.lock_step  # there, `_due` says so

    def chunk(self, chunk: ActionChunk, stamp: int, now: int) -> None:
        """Take in a chunk that came at ROS time `stamp`.

        Raises:
            ChunkRefused: it may not be executed.
        """
        stamp = self._stamp if self._config.lock_step else stamp
        self._chunks.check(chunk, stamp)
        if chunk.source is Source.ACTOR and self._episode.phase is not Phase.CRITICAL:
            raise ChunkRefused(
                "actor outside its phase", f"chunk {chunk.chunk} is the actor's; the VLA acts now"
            )
        if chunk.step not in self._asked_for and chunk.step != self._chunks.newest_step:
            asked = sorted(self._asked_for) or "none"
            raise ChunkRefused(
                "unasked chunk", f"chunk {chunk.chunk} for step {chunk.step}; asked for {asked}"
            )
        if self._asked and chunk.step in self._asked_for:
            if chunk.step > self._asked[1]:
                self._latencies.append(now - self._asked[0])
            self._asked = None  # also where it comes too late: then another one is asked for at once
            self._asked_for.clear()
        first = chunk.step
        if self._config.boundary == BLOCK:
            first = self._step  # the arm has waited for it
        elif self._chunks.row(self._step) is None:
            first = max(chunk.step, self._step)  # it comes late: the arm holds where the chunk begins
        self._chunks.place(chunk, first, self._step)

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
            self._forget_plan()  # it was made for where the arm was before
        self._human = human
        self._human_watch.feed(self._robot_time(now))
        return human.phase.commands and not acted

    def e_stop(self, pressed: bool) -> None:
        """Take in whether any e-stop is pressed. Releasing it does not continue old plans."""
        if pressed or self._pressed:
            self._forget_plan()
        self._pressed = pressed

    def e_stop_speaks(self, now: int) -> None:
        """The robot's own e-stop was heard at steady time ``now``, ns, whatever it says."""
        self._e_stop_watch.feed(now)

    def tick(self, now: int, stamp: int = 0) -> Outcome:
        """Decide the control step that is due.

        Args:
            now: steady time, ns.
            stamp: ROS time, ns; lock-step takes that of the joint state.

        Returns:
            The command to send, and the chunk to ask for; neither where there is nothing to do.
        """
        config, running = self._config, self._running
        if self._position is None or (config.lock_step and (self._due is None or not running)):
            return Outcome()
        stamp = self._stamp if config.lock_step else stamp
        if running and self._lost is None and self._joined_late(stamp):
            self._lost = now
        if self._unseen:
            self.why_held = authority.BLIND
            return Outcome()
        last = self._anchored(self._position)
        running = running and self._lost is None
        row = self._chunks.row(self._step) if running else None
        stopped = self._pressed or self._e_stop_watch.silent(now)
        given_up = config.lock_step and self._due is not None and now - self._due >= self._timeout
        request = (
            self._request(row, self._position, now) if running and not stopped and not given_up else None
        )
        if config.lock_step and running and not stopped and self._waits(row, now):
            return Outcome(None, request)
        time = self._robot_time(now)
        choice = authority.decide(
            Inputs(
                stopped=stopped,
                blind=self._joints_watch.silent(time),
                human=self._human,
                human_silent=self._human_watch.silent(time),
                running=running,
                row=row,
            ),
            last,
        )
        return Outcome(self._execute(choice, stamp, running), request)

    def step_in(self, now: int, stamp: int) -> Command | None:
        """A step out of turn, in which the arm stops where it is because a human just took it.

        The human's way begins at the last command, so nothing is lost, and the policy moves the arm no further. None
        where the e-stop or silence has a say, and where this happened a moment ago: steps out of turn are rare.
        """
        out_of_turn = self._stepped_in is None or now - self._stepped_in > _STEP_IN_PERIOD
        running = self._running and self._lost is None and not self._unseen
        silent = self._e_stop_watch.silent(now) or self._joints_watch.silent(now)
        if not running or not out_of_turn or silent or self._pressed or self._position is None:
            return None
        self._stepped_in = now
        return self._execute(Choice(Source.HUMAN), stamp, running)

    def begin(self) -> None:
        """Commanding begins, perhaps again: others may have moved arm and gripper meanwhile."""
        self._anchor = True
        if self._gripper is not None:
            self._gripper.forget()

    def hold(self, stamp: int) -> Command | None:
        """The command of an arm that is left alone; None before the first joint state."""
        if self._position is None:
            return None
        self._anchored(self._position)
        return self._command(self._safety.hold(), stamp, None)

    @property
    def latencies(self) -> Array:
        """(n,) s that the newest chunks which overlap took from request to arrival, at most 100."""
        return 1e-9 * np.array(self._latencies, dtype=np.float64)

    @property
    def _running(self) -> bool:
        """Whether an episode runs in which a policy acts."""
        return self._episode.phase in (Phase.APPROACH, Phase.CRITICAL)

    def _waits(self, row: Row | None, now: int) -> bool:
        """Whether lock-step shall wait for the chunk, or for what a human who acts commands at just this moment."""
        assert self._due is not None
        human = self._human
        acts = human is not None and human.phase is not TakeOver.RELEASED and human.stamp < self._stamp
        patience = self._timeout if row is None else self._human_patience if acts else 0
        return now - self._due < patience

    def _execute(self, choice: Choice, stamp: int, running: bool) -> Command:
        assert self._position is not None
        if choice.target is None:
            target = self._safety.hold()
        else:
            refused = self._safety.refused
            target = self._safety.filter(choice.target, self._position, choice.reference)
            if self._safety.refused > refused:
                choice = Choice(Source.HOLD, why="the target is not finite")
        if choice.gripper is not None and self._gripper is not None:
            self._gripper.move(choice.gripper)
        self._due = None
        self.why_held = choice.why if self._lost is None else LOST_COUNT
        for limit in Limit:
            if limit and self._safety.hit & limit:
                self.limit_hits[str(limit.name).lower()] += 1
        if not running:
            return self._command(target, stamp, None)
        self.sources[choice.source.name.lower()] += 1
        record = self._record(choice, target, stamp)
        self._step += 1
        return self._command(target, stamp, record)

    def _command(self, target: Array, stamp: int, record: StepRecord | None) -> Command:
        self._sent.append((stamp, target))
        return Command(target, stamp, record, None if self._gripper is None else self._gripper.command)

    def _record(self, choice: Choice, target: Array, stamp: int) -> StepRecord:
        assert self._position is not None
        step = StepRecord(
            stamp=stamp,
            episode=self._episode.episode,
            step=self._step,
            source=choice.source,
            command=target.astype(np.float32),
            measured=self._position.astype(np.float32),
            limits=int(self._safety.hit),
        )
        if choice.row is None:
            return step
        chunk = choice.row.chunk
        return dataclasses.replace(
            step,
            chunk=chunk.chunk,
            row=choice.row.index,
            observation=chunk.stamp,
            version=chunk.version,
            lineage=chunk.lineage,
        )

    def _request(self, row: Row | None, position: Array, now: int) -> ChunkRequest | None:
        """The chunk to ask for at this step, unless an answer is awaited.

        An arm for which nothing is planned waits, so its chunk is made from what is seen there, in `overlap` too.
        """
        step, target, expected = self._step, None, None
        if self._config.boundary == BLOCK:
            if row is not None:
                return None
        elif self._chunks.complete:
            return None
        else:
            step, target = self._chunks.end(self._step)
            if step - self._step > self._ahead:
                return None
        if self._asked is not None and now - self._asked[0] < self._timeout:
            return None
        if target is not None:
            expected = position + (target - self._followed)
        self._asked = (now, self._step)
        self._asked_for.add(step)
        episode = self._episode
        return ChunkRequest(
            self._stamp, episode.episode, step, episode.phase, overlap=expected is not None, expected=expected
        )

    @property
    def _followed(self) -> Array:
        """The newest command (A,) rad that the arm had a period to follow when it was measured, or the last of all."""
        measured = self._stamp - self._period
        done = (target for stamp, target in reversed(self._sent) if stamp <= measured)
        return next(done, self._sent[-1][1])

    def _anchored(self, position: Array) -> Array:
        """The last command (A,) rad, moved to where the arm is if it was put elsewhere."""
        last = self._safety.last
        if self._anchor or last is None:
            # A real arm that lags a little behind its command must not be told to jump back to where it is.
            moved = last is None or (np.abs(position - last) > np.maximum(self._lag, _SAG)).any()
            if moved or self._config.lock_step:
                self._safety.reset(position)
            self._anchor = False
            last = self._safety.last
            assert last is not None
            self._sent.clear()
            self._sent.append((0, last))
        self._lag = np.abs(position - last)
        return last

    def _joined_late(self, stamp: int) -> bool:
        critical = self._episode.phase is Phase.CRITICAL
        return critical and self._step == 0 and stamp - self._episode.stamp > _JOINED_LATE

    def _restart_clocks(self) -> None:
        """The robot's clock was set back: what was planned is of another time."""
        self._forget_plan()
        self._anchor = True
        self._joints_watch.reset()
        self._human_watch.reset()

    def _forget_plan(self) -> None:
        self._chunks.clear()
        self._asked = None
        self._asked_for.clear()

    def _robot_time(self, now: int) -> int:
        return self._stamp if self._config.lock_step else now

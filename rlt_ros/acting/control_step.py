"""Execution of a control step: setpoint and gripper follow the decision, and the step is recorded and counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rlt_ros.acting import authority
from rlt_ros.acting.authority import Decision, Inputs
from rlt_ros.acting.episode import RunningEpisode
from rlt_ros.acting.gripper import Gripper
from rlt_ros.acting.records import Command
from rlt_ros.acting.requests import ChunkRequester
from rlt_ros.acting.setpoint import Setpoint
from rlt_ros.acting.watchdog import Persistence
from rlt_ros.replay.stream import StepRecord
from rlt_ros.rlt.transition import Source
from rlt_ros.robots.safety import Limit, Limits

Array = NDArray[np.float64]

# ns for which a pushed arm may be out of reach of its command before its episode is aborted.
_MAX_AWAY = 100_000_000
# ns in which the setpoint must come nearer to the position limits that it is outside of.
_MAX_RETURN_STANDSTILL = 1_000_000_000

LEAD_EXCEEDED = "the arm was further from its command than `safety.lead`"
RETURN_BLOCKED = "a joint is outside its limits, and the workspace blocks its way back; move the arm by hand"


@dataclass
class StepCounters:
    """Counters of all control steps.

    Attributes:
        sources: executed steps of each source.
        limit_hits: commands that each limit changed.
        unsent: steps without a command, because the arm was out of reach or its position unknown.
    """

    sources: Counter[str] = field(default_factory=Counter)
    limit_hits: Counter[str] = field(default_factory=Counter)
    unsent: int = 0


class ControlStep:
    """Executes the decision of each control step.

    Args:
        limits: of the arm's A joints.
        setpoint: of the arm and of H joints that commands must hold.
        gripper: of the arm; None for one without.
        episode: its steps are recorded.
        requests: receive the commands.
        lock_step: an idle arm is not followed; the simulator moves it.
    """

    def __init__(
        self,
        limits: Limits,
        setpoint: Setpoint,
        gripper: Gripper | None,
        episode: RunningEpisode,
        requests: ChunkRequester,
        *,
        lock_step: bool,
    ) -> None:
        self._limits, self._lock_step = limits, lock_step
        self._setpoint, self._gripper = setpoint, gripper
        self._episode, self._requests = episode, requests
        self._away, self._blocked = Persistence(_MAX_AWAY), Persistence(_MAX_RETURN_STANDSTILL)
        self.counters = StepCounters()
        self.hold_reason = authority.NO_EPISODE
        """Reason why the arm holds; empty while it is commanded."""

    @property
    def position(self) -> Array:
        """Setpoint (A,) rad of the arm."""
        return self._setpoint.position[: self._limits.dim]

    @property
    def inside(self) -> Array | None:
        """Nearest setpoint (A,) rad inside the position limits; None while it is inside."""
        inside = np.clip(self.position, self._limits.lower, self._limits.upper)
        return None if np.array_equal(inside, self.position) else inside

    def begin(self, joints: Array) -> None:
        """Begin to act at the measured `joints` (A + H,) rad."""
        self._setpoint.begin(joints)
        self._requests.restart_at(self.position)

    def begin_episode(self) -> None:
        """Restart the time-out of an arm out of reach."""
        self._away.reset()

    def is_out_of_reach(self, joints: Array, now: int) -> bool:
        """Return whether no command may be sent from the setpoint; abort the episode if that persists."""
        if self._away.update(self._setpoint.is_away(joints), now):
            self._episode.abort(now, LEAD_EXCEEDED)
        return self._setpoint.is_out_of_reach(joints, now)

    def execute(
        self, decision: Decision, inputs: Inputs, joints: Array, now: int, stamp: int
    ) -> Command | None:
        """Execute a decision.

        Args:
            decision: on this step.
            inputs: of this step.
            joints: (A + H,) rad, measured.
            now: steady time, ns.
            stamp: ROS time, ns.

        Returns:
            The command, with a record in an episode; None if there is neither.
        """
        safety = self._setpoint.safety
        refused, safety.hit = safety.refused, Limit.NONE
        target = self._advance(decision, inputs, joints, now)
        returning = decision.reason == authority.OUTSIDE_LIMITS
        if self._blocked.update(returning and not safety.is_moving, now):
            self._episode.abort(now, RETURN_BLOCKED)
        if safety.refused > refused:
            decision = Decision(Source.HOLD, reason="the target is not finite")
        if decision.gripper is not None and self._gripper is not None:
            self._gripper.move(decision.gripper)
        if decision.target is None:
            self._requests.restart_at(self.position)
        else:
            self._requests.record_command(stamp, self.position)
        self.counters.unsent += int(target is None and not decision.is_idle)
        self.hold_reason = self._episode.reason or decision.reason
        self.counters.limit_hits.update(safety.hit.names)
        if not self._episode.acts:
            return None if target is None else self._command(target, stamp, None)
        self.counters.sources[decision.source.name.lower()] += 1
        measured = joints[: self._limits.dim]
        record = self._episode.record(decision, stamp, self.position, measured, int(safety.hit))
        return self._command(target, stamp, record)

    def brake(self, joints: Array, now: int, stamp: int) -> Command | None:
        """Command that stops a motion; None if the arm is at rest."""
        target = self._setpoint.brake(joints, now)
        return None if target is None else self._command(target, stamp, None)

    def _advance(self, decision: Decision, inputs: Inputs, joints: Array, now: int) -> Array | None:
        """Setpoint (A + H,) rad to send; None for none."""
        setpoint = self._setpoint
        if inputs.rejected:
            return None
        if inputs.timed_out:
            return setpoint.brake(joints, now)
        if decision.is_idle and not self._lock_step:
            return setpoint.follow(joints, now, stopped=inputs.stopped, powerless=inputs.powerless)
        if inputs.out_of_reach:
            return setpoint.wait(joints, now)
        if decision.target is None:
            return setpoint.hold(joints, now)
        return setpoint.act(decision.target, joints, now, decision.reference)

    def _command(self, target: Array | None, stamp: int, record: StepRecord | None) -> Command:
        gripper = None if self._gripper is None else self._gripper.command
        if target is None:
            return Command(None, stamp, record, gripper)
        dim = self._limits.dim
        return Command(target[:dim], stamp, record, gripper, target[dim:], self._setpoint.is_start)

"""Authority over a control step: e-stop over human over actor over VLA; without any of them the arm holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlt_ros.acting.chunks import Row
from rlt_ros.rlt.transition import Source
from rlt_ros.robots.intervention import Intervention, TakeOver
from rlt_ros.robots.safety import Reference

Array = NDArray[np.float64]

E_STOP = "e-stop"
JOINTS_TIMED_OUT = "joint states timed out"
JOINTS_REJECTED = "the newest joint state was rejected"
HUMAN_TIMED_OUT = "the human has the arm, and the interventions timed out"
HOLD_OFF = "hold-off after the human released the arm"
NO_EPISODE = "no episode runs"
NO_CHUNK = "no action chunk"
OUT_OF_REACH = "the setpoint is out of reach of the measured arm"
OUTSIDE_LIMITS = "a joint returns inside its limits"


@dataclass(frozen=True)
class Inputs:
    """State of all inputs at one control step.

    Attributes:
        stopped: the e-stop is pressed, or its messages timed out.
        timed_out: the newest joint state is too old.
        rejected: the newest joint state was rejected, so the arm may be elsewhere.
        human: newest intervention.
        human_timed_out: the newest intervention is too old.
        running: an episode runs in which a policy acts.
        row: planned for this step; None without a plan.
        out_of_reach: no command may be sent from the setpoint.
        inside: (A,) rad, nearest setpoint inside the position limits; None while the setpoint is inside.
        powerless: the robot's own e-stop is pressed, which cuts the power of the arm.
    """

    stopped: bool
    timed_out: bool
    rejected: bool
    human: Intervention
    human_timed_out: bool
    running: bool
    row: Row | None
    out_of_reach: bool = False
    inside: Array | None = None
    powerless: bool = False

    @property
    def may_act(self) -> bool:
        """Return whether policy or human can command the arm in an episode."""
        unknown = self.timed_out or self.rejected
        return self.running and not self.stopped and not unknown and not self.out_of_reach

    @property
    def may_plan(self) -> bool:
        """Return whether a chunk could be executed."""
        return self.running and not self.stopped and not self.out_of_reach and self.inside is None


@dataclass(frozen=True)
class Decision:
    """Target of one control step, and its source.

    Attributes:
        source: of the target.
        target: (A,) rad; None to hold.
        reference: centre of the deviation limit; None for a free target.
        row: executed row of a chunk; None for other sources.
        reason: for a hold; empty otherwise.
        gripper: target commanded by the human, 0 open to 1 closed; None for no change.
        is_idle: the arm has no task: nothing is sent unless it is moved by hand, and then the setpoint follows.
    """

    source: Source
    target: Array | None = None
    reference: Reference | None = None
    row: Row | None = None
    reason: str = ""
    gripper: float | None = None
    is_idle: bool = False


def decide(inputs: Inputs, last: Array) -> Decision:
    """Decide on the authority over a control step.

    Args:
        inputs: at this step.
        last: (A,) rad, last command; start of the blend when a human takes over without a policy.
    """
    idle = not inputs.running
    if inputs.stopped:
        return _hold(E_STOP, idle=True)
    if inputs.rejected:
        return _hold(JOINTS_REJECTED, idle=idle)
    if inputs.timed_out:
        return _hold(JOINTS_TIMED_OUT, idle=idle)
    row = inputs.row if inputs.running else None
    if inputs.human.phase is not TakeOver.RELEASED:
        return _of_human(inputs, last if row is None else row.target)
    if idle:
        return _hold(NO_EPISODE, idle=True)
    if inputs.out_of_reach:
        return _hold(OUT_OF_REACH)
    if inputs.inside is not None:
        return Decision(Source.HOLD, inputs.inside, reason=OUTSIDE_LIMITS)
    if row is None:
        return _hold(NO_CHUNK)
    source = row.chunk.source
    return Decision(source, row.target, row.reference if source is Source.ACTOR else None, row)


def _of_human(inputs: Inputs, policy: Array) -> Decision:
    """Decision while a human has the arm; `policy` (A,) rad is the target without one."""
    idle, human = not inputs.running, inputs.human
    if inputs.human_timed_out:
        return _hold(HUMAN_TIMED_OUT, idle=idle)
    if not human.phase.commands:
        return _hold(HOLD_OFF, idle=idle)
    if inputs.out_of_reach:
        return _hold(OUT_OF_REACH)
    target = human.share * human.command + (1.0 - human.share) * policy
    return Decision(Source.HUMAN, target, gripper=human.gripper)


def _hold(reason: str, *, idle: bool = False) -> Decision:
    return Decision(Source.HOLD, reason=reason, is_idle=idle)

"""Authority over a control step: e-stop over human over actor over VLA; where none of them can act, the arm holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlt_ros.control.chunks import Row
from rlt_ros.rlt.transition import Source
from rlt_ros.robots.intervention import Intervention, TakeOver
from rlt_ros.robots.safety import Reference

Array = NDArray[np.float64]

E_STOP = "e-stop"
BLIND = "joint states are silent"
DOUBTFUL = "the newest joint state was rejected"
HUMAN_SILENT = "the human acts and fell silent"
HOLD_OFF = "the human just let go"
NO_EPISODE = "no episode runs"
NO_CHUNK = "no action chunk"
OUT_OF_REACH = "the arm is not where the last command left it"
OUTSIDE = "a joint comes back inside its limits"


@dataclass(frozen=True)
class Inputs:
    """What the decision is made from.

    Attributes:
        stopped: the e-stop is pressed, or silent where it must not be.
        blind: there is no joint state that is new enough.
        doubtful: the newest one was rejected, so the arm may be elsewhere.
        human: newest intervention; None before the first.
        human_silent: it is not new enough.
        running: an episode runs in which a policy acts.
        row: what the policy planned for this step; None without a plan.
        out_of_reach: nothing can be commanded from where the setpoint is.
        inside: (A,) rad, nearest setpoint inside the position limits, where it is outside; None otherwise.
    """

    stopped: bool
    blind: bool
    doubtful: bool
    human: Intervention | None
    human_silent: bool
    running: bool
    row: Row | None
    out_of_reach: bool = False
    inside: Array | None = None

    @property
    def may_act(self) -> bool:
        """Return whether policy or human can command the arm in an episode, as far as the arm goes."""
        unknown = self.blind or self.doubtful
        return self.running and not self.stopped and not unknown and not self.out_of_reach

    @property
    def may_plan(self) -> bool:
        """Return whether a chunk is of use."""
        return self.running and not self.stopped and not self.out_of_reach and self.inside is None


@dataclass(frozen=True)
class Choice:
    """Command of one control step, and its source.

    Attributes:
        source: who.
        target: (A,) rad; None to hold.
        reference: what the target must stay near; None where it is free.
        row: of the chunk that acts; None unless one does.
        why: the arm holds, in words; empty otherwise.
        gripper: where the human wants the gripper, 0 open to 1 closed; None to leave it as it is.
        is_idle: nobody has the arm. It is left alone, and its setpoint follows if it is moved.
    """

    source: Source
    target: Array | None = None
    reference: Reference | None = None
    row: Row | None = None
    why: str = ""
    gripper: float | None = None
    is_idle: bool = False


def decide(inputs: Inputs, last: Array) -> Choice:
    """Decide on the authority over a control step.

    Args:
        inputs: what is known.
        last: (A,) rad, last command; the way of a human who takes over from nobody begins there.
    """
    idle = not inputs.running
    if inputs.stopped:
        return _hold(E_STOP, idle=True)
    if inputs.doubtful:
        return _hold(DOUBTFUL, idle=idle)
    if inputs.blind:
        return _hold(BLIND, idle=idle)
    human, row = inputs.human, inputs.row if inputs.running else None
    if human is not None and human.phase is not TakeOver.RELEASED:
        return _of_human(inputs, human, last if row is None else row.target)
    if idle:
        return _hold(NO_EPISODE, idle=True)
    if inputs.out_of_reach:
        return _hold(OUT_OF_REACH)
    if inputs.inside is not None:
        return Choice(Source.HOLD, inputs.inside, why=OUTSIDE)
    if row is None:
        return _hold(NO_CHUNK)
    source = row.chunk.source
    return Choice(source, row.target, row.reference if source is Source.ACTOR else None, row)


def _of_human(inputs: Inputs, human: Intervention, policy: Array) -> Choice:
    """Decide for a human who has the arm; `policy` (A,) rad is the target without one."""
    idle = not inputs.running
    if inputs.human_silent:
        return _hold(HUMAN_SILENT, idle=idle)
    if not human.phase.commands:
        return _hold(HOLD_OFF, idle=idle)
    if inputs.out_of_reach:
        return _hold(OUT_OF_REACH)
    target = human.share * human.command + (1.0 - human.share) * policy
    return Choice(Source.HUMAN, target, gripper=human.gripper)


def _hold(why: str, *, idle: bool = False) -> Choice:
    return Choice(Source.HOLD, why=why, is_idle=idle)

"""Who commands a control step: e-stop over human over actor over VLA; and where nobody can, the arm holds."""

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
HUMAN_SILENT = "the human acts and fell silent"
HOLD_OFF = "the human just let go"
NO_EPISODE = "no episode runs"
NO_CHUNK = "no action chunk"


@dataclass(frozen=True)
class Inputs:
    """What the decision is made from.

    Attributes:
        stopped: the e-stop is pressed, or silent where it must not be.
        blind: there is no joint state that is new enough.
        human: newest intervention; None before the first.
        human_silent: it is not new enough.
        running: an episode runs in which a policy acts.
        row: what the policy planned for this step; None without a plan.
    """

    stopped: bool
    blind: bool
    human: Intervention | None
    human_silent: bool
    running: bool
    row: Row | None


@dataclass(frozen=True)
class Choice:
    """Who commands, and what.

    Attributes:
        source: who.
        target: (A,) rad; None to hold.
        reference: what the target must stay near; None where it is free.
        row: of the chunk that acts; None unless one does.
        why: the arm holds, in words; empty otherwise.
        gripper: where the human wants the gripper, 0 open to 1 closed; None to leave it as it is.
    """

    source: Source
    target: Array | None = None
    reference: Reference | None = None
    row: Row | None = None
    why: str = ""
    gripper: float | None = None


def decide(inputs: Inputs, last: Array) -> Choice:
    """Who commands this step.

    Args:
        inputs: what is known.
        last: (A,) rad, last command; where a human takes over from nobody, the way begins there.
    """
    if inputs.stopped:
        return _hold(E_STOP)
    if inputs.blind:
        return _hold(BLIND)
    human, row = inputs.human, inputs.row if inputs.running else None
    if human is not None and human.phase is not TakeOver.RELEASED:
        if inputs.human_silent:
            return _hold(HUMAN_SILENT)
        if not human.phase.commands:
            return _hold(HOLD_OFF)
        policy = last if row is None else row.target
        target = human.share * human.command + (1.0 - human.share) * policy
        return Choice(Source.HUMAN, target, gripper=human.gripper)
    if not inputs.running:
        return _hold(NO_EPISODE)
    if row is None:
        return _hold(NO_CHUNK)
    source = row.chunk.source
    return Choice(source, row.target, row.reference if source is Source.ACTOR else None, row)


def _hold(why: str) -> Choice:
    return Choice(Source.HOLD, why=why)

"""Records of learning: states, executed steps, windows.

They are checked at borders (a message, a file), not on construction.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlt_ros.rlt.config import Shapes
from rlt_ros.rlt.ranges import out_of_range
from rlt_ros.store.lineage import FROZEN_PARTS, Lineage, fingerprint

FloatArray = NDArray[np.float32]


class WindowError(ValueError):
    """Stream or row that is no valid transition. The message names record, value and remedy."""


class Source(enum.IntEnum):
    """Source of the command of a control step."""

    HOLD = 0
    VLA = 1
    ACTOR = 2
    HUMAN = 3


class RowOutcome(enum.IntEnum):
    """Outcome of an episode in its last row, NONE in all others, so that rows count episodes.

    The numbers are those of the replay file; TRUNCATED stands for time-out and abort.
    """

    NONE = 0
    SUCCESS = 1
    FAILURE = 2
    TRUNCATED = 3


@dataclasses.dataclass(frozen=True)
class RLState:
    """Input of the policy just before control step ``step``.

    Attributes:
        step: control step, counted without gaps.
        z: (Z,) RL token.
        proprio: (P,) joint positions, then velocities, as the networks take them.
        reference: (C, A) C steps of the VLA's chunk from this step on, policy units.
        anchor: (A,) joint positions at this step that the actions of this window are relative to, rad.
    """

    step: int
    z: FloatArray
    proprio: FloatArray
    reference: FloatArray
    anchor: FloatArray


@dataclasses.dataclass(frozen=True)
class ExecutedStep:
    """Executed control step.

    Attributes:
        step: control step, counted without gaps.
        command: (A,) absolute joint target that was sent, after all limits, rad.
        source: source of the command.
        reward: reward of this step, without the episode's final reward.
    """

    step: int
    command: FloatArray
    source: Source
    reward: float = 0.0


@dataclasses.dataclass(frozen=True)
class Window:
    """Row of the replay: a chunk transition of n <= C steps. Action and source are zero from step n on.

    Attributes:
        episode: episode id, unique within a replay.
        step: control step at which the window starts; (episode, step) identifies the row.
        z, proprio, reference: state at ``step``, shaped as in :class:`RLState`; the reference is whole.
        action: (C, A) executed actions relative to this window's anchor, policy units.
        reward: discounted sum over the valid steps.
        discount: gamma^valid, or 0 where the window ends in a terminal state.
        next_z, next_proprio, next_reference: state at ``step + valid``; for a terminated window its own state, which
            is finite and has a discount of 0.
        valid: n, executed steps in the window, 1..C.
        next_valid: ``valid`` of the window that starts at ``step + C``; C where the episode has none.
        terminated: the window ends in success or failure.
        truncated: the window ends where the episode was cut for another reason; its value is bootstrapped.
        outcome: outcome of the episode, in its last window only.
        source: (C,) :class:`Source` of each step.
        lineage: :func:`lineage_id` of the frozen parts behind z, reference and action.
    """

    episode: int
    step: int
    z: FloatArray
    proprio: FloatArray
    reference: FloatArray
    action: FloatArray
    reward: float
    discount: float
    next_z: FloatArray
    next_proprio: FloatArray
    next_reference: FloatArray
    valid: int
    next_valid: int
    terminated: bool
    truncated: bool
    outcome: RowOutcome
    source: NDArray[np.uint8]
    lineage: int

    @property
    def human(self) -> NDArray[np.bool_]:
        """Mask (C,) of the steps that a human commanded."""
        return self.source == Source.HUMAN

    def check(self, shapes: Shapes) -> None:
        """Raise :class:`WindowError` unless the row fits ``shapes``, is within `LARGEST` and is consistent."""
        name = f"window {self.step} of episode {self.episode}"
        chunk = (shapes.chunk, shapes.action_dim)
        for prefix in ("", "next_"):
            require_array(getattr(self, f"{prefix}z"), (shapes.z_dim,), f"`{prefix}z` of {name}")
            require_array(
                getattr(self, f"{prefix}proprio"), (shapes.proprio_dim,), f"`{prefix}proprio` of {name}"
            )
            require_array(getattr(self, f"{prefix}reference"), chunk, f"`{prefix}reference` of {name}")
        require_array(self.action, chunk, f"`action` of {name}")
        require_array(np.array([self.reward, self.discount]), (2,), f"`reward` and `discount` of {name}")
        if self.source.shape != (shapes.chunk,):
            raise WindowError(f"`source` of {name} has shape {self.source.shape}, expected ({shapes.chunk},)")
        for field, value in (("valid", self.valid), ("next_valid", self.next_valid)):
            if not 1 <= value <= shapes.chunk:
                raise WindowError(f"`{field}` of {name} is {value}, expected 1 to {shapes.chunk}")
        if self.terminated and (self.truncated or self.discount != 0.0):
            raise WindowError(
                f"{name} is terminated with discount {self.discount} and truncated={self.truncated}; "
                "a terminal state has no value to bootstrap from, give discount 0 and truncated=False"
            )


def lineage_id(lineage: Lineage) -> int:
    """64-bit id of a lineage's frozen parts, without the actor."""
    return int(fingerprint("\0".join(getattr(lineage, part) for part in FROZEN_PARTS).encode()), 16)


def require_array(value: Any, shape: tuple[int, ...], name: str) -> FloatArray:
    """Return a float32 copy of ``value``, of ``shape`` and within `LARGEST`, or raise :class:`WindowError`.

    A copy, because simulators and drivers return views of buffers that they reuse.
    """
    # A number too large for float32 becomes infinite and is rejected below.
    with np.errstate(over="ignore"):
        array = np.array(value, dtype=np.float32)
    if array.shape != shape:
        raise WindowError(
            f"{name} has shape {array.shape}, expected {shape}; is it of another robot or chunk length?"
        )
    wrong = out_of_range(array)
    if wrong:
        raise WindowError(f"{name} holds {wrong}; drop the episode, check its source")
    return array

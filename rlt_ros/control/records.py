"""What passes between the controller and the node around it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlt_ros.rlt.stream import ChunkRequest, StepRecord

Array = NDArray[np.float64]


class InputRefused(ValueError):
    """A message that cannot be used.

    Args:
        kind: why, in two or three words; the same for all that are counted together.
        reason: this one, with its values.
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class Command(NamedTuple):
    """Command of one control step.

    Attributes:
        target: (A,) rad, of the arm; None where nothing is sent, and the drivers keep what they have.
        stamp: ns.
        record: the step as it is recorded, in an episode.
        gripper: in the robot's unit; None before a human commanded it for the first time.
        held: (H,) rad, of the joints that commands must hold besides.
        is_start: it is further from the command before than one control step; its distance is no speed.
    """

    target: Array | None
    stamp: int
    record: StepRecord | None
    gripper: float | None = None
    held: Array = np.zeros(0)
    is_start: bool = True


class Outcome(NamedTuple):
    """Result of a tick: nothing while lock-step waits for a chunk, and while an idle arm stands."""

    command: Command | None = None
    request: ChunkRequest | None = None

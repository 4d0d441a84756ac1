"""Records between the controller and its node."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlt_ros.replay.stream import ChunkRequest, StepRecord

Array = NDArray[np.float64]


class InputRefused(ValueError):
    """Unusable message.

    Args:
        kind: name of its counter, two or three words.
        detail: sentence with the values.
    """

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


class Command(NamedTuple):
    """Command of one control step.

    Attributes:
        target: (A,) rad, of the arm; None where nothing is sent, and the drivers keep the last command.
        stamp: ns.
        record: of the step, in an episode.
        gripper: in the robot's unit; None before the first command of a human.
        held: (H,) rad, of further joints that commands must hold.
        is_start: the target is further from the last command than one control step; the distance is no speed.
    """

    target: Array | None
    stamp: int
    record: StepRecord | None
    gripper: float | None = None
    held: Array = np.zeros(0)
    is_start: bool = True


class TickResult(NamedTuple):
    """Command and request of a tick; both None while lock-step waits for a chunk, or an idle arm stands."""

    command: Command | None = None
    request: ChunkRequest | None = None

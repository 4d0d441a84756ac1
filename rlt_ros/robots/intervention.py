"""Command of a human, from a device to the executor."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class TakeOver(enum.IntEnum):
    """Phase of a take-over; the numbers are those of ``Intervention.msg``."""

    RELEASED = 0
    BLENDING = 1
    ENGAGED = 2
    HOLD_OFF = 3

    @property
    def commands(self) -> bool:
        """Return whether the human commands the arm."""
        return self in (TakeOver.BLENDING, TakeOver.ENGAGED)


@dataclass(frozen=True)
class Intervention:
    """Command of a human at one moment.

    Attributes:
        phase: of the take-over.
        share: of the human in the command, 0 to 1.
        command: (A,) absolute joint target, rad; empty unless the human commands.
        device: source of the command.
        stamp: of the device's sample, ns.
        gripper: target, 0 open to 1 closed; None for no change.
    """

    phase: TakeOver
    share: float
    command: Array
    device: str = ""
    stamp: int = 0
    gripper: float | None = None

    def __post_init__(self) -> None:
        """Raise ValueError unless the numbers are finite and the shares lie between 0 and 1."""
        if not 0.0 <= self.share <= 1.0:
            raise ValueError(
                f"intervention of {self.device or 'a human'}: share {self.share} is not in 0 to 1"
            )
        if not np.isfinite(self.command).all():
            raise ValueError(
                f"intervention of {self.device or 'a human'}: command {self.command} is not finite"
            )
        if self.gripper is not None and not 0.0 <= self.gripper <= 1.0:
            raise ValueError(
                f"intervention of {self.device or 'a human'}: gripper {self.gripper} is not in 0 (open) to 1 (closed)"
            )

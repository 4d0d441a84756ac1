"""What a robot profile says about the gripper, and its way from open to closed in the robot's own unit."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from rlt_ros.rlt.parameters import ConfigError, check, parameter


@dataclasses.dataclass(frozen=True)
class GripperProfile:
    """How the human opens and closes the gripper. Left out, the gripper is never commanded.

    It is the human's alone: the policy moves the joints of the arm.
    """

    joint: str = parameter(
        dataclasses.MISSING, help="Its joint, as the robot's commands and joint states name it."
    )
    open: float = parameter(
        dataclasses.MISSING, help="Command at which it is open.", unit="the robot's own, often rad or m"
    )
    closed: float = parameter(
        dataclasses.MISSING, help="Command at which it is closed.", unit="the same; may be the smaller one"
    )
    speed: float | None = parameter(
        None,
        help="Greatest speed of the command; left out, the command jumps and the gripper sets the speed.",
        unit="that unit a second",
        low=1e-6,
    )
    type: str = parameter(
        "joint",
        help="`joint`: one more joint in the command of the arm, from the human's first command on.",
        choices=("joint",),
    )

    def __post_init__(self) -> None:
        check(self)
        if not self.joint:
            raise ConfigError("`joint` is empty; name the joint that opens and closes the gripper")
        if self.open == self.closed:
            raise ConfigError(
                f"`open` and `closed` are both {self.open:g}; they are two ends of the gripper's way"
            )

    def value(self, share: float) -> float:
        """The command of a share of the way, 0 for open to 1 for closed."""
        return self.open + share * (self.closed - self.open)

    def share(self, value: float) -> float:
        """The share of the way, 0 for open to 1 for closed, that a command or measurement stands for."""
        return float(np.clip((value - self.open) / (self.closed - self.open), 0.0, 1.0))

    def measured(self, names: Sequence[str], positions: Sequence[float]) -> float | None:
        """The share that a joint state says; None if it does not name the joint, or with no finite position."""
        if self.joint not in names:
            return None
        value = float(positions[list(names).index(self.joint)])
        return self.share(value) if np.isfinite(value) else None

"""What a robot profile says about the gripper, and its way from open to closed in the robot's own unit."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from rlt_ros.rlt.parameters import ConfigError, check, parameter
from rlt_ros.robots.interface import check_topic

TOPIC_TYPES = {
    "joint_state": "sensor_msgs/msg/JointState",
    "forward": "std_msgs/msg/Float64MultiArray",
    "interbotix": "interbotix_xs_msgs/msg/JointSingleCommand",
}
"""`gripper.type` → message type on its topic."""
ACTION_TYPES = {
    "gripper_command": "control_msgs/action/GripperCommand",
    "parallel_gripper_command": "control_msgs/action/ParallelGripperCommand",
}
"""`gripper.type` → type of its action."""
RETRY = 1.0
"""After how many seconds a command that a gripper did not take is sent again."""


@dataclasses.dataclass(frozen=True)
class GripperProfile:
    """How the human opens and closes the gripper. Left out, the gripper is never commanded.

    It is the human's alone: the policy moves the joints of the arm.
    """

    joint: str = parameter(
        dataclasses.MISSING,
        help="Its joint. Where messages call it otherwise, as two drivers may call theirs the same, `message_names` "
        "says how.",
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
        help="How the command goes out, from the human's first one on. `joint`: as one more joint in the command of "
        "the arm, where that is a joint state. On `topic`, each time it has changed: `joint_state` as "
        "`sensor_msgs/JointState`, `forward` as `std_msgs/Float64MultiArray`, `interbotix` as "
        "`interbotix_xs_msgs/JointSingleCommand`. As a goal of the action `topic`, each time it has changed: "
        "`gripper_command` (`control_msgs/GripperCommand`, to Jazzy) and `parallel_gripper_command` "
        "(`control_msgs/ParallelGripperCommand`, from Jazzy on); both need ROS 2.",
        choices=("joint", *TOPIC_TYPES, *ACTION_TYPES),
    )
    topic: str | None = parameter(
        None, help="Topic or action of the gripper, relative to the robot's namespace; `joint` needs none."
    )
    effort: float = parameter(
        0.0, help="Greatest force of an action's goal; 0 leaves it to the driver.", unit="N or N·m", low=0.0
    )
    change: float = parameter(
        0.01,
        help="Least change that is sent, as a share of the way; the ends are always sent.",
        low=0.0,
        high=1.0,
    )
    rate: float = parameter(
        10.0, help="Greatest rate at which changes are sent.", unit="Hz", low=0.1, high=1000.0
    )

    def __post_init__(self) -> None:
        check(self)
        if not self.joint:
            raise ConfigError("`joint` is empty; name the joint that opens and closes the gripper")
        if (self.topic is None) != (self.type == "joint"):
            raise ConfigError(
                "`topic` is for a gripper of its own; leave it out"
                if self.topic
                else f"`topic` is missing; `type` {self.type} needs the name of a topic or action"
            )
        if self.topic is not None:
            check_topic("topic", self.topic)
        if self.open == self.closed:
            raise ConfigError(
                f"`open` and `closed` are both {self.open:g}; they are two ends of the gripper's way"
            )

    def value(self, share: float) -> float:
        """The command, in the robot's own unit, of a share of the way, 0 for open to 1 for closed."""
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


class ChangesOnly:
    """Lets commands of a gripper through that differ from the last one, and not too often.

    Args:
        profile: of the gripper.
    """

    def __init__(self, profile: GripperProfile) -> None:
        self._profile = profile
        self._least = profile.change * abs(profile.closed - profile.open)
        self._pause = 1.0 / profile.rate
        self._sent: float | None = None
        self._not_before = -math.inf

    def passes(self, value: float, now: float) -> bool:
        """Return whether to send ``value`` at ``now`` s; if so it counts as sent."""
        if now < self._not_before:
            return False
        if self._sent is not None:
            change = abs(value - self._sent)
            at_end = value in (self._profile.open, self._profile.closed)
            if change == 0.0 or (change < self._least and not at_end):
                return False
        self._sent, self._not_before = value, now + self._pause
        return True

    def failed(self, now: float) -> None:
        """What was sent last was not taken: after a pause the next command passes, changed or not."""
        self._sent, self._not_before = None, now + max(RETRY, self._pause)

"""Gripper section of a robot profile, and filter of its commands."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from rlt_ros.robots.interface import check_topic
from rlt_ros.store.parameters import ConfigError, check, parameter

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
RETRY_PERIOD = 1.0
"""s after which a command that the gripper did not accept is sent again."""


@dataclasses.dataclass(frozen=True)
class GripperProfile:
    """Gripper that a human opens and closes; left out, it is never commanded.

    The policy moves the joints of the arm alone.
    """

    joint: str = parameter(
        dataclasses.MISSING,
        help="Joint of the gripper. `message_names` gives its name in messages where that is another, as with two "
        "drivers that use one name.",
    )
    open: float = parameter(
        dataclasses.MISSING, help="Command of the open gripper.", unit="the robot's own, often rad or m"
    )
    closed: float = parameter(
        dataclasses.MISSING, help="Command of the closed gripper.", unit="the same; may be the smaller one"
    )
    speed: float | None = parameter(
        None,
        help="Greatest speed of the command; left out, the command jumps and the gripper sets the speed.",
        unit="that unit per second",
        low=1e-6,
    )
    type: str = parameter(
        "joint",
        help="Interface of the command, which is sent from the human's first command on. `joint`: one more joint in "
        "the command of the arm, which must be a joint state. On `topic`, at each change: `joint_state` as "
        "`sensor_msgs/JointState`, `forward` as `std_msgs/Float64MultiArray`, `interbotix` as "
        "`interbotix_xs_msgs/JointSingleCommand`. As a goal of the action `topic`, at each change: "
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
        help="Least change that is sent, as a share of the stroke; the ends are always sent.",
        low=0.0,
        high=1.0,
    )
    rate: float = parameter(10.0, help="Greatest rate of sent changes.", unit="Hz", low=0.1, high=1000.0)

    def __post_init__(self) -> None:
        check(self)
        if not self.joint:
            raise ConfigError("`joint` is empty; name the joint that opens and closes the gripper")
        if (self.topic is None) != (self.type == "joint"):
            raise ConfigError(
                "`topic` is for a gripper with its own interface; leave it out"
                if self.topic
                else f"`topic` is missing; `type` {self.type} needs the name of a topic or action"
            )
        if self.topic is not None:
            check_topic("topic", self.topic)
        if self.open == self.closed:
            raise ConfigError(
                f"`open` and `closed` are both {self.open:g}; give the two ends of the gripper's stroke"
            )

    def value(self, share: float) -> float:
        """Command in the robot's unit for a share of the stroke, 0 open to 1 closed."""
        return self.open + share * (self.closed - self.open)

    def share(self, value: float) -> float:
        """Share of the stroke, 0 open to 1 closed, of a command or measurement."""
        return float(np.clip((value - self.open) / (self.closed - self.open), 0.0, 1.0))

    def measured(self, names: Sequence[str], positions: Sequence[float]) -> float | None:
        """Share in a joint state; None if it lacks the joint, or its position is not finite."""
        if self.joint not in names:
            return None
        value = float(positions[list(names).index(self.joint)])
        return self.share(value) if np.isfinite(value) else None


class ChangeFilter:
    """Filter of gripper commands: passes changes, at a limited rate.

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
        """Return whether to send ``value`` at ``now`` s, and record it as sent."""
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
        """Record that the last command was not accepted: after a pause the next one passes, changed or not."""
        self._sent, self._not_before = None, now + max(RETRY_PERIOD, self._pause)

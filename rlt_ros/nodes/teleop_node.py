"""Teleoperation: reads a device, publishes the human's commands and the events of the buttons."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlt_ros.middleware import IMPLEMENTATION, Clock, ClockType, Node
from rlt_ros.middleware.messages import (
    Bool,
    EpisodeEvent,
    EpisodeState,
    ExecutedStep,
    Intervention,
    Joy,
    Twist,
    TwistStamped,
)
from rlt_ros.replay.stream import EpisodeState as Episode
from rlt_ros.replay.stream import Phase
from rlt_ros.robots.intervention import TakeOver
from rlt_ros.robots.profile import load_profile
from rlt_ros.robots.turns import nearest_turn
from rlt_ros.ros import qos
from rlt_ros.ros.conversions import read_episode, read_step, to_header, write_intervention
from rlt_ros.ros.diagnostics import OK, WARN, Diagnostics, Dropped, Report
from rlt_ros.ros.e_stop import EStop
from rlt_ros.ros.joint_input import ArmState, JointInput
from rlt_ros.ros.parameters import declare
from rlt_ros.ros.realtime import enable_realtime
from rlt_ros.ros.run import NodeConfigurationError, run_node
from rlt_ros.ros.settings import Setup
from rlt_ros.ros.topics import Topics
from rlt_ros.teleop.config import JOY, KEYBOARD, SPACENAV, TeleopConfig
from rlt_ros.teleop.devices import Device, DeviceError, open_device
from rlt_ros.teleop.keyboard import HELP
from rlt_ros.teleop.labels import ButtonEvent
from rlt_ros.teleop.operator import Operator
from rlt_ros.teleop.samples import DeviceSample

Array = NDArray[np.float64]

_DEVICE_POLL = 0.005
"""s, polling period of a device without a driver node; a fraction of a control period."""
_MAX_COMMAND_AGE = 0.2
"""s, maximum age of a command that a take-over starts from."""


class TeleopNode(Node):
    """Human operator in the graph."""

    def __init__(self) -> None:
        super().__init__("teleop_node")
        setup, config = declare(self, "", Setup), declare(self, "", TeleopConfig)
        self._profile = load_profile(setup.robot)
        arm = self._profile.kinematics()
        self._gripper = self._profile.gripper
        self._operator = Operator(
            config,
            arm,
            self._profile.limits(arm),
            self._profile.control_hz,
            gripper=self._gripper is not None,
        )
        self._episode = Episode(0, Phase.IDLE)
        self._measured: Array | None = None
        self._last: tuple[float, Array] | None = None  # time and target of the last command
        self._motion: list[float] | None = None  # from a SpaceMouse driver that publishes a twist
        self._buttons: list[int] = []  # buttons of the SpaceMouse
        self._phase = TakeOver.RELEASED
        self._problem = ""

        diagnostics = Diagnostics(self)
        self._dropped = Dropped(diagnostics)
        diagnostics.add("operator", self._report)
        topics = Topics(self, diagnostics)
        self._interventions = topics.publisher(Intervention, "rlt/intervention", qos.INTERVENTION)
        self._events = topics.publisher(EpisodeEvent, "rlt/episode_event", qos.EPISODE_EVENT)
        self._e_stop = topics.publisher(Bool, "rlt/e_stop", qos.E_STOP)
        JointInput(self, topics, self._profile, qos.SENSOR, self._dropped, self._on_joints)
        topics.subscription(ExecutedStep, "rlt/executed_step", self._on_step, qos.EXECUTED_STEP)
        topics.subscription(EpisodeState, "rlt/episode_state", self._on_episode, qos.EPISODE_STATE)
        e_stop = EStop(lambda pressed: self._operator.e_stop(pressed))
        topics.subscription(Bool, "rlt/e_stop", e_stop.on_button, qos.E_STOP, any_qos=True)
        topics.subscription(Bool, "rlt/hardware_e_stop", e_stop.on_hardware, qos.E_STOP, any_qos=True)
        topics.subscription(Bool, "rlt/e_stop_state", e_stop.on_state, qos.E_STOP)

        self._device: Device | None = None
        direct = config.direct == "true" or (config.direct == "auto" and IMPLEMENTATION == "dds")
        if direct or config.device == KEYBOARD:
            try:
                self._device = open_device(config.device)
            except DeviceError as error:
                raise NodeConfigurationError(str(error)) from error
        elif config.device == JOY:
            topics.subscription(Joy, "joy", self._on_joy, qos.DEVICE)
        elif config.device == SPACENAV:
            topics.subscription(Joy, "spacenav/joy", self._on_spacenav_joy, qos.DEVICE)
            topics.subscription(Twist, "spacenav/twist", self._on_twist, qos.DEVICE)
            topics.subscription(
                TwistStamped, "spacenav/twist_stamped", lambda m: self._on_twist(m.twist), qos.DEVICE
            )
        period = 1.0 / self._profile.control_hz
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(period, self._command, clock=steady)
        if self._device is not None:
            self.create_timer(_DEVICE_POLL, self._poll, clock=steady)
        if config.device == KEYBOARD:
            self.get_logger().info(HELP)
        enable_realtime(self, config.realtime_priority)

    def destroy_node(self) -> None:
        """Close the device and destroy the node."""
        if self._device is not None:
            self._device.close()
        super().destroy_node()

    def _on_joints(self, state: ArmState) -> None:
        message, self._measured = state.message, state.positions
        share = None if self._gripper is None else self._gripper.measured(message.name, message.position)
        if share is not None:
            self._operator.measure_gripper(share)

    def _on_step(self, message: Any) -> None:
        self._read(lambda: self._record_command(message), "bad executed step")

    def _record_command(self, message: Any) -> None:
        step = read_step(message, self._profile.dim)
        self._last = time.monotonic(), step.command.astype(np.float64)

    def _on_episode(self, message: Any) -> None:
        self._read(lambda: setattr(self, "_episode", read_episode(message)), "bad episode state")

    def _read(self, take: Callable[[], None], kind: str) -> None:
        try:
            take()
        except ValueError as error:
            self._dropped.add(kind, str(error))

    def _on_joy(self, message: Any) -> None:
        self._process(DeviceSample(message.axes, message.buttons))

    def _on_spacenav_joy(self, message: Any) -> None:
        # If the driver publishes both, the twist includes its scaling and dead band.
        self._buttons = list(message.buttons)
        self._process(DeviceSample(message.axes if self._motion is None else self._motion, self._buttons))

    def _on_twist(self, twist: Any) -> None:
        linear, angular = twist.linear, twist.angular
        self._motion = [linear.x, linear.y, linear.z, angular.x, angular.y, angular.z]
        self._process(DeviceSample(self._motion, self._buttons))

    def _process(self, raw: DeviceSample) -> None:
        now = time.monotonic_ns()
        for event in self._operator.add_sample(raw, self._episode, now):
            self._publish_event(event)
        if self._operator.problem != self._problem:
            self._problem = self._operator.problem
            if self._problem:
                self.get_logger().warning(
                    f"the device cannot move the arm: {self._problem}", throttle_duration_sec=5.0
                )
        if self._operator.control_changed(now):
            self._command()

    def _publish_event(self, event: ButtonEvent) -> None:
        self.get_logger().info(event.value.replace("_", " "))
        if event in (ButtonEvent.E_STOP, ButtonEvent.E_STOP_RELEASED):
            self._e_stop.publish(Bool(data=event is ButtonEvent.E_STOP))
            return
        self._events.publish(
            EpisodeEvent(
                header=to_header(self._now()),
                event=getattr(EpisodeEvent, event.name),
                episode=0 if event is ButtonEvent.START else self._episode.episode,
                origin="operator",
            )
        )

    def _poll(self) -> None:
        assert self._device is not None
        raw = self._device.poll()
        if raw is not None:
            self._process(raw)

    def _command(self) -> None:
        if self._measured is None:
            return
        last = self._measured
        if self._last is not None and time.monotonic() - self._last[0] < _MAX_COMMAND_AGE:
            # The executor may use another turn of a continuous joint.
            last = nearest_turn(self._last[1], self._measured, self._profile.continuous)
        human = self._operator.command(time.monotonic_ns(), self._now(), self._measured, last)
        self._interventions.publish(write_intervention(human))
        if human.phase is not self._phase:
            self._phase = human.phase
            self.get_logger().info(f"human: {human.phase.name.lower().replace('_', '-')}")

    def _now(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _report(self) -> Report:
        values = {"phase": self._phase.name.lower(), "ignored_presses": self._operator.ignored_presses}
        if self._operator.lost(time.monotonic_ns()):
            return WARN, "the device is silent: the arm holds", values
        if self._operator.problem:
            return WARN, f"the device cannot move the arm: {self._operator.problem}", values
        if self._measured is None:
            return WARN, "no joint states", values
        if self._operator.missing_buttons:
            return WARN, self._operator.missing_buttons, values
        return OK, "", values


def main() -> int:
    """Run the node."""
    return run_node(TeleopNode)


if __name__ == "__main__":
    sys.exit(main())

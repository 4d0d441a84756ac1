"""Sole publisher of robot commands: executes chunks, arbitrates policy and human, holds on faults, publishes each step.

It refuses to start next to another publisher of the command topic, and stops when one appears. While inactive, and
before the first episode or take-over, it publishes nothing; docs/explanation/commands.md contains the rule.
"""

from __future__ import annotations

import re
import sys
import time
from typing import Any

from rlt_ros.acting.chunks import ChunkRefused
from rlt_ros.acting.config import ControlConfig
from rlt_ros.acting.controller import Controller
from rlt_ros.acting.records import Command, InputRefused
from rlt_ros.middleware import (
    Clock,
    ClockType,
    LifecycleNode,
    State,
    Timer,
    TransitionCallbackReturn,
    ok,
)
from rlt_ros.middleware.messages import (
    ActionChunk,
    Bool,
    ChunkRequest,
    EpisodeEvent,
    EpisodeState,
    ExecutedStep,
    Intervention,
)
from rlt_ros.robots.commands import CommandError
from rlt_ros.robots.profile import RobotProfile, load_profile
from rlt_ros.ros import qos
from rlt_ros.ros.conversions import (
    read_chunk,
    read_episode,
    read_intervention,
    to_header,
    write_request,
    write_step,
)
from rlt_ros.ros.diagnostics import ERROR, STALE, Diagnostics, Dropped, Report
from rlt_ros.ros.drivers import CommandPublishers
from rlt_ros.ros.e_stop import EStop
from rlt_ros.ros.executor_report import figures_of, report
from rlt_ros.ros.joint_input import ArmState, JointInput
from rlt_ros.ros.lateness import Lateness
from rlt_ros.ros.parameters import declare
from rlt_ros.ros.realtime import enable_realtime
from rlt_ros.ros.run import NodeConfigurationError, log_failures, run_node
from rlt_ros.ros.settings import ExecutorConfig, Setup
from rlt_ros.ros.topics import Topics

_TIMEOUT_POLL = 0.02
"""s, polling period of the time-outs in lock-step."""
_HOLD_LOG_PERIOD = 30.0
"""s between two log lines of one reason to hold; diagnostics always contain the current one."""


class ExecutorNode(LifecycleNode):
    """Controller of the arm in the graph."""

    def __init__(self) -> None:
        super().__init__("executor_node")
        setup = declare(self, "", Setup)
        self._control, self._config = declare(self, "", ControlConfig), declare(self, "", ExecutorConfig)
        self._profile: RobotProfile = load_profile(setup.robot)
        self._controller: Controller | None = None
        self._timer: Timer | None = None
        self._aborted = 0
        self._hold_reason = ""
        self._hold_logged: dict[str, float] = {}  # reason to hold → time of its last log line, s
        self._lateness = Lateness(1.0 / self._profile.control_hz)

        diagnostics = Diagnostics(self)
        self._dropped = Dropped(diagnostics)
        diagnostics.add("control", self._report)
        topics = Topics(self, diagnostics)
        self._steps = topics.publisher(ExecutedStep, "rlt/executed_step", qos.EXECUTED_STEP)
        self._requests = topics.publisher(ChunkRequest, "rlt/chunk_request", qos.CHUNK_REQUEST)
        self._events = topics.publisher(EpisodeEvent, "rlt/episode_event", qos.EPISODE_EVENT)
        # First subscription: an episode state is processed before the joint state that starts the phase.
        topics.subscription(EpisodeState, "rlt/episode_state", self._on_episode, qos.EPISODE_STATE)
        self._e_stop = EStop(self._on_e_stop)
        self._e_stop_state = topics.publisher(Bool, "rlt/e_stop_state", qos.E_STOP)
        topics.subscription(Bool, "rlt/e_stop", self._e_stop.on_button, qos.E_STOP, any_qos=True)
        topics.subscription(Bool, "rlt/hardware_e_stop", self._on_hardware_e_stop, qos.E_STOP, any_qos=True)
        topics.subscription(Intervention, "rlt/intervention", self._on_intervention, qos.INTERVENTION)
        topics.subscription(ActionChunk, "rlt/action_chunk", self._on_chunk, qos.ACTION_CHUNK)
        sensors = qos.sensor(reliable=self._profile.reliable_sensors or self._control.lock_step)
        JointInput(
            self,
            topics,
            self._profile,
            sensors,
            self._dropped,
            self._on_joints,
            held=True,
            simulated=self._control.lock_step,
            commanding=lambda: self._controller is not None and self._controller.commanding,
            rejected=self._on_rejected,
        )
        self._guard = self.create_timer(
            1.0, self._check_sole_publisher, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )
        self._commands = CommandPublishers(self, topics, self._profile, stamped=self._control.lock_step)
        if self._profile.gripper is not None and self._profile.gripper.type != "joint":
            diagnostics.add("gripper", self._commands.report_gripper)

    @log_failures
    def on_configure(self, state: State) -> TransitionCallbackReturn:
        """Load kinematics and limits of the arm."""
        profile = self._profile
        self._controller = Controller.of_robot(self._control, profile, profile.kinematics())
        self._controller.e_stop(self._e_stop.pressed)
        return super().on_configure(state)

    @log_failures
    def on_activate(self, state: State) -> TransitionCallbackReturn:
        """Start commanding, unless another node commands the arm."""
        self._require_sole_publisher()
        enable_realtime(self, self._config.realtime_priority)
        if self._controller is not None:
            self._controller.begin()
        self._commands.open()
        period = _TIMEOUT_POLL if self._control.lock_step else 1.0 / self._profile.control_hz
        self._lateness.restart(time.monotonic_ns())
        self._timer = self.create_timer(period, self._on_timer, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self.get_logger().info(f"commanding {', '.join(self._commands.topics)}")
        return super().on_activate(state)

    @log_failures
    def on_deactivate(self, state: State) -> TransitionCallbackReturn:
        """Stop the arm and stop commanding."""
        self._stop()
        return super().on_deactivate(state)

    @log_failures
    def on_shutdown(self, state: State) -> TransitionCallbackReturn:
        """Stop the arm and stop commanding."""
        self._stop()
        return super().on_shutdown(state)

    def destroy_node(self) -> None:
        """Stop commanding and destroy the node."""
        self._stop()
        super().destroy_node()

    def _stop(self) -> None:
        if not self._commands.is_open or self._controller is None:
            return
        if self._timer is not None:
            self.destroy_timer(self._timer)
        halt = self._controller.end(time.monotonic_ns(), self._ros_time())
        if halt is not None and ok():
            self._send(halt)
        self._commands.close()
        self._timer = None

    def _on_joints(self, state: ArmState) -> None:
        controller, gripper, message = self._controller, self._profile.gripper, state.message
        if controller is None:
            return
        share = None if gripper is None else gripper.measured(message.name, message.position)
        now = time.monotonic_ns()
        try:
            controller.joint_state(state.stamp, state.positions, now, share, relocated=state.relocated)
        except InputRefused as error:
            self._dropped.add(error.kind, str(error))
            return
        self._tick_in_lock_step()

    def _on_rejected(self, detail: str, stamp: int, moved: bool) -> None:
        if moved:
            self.get_logger().error(f"unexpected arm position: {detail}", throttle_duration_sec=1.0)
        if self._controller is not None:
            self._controller.joint_state_rejected(time.monotonic_ns(), stamp=stamp, moved=moved)

    def _on_episode(self, message: Any) -> None:
        if self._controller is None:
            return
        try:
            self._controller.episode_state(read_episode(message))
        except ValueError as error:
            self._dropped.add("bad episode state", str(error))
            return
        self._tick_in_lock_step()

    def _on_chunk(self, message: Any) -> None:
        if self._controller is None:
            return
        try:
            rows = len(message.action) // self._profile.dim
            chunk = read_chunk(message, rows, self._profile.dim)
            self._controller.chunk(chunk, self._ros_time(), time.monotonic_ns())
        except ChunkRefused as error:
            self._dropped.add(error.kind, str(error))
            return
        except ValueError as error:
            self._dropped.add("bad chunk", str(error))
            return
        self._tick_in_lock_step()

    def _on_intervention(self, message: Any) -> None:
        if self._controller is None:
            return
        try:
            taken_over = self._controller.intervention(read_intervention(message), time.monotonic_ns())
        except InputRefused as error:
            self._dropped.add(error.kind, str(error))
            return
        except ValueError as error:
            self._dropped.add("bad intervention", str(error))
            return
        if taken_over and not self._control.lock_step:
            self._preempt()
        self._tick_in_lock_step()

    def _preempt(self) -> None:
        """Stop the policy at once on a take-over; the next step follows one period later."""
        if self._controller is None or self._timer is None:
            return
        now = time.monotonic_ns()
        command = self._controller.preempt(now, self._ros_time())
        if command is not None:
            self._timer.reset()
            self._lateness.restart(now)
            self._send(command)

    def _on_hardware_e_stop(self, message: Any) -> None:
        if self._controller is not None:
            self._controller.hardware_e_stop(time.monotonic_ns(), message.data)
        self._e_stop.on_hardware(message)

    def _on_e_stop(self, pressed: bool) -> None:
        self.get_logger().warning("e-stop pressed" if pressed else "e-stop released")
        self._e_stop_state.publish(Bool(data=pressed))
        if self._controller is not None:
            self._controller.e_stop(pressed)
            self._tick_in_lock_step()

    def _on_timer(self) -> None:
        if not self._control.lock_step:
            self._lateness.tick(time.monotonic_ns())
        self._tick()

    def _tick_in_lock_step(self) -> None:
        """Run a control step on input in lock-step, where any input may be the awaited one."""
        if self._control.lock_step:
            self._tick()

    def _tick(self) -> None:
        if self._controller is None or not self._commands.is_open:
            return
        result = self._controller.tick(time.monotonic_ns(), self._ros_time())
        if result.command is not None:
            self._send(result.command)
        elif self._controller.gripper is not None:
            # No arm command at standstill; a gripper command may be rejected or incomplete and is repeated.
            self._commands.publish_gripper(self._ros_time(), self._controller.gripper)
        if result.request is not None:
            self._requests.publish(write_request(result.request))
        self._log_hold_reason()
        reason = self._controller.abort_reason(time.monotonic_ns())
        if reason and self._aborted != self._controller.episode.episode:
            self._abort(self._controller.episode.episode, reason)

    def _send(self, command: Command) -> None:
        try:
            if command.is_start:
                self._commands.rest()
            if command.target is not None:
                self._commands.publish(command.stamp, command.target, command.gripper, command.held)
        except CommandError as error:
            self._dropped.add("invalid command", str(error))
            return
        if command.record is not None:
            self._steps.publish(write_step(command.record))

    def _abort(self, episode: int, reason: str) -> None:
        self._aborted = episode
        self.get_logger().error(f"episode {episode} aborted: {reason}")
        self._events.publish(
            EpisodeEvent(
                header=to_header(self._ros_time()),
                event=EpisodeEvent.ABORT,
                episode=episode,
                origin="executor",
                reason=reason,
            )
        )

    def _require_sole_publisher(self) -> None:
        """Raise NodeConfigurationError if another node commands the arm."""
        start = time.monotonic()
        while True:
            waited = time.monotonic() - start
            topic, others = self._others()
            if not others and waited >= self._config.discovery_time:
                return
            if others and waited >= max(self._config.discovery_time, self._config.takeover_time):
                raise NodeConfigurationError(
                    f"{topic} is already published by {others}; stop that node first"
                )
            time.sleep(0.02)

    def _others(self) -> tuple[str, str]:
        """(command topic with other publishers, their nodes); both empty without any."""
        own = 1 if self._commands.is_open else 0
        for topic in self._commands.topics:
            if self.count_publishers(topic) <= own:
                continue
            infos = self.get_publishers_info_by_topic(topic)
            names = sorted(f"{info.node_namespace.rstrip('/')}/{info.node_name}" for info in infos)
            if own and self.get_fully_qualified_name() in names:
                names.remove(self.get_fully_qualified_name())
            return topic, ", ".join(names) or "a node without name"
        return "", ""

    def _check_sole_publisher(self) -> None:
        if not self._commands.is_open:
            return
        topic, others = self._others()
        if others:
            self.get_logger().fatal(f"{others} publishes {topic}, too; this node stops commanding")
            self.trigger_deactivate()

    def _log_hold_reason(self) -> None:
        assert self._controller is not None
        reason = self._controller.hold_reason
        if reason != self._hold_reason:
            self._hold_reason = reason
            # Numbers in the reason differ each time.
            kind = re.split(r"\d", reason, maxsplit=1)[0]
            now = time.monotonic()
            if reason and now - self._hold_logged.get(kind, -_HOLD_LOG_PERIOD) >= _HOLD_LOG_PERIOD:
                self._hold_logged[kind] = now
                self.get_logger().info(f"holds: {reason}")

    def _ros_time(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _report(self) -> Report:
        if self._controller is None:
            return STALE, "not configured", {}
        controller, config = self._controller, self._control
        figures = figures_of(controller, self._lateness)
        if not self._commands.is_open:
            return ERROR, "inactive: no commands", figures
        level, text, more = report(controller, config, self._profile.joints)
        return level, text, {**figures, **more}


def main() -> int:
    """Run the node."""
    return run_node(ExecutorNode)


if __name__ == "__main__":
    sys.exit(main())

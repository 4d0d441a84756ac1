"""Random driver and graph around a real `executor_node`, and a check of every command that it publishes."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from typing import Any

import numpy as np

from rlt_ros.bench.faulty_driver import FaultyDriver, Report
from rlt_ros.bench.random_graph import RandomGraph
from rlt_ros.middleware.arrays import pack
from rlt_ros.middleware.messages import (
    ActionChunk,
    Bool,
    ChunkRequest,
    EpisodeEvent,
    EpisodeState,
    Intervention,
    JointState,
)
from rlt_ros.replay import stream
from rlt_ros.robots import intervention
from rlt_ros.robots.profile import RobotProfile
from rlt_ros.robots.turns import distance
from rlt_ros.ros import qos
from rlt_ros.ros.conversions import (
    read_request,
    to_header,
    write_chunk,
    write_episode,
    write_intervention,
)
from rlt_ros.ros.drivers import command_type, read_driver_command

# s; a command answers a joint state that was published so long before at most, on a busy machine.
LATENCY = 0.5
# s by which the arrivals of two commands may be nearer to each other than their control steps.
JITTER = 0.2


class RemoteExecutor:
    """Remote executor with the interface that :class:`RandomGraph` uses.

    Args:
        graph: the test's process in the graph.
        profile: of the robot.
    """

    def __init__(self, graph: Any, profile: RobotProfile) -> None:
        self.node = node = graph.node("random_graph")
        self.limits = profile.limits()
        self.measured: np.ndarray | None = None
        self.episode = stream.EpisodeState(0, stream.Phase.IDLE)
        self.requests: list[stream.ChunkRequest] = []
        self._aborted = -1
        self._human = intervention.TakeOver.RELEASED
        self._pressed = [False, False]
        node.create_subscription(ChunkRequest, "rlt/chunk_request", self._on_request, qos.CHUNK_REQUEST)
        node.create_subscription(EpisodeEvent, "rlt/episode_event", self._on_event, qos.EPISODE_EVENT)
        self._states = node.create_publisher(EpisodeState, "rlt/episode_state", qos.EPISODE_STATE)
        self._chunks = node.create_publisher(ActionChunk, "rlt/action_chunk", qos.ACTION_CHUNK)
        self._humans = node.create_publisher(Intervention, "rlt/intervention", qos.INTERVENTION)
        self._button = node.create_publisher(Bool, "rlt/e_stop", qos.E_STOP)
        self._circuit = node.create_publisher(Bool, "rlt/hardware_e_stop", qos.BEST_EFFORT)

    @property
    def publishers(self) -> tuple[Any, ...]:
        return self._states, self._chunks, self._humans, self._button, self._circuit

    def abort_reason(self, _: int) -> str:
        return "abort" if self._aborted == self.episode.episode else ""

    def episode_state(self, state: stream.EpisodeState) -> None:
        self.episode = state
        self._states.publish(write_episode(state))

    def e_stop(self, pressed: bool) -> None:
        if pressed != self._pressed[0]:
            self._pressed[0] = pressed
            self._button.publish(Bool(data=pressed))

    def hardware_e_stop(self, _: int, pressed: bool = False) -> None:
        self._circuit.publish(Bool(data=pressed))

    def chunk(self, chunk: stream.ActionChunk, *_: int) -> None:
        self._chunks.publish(write_chunk(chunk))

    def intervention(self, human: intervention.Intervention, _: int) -> bool:
        before, self._human = self._human, human.phase
        self._humans.publish(write_intervention(human))
        return human.phase.commands and before is intervention.TakeOver.RELEASED

    def _on_request(self, message: Any) -> None:
        self.requests.append(read_request(message))

    def _on_event(self, message: Any) -> None:
        if message.event == EpisodeEvent.ABORT:
            self._aborted = message.episode


class RandomRobot:
    """Publishes joint states of a faulty driver, and checks each command against them.

    Args:
        graph: the test's process in the graph.
        profile: of the robot.
        seed: of all chance.
    """

    def __init__(self, graph: Any, profile: RobotProfile, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._graph, self._profile = graph, profile
        self.node = node = graph.node("random_robot")
        self._joints = profile.tracked_joints
        self._driver = FaultyDriver(self._joints, 1.0 / profile.control_hz, rng)
        self._rng, self._remote = rng, RemoteExecutor(graph, profile)
        self._chance = RandomGraph(self._remote, rng)
        limits = self._remote.limits.with_held(len(profile.held))
        self._lead, self._speed = limits.lead, limits.velocity
        # Arrival, s, and positions (J,) rad that a command may be near to.
        self._places: deque[tuple[float, np.ndarray]] = deque(maxlen=500)
        self._target = np.full(self._joints.dim, np.nan)
        # Topic of commands → arrival, s, and joints of its newest command.
        self._sent: dict[str, tuple[float, np.ndarray]] = {}
        self.commands, self.steps = 0, 0
        self.violations: list[str] = []
        self._outs = []
        for part in profile.drivers:
            node.create_subscription(
                command_type(part),
                part.command.topic,
                lambda message, part=part: self._on_command(part, message),
                qos.COMMAND,
            )
            self._outs.append(node.create_publisher(JointState, part.joint_states, qos.SENSOR_RELIABLE))

    def run(self, seconds: float) -> None:
        """Meet the executor, and disturb it for a while."""
        outs = (*self._outs, *self._remote.publishers)
        self._graph.until(
            lambda: all(out.get_subscription_count() for out in outs), what="the executor listens"
        )
        topic = self.node.resolve_topic_name(self._profile.drivers[0].command.topic)
        self._graph.until(lambda: self.node.count_publishers(topic), what="the executor is active")
        self.node.create_timer(1.0 / self._profile.control_hz, self._step)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._graph.executor.spin_once(timeout_sec=0.05)

    def _step(self) -> None:
        self.steps += 1
        if self._rng.random() < (0.05 if self._chance.circuit else 0.01):
            self._driver.arm.push()
        self._driver.arm.powered = not self._chance.circuit
        for report in self._driver.step():
            self._publish(report)
        self._places.append((time.monotonic(), self._driver.arm.position))
        self._remote.measured = self._driver.arm.position[: self._profile.dim]
        now = time.monotonic_ns()
        for request in self._remote.requests:
            self._chance.accept_request(request, now)
        self._remote.requests.clear()
        self._chance.step(now, self.node.get_clock().now().nanoseconds)

    def _publish(self, report: Report) -> None:
        """Publish a joint state with the names and units of the drivers."""
        later = report.stamp - self._driver.clock
        stamp = self.node.get_clock().now().nanoseconds + later if report.stamp else 0
        if report.positions.shape == self._speed.shape and np.isfinite(report.positions).all():
            self._places.append((time.monotonic(), report.positions))
        for part, out in zip(self._profile.drivers, self._outs, strict=True):
            joints = part.joint_order or part.command_joints
            places = [self._joints.names.index(joint) for joint in joints]
            extra = len(report.positions) - self._joints.dim
            with np.errstate(over="ignore"):
                positions = np.append(report.positions[places] / part.scale, np.zeros(extra))
            out.publish(
                JointState(
                    header=to_header(stamp),
                    name=[part.message_name(joint) for joint in joints],
                    position=pack(positions),
                )
            )

    def _on_command(self, part: Any, message: Any) -> None:
        """Check a command against the places of its own driver's joints: another driver's state may come later."""
        now, own = time.monotonic(), np.zeros(self._joints.dim, bool)
        for joint, value in zip(*read_driver_command(part, message), strict=True):
            if joint in self._joints.names:
                own[self._joints.names.index(joint)] = True
                self._target[self._joints.names.index(joint)] = value
        target = self._target[own].copy()
        self.commands += part is self._profile.drivers[-1]
        if not np.isnan(self._target).any():
            self._driver.arm.setpoint = self._target.copy()
        near = any(
            (distance(target, place[own], self._joints.continuous[own]) <= self._lead[own] + 1e-5).all()
            for then, place in self._places
            if now - then < LATENCY
        )
        if not near:
            away = np.abs(target - self._driver.arm.position[own]).max()
            self.violations.append(f"{away:.3f} rad from the arm")
        if part.command.topic in self._sent:
            then, before = self._sent[part.command.topic]
            if (np.abs(target - before) > self._speed[own] * (now - then + JITTER) + 1e-5).any():
                self.violations.append(f"{np.abs(target - before).max():.3f} rad in {now - then:.3f} s")
        for point in getattr(message, "points", ()):
            with contextlib.suppress(ValueError):
                if (np.abs(np.array(point.velocities)) * part.scale > self._speed.max() + 1e-5).any():
                    self.violations.append(f"{np.abs(point.velocities).max():.3f} rad/s in a trajectory")
        self._sent[part.command.topic] = now, target

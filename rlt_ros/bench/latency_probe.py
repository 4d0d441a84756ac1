"""Latency probe: stands in for robot, inference and gamepad around real nodes, and records times.

Its inference answers at once, so the measurement contains everything except the VLA's forward pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from rlt_ros.middleware import Node, Publisher, SingleThreadedExecutor, init, try_shutdown
from rlt_ros.middleware.arrays import pack
from rlt_ros.middleware.messages import (
    ActionChunk,
    ChunkRequest,
    EpisodeState,
    ExecutedStep,
    JointState,
    Joy,
    Observation,
)
from rlt_ros.replay.stream import Phase
from rlt_ros.robots.profile import RobotProfile
from rlt_ros.ros import qos
from rlt_ros.ros.cameras import camera_type, write_camera
from rlt_ros.ros.conversions import to_header, to_ns
from rlt_ros.ros.realtime import disable_realtime, enable_realtime

CHUNK = 10
SIDE = 64
"""Pixels; picture size of the built-in VLA."""
_BLACK = np.zeros((SIDE, SIDE, 3), np.uint8)
_STEPS_PER_PICTURE = 2
_DEAD_MAN, _BUTTONS = 10, 21
"""Index of the dead-man button and number of buttons of a gamepad."""
_PRIORITY = 40
"""Real-time priority, so that delays of the stand-in driver do not enter the measurement."""
_START_TIMEOUT = 60.0
"""s, for processes to start."""


class NoResponseError(RuntimeError):
    """Missing answer of a measured node."""


class LatencyProbe(Node):
    """Stand-in for a robot at its home position, on the wall clock.

    Args:
        profile: robot profile.
        home: (A,) rad, joint positions.
    """

    def __init__(self, profile: RobotProfile, home: np.ndarray[Any, np.dtype[np.float64]]) -> None:
        super().__init__("latency_probe")
        self._profile, self._home = profile, home
        self.steps: list[tuple[int, int, int]] = []
        """Stamp ns, source and observation ns of every executed step."""
        self.commands: dict[int, int] = {}
        """Stamp of a command → arrival, both ns."""
        self._chunk = 0
        self._waiting: Any = None  # request whose observation has not arrived
        self._seen = 0  # stamp of the newest observation
        self._joints = self.create_publisher(JointState, profile.joint_states, qos.SENSOR_RELIABLE)
        self._images = [
            self.create_publisher(camera_type(camera), camera.topic, qos.SENSOR_RELIABLE)
            for camera in profile.cameras.values()
        ]
        self._states = self.create_publisher(EpisodeState, "rlt/episode_state", qos.EPISODE_STATE)
        self._chunks = self.create_publisher(ActionChunk, "rlt/action_chunk", qos.ACTION_CHUNK)
        self._pad = self.create_publisher(Joy, "joy", qos.DEVICE)
        self.create_subscription(ChunkRequest, "rlt/chunk_request", self._on_request, qos.CHUNK_REQUEST)
        self.create_subscription(Observation, "rlt/observation", self._on_observation, qos.OBSERVATION)
        self.create_subscription(ExecutedStep, "rlt/executed_step", self._on_step, qos.EXECUTED_STEP)
        self.create_subscription(JointState, profile.command.topic, self._on_command, 100)

    @property
    def endpoints(self) -> dict[str, Publisher]:
        """Name → publisher that the measured nodes subscribe to."""
        return {"robot": self._joints, "camera": self._images[0], "chunks": self._chunks, "pad": self._pad}

    def publish_phase(self, phase: Phase, episode: int) -> None:
        """Publish the phase of an episode."""
        stamp = self.get_clock().now().nanoseconds
        self._states.publish(EpisodeState(header=to_header(stamp), episode=episode, phase=int(phase)))

    def publish_sensors(self, stamp: int, *, pictures: bool) -> None:
        """Publish joint state and pictures of one time, ns."""
        header = to_header(stamp)
        # Number of joints of the whole robot.
        names = [*self._profile.joints, *(f"other_{i}" for i in range(27))]
        values = pack(np.concatenate([self._home, np.zeros(27)]))
        self._joints.publish(JointState(header=header, name=names, position=values, velocity=values))
        if pictures:
            for publisher, camera in zip(self._images, self._profile.cameras.values(), strict=True):
                publisher.publish(write_camera(_BLACK, camera, header))

    def publish_gamepad(self, *, held: bool) -> None:
        """Publish a gamepad state: at rest, or with dead-man button and stick held."""
        buttons = [int(held and i == _DEAD_MAN) for i in range(_BUTTONS)]
        self._pad.publish(Joy(axes=[0.0, 0.5 if held else 0.0, 0.0, 0.0, 0.0, 0.0], buttons=buttons))

    def _on_request(self, request: Any) -> None:
        if to_ns(request.header.stamp) <= self._seen:
            self._answer(request)
        else:
            self._waiting = request

    def _on_observation(self, observation: Any) -> None:
        self._seen = to_ns(observation.header.stamp)
        if self._waiting is not None and to_ns(self._waiting.header.stamp) <= self._seen:
            request, self._waiting = self._waiting, None
            self._answer(request)

    def _answer(self, request: Any) -> None:
        self._chunk += 1
        action = pack(np.zeros(CHUNK * len(self._home), np.float32))
        self._chunks.publish(
            ActionChunk(
                header=request.header,
                episode=request.episode,
                chunk=self._chunk,
                step=request.step,
                source=ActionChunk.SOURCE_VLA,
                anchor=pack(self._home.astype(np.float32)),
                scale=pack(np.full(len(self._home), 0.02, np.float32)),
                reference=action,
                action=action,
            )
        )

    def _on_step(self, step: Any) -> None:
        self.steps.append((to_ns(step.header.stamp), step.source, to_ns(step.observation)))

    def _on_command(self, command: Any) -> None:
        self.commands[to_ns(command.header.stamp)] = time.monotonic_ns()


class LatencyBench:
    """Probe and executor in the process of the benchmark."""

    def __init__(self, profile: RobotProfile, home: np.ndarray[Any, np.dtype[np.float64]]) -> None:
        init(args=[])
        self.probe = LatencyProbe(profile, home)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.probe)
        enable_realtime(self.probe, _PRIORITY)
        self._period = 1.0 / profile.control_hz

    def close(self) -> None:
        """Destroy the probe and shut the context down."""
        disable_realtime()
        self._executor.shutdown()
        self.probe.destroy_node()
        try_shutdown()

    def spin_until(self, condition: Callable[[], Any], what: str, alive: Callable[[], bool]) -> None:
        """Spin until `condition` holds.

        Raises:
            NoResponseError: time-out, or a node died.
        """
        end = time.monotonic() + _START_TIMEOUT
        while not condition():
            if time.monotonic() > end or not alive():
                raise NoResponseError(f"time-out: no {what}; is another graph in the same ROS_DOMAIN_ID?")
            self._executor.spin_once(timeout_sec=0.01)

    def wait_for_nodes(self, *others: str, alive: Callable[[], bool]) -> None:
        """Wait until the measured nodes have subscribed and published."""
        for name in others:
            publisher = self.probe.endpoints[name]
            self.spin_until(publisher.get_subscription_count, f"subscription to the {name}", alive)
        topic = self.probe.resolve_topic_name("joint_command")
        self.spin_until(lambda: self.probe.count_publishers(topic), "executor", alive)

    def run(self, seconds: float, every_period: Callable[[int], None] = lambda _: None) -> None:
        """Publish sensors in real time, calling `every_period` with the number of the period."""
        start = time.monotonic()
        for period in range(round(seconds / self._period)):
            self.probe.publish_sensors(
                self.probe.get_clock().now().nanoseconds, pictures=period % _STEPS_PER_PICTURE == 0
            )
            every_period(period)
            while (left := start + (period + 1) * self._period - time.monotonic()) > 0:
                self._executor.spin_once(timeout_sec=left)

    def warm_up(self, source: int, every_period: Callable[[int], None]) -> None:
        """Publish sensors until a step of `source` is executed.

        Raises:
            NoResponseError: time-out.
        """
        end = time.monotonic() + _START_TIMEOUT
        while not any(step[1] == source for step in self.probe.steps):
            if time.monotonic() > end:
                raise NoResponseError(f"time-out: no step of source {source}")
            self.run(self._period, every_period)

    def lock_step(self, steps: int, alive: Callable[[], bool]) -> list[float]:
        """Run lock-step; return the latency of each step that needs an observation, ms."""
        probe, took = self.probe, []
        for step in range(1, steps + 1):
            stamp = step * round(self._period * 1e9)
            border = (step - 1) % CHUNK == 0
            start = time.monotonic_ns()
            probe.publish_sensors(stamp, pictures=border)
            self.spin_until(partial(probe.commands.__contains__, stamp), f"command of step {step}", alive)
            if border:
                took.append((probe.commands[stamp] - start) * 1e-6)
        return took

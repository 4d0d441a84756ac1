"""What a graph is measured with: plays robot, inference and game pad around real nodes, and notes when things happen.

Its inference answers at once, so that what is measured is everything but the VLA's forward pass.
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
from rlt_ros.nodes import qos
from rlt_ros.nodes.cameras import camera_type, write_camera
from rlt_ros.nodes.conversions import to_header, to_ns
from rlt_ros.nodes.realtime import disable_realtime, enable_realtime
from rlt_ros.rlt.stream import Phase
from rlt_ros.robots.profile import RobotProfile

CHUNK = 10
SIDE = 64  # pixels, as the built-in VLA takes pictures
_BLACK = np.zeros((SIDE, SIDE, 3), np.uint8)
_CAMERA_EVERY = 2  # control steps
_DEAD_MAN, _BUTTONS = 10, 21  # of a game pad
_PRIORITY = 40  # a robot's driver is not what shall be measured
_PATIENCE = 60.0  # s, for processes to start


class NoResponseError(RuntimeError):
    """The nodes that shall be measured do not answer."""


class LatencyProbe(Node):
    """A robot at its home position, whose clock is the wall's.

    Args:
        profile: of the robot.
        home: (A,) rad, where it stands.
    """

    def __init__(self, profile: RobotProfile, home: np.ndarray[Any, np.dtype[np.float64]]) -> None:
        super().__init__("latency_probe")
        self._profile, self._home = profile, home
        self.steps: list[tuple[int, int, int]] = []
        """Stamp ns, source and observation ns of every executed step."""
        self.commands: dict[int, int] = {}
        """Stamp of a command → when it came, both ns."""
        self._chunk = 0
        self._waiting: Any = None  # request that its observation has not come for
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
        """What other nodes have to listen to, by what it is."""
        return {"robot": self._joints, "camera": self._images[0], "chunks": self._chunks, "pad": self._pad}

    def say(self, phase: Phase, episode: int) -> None:
        """Publish where the episode is."""
        stamp = self.get_clock().now().nanoseconds
        self._states.publish(EpisodeState(header=to_header(stamp), episode=episode, phase=int(phase)))

    def sense(self, stamp: int, *, pictures: bool) -> None:
        """Publish joint state and pictures of one moment."""
        header = to_header(stamp)
        # As many joints as the whole robot has.
        names = [*self._profile.joints, *(f"other_{i}" for i in range(27))]
        values = pack(np.concatenate([self._home, np.zeros(27)]))
        self._joints.publish(JointState(header=header, name=names, position=values, velocity=values))
        if pictures:
            for publisher, camera in zip(self._images, self._profile.cameras.values(), strict=True):
                publisher.publish(write_camera(_BLACK, camera, header))

    def pad(self, *, held: bool) -> None:
        """Publish the game pad's state: at rest, or with the dead-man button and a stick held."""
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
    """A probe in the graph, with a loop to drive it by."""

    def __init__(self, profile: RobotProfile, home: np.ndarray[Any, np.dtype[np.float64]]) -> None:
        init(args=[])
        self.probe = LatencyProbe(profile, home)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.probe)
        enable_realtime(self.probe, _PRIORITY)
        self._period = 1.0 / profile.control_hz

    def close(self) -> None:
        """Leave the graph."""
        disable_realtime()
        self._executor.shutdown()
        self.probe.destroy_node()
        try_shutdown()

    def until(self, condition: Callable[[], Any], what: str, alive: Callable[[], bool]) -> None:
        """Call back until something is so.

        Raises:
            NoResponseError: it does not come true, or a node died.
        """
        end = time.monotonic() + _PATIENCE
        while not condition():
            if time.monotonic() > end or not alive():
                raise NoResponseError(
                    f"waited in vain for {what}; is another graph in the same ROS_DOMAIN_ID?"
                )
            self._executor.spin_once(timeout_sec=0.01)

    def meet(self, *others: str, alive: Callable[[], bool]) -> None:
        """Wait until the measured nodes listen and speak."""
        for name in others:
            publisher = self.probe.endpoints[name]
            self.until(publisher.get_subscription_count, f"a node that listens to the {name}", alive)
        topic = self.probe.resolve_topic_name("joint_command")
        self.until(lambda: self.probe.count_publishers(topic), "the executor", alive)

    def drive(self, seconds: float, every_period: Callable[[int], None] = lambda _: None) -> None:
        """Be a robot in real time, calling `every_period` with the number of the period."""
        start = time.monotonic()
        for period in range(round(seconds / self._period)):
            self.probe.sense(self.probe.get_clock().now().nanoseconds, pictures=period % _CAMERA_EVERY == 0)
            every_period(period)
            while (left := start + (period + 1) * self._period - time.monotonic()) > 0:
                self._executor.spin_once(timeout_sec=left)

    def warm_up(self, source: int, every_period: Callable[[int], None]) -> None:
        """Be a robot until a step of a source is executed.

        Raises:
            NoResponseError: none is.
        """
        end = time.monotonic() + _PATIENCE
        while not any(step[1] == source for step in self.probe.steps):
            if time.monotonic() > end:
                raise NoResponseError(f"waited in vain for a step of source {source}")
            self.drive(self._period, every_period)

    def lock_step(self, steps: int, alive: Callable[[], bool]) -> list[float]:
        """Ask step by step for commands; returns how long each took that needed an observation, in ms."""
        probe, took = self.probe, []
        for step in range(1, steps + 1):
            stamp = step * round(self._period * 1e9)
            border = (step - 1) % CHUNK == 0
            start = time.monotonic_ns()
            probe.sense(stamp, pictures=border)
            self.until(partial(probe.commands.__contains__, stamp), f"the command of step {step}", alive)
            if border:
                took.append((probe.commands[stamp] - start) * 1e-6)
        return took

"""Observer of a graph whose nodes are killed: records executed, held, stored and learned steps with their times.

It only subscribes. Times are arrivals on the steady clock, in seconds, because simulated time stands still when the
simulator dies.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from rlt_ros.middleware import Node, SingleThreadedExecutor, init, try_shutdown
from rlt_ros.middleware.messages import (
    EpisodeState,
    ExecutedStep,
    JointState,
    LearnerStatus,
    PolicyUpdate,
    ReplayStatus,
)
from rlt_ros.robots.profile import RobotProfile
from rlt_ros.ros import qos
from rlt_ros.ros.realtime import disable_realtime, enable_realtime

_PRIORITY = 40
"""Real-time priority, below the executor's: a late arrival here would look like a late hold."""


class ObservedStep(NamedTuple):
    """Executed step on arrival: time in s, source, and position in its episode and chunk."""

    arrived: float
    source: int
    episode: int
    step: int
    row: int

    @property
    def moves(self) -> bool:
        """Return True unless the arm holds."""
        return self.source != ExecutedStep.SOURCE_HOLD


class FaultProbe(Node):
    """Record of the messages of a graph.

    Args:
        profile: robot profile.
    """

    def __init__(self, profile: RobotProfile) -> None:
        super().__init__("fault_probe")
        self.steps: list[ObservedStep] = []
        """Executed steps, until cleared by the user of the probe."""
        self.on_update: Callable[[], None] | None = None
        """Called after each executed step and each episode state."""
        self.sensed = self.commanded = 0.0
        """Arrival of the newest joint state and command, s."""
        self.rows = self.critic_steps = self.begun = self.over = 0
        """Rows in the replay, updates of the learner, and the newest started and ended training episode."""
        self.in_use: list[float] = []
        """Seconds from arrival of a policy to its first executed step, if an actor acted at the arrival."""
        self._awaited: tuple[float, int, int] | None = None  # arrival, version, episode at arrival
        topic = profile.command.topic
        self.create_subscription(ExecutedStep, "rlt/executed_step", self._on_step, qos.EXECUTED_STEP)
        self.create_subscription(EpisodeState, "rlt/episode_state", self._on_episode, qos.EPISODE_STATE)
        self.create_subscription(ReplayStatus, "rlt/replay_status", self._on_replay, qos.REPLAY_STATUS)
        self.create_subscription(LearnerStatus, "rlt/learner_status", self._on_learner, qos.LEARNER_STATUS)
        self.create_subscription(PolicyUpdate, "rlt/policy_update", self._on_policy, qos.POLICY_UPDATE)
        self.create_subscription(JointState, profile.joint_states, self._on_joints, qos.SENSOR)
        self.create_subscription(JointState, topic, self._on_command, qos.COMMAND)

    def _on_step(self, message: Any) -> None:
        arrived = time.monotonic()
        self.steps.append(ObservedStep(arrived, message.source, message.episode, message.step, message.row))
        if self._awaited and message.source == ExecutedStep.SOURCE_ACTOR:
            came, version, episode = self._awaited
            if message.episode != episode:
                # Nothing acts between episodes.
                self._awaited = None
            elif message.version >= version:
                self.in_use.append(arrived - came)
                self._awaited = None
        self._notify()

    def _on_policy(self, message: Any) -> None:
        newest = self.steps[-1] if self.steps else None
        if self._awaited is None and newest is not None and newest.source == ExecutedStep.SOURCE_ACTOR:
            self._awaited = time.monotonic(), message.version, newest.episode

    def _on_episode(self, message: Any) -> None:
        if message.eval:
            return
        if message.phase == EpisodeState.PHASE_RESETTING:
            self.begun = message.episode
        elif message.phase == EpisodeState.PHASE_DONE:
            self.over = message.episode
        self._notify()

    def _notify(self) -> None:
        if self.on_update is not None:
            self.on_update()

    def _on_replay(self, message: Any) -> None:
        self.rows = message.rows

    def _on_learner(self, message: Any) -> None:
        self.critic_steps = message.critic_steps

    def _on_joints(self, _: Any) -> None:
        self.sensed = time.monotonic()

    def _on_command(self, _: Any) -> None:
        self.commanded = time.monotonic()


class FaultMonitor:
    """Probe and executor in the process of the benchmark."""

    def __init__(self, profile: RobotProfile) -> None:
        init(args=[])
        self.probe = FaultProbe(profile)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.probe)

    def close(self) -> None:
        """Destroy the probe and shut the context down."""
        self._executor.shutdown()
        self.probe.destroy_node()
        try_shutdown()

    @contextmanager
    def realtime(self) -> Iterator[None]:
        """Record arrivals without delay, if the system permits it; run no long computation meanwhile."""
        enable_realtime(self.probe, _PRIORITY)
        try:
            yield
        finally:
            disable_realtime()

    def spin_until(self, condition: Callable[[], Any], timeout: float) -> bool:
        """Spin until `condition` holds, at most `timeout` s; return True if it does."""
        end = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > end:
                return False
            self._executor.spin_once(timeout_sec=0.05)
        return True

"""What a graph is watched with while its nodes are killed: notes what is executed, held, stored and learned, and when.

It only listens. Times are those of arrival on the steady clock, in seconds: simulated time stands still when the
simulator dies, and just then it matters how much passes.
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
from rlt_ros.nodes import qos
from rlt_ros.nodes.realtime import disable_realtime, enable_realtime
from rlt_ros.robots.profile import RobotProfile

_PRIORITY = (
    40  # below the executor's, above all that computes: what comes late here would look like a late hold
)


class ObservedStep(NamedTuple):
    """An executed step as it came: arrival in s, who acted, and where it stands in its episode and chunk."""

    arrived: float
    source: int
    episode: int
    step: int
    row: int

    @property
    def moves(self) -> bool:
        """Return whether somebody commands the arm, which otherwise holds."""
        return self.source != ExecutedStep.SOURCE_HOLD


class FaultProbe(Node):
    """Keeps what the graph says.

    Args:
        profile: of the robot.
    """

    def __init__(self, profile: RobotProfile) -> None:
        super().__init__("fault_probe")
        self.steps: list[ObservedStep] = []
        """Every executed step, until somebody clears it."""
        self.on_news: Callable[[], None] | None = None
        """Called after each of them, and after each state of an episode."""
        self.sensed = self.commanded = 0.0
        """When the newest joint state and command came."""
        self.rows = self.critic_steps = self.begun = self.over = 0
        """Rows in the replay, the learner's updates, and the newest training episodes that began and ended."""
        self.in_use: list[float] = []
        """Seconds from a policy's arrival to its first executed step, of policies that came while an actor acted."""
        self._awaited: tuple[float, int, int] | None = None  # arrival, version, and the episode it came in
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
                self._awaited = None  # between episodes nobody acts
            elif message.version >= version:
                self.in_use.append(arrived - came)
                self._awaited = None
        self._tell()

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
        self._tell()

    def _tell(self) -> None:
        if self.on_news is not None:
            self.on_news()

    def _on_replay(self, message: Any) -> None:
        self.rows = message.rows

    def _on_learner(self, message: Any) -> None:
        self.critic_steps = message.critic_steps

    def _on_joints(self, _: Any) -> None:
        self.sensed = time.monotonic()

    def _on_command(self, _: Any) -> None:
        self.commanded = time.monotonic()


class FaultMonitor:
    """A probe in the graph, and a loop to wait with."""

    def __init__(self, profile: RobotProfile) -> None:
        init(args=[])
        self.probe = FaultProbe(profile)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.probe)

    def close(self) -> None:
        """Leave the graph."""
        self._executor.shutdown()
        self.probe.destroy_node()
        try_shutdown()

    @contextmanager
    def punctual(self) -> Iterator[None]:
        """Note arrivals without delay, where the system allows it; nothing long may be computed meanwhile."""
        enable_realtime(self.probe, _PRIORITY)
        try:
            yield
        finally:
            disable_realtime()

    def until(self, condition: Callable[[], Any], patience: float) -> bool:
        """Listen until something is so, at most `patience` seconds; returns whether it came true."""
        end = time.monotonic() + patience
        while not condition():
            if time.monotonic() > end:
                return False
            self._executor.spin_once(timeout_sec=0.05)
        return True

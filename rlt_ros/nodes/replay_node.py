"""Sole writer of the replay file: assembles rows from states, steps and episodes.

Rows are written when their episode ends; evaluations and withdrawn episodes leave none. An episode that is withdrawn
(`RE_RECORD`) before its end therefore needs no removal. A labelled episode keeps its rows, and the status reports that
the withdrawal was too late. Messages that are missing `patience` after the end of an episode cut it.

The lineage of the file is that of its first rows; messages of other lineage are rejected.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from rlt_ros.learning.run_folder import REPLAY_FILE
from rlt_ros.middleware import Clock, ClockType, Node, RCLError
from rlt_ros.middleware.messages import EpisodeState, ExecutedStep, ReplayStatus, RLState
from rlt_ros.replay.recorder import ReplayRecorder, RobotStream
from rlt_ros.replay.ring import ReplayError
from rlt_ros.rlt.config import RLTConfig, Shapes
from rlt_ros.robots.action_space import ActionSpace
from rlt_ros.robots.profile import load_profile
from rlt_ros.ros import qos
from rlt_ros.ros.conversions import (
    read_episode,
    read_state,
    read_step,
    state_shapes,
    write_lineage,
)
from rlt_ros.ros.diagnostics import OK, WARN, Diagnostics, Dropped, Report
from rlt_ros.ros.parameters import declare
from rlt_ros.ros.run import NodeConfigurationError, run_node
from rlt_ros.ros.settings import ReplayConfig, Setup
from rlt_ros.ros.topics import Topics
from rlt_ros.store.lineage import LineageError

_TIMEOUT_POLL = 0.25
"""s, polling period of the time-outs."""


class ReplayNode(Node):
    """Episode assemblers and replay in the graph."""

    def __init__(self, **options: Any) -> None:
        super().__init__("replay_node", **options)
        setup, self._config = declare(self, "", Setup), declare(self, "", ReplayConfig)
        self._rlt = declare(self, "rlt", RLTConfig)
        profile = load_profile(setup.robot)
        self._joints = profile.dim
        self._space = partial(ActionSpace, continuous=profile.continuous)
        self._rejected, self._last_rejection, self._reported = 0, "", (0, 0)
        diagnostics = Diagnostics(self)
        self._dropped = Dropped(diagnostics)
        diagnostics.add("replay", self._report)
        topics = Topics(self, diagnostics)
        self._store = self._open()
        for name in self._config.robots:
            self._subscribe(self._store.join(name.strip("/")), topics)
        # After the subscriptions: episodes begin when it is there.
        self._status = topics.publisher(ReplayStatus, "rlt/replay_status", qos.REPLAY_STATUS)
        if self._store.replay is not None:
            self.get_logger().info(f"resumes {self._store.path}: {self._store.replay.total} rows")
            self._publish_status()
        self.create_timer(_TIMEOUT_POLL, self._check_timeouts, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def destroy_node(self) -> None:
        """Store ended episodes and close the file."""
        self._store.close()
        super().destroy_node()

    def _open(self) -> ReplayRecorder:
        try:
            return ReplayRecorder(
                (Path(self._config.out).expanduser() / REPLAY_FILE).absolute(),
                self._rlt,
                joints=self._joints,
                action_encoder=self._space,
                reject=self._reject,
                committed=self._publish_status,
                patience=self._config.patience,
            )
        except ReplayError as error:
            raise NodeConfigurationError(str(error)) from error

    def _subscribe(self, robot: RobotStream, topics: Topics) -> None:
        prefix = f"{robot.name}/" if robot.name else ""

        def on_state(message: Any) -> None:
            self._store_message(robot, "state", lambda: read_state(message, self._shapes(message)))

        def on_step(message: Any) -> None:
            self._store_message(robot, "step", lambda: read_step(message, self._joints))

        def on_episode(message: Any) -> None:
            self._store_message(robot, "episode state", lambda: read_episode(message))

        topics.subscription(EpisodeState, f"{prefix}rlt/episode_state", on_episode, qos.EPISODE_STATE)
        topics.subscription(RLState, f"{prefix}rlt/rl_state", on_state, qos.RL_STATE)
        topics.subscription(ExecutedStep, f"{prefix}rlt/executed_step", on_step, qos.EXECUTED_STEP)

    def _shapes(self, message: Any) -> Shapes:
        return self._store.shapes or state_shapes(message, self._rlt.chunk)

    def _store_message(self, robot: RobotStream, what: str, read: Callable[[], Any]) -> None:
        try:
            self._store.add(robot, read())
        except LineageError as error:
            self._reject("other lineage", str(error))
        except ReplayError as error:
            raise NodeConfigurationError(str(error)) from error
        except ValueError as error:
            self._reject(f"malformed {what}", str(error))

    def _check_timeouts(self) -> None:
        """Cut episodes whose messages are overdue, and publish rejections."""
        self._store.check_timeouts(time.monotonic())
        if self._store.replay is not None and (self._rejected, self._store.duplicates) != self._reported:
            self._publish_status()

    def _reject(self, kind: str, reason: str) -> None:
        self._rejected += 1
        self._last_rejection = f"{kind}: {reason}"
        self._dropped.add(kind, reason)

    def _publish_status(self) -> None:
        """Publish the status of the replay."""
        self._reported = (self._rejected, self._store.duplicates)
        message = replay_status(self._store, rejected=self._rejected, last_rejection=self._last_rejection)
        message.header.stamp = self.get_clock().now().to_msg()
        # During the shutdown rows are still stored, but rclpy may have shut down the context already.
        with contextlib.suppress(RCLError):
            self._status.publish(message)

    def _report(self) -> Report:
        replay, streams = self._store.replay, self._store.streams
        waiting = {robot.name or "/": robot.assembler.waiting for robot in streams}
        values = {
            "rows": replay.total if replay else 0,
            "duplicates": self._store.duplicates,
            **{f"last_episode_of_{robot.name or '/'}": robot.newest for robot in streams},
            **{f"episodes_of_{name}_that_lack_something": numbers for name, numbers in waiting.items()},
        }
        if any(waiting.values()):
            return WARN, "waiting for the last states or steps of an episode", values
        return OK, "" if replay else "no state received yet", values


def replay_status(store: ReplayRecorder, *, rejected: int, last_rejection: str) -> Any:
    """Status message of an open replay, without stamp."""
    replay = store.replay
    assert replay is not None
    stats, form = replay.stats(), replay.format
    return ReplayStatus(
        path=str(store.path),
        lineage=write_lineage(form.lineage),
        rows=replay.total,
        capacity=form.capacity,
        episodes=stats.successes + stats.failures + stats.truncations,
        successes=stats.successes,
        failures=stats.failures,
        robots=[robot.name for robot in store.streams],
        last_episodes=[robot.newest for robot in store.streams],
        human_share=stats.human_share,
        duplicates=store.duplicates,
        rejected=rejected,
        last_rejection=last_rejection,
    )


def main() -> int:
    """Run the node."""
    return run_node(ReplayNode)


if __name__ == "__main__":
    sys.exit(main())

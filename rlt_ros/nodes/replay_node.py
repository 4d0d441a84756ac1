"""Joins states, steps and episodes to rows, and keeps them: the only writer of the replay file.

Rows are written when their episode is over: evaluations and withdrawn episodes leave none. An episode that is withdrawn
(`RE_RECORD`) before it is over therefore needs no removing; one that was labelled already stays, and the status says
that it was too late. What is missing when an episode has been over for `patience` cuts it.

The file's lineage is that of its first rows; what other parts made is refused.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlt_ros.middleware import Clock, ClockType, Node
from rlt_ros.middleware.messages import EpisodeState, ExecutedStep, ReplayStatus, RLState
from rlt_ros.nodes import qos
from rlt_ros.nodes.conversions import (
    read_episode,
    read_state,
    read_step,
    state_shapes,
    write_lineage,
)
from rlt_ros.nodes.diagnostics import OK, WARN, Diagnostics, Dropped, Report
from rlt_ros.nodes.parameters import Setup, declare
from rlt_ros.nodes.run import CannotStart, run_node
from rlt_ros.nodes.topics import Topics
from rlt_ros.rlt.assembly import LARGEST_EPISODE, Assembly, Recipe
from rlt_ros.rlt.config import RLTConfig, Shapes
from rlt_ros.rlt.lineage import Lineage, LineageError, fingerprint
from rlt_ros.rlt.parameters import ConfigError, check, parameter
from rlt_ros.rlt.replay import Replay, ReplayError, ReplayFormat
from rlt_ros.rlt.run_folder import REPLAY_FILE
from rlt_ros.rlt.stream import StateRecord
from rlt_ros.robots.action_space import ActionSpace
from rlt_ros.robots.profile import load_profile

_LOOK = 0.25  # s between two looks whether something has been waited for too long
_FLUSH = 10.0  # s between two flushes, against a power failure


@dataclass(frozen=True)
class ReplayConfig:
    """Whose episodes are stored, and where."""

    out: str = parameter("runs/graph", help=f"Folder of the run; the replay is `{REPLAY_FILE}` in it.")
    robots: tuple[str, ...] = parameter(
        ("",), help="Namespaces of the robots whose episodes are stored; an empty one is the root."
    )
    patience: float = parameter(
        10.0,
        help="How long an episode that is over waits for its last states and steps, before it is cut where they are "
        "missing.",
        unit="s",
        low=0.0,
        source="ours; the VLA's pass over the last frames takes below 1 s",
    )

    def __post_init__(self) -> None:
        check(self)
        if not self.robots or len({episode_offset(name) for name in self.robots}) != len(self.robots):
            raise ConfigError(f"`robots` is {self.robots}; name each robot once, an empty name for the root")


class _Robot:
    """One robot's streams.

    Attributes:
        name: namespace, without slashes at the ends.
        assembly: joins them.
        since: episode that is over and lacks something → since when, steady seconds.
        newest: id of its newest stored episode; 0 without one.
    """

    def __init__(self, name: str, assembly: Assembly) -> None:
        self.name, self.assembly = name, assembly
        self.since: dict[int, float] = {}
        self.newest = 0


class ReplayNode(Node):
    """Connects assemblies and replay to the graph."""

    def __init__(self, **options: Any) -> None:
        super().__init__("replay_node", **options)
        setup, self._config = declare(self, "", Setup), declare(self, "", ReplayConfig)
        self._rlt = declare(self, "rlt", RLTConfig)
        self._joints = len(load_profile(setup.robot).joints)
        self._path = (Path(self._config.out).expanduser() / REPLAY_FILE).absolute()
        self._replay: Replay | None = None
        self._recipe: Recipe | None = None
        self._rejected, self._last_rejection, self._reported = 0, "", (0, 0)
        self._stored_before = 0
        self._flushed = time.monotonic()
        diagnostics = Diagnostics(self)
        self._dropped = Dropped(diagnostics)
        diagnostics.add("replay", self._report)
        topics = Topics(self, diagnostics)
        self._status = topics.publisher(ReplayStatus, "rlt/replay_status", qos.REPLAY_STATUS)
        self._robots = [self._robot(name.strip("/"), topics) for name in self._config.robots]
        if self._path.exists():
            self._open_again()
            self._say()
        self.create_timer(_LOOK, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def destroy_node(self) -> None:
        """Store what is over, and let go of the file."""
        for robot in self._robots:
            self._store(robot, overdue=frozenset(robot.assembly.waiting))
        if self._replay is not None:
            self._replay.close()
            self._replay = None
        super().destroy_node()

    def _robot(self, name: str, topics: Topics) -> _Robot:
        robot = _Robot(name, Assembly(self._rlt.stride, self._reject, offset=episode_offset(name)))
        prefix = f"{name}/" if name else ""

        def on_state(message: Any) -> None:
            self._on_state(robot, message)

        def on_step(message: Any) -> None:
            self._on_step(robot, message)

        def on_episode(message: Any) -> None:
            self._on_episode(robot, message)

        topics.subscription(EpisodeState, f"{prefix}rlt/episode_state", on_episode, qos.EPISODE_STATE)
        topics.subscription(RLState, f"{prefix}rlt/rl_state", on_state, qos.RL_STATE)
        topics.subscription(ExecutedStep, f"{prefix}rlt/executed_step", on_step, qos.EXECUTED_STEP)
        return robot

    def _on_state(self, robot: _Robot, message: Any) -> None:
        try:
            shapes = self._replay.format.shapes if self._replay else state_shapes(message, self._rlt.chunk)
            record = read_state(message, shapes)
            self._check(record)
            if self._recipe is None:
                self._begin(record, shapes)
        except LineageError as error:
            self._reject("other lineage", str(error))
            return
        except ValueError as error:
            self._reject("malformed state", str(error))
            return
        robot.assembly.add_state(record)
        self._store(robot)

    def _on_step(self, robot: _Robot, message: Any) -> None:
        try:
            record = read_step(message, self._joints)
        except ValueError as error:
            self._reject("malformed step", str(error))
            return
        robot.assembly.add_step(record)
        self._store(robot)

    def _on_episode(self, robot: _Robot, message: Any) -> None:
        try:
            state = read_episode(message)
        except ValueError as error:
            self._reject("malformed episode state", str(error))
            return
        robot.assembly.add_episode(state)
        self._store(robot)

    def _check(self, record: StateRecord) -> None:
        """Raise ValueError unless the state is of this robot, and of the action space that it names."""
        name, dim = f"state {record.state.step} of episode {record.episode}", len(record.scale)
        if dim != self._joints:
            raise ValueError(f"{name} is of {dim} joints; the robot has {self._joints}")
        found = ActionSpace(record.scale).fingerprint
        if found != record.lineage.stats:
            raise ValueError(
                f"`scale` of {name} has fingerprint {found}, but its lineage says `{record.lineage.stats}`"
            )

    def _begin(self, record: StateRecord, shapes: Shapes) -> None:
        """The first state that is without fault says how rows are made; a new file is made for it."""
        if self._replay is None:
            self._open(shapes, dataclasses.replace(record.lineage, actor=""))
            self._say()
        assert self._replay is not None
        lineage = self._replay.format.lineage
        lineage.require_same(record.lineage, what=f"state {record.state.step} of episode {record.episode}")
        space = ActionSpace(record.scale.astype(np.float64))
        self._recipe = Recipe(shapes, space.encode, lineage, self._rlt.gamma)
        for robot in self._robots:
            robot.assembly.recipe = self._recipe

    def _open_again(self) -> None:
        """Go on with the file that is there."""
        try:
            found = ReplayFormat.read(self._path)
        except ReplayError as error:
            raise CannotStart(str(error)) from error
        if found.shapes.chunk != self._rlt.chunk:
            raise CannotStart(
                f"replay {self._path} holds chunks of {found.shapes.chunk} steps, and `rlt.chunk` is "
                f"{self._rlt.chunk}; give it the file's, or another `out`"
            )
        replay = self._open(found.shapes, found.lineage)
        episodes = replay.labels().episodes
        for robot in self._robots:
            own = episodes - episode_offset(robot.name)
            robot.newest = int(own[(own > 0) & (own < LARGEST_EPISODE)].max(initial=0))
        self.get_logger().info(f"goes on with {self._path}: {replay.total} rows")

    def _open(self, shapes: Shapes, lineage: Lineage) -> Replay:
        config = self._rlt
        try:
            self._replay = Replay.open(
                self._path,
                shapes,
                config.replay_capacity,
                gamma=config.gamma,
                lineage=lineage,
                z_storage=config.z_storage,
            )
        except ReplayError as error:
            raise CannotStart(str(error)) from error
        return self._replay

    def _store(self, robot: _Robot, *, overdue: frozenset[int] = frozenset()) -> None:
        """Write the rows of the episodes that are complete, and of the ``overdue`` ones what there is."""
        for done in robot.assembly.take(overdue=overdue):
            robot.since.pop(done.end.episode, None)
            if not done.windows or self._replay is None:
                continue
            try:
                fresh = self._replay.append(done.windows)
            except ValueError as error:
                self._reject("unusable episode", str(error))
                continue
            self._stored_before += len(done.windows) - fresh
            robot.newest = max(robot.newest, done.end.episode)
            self._say()
            if time.monotonic() - self._flushed > _FLUSH:
                self._replay.flush()
                self._flushed = time.monotonic()

    def _look(self) -> None:
        """Give up waiting for what does not come, and report what was refused."""
        now = time.monotonic()
        for robot in self._robots:
            waiting = robot.assembly.waiting
            robot.since = {number: robot.since.get(number, now) for number in waiting}
            late = {n for n, since in robot.since.items() if now - since >= self._config.patience}
            if late:
                self._store(robot, overdue=frozenset(late))
        if self._replay is not None and (self._rejected, self._duplicates) != self._reported:
            self._say()

    def _reject(self, kind: str, reason: str) -> None:
        self._rejected += 1
        self._last_rejection = f"{kind}: {reason}"
        self._dropped.add(kind, reason)

    @property
    def _duplicates(self) -> int:
        return self._stored_before + sum(robot.assembly.duplicates for robot in self._robots)

    def _say(self) -> None:
        """Publish what the replay holds."""
        replay = self._replay
        assert replay is not None
        stats, form = replay.stats(), replay.format
        self._reported = (self._rejected, self._duplicates)
        message = ReplayStatus(
            path=str(self._path),
            lineage=write_lineage(form.lineage),
            rows=replay.total,
            capacity=form.capacity,
            episodes=stats.successes + stats.failures + stats.truncations,
            successes=stats.successes,
            failures=stats.failures,
            robots=[robot.name for robot in self._robots],
            last_episodes=[robot.newest for robot in self._robots],
            human_share=stats.human_share,
            duplicates=self._duplicates,
            rejected=self._rejected,
            last_rejection=self._last_rejection,
        )
        message.header.stamp = self.get_clock().now().to_msg()
        self._status.publish(message)

    def _report(self) -> Report:
        replay = self._replay
        waiting = {robot.name or "/": robot.assembly.waiting for robot in self._robots}
        values = {
            "rows": replay.total if replay else 0,
            "duplicates": self._duplicates,
            **{f"last_episode_of_{robot.name or '/'}": robot.newest for robot in self._robots},
            **{f"episodes_of_{name}_that_lack_something": numbers for name, numbers in waiting.items()},
        }
        if any(waiting.values()):
            return WARN, "waits for the last states or steps of an episode", values
        return OK, "" if replay else "no state has come yet", values


def episode_offset(robot: str) -> int:
    """What is added to a robot's episode ids in the replay, so that those of several robots differ; 0 for the root."""
    return int(fingerprint(robot.encode())[:5], 16) * LARGEST_EPISODE if robot else 0


def main() -> int:
    """Run the node."""
    return run_node(ReplayNode)


if __name__ == "__main__":
    sys.exit(main())

"""Recorder of a run's replay: states, steps and episodes of several robots in, committed rows out.

The records come from a running graph or from a bag. The first valid state creates the file and sets its lineage;
records of another lineage are rejected.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from rlt_ros.replay.episode_assembler import LARGEST_EPISODE, EpisodeAssembler, RowSpec, episode_offset
from rlt_ros.replay.ring import Replay, ReplayError, ReplayFormat
from rlt_ros.replay.stream import EpisodeState, StateRecord, StepRecord
from rlt_ros.rlt.config import RLTConfig, Shapes
from rlt_ros.rlt.transition import FloatArray
from rlt_ros.rlt.windows import Encode, Window
from rlt_ros.store.lineage import Lineage, LineageError

_FLUSH_PERIOD = 10.0
"""s between two flushes, the largest loss by a power failure."""


class ActionEncoder(Protocol):
    """Conversion between joint targets and policy units."""

    @property
    def fingerprint(self) -> str:
        """Fingerprint, the ``stats`` of a lineage."""
        ...

    @property
    def encode(self) -> Encode:
        """Function from absolute joint targets to policy units."""
        ...


class RobotStream:
    """Streams of one robot.

    Attributes:
        name: namespace, without slashes at the ends.
        assembler: assembler of its episodes.
        waiting_since: ended episode with missing records → time since which it waits, s on the caller's clock.
        newest: id of its newest stored episode; 0 without one.
        renumber: function that sets episode ids and steps of rows before they are stored, or None.
    """

    def __init__(
        self,
        name: str,
        assembler: EpisodeAssembler,
        renumber: Callable[[list[Window]], list[Window]] | None = None,
    ) -> None:
        self.name, self.assembler, self.renumber = name, assembler, renumber
        self.waiting_since: dict[int, float] = {}
        self.newest = 0


class ReplayRecorder:
    """Writer of a run's replay.

    Args:
        path: the file.
        config: settings of the rows and of a new file.
        joints: A, joints of the arm.
        action_encoder: constructor of the encoder from the (A,) rad of one policy unit.
        reject: reject(kind, detail): called for every unused input; `kind` names its counter.
        committed: called after the file was opened and after rows were committed.
        patience: s, time-out of an ended episode's missing records after its newest one.

    Attributes:
        replay: the file; None until it exists.
        streams: streams of the joined robots.

    Raises:
        ReplayError: the existing file cannot be continued.
    """

    def __init__(
        self,
        path: Path,
        config: RLTConfig,
        *,
        joints: int,
        action_encoder: Callable[[FloatArray], ActionEncoder],
        reject: Callable[[str, str], None],
        committed: Callable[[], None] = lambda: None,
        patience: float = 10.0,
    ) -> None:
        self.path, self._config, self._joints, self._action_encoder = path, config, joints, action_encoder
        self._reject, self._committed, self._patience = reject, committed, patience
        self.replay: Replay | None = None
        self.streams: list[RobotStream] = []
        self._spec: RowSpec | None = None
        self._duplicates = 0
        self._flushed = time.monotonic()
        if path.exists():
            found = ReplayFormat.read(path)
            if found.shapes.chunk != config.chunk:
                raise ReplayError(
                    f"replay {path} holds chunks of {found.shapes.chunk} steps, and `rlt.chunk` is {config.chunk}; "
                    "give it the file's, or another `out`"
                )
            self._open(found.shapes, found.lineage)

    @property
    def shapes(self) -> Shapes | None:
        """Sizes of the file's states; None without a file."""
        return self.replay.format.shapes if self.replay else None

    @property
    def duplicates(self) -> int:
        """Rows, steps, states and ends that arrived twice."""
        return self._duplicates + sum(stream.assembler.duplicates for stream in self.streams)

    def join(
        self,
        name: str,
        *,
        renumber: Callable[[list[Window]], list[Window]] | None = None,
        reject: Callable[[str, str], None] | None = None,
    ) -> RobotStream:
        """Add a robot, by its namespace."""
        offset = episode_offset(name)
        stream = RobotStream(
            name, EpisodeAssembler(self._config.stride, reject or self._reject, offset=offset), renumber
        )
        stream.assembler.spec = self._spec
        if self.replay is not None:
            own = self.replay.row_labels().episodes - offset
            stream.newest = int(own[(own > 0) & (own < LARGEST_EPISODE)].max(initial=0))
        self.streams.append(stream)
        return stream

    def leave(self, stream: RobotStream) -> None:
        """Store the ended episodes of a robot and remove it."""
        self._store(stream, overdue=frozenset(stream.assembler.waiting))
        self._duplicates += stream.assembler.duplicates
        self.streams.remove(stream)

    def add(self, stream: RobotStream, record: StateRecord | StepRecord | EpisodeState) -> None:
        """Add a record of a robot.

        Raises:
            LineageError: the first state was made by other parts than the file's rows.
            ValueError: a state is of another robot, or of another action space than it names.
            ReplayError: the file cannot be created.
        """
        # A new record restarts the time-out of its episode.
        stream.waiting_since.pop(record.episode, None)
        if isinstance(record, StateRecord):
            self._check(record)
            if self._spec is None:
                self._begin(record)
            stream.assembler.add_state(record)
        elif isinstance(record, StepRecord):
            stream.assembler.add_step(record)
        else:
            stream.assembler.add_episode(record)
        self._store(stream)

    def check_timeouts(self, now: float) -> None:
        """Store episodes whose missing records are overdue; ``now`` is in s on the caller's clock."""
        for stream in self.streams:
            waiting = stream.assembler.waiting
            stream.waiting_since = {number: stream.waiting_since.get(number, now) for number in waiting}
            late = {n for n, since in stream.waiting_since.items() if now - since >= self._patience}
            if late:
                self._store(stream, overdue=frozenset(late))

    def close(self) -> None:
        """Store all ended episodes and close the file."""
        for stream in self.streams:
            self._store(stream, overdue=frozenset(stream.assembler.waiting))
        if self.replay is not None:
            self.replay.close()
            self.replay = None

    def _check(self, record: StateRecord) -> None:
        """Raise ValueError unless the state is of this robot and of the action space that it names."""
        name, dim = f"state {record.state.step} of episode {record.episode}", len(record.scale)
        if dim != self._joints:
            raise ValueError(f"{name} is of {dim} joints; the robot has {self._joints}")
        found = self._action_encoder(record.scale).fingerprint
        if found != record.lineage.stats:
            raise ValueError(
                f"`scale` of {name} has fingerprint {found}, but its lineage has `{record.lineage.stats}`"
            )

    def _begin(self, record: StateRecord) -> None:
        """Set the definition of rows from the first valid state, and create the file if it does not exist."""
        state = record.state
        if self.replay is None:
            chunk, dim = state.reference.shape
            shapes = Shapes(len(state.z), len(state.proprio), chunk, dim)
            self._open(shapes, dataclasses.replace(record.lineage, actor=""))
            self._committed()
        assert self.replay is not None
        found = self.replay.format
        found.lineage.require_same(record.lineage, what=f"state {state.step} of episode {record.episode}")
        encoder = self._action_encoder(record.scale.astype(np.float64))
        self._spec = RowSpec(found.shapes, encoder.encode, found.lineage, self._config.gamma)
        for stream in self.streams:
            stream.assembler.spec = self._spec

    def _open(self, shapes: Shapes, lineage: Lineage) -> None:
        config = self._config
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.replay = Replay.open(
            self.path,
            shapes,
            config.replay_capacity,
            gamma=config.gamma,
            lineage=lineage,
            z_storage=config.z_storage,
        )

    def _store(self, stream: RobotStream, *, overdue: frozenset[int] = frozenset()) -> None:
        """Write the rows of complete episodes, and the available rows of ``overdue`` ones."""
        for done in stream.assembler.take(overdue=overdue):
            stream.waiting_since.pop(done.end.episode, None)
            if not done.windows or self.replay is None:
                continue
            try:
                windows = stream.renumber(done.windows) if stream.renumber else done.windows
                fresh = self.replay.append(windows)
            except (LineageError, ValueError) as error:
                self._reject("unusable episode", str(error))
                continue
            self._duplicates += len(windows) - fresh
            stream.newest = max(stream.newest, done.end.episode)
            self._committed()
            if time.monotonic() - self._flushed > _FLUSH_PERIOD:
                self.replay.flush()
                self._flushed = time.monotonic()

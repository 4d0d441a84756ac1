"""The writer's side of a run's replay: states, steps and episodes of some robots in, committed rows out.

It does not matter whether they come from a graph that runs or from what was recorded of one: who reads them gives
them here. The file is made for the first state that is without fault; its lineage is that state's, and what other
parts made is refused.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from rlt_ros.rlt.assembly import LARGEST_EPISODE, Assembly, Recipe, episode_offset
from rlt_ros.rlt.config import RLTConfig, Shapes
from rlt_ros.rlt.lineage import Lineage, LineageError
from rlt_ros.rlt.replay import Replay, ReplayError, ReplayFormat
from rlt_ros.rlt.stream import EpisodeState, StateRecord, StepRecord
from rlt_ros.rlt.transition import FloatArray
from rlt_ros.rlt.windows import Encode, Window

_FLUSH = 10.0  # s between two flushes, against a power failure


class Space(Protocol):
    """What policy units mean to a robot."""

    @property
    def fingerprint(self) -> str:
        """``stats`` of a lineage."""
        ...

    @property
    def encode(self) -> Encode:
        """Absolute joint targets to policy units."""
        ...


class Stream:
    """One robot's streams.

    Attributes:
        name: namespace, without slashes at the ends.
        assembly: joins them.
        since: episode that is over and lacks something → since when, s on the caller's clock.
        newest: id of its newest stored episode; 0 without one.
        place: says under which numbers the rows of an episode are stored; None leaves them as they are.
    """

    def __init__(
        self, name: str, assembly: Assembly, place: Callable[[list[Window]], list[Window]] | None = None
    ) -> None:
        self.name, self.assembly, self.place = name, assembly, place
        self.since: dict[int, float] = {}
        self.newest = 0


class RowStore:
    """Keeps a replay open and fills it. Nothing is written before the first row's parts are known.

    Args:
        path: the file.
        config: of the rows and of a new file.
        joints: of the arm, A.
        space: makes the action space of (A,) rad of one policy unit.
        reject: told of everything that is not used: its kind in two or three words, and this one with its values.
        committed: called when the file was opened, and after rows were committed.
        patience: how long an episode that is over waits for what it lacks after the newest record of it, s.

    Attributes:
        replay: the file; None until there is one.
        streams: of the robots that were joined.

    Raises:
        ReplayError: the file that is there cannot be gone on with.
    """

    def __init__(
        self,
        path: Path,
        config: RLTConfig,
        *,
        joints: int,
        space: Callable[[FloatArray], Space],
        reject: Callable[[str, str], None],
        committed: Callable[[], None] = lambda: None,
        patience: float = 10.0,
    ) -> None:
        self.path, self._config, self._joints, self._space = path, config, joints, space
        self._reject, self._committed, self._patience = reject, committed, patience
        self.replay: Replay | None = None
        self.streams: list[Stream] = []
        self._recipe: Recipe | None = None
        self._stored_before = self._of_left = 0
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
        """Rows, steps, states and ends that came twice."""
        return self._stored_before + self._of_left + sum(one.assembly.duplicates for one in self.streams)

    @property
    def stored_before(self) -> int:
        """Rows that were given and are in the file already."""
        return self._stored_before

    def join(
        self,
        name: str,
        *,
        place: Callable[[list[Window]], list[Window]] | None = None,
        reject: Callable[[str, str], None] | None = None,
    ) -> Stream:
        """Take in a robot, by its namespace."""
        offset = episode_offset(name)
        stream = Stream(name, Assembly(self._config.stride, reject or self._reject, offset=offset), place)
        stream.assembly.recipe = self._recipe
        if self.replay is not None:
            own = self.replay.labels().episodes - offset
            stream.newest = int(own[(own > 0) & (own < LARGEST_EPISODE)].max(initial=0))
        self.streams.append(stream)
        return stream

    def leave(self, stream: Stream) -> None:
        """Store what is over of a robot, and let go of it."""
        self._store(stream, overdue=frozenset(stream.assembly.waiting))
        self._of_left += stream.assembly.duplicates
        self.streams.remove(stream)

    def add(self, stream: Stream, record: StateRecord | StepRecord | EpisodeState) -> None:
        """Take what a robot's nodes say.

        Raises:
            LineageError: the first state of all was made by other parts than the file's rows.
            ValueError: a state is of another robot, or of another action space than it names.
            ReplayError: the file cannot be made.
        """
        stream.since.pop(record.episode, None)  # more of it comes
        if isinstance(record, StateRecord):
            self._check(record)
            if self._recipe is None:
                self._begin(record)
            stream.assembly.add_state(record)
        elif isinstance(record, StepRecord):
            stream.assembly.add_step(record)
        else:
            stream.assembly.add_episode(record)
        self._store(stream)

    def look(self, now: float) -> None:
        """Give up waiting for what does not come; ``now`` are seconds on a clock of the caller's."""
        for stream in self.streams:
            waiting = stream.assembly.waiting
            stream.since = {number: stream.since.get(number, now) for number in waiting}
            late = {n for n, since in stream.since.items() if now - since >= self._patience}
            if late:
                self._store(stream, overdue=frozenset(late))

    def close(self) -> None:
        """Store what is over, and let go of the file."""
        for stream in self.streams:
            self._store(stream, overdue=frozenset(stream.assembly.waiting))
        if self.replay is not None:
            self.replay.close()
            self.replay = None

    def _check(self, record: StateRecord) -> None:
        """Raise ValueError unless the state is of this robot, and of the action space that it names."""
        name, dim = f"state {record.state.step} of episode {record.episode}", len(record.scale)
        if dim != self._joints:
            raise ValueError(f"{name} is of {dim} joints; the robot has {self._joints}")
        found = self._space(record.scale).fingerprint
        if found != record.lineage.stats:
            raise ValueError(
                f"`scale` of {name} has fingerprint {found}, but its lineage says `{record.lineage.stats}`"
            )

    def _begin(self, record: StateRecord) -> None:
        """The first state that is without fault says how rows are made; a new file is made for it."""
        state = record.state
        if self.replay is None:
            chunk, dim = state.reference.shape
            shapes = Shapes(len(state.z), len(state.proprio), chunk, dim)
            self._open(shapes, dataclasses.replace(record.lineage, actor=""))
            self._committed()
        assert self.replay is not None
        found = self.replay.format
        found.lineage.require_same(record.lineage, what=f"state {state.step} of episode {record.episode}")
        space = self._space(record.scale.astype(np.float64))
        self._recipe = Recipe(found.shapes, space.encode, found.lineage, self._config.gamma)
        for stream in self.streams:
            stream.assembly.recipe = self._recipe

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

    def _store(self, stream: Stream, *, overdue: frozenset[int] = frozenset()) -> None:
        """Write the rows of the episodes that are complete, and of the ``overdue`` ones what there is."""
        for done in stream.assembly.take(overdue=overdue):
            stream.since.pop(done.end.episode, None)
            if not done.windows or self.replay is None:
                continue
            try:
                windows = stream.place(done.windows) if stream.place else done.windows
                fresh = self.replay.append(windows)
            except (LineageError, ValueError) as error:
                self._reject("unusable episode", str(error))
                continue
            self._stored_before += len(windows) - fresh
            stream.newest = max(stream.newest, done.end.episode)
            self._committed()
            if time.monotonic() - self._flushed > _FLUSH:
                self.replay.flush()
                self._flushed = time.monotonic()

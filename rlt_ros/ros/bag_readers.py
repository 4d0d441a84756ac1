"""Readers of a bag: messages of one robot to stream records, in one of three modes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rlt_ros.bags.bag_records import BagMessage
from rlt_ros.bags.sampling import Sampler
from rlt_ros.bags.states import Record, StateComputer
from rlt_ros.perception.pictures import resize
from rlt_ros.replay.recorder import ReplayRecorder, RobotStream
from rlt_ros.robots.profile import RobotProfile
from rlt_ros.ros import bag_messages as messages
from rlt_ros.ros.bag_messages import RecordedCommands, RecordedSensors
from rlt_ros.ros.conversions import (
    read_episode,
    read_observation,
    read_request,
    read_state,
    read_step,
    state_shapes,
)
from rlt_ros.vla.frozen import FrozenVLA

Array = NDArray[np.float64]

_NS = 1e-9


class Reader(Protocol):
    """Reader of the messages of one robot in a bag."""

    @property
    def topics(self) -> Collection[str]:
        """Topics to read."""
        ...

    def take(self, recorded: BagMessage) -> None:
        """Process a message. Raises ValueError for an unusable one."""
        ...

    def finish(self) -> None:
        """Process the end of the bag."""
        ...


class RecordSink:
    """Records through the state computer into the replay."""

    def __init__(self, store: ReplayRecorder, stream: RobotStream, computer: StateComputer) -> None:
        self._store, self._stream, self._computer = store, stream, computer

    def put(self, recorded: int, record: Record) -> None:
        """Process a record of time `recorded`, ns."""
        for made in self._computer.take(recorded * _NS, record):
            self._store.add(self._stream, made)

    def finish(self) -> None:
        """Process the end of the stream."""
        for made in self._computer.finish():
            self._store.add(self._stream, made)


class RecordedReader:
    """Reader of recorded states, steps and episodes."""

    def __init__(
        self, store: ReplayRecorder, stream: RobotStream, namespace: str, profile: RobotProfile, chunk: int
    ) -> None:
        self._store, self._stream, self._joints, self._chunk = store, stream, profile.dim, chunk
        names = (messages.STATE, messages.STEP, messages.EPISODE)
        self.topics = [messages.absolute(name, namespace) for name in names]

    def take(self, recorded: BagMessage) -> None:
        """See :class:`Reader`."""
        message = messages.read(recorded)
        if recorded.topic.endswith(messages.STATE):
            shapes = self._store.shapes or state_shapes(message, self._chunk)
            self._store.add(self._stream, read_state(message, shapes))
        elif recorded.topic.endswith(messages.STEP):
            self._store.add(self._stream, read_step(message, self._joints))
        else:
            self._store.add(self._stream, read_episode(message))

    def finish(self) -> None:
        """See :class:`Reader`."""


class ComputedReader:
    """Reader of observations, steps, episodes and requests; states are computed."""

    def __init__(
        self,
        sink: RecordSink,
        namespace: str,
        sensors: RecordedSensors,
        topics: Collection[str],
        vla: FrozenVLA,
    ) -> None:
        self._sink, self._sensors, self.topics = sink, sensors, list(topics)
        self._vla, self._joints, self._size = vla, vla.action_space.dim, vla.spec.image_size
        names = (messages.OBSERVATION, messages.STEP, messages.EPISODE, messages.REQUEST)
        read = (self._observation, self._step, read_episode, read_request)
        self._read = {messages.absolute(name, namespace): one for name, one in zip(names, read, strict=True)}

    def take(self, recorded: BagMessage) -> None:
        """See :class:`Reader`."""
        read = self._read.get(recorded.topic)
        records = self._sensors.take(recorded) if read is None else [read(messages.read(recorded))]
        for record in records:
            self._sink.put(recorded.time, record)

    def finish(self) -> None:
        """See :class:`Reader`."""
        if not set(self._read) >= set(self.topics):
            self._sensors.finish()
        self._sink.finish()

    def _step(self, message: Any) -> Any:
        return read_step(message, self._joints)

    def _observation(self, message: Any) -> Any:
        seen = read_observation(message, self._joints)
        images = {name: resize(picture, *self._size) for name, picture in seen.images.items()}
        observation = type(seen)(seen.stamp, images, seen.position, seen.velocity)
        self._vla.check(observation)
        return observation


class SampledReader:
    """Reader of driver topics; steps and episodes are sampled from them."""

    def __init__(
        self, sink: RecordSink, sensors: RecordedSensors, commands: RecordedCommands, sampler: Sampler
    ) -> None:
        self._sink, self._sensors, self._commands, self._sampler = sink, sensors, commands, sampler
        self.topics = [*sensors.topics, *commands.topics]
        self._now = 0
        self._position: Array | None = None

    def take(self, recorded: BagMessage) -> None:
        """See :class:`Reader`."""
        self._now = recorded.time
        if recorded.topic in self._commands.topics:
            # Before the first joint state the position of the arm is unknown.
            if self._position is not None:
                part, stamp, targets = self._commands.take(recorded, self._position)
                self._sampler.command(recorded.time, part, stamp, targets)
            return
        for observation in self._sensors.take(recorded):
            self._sampler.observe(observation)
        if self._sensors.position is not None:
            stamp, self._position = self._sensors.position
            relocated = self._sensors.relocated
            self._put(self._sampler.joints(recorded.time, stamp, self._position, relocated=relocated))

    def finish(self) -> None:
        """See :class:`Reader`."""
        self._sensors.finish()
        self._put(self._sampler.finish())
        self._sink.finish()

    def _put(self, records: list[Record]) -> None:
        for record in records:
            self._sink.put(self._now, record)

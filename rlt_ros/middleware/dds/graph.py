"""The graph: which nodes and endpoints there are. Told to others on `ros_discovery_info`, asked from DDS discovery."""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from cyclonedds.builtin import (
    BuiltinDataReader,
    BuiltinTopicDcpsParticipant,
    BuiltinTopicDcpsPublication,
    BuiltinTopicDcpsSubscription,
)
from cyclonedds.builtin_types import cqos_to_qos
from cyclonedds.core import InstanceState, ReadCondition, SampleState, ViewState
from cyclonedds.pub import DataWriter
from cyclonedds.qos import Policy
from cyclonedds.sub import DataReader

from rlt_ros.middleware.dds.domain import Participant, delete, user_data
from rlt_ros.middleware.dds.message import deserialize_message, message_class, serialize_message
from rlt_ros.middleware.dds.names import join
from rlt_ros.middleware.dds.qos import DurabilityPolicy, QoSProfile, from_dds, to_dds
from rlt_ros.middleware.dds.signals import uninterrupted

_TOPIC, _TYPE = "ros_discovery_info", "rmw_dds_common/msg/ParticipantEntitiesInfo"
_PREFIX = "rt"  # of the DDS names of ROS topics
_MOST = 10_000  # endpoints read at once
_PREFIX_SIZE = 12  # bytes of a GUID that all entities of a participant share (DDSI-RTPS 9.3.1.2)
_NOWHERE = ("", 0)
_UNREAD = 1_000  # words of other processes that are kept until somebody asks
_ALIVE = SampleState.Any | ViewState.Any | InstanceState.Alive
_Made = TypeVar("_Made")


class TopicEndpointTypeEnum(enum.IntEnum):
    """Kinds of endpoints."""

    INVALID = 0
    PUBLISHER = 1
    SUBSCRIPTION = 2


@dataclass(frozen=True)
class TopicEndpointInfo:
    """An endpoint somewhere in the graph.

    Attributes:
        node_name: name without namespace; `_NODE_NAME_UNKNOWN_` if its process did not tell.
        node_namespace: absolute.
        topic_type: e.g. ``std_msgs/msg/String``.
        endpoint_type: publisher or subscription.
        endpoint_gid: identity, 16 numbers.
        qos_profile: what travels of it.
    """

    node_name: str
    node_namespace: str
    topic_type: str
    endpoint_type: TopicEndpointTypeEnum
    endpoint_gid: list[int]
    qos_profile: QoSProfile


@dataclass(frozen=True)
class LocalNode:
    """A node of this process and the identities of its endpoints."""

    namespace: str
    name: str
    readers: set[bytes]
    writers: set[bytes]


@dataclass(frozen=True)
class _Word:
    """What a participant told: its nodes, (name, namespace), and whose each endpoint is."""

    nodes: list[tuple[str, str]]
    owners: dict[bytes, tuple[str, str]]

    @classmethod
    def of(cls, told: Any) -> _Word:
        """From its message."""
        owners = {
            bytes(gid.data): (entities.node_name, entities.node_namespace)
            for entities in told.node_entities_info_seq
            for gid in (*entities.reader_gid_seq, *entities.writer_gid_seq)
        }
        return cls([(one.node_name, one.node_namespace) for one in told.node_entities_info_seq], owners)


class Graph:
    """What this process tells about its nodes, and what it knows about all.

    Args:
        participant: DDS side of the process.
    """

    def __init__(self, participant: Participant) -> None:
        self._participant, self._lock = participant, threading.Lock()
        self._nodes: list[LocalNode] = []
        self._topic = participant.topic(_TOPIC, _TYPE)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._writer = DataWriter(participant.entity, self._topic, qos=to_dds(latched, user_data(_TYPE)))
        # The topic has no key, so the history is shared by all participants: as deep as they may have changed unread.
        deep = QoSProfile(depth=_UNREAD, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._reader = DataReader(participant.entity, self._topic, qos=to_dds(deep, user_data(_TYPE)))
        self._builtin: dict[Any, tuple[Any, ReadCondition]] = {}  # kind → reader, and what it reads
        self._closed = False
        self._told: dict[bytes, _Word] = {}  # participant → its newest word

    def add(self, node: LocalNode) -> None:
        """Tell about a new node."""
        with self._lock:
            self._nodes.append(node)
        self.announce()

    def remove(self, node: LocalNode) -> None:
        """Tell that it is gone."""
        with self._lock:
            self._nodes.remove(node)
        self.announce()

    def announce(self) -> None:
        """Tell about the nodes of this process; call it when an endpoint comes or goes."""
        gid, entities = (message_class(f"rmw_dds_common/msg/{name}") for name in ("Gid", "NodeEntitiesInfo"))
        with self._lock:
            nodes = [
                entities(
                    node_namespace=node.namespace,
                    node_name=node.name,
                    reader_gid_seq=[gid(data=list(one)) for one in list(node.readers)],
                    writer_gid_seq=[gid(data=list(one)) for one in list(node.writers)],
                )
                for node in self._nodes
            ]
            own = gid(data=list(self._participant.gid))
            told = message_class(_TYPE)(gid=own, node_entities_info_seq=nodes)
            if self._closed:
                return
            self._writer.write(self._topic.data_type(serialize_message(told)))

    def nodes(self) -> list[tuple[str, str]]:
        """(name, namespace) of every node, those of this process included."""
        return [node for word in self._words() for node in word.nodes]

    def located_nodes(self) -> list[tuple[str, str, int]]:
        """(full name, host, pid) of every node; empty and 0 where its process does not announce them."""
        self._words()
        places = self._places()
        with self._lock:
            words = list(self._told.items())
        return [
            (join(namespace, name), *places.get(gid[:_PREFIX_SIZE], _NOWHERE))
            for gid, word in words
            for name, namespace in word.nodes
        ]

    def publishing(self, topic: str) -> list[tuple[str, str, int]]:
        """(full name, host, pid) of each publisher on the topic of absolute name ``topic``; see `located_nodes`."""
        places = self._places()
        found = []
        for info in self.publishers(topic):
            known = not info.node_name.startswith("_NODE_NAME_UNKNOWN")
            name = join(info.node_namespace, info.node_name) if known else ""
            found.append((name, *places.get(bytes(info.endpoint_gid)[:_PREFIX_SIZE], _NOWHERE)))
        return found

    def topics(self) -> list[tuple[str, list[str]]]:
        """(name, types) of every topic that has an endpoint."""
        types: dict[str, set[str]] = {}
        for kind in (BuiltinTopicDcpsPublication, BuiltinTopicDcpsSubscription):
            for dds_topic, dds_type in self._read(kind, lambda _, topic, dds_type, __: (topic, dds_type)):
                if dds_topic.startswith(f"{_PREFIX}/"):
                    types.setdefault(dds_topic[len(_PREFIX) :], set()).add(_ros_type(dds_type))
        return [(name, sorted(types[name])) for name in sorted(types)]

    def count_publishers(self, topic: str) -> int:
        """How many publishers the topic of absolute name ``topic`` has."""
        return self._count(topic, BuiltinTopicDcpsPublication)

    def count_subscriptions(self, topic: str) -> int:
        """How many subscriptions the topic of absolute name ``topic`` has."""
        return self._count(topic, BuiltinTopicDcpsSubscription)

    def publishers(self, topic: str) -> list[TopicEndpointInfo]:
        """Publishers on the topic of absolute name ``topic``."""
        return self._endpoints(topic, BuiltinTopicDcpsPublication, TopicEndpointTypeEnum.PUBLISHER)

    def subscriptions(self, topic: str) -> list[TopicEndpointInfo]:
        """Subscriptions on the topic of absolute name ``topic``."""
        return self._endpoints(topic, BuiltinTopicDcpsSubscription, TopicEndpointTypeEnum.SUBSCRIPTION)

    def close(self) -> None:
        """Say nothing more."""
        with self._lock:
            self._closed = True
        for reader, condition in self._builtin.values():
            delete(condition)
            delete(reader)
        for entity in (self._reader, self._writer, self._topic):
            delete(entity)

    def _count(self, topic: str, kind: Any) -> int:
        wanted = _PREFIX + topic
        return self._read(kind, lambda _, dds_topic, __, ___: dds_topic == wanted).count(True)

    def _endpoints(
        self, topic: str, kind: Any, endpoint_type: TopicEndpointTypeEnum
    ) -> list[TopicEndpointInfo]:
        words = self._words()
        wanted, unknown = _PREFIX + topic, ("_NODE_NAME_UNKNOWN_", "_NODE_NAMESPACE_UNKNOWN_")

        def describe(key: bytes, dds_topic: str, dds_type: str, qos: int) -> TopicEndpointInfo | None:
            if dds_topic != wanted:
                return None
            owner = next((word.owners[key] for word in words if key in word.owners), unknown)
            profile = from_dds(cqos_to_qos(qos))
            return TopicEndpointInfo(*owner, _ros_type(dds_type), endpoint_type, list(key), profile)

        return [found for found in self._read(kind, describe) if found]

    def _words(self) -> list[_Word]:
        """What every participant that is alive told last about its nodes."""
        with self._lock:
            with uninterrupted:
                samples = self._reader.take(_MOST)
            for sample in samples:
                if sample.sample_info.valid_data:
                    told: Any = deserialize_message(sample.payload, message_class(_TYPE))
                    self._told[bytes(told.gid.data)] = _Word.of(told)
        alive = set(self._read(BuiltinTopicDcpsParticipant, lambda key, _: key))
        with self._lock:
            self._told = {gid: word for gid, word in self._told.items() if gid in alive}
            return list(self._told.values())

    def _places(self) -> dict[bytes, tuple[str, int]]:
        """Host and pid of each participant that announces them, by the prefix of its identity."""

        def place(key: bytes, qos: int) -> tuple[bytes, tuple[str, int]]:
            values = {one.key: one.value for one in cqos_to_qos(qos) if isinstance(one, Policy.Property)}
            pid = values.get("__Pid", "")
            where = (values.get("__Hostname", ""), int(pid) if pid.isdecimal() else 0)
            return key[:_PREFIX_SIZE], where

        return dict(self._read(BuiltinTopicDcpsParticipant, place))

    def _read(self, kind: Any, make: Callable[..., _Made]) -> list[_Made]:
        """Results of ``make`` for each that is alive: of key and C policies, of an endpoint's topic and type too.

        The wrapper would make objects of all policies of all endpoints, which takes a hundred times as long. The C
        policies live until this returns.
        """
        with self._lock:
            if kind not in self._builtin:
                reader = BuiltinDataReader(self._participant.entity, kind)
                self._builtin[kind] = (reader, ReadCondition(reader, _ALIVE))
            reader, condition = self._builtin[kind]
            made: list[_Made] = []

            def participant(key: bytes, qos: int, info: Any) -> None:
                if info.valid_data:
                    made.append(make(key, qos))

            def endpoint(
                key: bytes, _: bytes, __: int, topic: str, name: str, qos: int, info: Any, ___: Any
            ) -> None:
                if info.valid_data:
                    made.append(make(key, topic, name, qos))

            reader._cqos_conv = int  # leaves the pointer as it is
            reader._constructor = participant if kind is BuiltinTopicDcpsParticipant else endpoint
            with uninterrupted:
                reader.read(_MOST, condition)
            return made


def _ros_type(dds_type: str) -> str:
    """``std_msgs::msg::dds_::String_`` → ``std_msgs/msg/String``; others as they are."""
    package, middle, short = dds_type.partition("::msg::dds_::")
    return f"{package}/msg/{short.removesuffix('_')}" if middle else dds_type

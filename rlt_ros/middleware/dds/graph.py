"""The graph: which nodes and endpoints there are. Told to others on `ros_discovery_info`, asked from DDS discovery."""

from __future__ import annotations

import enum
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cyclonedds.builtin import (
    BuiltinDataReader,
    BuiltinTopicDcpsParticipant,
    BuiltinTopicDcpsPublication,
    BuiltinTopicDcpsSubscription,
)
from cyclonedds.core import InstanceState, ReadCondition, SampleState, ViewState
from cyclonedds.pub import DataWriter
from cyclonedds.sub import DataReader

from rlt_ros.middleware.dds.domain import Participant, delete, user_data
from rlt_ros.middleware.dds.message import deserialize_message, message_class, serialize_message
from rlt_ros.middleware.dds.qos import DurabilityPolicy, QoSProfile, from_dds, to_dds

_TOPIC, _TYPE = "ros_discovery_info", "rmw_dds_common/msg/ParticipantEntitiesInfo"
_PREFIX = "rt"  # of the DDS names of ROS topics
_MOST = 10_000  # endpoints read at once
_UNREAD = 1_000  # words of other processes that are kept until somebody asks
_ALIVE = SampleState.Any | ViewState.Any | InstanceState.Alive


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
        self._builtin: dict[Any, tuple[BuiltinDataReader, ReadCondition]] = {}
        self._closed = False
        self._told: dict[bytes, Any] = {}  # participant → its newest word

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
        return [(entities.node_name, entities.node_namespace) for entities in self._entities()]

    def topics(self) -> list[tuple[str, list[str]]]:
        """(name, types) of every topic that has an endpoint."""
        types: dict[str, set[str]] = {}
        for kind in (BuiltinTopicDcpsPublication, BuiltinTopicDcpsSubscription):
            for endpoint in self._read(kind):
                if endpoint.topic_name.startswith(f"{_PREFIX}/"):
                    types.setdefault(endpoint.topic_name[len(_PREFIX) :], set()).add(
                        _ros_type(endpoint.type_name)
                    )
        return [(name, sorted(types[name])) for name in sorted(types)]

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

    def _endpoints(
        self, topic: str, kind: Any, endpoint_type: TopicEndpointTypeEnum
    ) -> list[TopicEndpointInfo]:
        owners = {
            bytes(gid.data): (entities.node_name, entities.node_namespace)
            for entities in self._entities()
            for gid in (*entities.reader_gid_seq, *entities.writer_gid_seq)
        }
        unknown = ("_NODE_NAME_UNKNOWN_", "_NODE_NAMESPACE_UNKNOWN_")
        return [
            TopicEndpointInfo(
                *owners.get(endpoint.key.bytes, unknown),
                _ros_type(endpoint.type_name),
                endpoint_type,
                list(endpoint.key.bytes),
                from_dds(endpoint.qos),
            )
            for endpoint in self._read(kind)
            if endpoint.topic_name == _PREFIX + topic
        ]

    def _entities(self) -> Iterator[Any]:
        """What every participant that is alive told last about its nodes."""
        with self._lock:
            for sample in self._reader.take(_MOST):
                if sample.sample_info.valid_data:
                    told = deserialize_message(sample.payload, message_class(_TYPE))
                    self._told[bytes(told.gid.data)] = told  # type: ignore[attr-defined]
        alive = {found.key.bytes for found in self._read(BuiltinTopicDcpsParticipant)}
        with self._lock:
            self._told = {gid: told for gid, told in self._told.items() if gid in alive}
            told_now = list(self._told.values())
        return (entities for told in told_now for entities in told.node_entities_info_seq)

    def _read(self, kind: Any) -> list[Any]:
        with self._lock:
            if kind not in self._builtin:
                reader = BuiltinDataReader(self._participant.entity, kind)
                self._builtin[kind] = (reader, ReadCondition(reader, _ALIVE))
            reader, condition = self._builtin[kind]
            return [found for found in reader.read(_MOST, condition) if found.sample_info.valid_data]


def _ros_type(dds_type: str) -> str:
    """``std_msgs::msg::dds_::String_`` → ``std_msgs/msg/String``; others as they are."""
    package, middle, short = dds_type.partition("::msg::dds_::")
    return f"{package}/msg/{short.removesuffix('_')}" if middle else dds_type

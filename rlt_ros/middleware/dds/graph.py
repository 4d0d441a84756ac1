"""Nodes and endpoints of the graph: published on `ros_discovery_info`, and read from it and from DDS discovery."""

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
_TOPIC_PREFIX = "rt"
"""Prefix of the DDS names of ROS topics."""
_MAX_ENDPOINTS = 10_000
"""Endpoints read at once."""
_GUID_PREFIX_BYTES = 12
"""Bytes of a GUID that all entities of a participant share (DDSI-RTPS 9.3.1.2)."""
_UNKNOWN_LOCATION = ("", 0)
_MAX_UNREAD_INFOS = 1_000
"""Messages of other participants that are kept until the next query."""
_ALIVE = SampleState.Any | ViewState.Any | InstanceState.Alive
_Made = TypeVar("_Made")


class TopicEndpointTypeEnum(enum.IntEnum):
    """Kind of an endpoint."""

    INVALID = 0
    PUBLISHER = 1
    SUBSCRIPTION = 2


@dataclass(frozen=True)
class TopicEndpointInfo:
    """Endpoint in the graph.

    Attributes:
        node_name: name without namespace; `_NODE_NAME_UNKNOWN_` if its process does not publish it.
        node_namespace: absolute.
        topic_type: e.g. ``std_msgs/msg/String``.
        endpoint_type: publisher or subscription.
        endpoint_gid: identity, 16 numbers.
        qos_profile: discovered part of the profile.
    """

    node_name: str
    node_namespace: str
    topic_type: str
    endpoint_type: TopicEndpointTypeEnum
    endpoint_gid: list[int]
    qos_profile: QoSProfile


@dataclass(frozen=True)
class LocalNode:
    """Node of this process with the identities of its endpoints."""

    namespace: str
    name: str
    readers: set[bytes]
    writers: set[bytes]


@dataclass(frozen=True)
class _ParticipantInfo:
    """Nodes (name, namespace) of a participant, and the node of each endpoint."""

    nodes: list[tuple[str, str]]
    owners: dict[bytes, tuple[str, str]]

    @classmethod
    def from_message(cls, message: Any) -> _ParticipantInfo:
        """Convert a ``ParticipantEntitiesInfo`` message."""
        entries = message.node_entities_info_seq
        owners = {
            bytes(gid.data): (entry.node_name, entry.node_namespace)
            for entry in entries
            for gid in (*entry.reader_gid_seq, *entry.writer_gid_seq)
        }
        return cls([(entry.node_name, entry.node_namespace) for entry in entries], owners)


class Graph:
    """Publisher of this process' nodes and reader of all nodes and endpoints.

    Args:
        participant: DDS participant of the process.
    """

    def __init__(self, participant: Participant) -> None:
        self._participant, self._lock = participant, threading.Lock()
        self._nodes: list[LocalNode] = []
        self._topic = participant.topic(_TOPIC, _TYPE)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._writer = DataWriter(participant.entity, self._topic, qos=to_dds(latched, user_data(_TYPE)))
        # The topic has no key, so all participants share the history of unread messages.
        deep = QoSProfile(depth=_MAX_UNREAD_INFOS, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._reader = DataReader(participant.entity, self._topic, qos=to_dds(deep, user_data(_TYPE)))
        # Kind → reader and its condition.
        self._builtin: dict[Any, tuple[Any, ReadCondition]] = {}
        self._closed = False
        # Participant → its latest info.
        self._infos: dict[bytes, _ParticipantInfo] = {}

    def add(self, node: LocalNode) -> None:
        """Publish a new node."""
        with self._lock:
            self._nodes.append(node)
        self.publish()

    def remove(self, node: LocalNode) -> None:
        """Publish the removal of a node."""
        with self._lock:
            self._nodes.remove(node)
        self.publish()

    def publish(self) -> None:
        """Publish the nodes of this process, after each change of their endpoints."""
        gid, entities = (message_class(f"rmw_dds_common/msg/{name}") for name in ("Gid", "NodeEntitiesInfo"))
        with self._lock:
            nodes = [
                entities(
                    node_namespace=node.namespace,
                    node_name=node.name,
                    reader_gid_seq=[gid(data=list(reader)) for reader in list(node.readers)],
                    writer_gid_seq=[gid(data=list(writer)) for writer in list(node.writers)],
                )
                for node in self._nodes
            ]
            own = gid(data=list(self._participant.gid))
            message = message_class(_TYPE)(gid=own, node_entities_info_seq=nodes)
            if self._closed:
                return
            self._writer.write(self._topic.data_type(serialize_message(message)))

    def nodes(self) -> list[tuple[str, str]]:
        """Pairs (name, namespace) of all nodes, including this process' nodes."""
        return [node for info in self._participant_infos() for node in info.nodes]

    def located_nodes(self) -> list[tuple[str, str, int]]:
        """Triples (full name, host, pid) of all nodes; empty and 0 if unknown."""
        self._participant_infos()
        locations = self._locations()
        with self._lock:
            infos = list(self._infos.items())
        return [
            (join(namespace, name), *locations.get(gid[:_GUID_PREFIX_BYTES], _UNKNOWN_LOCATION))
            for gid, info in infos
            for name, namespace in info.nodes
        ]

    def publishing(self, topic: str) -> list[tuple[str, str, int]]:
        """Triples (full name, host, pid) of the publishers on the absolute ``topic``; see `located_nodes`."""
        locations = self._locations()
        found = []
        for info in self.publishers(topic):
            known = not info.node_name.startswith("_NODE_NAME_UNKNOWN")
            name = join(info.node_namespace, info.node_name) if known else ""
            prefix = bytes(info.endpoint_gid)[:_GUID_PREFIX_BYTES]
            found.append((name, *locations.get(prefix, _UNKNOWN_LOCATION)))
        return found

    def topics(self) -> list[tuple[str, list[str]]]:
        """Pairs (name, types) of all topics with an endpoint."""
        types: dict[str, set[str]] = {}
        for kind in (BuiltinTopicDcpsPublication, BuiltinTopicDcpsSubscription):
            for dds_topic, dds_type in self._read(kind, lambda _, topic, dds_type, __: (topic, dds_type)):
                if dds_topic.startswith(f"{_TOPIC_PREFIX}/"):
                    types.setdefault(dds_topic[len(_TOPIC_PREFIX) :], set()).add(_ros_type(dds_type))
        return [(name, sorted(types[name])) for name in sorted(types)]

    def count_publishers(self, topic: str) -> int:
        """Number of publishers on the absolute ``topic``."""
        return self._count(topic, BuiltinTopicDcpsPublication)

    def count_subscriptions(self, topic: str) -> int:
        """Number of subscriptions to the absolute ``topic``."""
        return self._count(topic, BuiltinTopicDcpsSubscription)

    def publishers(self, topic: str) -> list[TopicEndpointInfo]:
        """Publishers on the absolute ``topic``."""
        return self._endpoints(topic, BuiltinTopicDcpsPublication, TopicEndpointTypeEnum.PUBLISHER)

    def subscriptions(self, topic: str) -> list[TopicEndpointInfo]:
        """Subscriptions to the absolute ``topic``."""
        return self._endpoints(topic, BuiltinTopicDcpsSubscription, TopicEndpointTypeEnum.SUBSCRIPTION)

    def close(self) -> None:
        """Stop publishing and delete all entities."""
        with self._lock:
            self._closed = True
        for reader, condition in self._builtin.values():
            delete(condition)
            delete(reader)
        for entity in (self._reader, self._writer, self._topic):
            delete(entity)

    def _count(self, topic: str, kind: Any) -> int:
        wanted = _TOPIC_PREFIX + topic
        return self._read(kind, lambda _, dds_topic, __, ___: dds_topic == wanted).count(True)

    def _endpoints(
        self, topic: str, kind: Any, endpoint_type: TopicEndpointTypeEnum
    ) -> list[TopicEndpointInfo]:
        infos = self._participant_infos()
        wanted, unknown = _TOPIC_PREFIX + topic, ("_NODE_NAME_UNKNOWN_", "_NODE_NAMESPACE_UNKNOWN_")

        def describe(key: bytes, dds_topic: str, dds_type: str, qos: int) -> TopicEndpointInfo | None:
            if dds_topic != wanted:
                return None
            owner = next((info.owners[key] for info in infos if key in info.owners), unknown)
            profile = from_dds(cqos_to_qos(qos))
            return TopicEndpointInfo(*owner, _ros_type(dds_type), endpoint_type, list(key), profile)

        return [found for found in self._read(kind, describe) if found]

    def _participant_infos(self) -> list[_ParticipantInfo]:
        """Latest info of each living participant."""
        with self._lock:
            with uninterrupted:
                samples = self._reader.take(_MAX_ENDPOINTS)
            for sample in samples:
                if sample.sample_info.valid_data:
                    message: Any = deserialize_message(sample.payload, message_class(_TYPE))
                    self._infos[bytes(message.gid.data)] = _ParticipantInfo.from_message(message)
        alive = set(self._read(BuiltinTopicDcpsParticipant, lambda key, _: key))
        with self._lock:
            self._infos = {gid: info for gid, info in self._infos.items() if gid in alive}
            return list(self._infos.values())

    def _locations(self) -> dict[bytes, tuple[str, int]]:
        """Host and pid of each participant that publishes them, by the prefix of its identity."""

        def locate(key: bytes, qos: int) -> tuple[bytes, tuple[str, int]]:
            values = {
                policy.key: policy.value for policy in cqos_to_qos(qos) if isinstance(policy, Policy.Property)
            }
            pid = values.get("__Pid", "")
            location = (values.get("__Hostname", ""), int(pid) if pid.isdecimal() else 0)
            return key[:_GUID_PREFIX_BYTES], location

        return dict(self._read(BuiltinTopicDcpsParticipant, locate))

    def _read(self, kind: Any, make: Callable[..., _Made]) -> list[_Made]:
        """Results of ``make`` for each living entity, from its key and C policies, and an endpoint's topic and type.

        The wrapper would convert all policies of all endpoints, which takes a hundred times as long. The C policies
        are valid until this returns.
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

            # Keeps the pointer to the C policies.
            reader._cqos_conv = int
            reader._constructor = participant if kind is BuiltinTopicDcpsParticipant else endpoint
            with uninterrupted:
                reader.read(_MAX_ENDPOINTS, condition)
            return made


def _ros_type(dds_type: str) -> str:
    """Convert ``std_msgs::msg::dds_::String_`` to ``std_msgs/msg/String``; other names stay unchanged."""
    package, middle, short = dds_type.partition("::msg::dds_::")
    return f"{package}/msg/{short.removesuffix('_')}" if middle else dds_type

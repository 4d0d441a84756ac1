"""DDS participant of a process, configured by the environment variables of ROS 2."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from cyclonedds.core import Entity
from cyclonedds.domain import Domain, DomainParticipant
from cyclonedds.idl import IdlStruct
from cyclonedds.qos import Policy, Qos
from cyclonedds.topic import Topic

from rlt_ros.middleware.dds.definitions import type_hash

# The port range of a host has room for 120 participants (DDSI-RTPS 9.6.1). ROS 2 searches for 32 by default.
_LAST_PARTICIPANT = 119

_RANGES = ("SUBNET", "LOCALHOST", "OFF", "SYSTEM_DEFAULT")


class EnvironmentVariableError(ValueError):
    """Invalid value of a `ROS_…` variable."""


class SerializedMessage(IdlStruct):
    """Serialised message, opaque to DDS.

    Attributes:
        payload: encapsulation header and CDR bytes; without annotation, because DDS treats annotated attributes as
            fields.
    """

    def __init__(self, payload: bytes) -> None:
        self.payload = payload

    def serialize(self, *_: Any, **__: Any) -> bytes:
        """Bytes of the message."""
        return self.payload

    @classmethod
    def deserialize(cls, data: bytes, *_: Any, **__: Any) -> Any:
        """Wrap received bytes; also called for the empty key of samples without data."""
        return cls(data)

    deserialize_key = deserialize


class Participant:
    """DDS participant of a process.

    Args:
        domain_id: domain, isolated from others.
    """

    def __init__(self, domain_id: int) -> None:
        self._domain = Domain(domain_id, configuration(os.environ))
        self.entity = DomainParticipant(domain_id, qos=Qos(Policy.Userdata(b"enclave=/;")))
        self.gid = self.entity.guid.bytes
        self._classes: dict[str, type[SerializedMessage]] = {}

    def topic(self, name: str, type_name: str) -> Topic[Any]:
        """Create a topic of DDS name ``name`` with messages of ROS type ``type_name``."""
        return Topic(self.entity, name, self._message_class(type_name))

    def _message_class(self, type_name: str) -> type[SerializedMessage]:
        if type_name not in self._classes:
            package, _, short = type_name.split("/")

            class Typed(SerializedMessage, typename=f"{package}::msg::dds_::{short}_"):
                """Serialised message of one type."""

            self._classes[type_name] = Typed
        return self._classes[type_name]

    def close(self) -> None:
        """Leave the domain and notify the others at once."""
        delete(self.entity)
        delete(self._domain)


def domain_id_from_environment(environment: Mapping[str, str]) -> int:
    """Domain of `ROS_DOMAIN_ID`, 0 if unset."""
    text = environment.get("ROS_DOMAIN_ID", "").strip() or "0"
    if not text.isdecimal() or int(text) > 232:
        raise EnvironmentVariableError(f"ROS_DOMAIN_ID is `{text}`; it must be 0 to 232")
    return int(text)


def configuration(environment: Mapping[str, str]) -> str:
    """Cyclone's configuration, from the environment variables of ROS 2 and Cyclone.

    Unlike in ROS 2, this host is always a peer, so that its processes discover each other on a network without
    multicast. With the range LOCALHOST only the loopback interface is used: ROS 2 searches it for this host's
    processes, and Cyclone 11 drops messages from unused interfaces.
    """
    chosen = environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "").upper() or "SUBNET"
    if environment.get("ROS_LOCALHOST_ONLY") == "1":
        chosen = "LOCALHOST"
    if chosen not in _RANGES:
        raise EnvironmentVariableError(
            f"ROS_AUTOMATIC_DISCOVERY_RANGE is `{chosen}`; it must be one of {', '.join(_RANGES)}"
        )
    users = environment.get("CYCLONEDDS_URI", "")
    if chosen == "SYSTEM_DEFAULT":
        return users
    if chosen == "OFF":
        discovery = f"<ParticipantIndex>none</ParticipantIndex><Tag>ros_discovery_off_{os.getpid()}</Tag>"
    else:
        peers = ["localhost", *filter(None, environment.get("ROS_STATIC_PEERS", "").split(";"))]
        discovery = (
            "<ParticipantIndex>auto</ParticipantIndex>"
            f"<MaxAutoParticipantIndex>{_LAST_PARTICIPANT}</MaxAutoParticipantIndex>"
            "<Peers>" + "".join(f'<Peer address="{peer.strip()}"/>' for peer in peers) + "</Peers>"
        )
    general = "" if chosen == "SUBNET" else "<AllowMulticast>false</AllowMulticast>"
    if chosen == "LOCALHOST" and not environment.get("ROS_STATIC_PEERS"):
        general += '<Interfaces><NetworkInterface address="127.0.0.1"/></Interfaces>'
    # Fragments are merged in order, so the user's CYCLONEDDS_URI overrides the others.
    return (
        f"<CycloneDDS><Domain><General>{general}</General><Discovery>{discovery}</Discovery></Domain></CycloneDDS>,"
        f"{users}"
    )


def user_data(type_name: str) -> Any:
    """Policy that publishes the type hash of an endpoint, as ROS 2 does since Iron."""
    return Policy.Userdata(f"typehash={type_hash(type_name)};".encode())


def delete(entity: Entity) -> None:
    """Delete a DDS entity now, because garbage collection is too late for an orderly end of the process."""
    entity.__del__()

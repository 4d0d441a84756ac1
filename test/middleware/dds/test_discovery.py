"""Endpoints as discovered by other DDS participants, and configuration by the environment."""

from __future__ import annotations

import time
from typing import Any

import pytest

pytest.importorskip("cyclonedds")

from cyclonedds.builtin import (
    BuiltinDataReader,
    BuiltinTopicDcpsParticipant,
    BuiltinTopicDcpsPublication,
    BuiltinTopicDcpsSubscription,
)
from cyclonedds.qos import Policy

from rlt_ros.middleware import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from rlt_ros.middleware.choice import IMPLEMENTATION
from rlt_ros.middleware.dds.context import default_context
from rlt_ros.middleware.dds.domain import (
    EnvironmentVariableError,
    configuration,
    domain_id_from_environment,
)
from rlt_ros.middleware.messages import JointState, RLState

pytestmark = pytest.mark.skipif(IMPLEMENTATION != "dds", reason="endpoints are rclpy's own here")


def endpoint(kind: Any, topic: str) -> Any:
    reader = BuiltinDataReader(default_context().participant.entity, kind)
    (found,) = [found for found in reader.read(100) if found.topic_name == topic]
    return found


def test_a_publisher_looks_like_one_of_ros(graph: Any) -> None:
    latched = QoSProfile(depth=3, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    publisher = graph.node("n", namespace="arm").create_publisher(RLState, "rl_state", latched)
    seen = endpoint(BuiltinTopicDcpsPublication, "rt/arm/rl_state")
    assert seen.type_name == "rlt_ros::msg::dds_::RLState_"
    assert seen.key.bytes == publisher.gid
    assert seen.qos[Policy.Userdata].data.startswith(b"typehash=RIHS01_")
    assert seen.qos[Policy.Durability] == Policy.Durability.TransientLocal
    assert seen.qos[Policy.DurabilityService].history == Policy.History.KeepLast(3)
    assert seen.qos[Policy.DataRepresentation] == Policy.DataRepresentation(
        use_cdrv0_representation=True, use_xcdrv2_representation=False
    )
    assert not seen.qos[Policy.WriterDataLifecycle].autodispose


def test_a_subscription_looks_like_one_of_ros(graph: Any) -> None:
    graph.node("n").create_subscription(JointState, "/joint_states", lambda _: None, qos_profile_sensor_data)
    seen = endpoint(BuiltinTopicDcpsSubscription, "rt/joint_states")
    expected = b"typehash=RIHS01_a13ee3a330e346c9d87b5aa18d24e11690752bd33a0350f11c5882bc9179260e;"
    assert seen.qos[Policy.Userdata].data == expected
    assert seen.qos[Policy.Reliability] == Policy.Reliability.BestEffort
    assert seen.qos[Policy.History] == Policy.History.KeepLast(5)


def test_the_graphs_own_topic_and_the_participant_are_marked_as_ros_does(graph: Any) -> None:
    graph.node("n")
    seen = endpoint(BuiltinTopicDcpsPublication, "ros_discovery_info")
    assert seen.type_name == "rmw_dds_common::msg::dds_::ParticipantEntitiesInfo_"
    assert seen.qos[Policy.Durability] == Policy.Durability.TransientLocal
    reader = BuiltinDataReader(default_context().participant.entity, BuiltinTopicDcpsParticipant)
    own = [found for found in reader.read(100) if found.key.bytes == default_context().participant.gid]
    assert own[0].qos[Policy.Userdata].data == b"enclave=/;"


def test_malformed_messages_are_counted_and_dropped(graph: Any, capsys: pytest.CaptureFixture[str]) -> None:
    node, heard = graph.node("n"), []
    publisher = node.create_publisher(JointState, "joints", 10)
    subscription = node.create_subscription(JointState, "joints", heard.append, 10)
    graph.until(lambda: publisher.get_subscription_count())
    publisher.publish(b"\x00\x01\x00\x00\xff\xff\xff\xff")
    publisher.publish(JointState(name=["a"]))
    graph.until(lambda: heard)
    assert (len(heard), subscription.malformed) == (1, 1)
    assert "dropped a message on /joints" in capsys.readouterr().err


def test_leaving_and_joining_again_is_quick(graph: Any) -> None:
    from rlt_ros.middleware import Node, init, shutdown

    graph.close()
    shutdown()
    begin = time.monotonic()
    for _ in range(3):
        init(args=[])
        Node("again").destroy_node()
        shutdown()
    assert time.monotonic() - begin < 30


def test_the_variables_of_ros_configure_discovery() -> None:
    assert "AllowMulticast" not in configuration({})
    assert '<Peer address="localhost"/>' in configuration({})
    assert "<AllowMulticast>false" in configuration({"ROS_LOCALHOST_ONLY": "1"})
    peers = configuration({"ROS_STATIC_PEERS": "10.0.0.2;robot"})
    alone = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    loopback = '<NetworkInterface address="127.0.0.1"/>'
    assert loopback in configuration(alone)
    assert loopback not in configuration({**alone, "ROS_STATIC_PEERS": "10.0.0.2"})
    assert '<Peer address="10.0.0.2"/><Peer address="robot"/>' in peers
    assert "<Peer " not in configuration({"ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF"})
    uri = "file:///etc/cyclone.xml"
    assert configuration({"CYCLONEDDS_URI": uri}).endswith(f",{uri}")
    assert configuration({"CYCLONEDDS_URI": uri, "ROS_AUTOMATIC_DISCOVERY_RANGE": "system_default"}) == uri


@pytest.mark.parametrize("value", ["-1", "233", "x"])
def test_a_wrong_domain_id_is_named(value: str) -> None:
    with pytest.raises(EnvironmentVariableError, match="0 to 232"):
        domain_id_from_environment({"ROS_DOMAIN_ID": value})


def test_a_wrong_range_is_named() -> None:
    with pytest.raises(EnvironmentVariableError, match="SUBNET, LOCALHOST"):
        configuration({"ROS_AUTOMATIC_DISCOVERY_RANGE": "MARS"})

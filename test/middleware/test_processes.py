"""Nodes in processes of their own, over real DDS."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from typing import Any

import pytest

from rlt_ros.middleware import (
    DurabilityPolicy,
    Duration,
    Parameter,
    PublisherEventCallbacks,
    QoSOverridingOptions,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
    SubscriptionEventCallbacks,
    qos_profile_sensor_data,
)
from rlt_ros.middleware.choice import IMPLEMENTATION
from rlt_ros.middleware.messages import Clock, Image, Log, String

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
WAITS = pytest.mark.skipif(IMPLEMENTATION == "rclpy", reason="rclpy's executors wait for their callbacks")


def test_words_come_back_in_order(graph: Any, child: Any) -> None:
    node, heard = graph.node("n"), []
    publisher = node.create_publisher(String, "words", 100)
    node.create_subscription(String, "echo", lambda message: heard.append(message.data), 100)
    child("parrot")
    graph.until(lambda: publisher.get_subscription_count() and node.count_publishers("echo"))
    # Its publisher may know of our subscription later than we of it: knock until it answers.
    while not heard:
        publisher.publish(String(data="knock"))
        graph.executor.spin_once(timeout_sec=0.1)
    words = [f"wörd {i}" for i in range(50)]
    for word in words:
        publisher.publish(String(data=word))
    graph.until(lambda: heard[-1] == words[-1])
    assert [word for word in heard if word != "knock"] == words


def test_a_publisher_can_wait_until_it_was_received(graph: Any, child: Any) -> None:
    publisher = graph.node("n").create_publisher(String, "words", 100)
    parrot = child("parrot")
    graph.until(publisher.get_subscription_count, what="the parrot listens")
    publisher.publish(String(data="first"))
    assert publisher.wait_for_all_acked(Duration(seconds=30.0))
    parrot.process.send_signal(signal.SIGSTOP)
    os.waitpid(parrot.process.pid, os.WUNTRACED)  # until it stands still
    publisher.publish(String(data="second"))
    assert not publisher.wait_for_all_acked(Duration(seconds=0.2))
    parrot.process.send_signal(signal.SIGCONT)
    assert publisher.wait_for_all_acked(Duration(seconds=30.0))


def test_who_comes_late_gets_the_latched_state(graph: Any, child: Any) -> None:
    child("latched").line()
    node, latched, ordinary = graph.node("n"), [], []
    node.create_subscription(String, "state", lambda message: ordinary.append(message.data), 10)
    node.create_subscription(String, "state", lambda message: latched.append(message.data), LATCHED)
    graph.until(lambda: latched)
    assert (latched, ordinary) == (["new"], [])


@pytest.mark.parametrize(
    ("offered", "requested", "policy"),
    [
        (10, 10, None),
        (10, BEST_EFFORT, None),
        (BEST_EFFORT, qos_profile_sensor_data, None),
        (LATCHED, 10, None),
        (LATCHED, LATCHED, None),
        (BEST_EFFORT, 10, QoSPolicyKind.RELIABILITY),
        (10, LATCHED, QoSPolicyKind.DURABILITY),
    ],
)
def test_quality_of_service_decides_who_meets(
    graph: Any, offered: Any, requested: Any, policy: QoSPolicyKind | None
) -> None:
    node, heard, told = graph.node("n"), [], []
    publisher = node.create_publisher(
        String,
        "words",
        offered,
        event_callbacks=PublisherEventCallbacks(
            incompatible_qos=lambda info: told.append(("publisher", info))
        ),
    )
    node.create_subscription(
        String,
        "words",
        heard.append,
        requested,
        event_callbacks=SubscriptionEventCallbacks(
            incompatible_qos=lambda info: told.append(("subscription", info))
        ),
    )
    if policy is None:
        graph.until(lambda: publisher.get_subscription_count() == 1)
        publisher.publish(String(data="x"))
        graph.until(lambda: heard)
        assert told == []
        return
    graph.until(lambda: len(told) == 2)
    assert {who for who, _ in told} == {"publisher", "subscription"}
    assert all(info.last_policy_kind == policy and info.total_count == 1 for _, info in told)
    assert publisher.get_subscription_count() == 0


def test_an_incompatible_publisher_elsewhere_is_told(graph: Any, child: Any) -> None:
    child("unreliable").line()
    node, told, heard = graph.node("n"), [], []
    node.create_subscription(
        String,
        "sensor",
        heard.append,
        10,
        event_callbacks=SubscriptionEventCallbacks(incompatible_qos=told.append),
    )
    received: list[Any] = []
    node.create_subscription(String, "sensor", received.append, qos_profile_sensor_data)
    graph.until(lambda: told and received)
    assert heard == []


def test_the_user_may_override_quality_of_service(graph: Any, child: Any) -> None:
    child("unreliable").line()
    override = Parameter("qos_overrides./sensor.subscription.reliability", value="best_effort")
    node, heard = graph.node("n", parameter_overrides=[override]), []
    node.create_subscription(
        String,
        "sensor",
        heard.append,
        10,
        qos_overriding_options=QoSOverridingOptions.with_default_policies(),
    )
    graph.until(lambda: heard)
    assert node.get_parameter("qos_overrides./sensor.subscription.depth").value == 10


def test_a_megabyte_passes(graph: Any, child: Any) -> None:
    node, sizes = graph.node("n"), []
    publisher = node.create_publisher(Image, "image", 10)
    node.create_subscription(String, "size", lambda message: sizes.append(message.data), 100)
    child("images").line()
    graph.until(lambda: publisher.get_subscription_count() and node.count_publishers("size"))
    image = Image(data=bytes(1_000_000))
    while len(sizes) < 3:
        publisher.publish(image)
        graph.executor.spin_once(timeout_sec=0.2)
    assert set(sizes) == {"1000000"}


def test_the_graph_knows_nodes_and_endpoints(graph: Any, child: Any) -> None:
    node = graph.node("n", namespace="here")
    parrot = child("parrot", "--ros-args", "-r", "__ns:=/there", "-r", "words:=/said")
    parrot.line()
    graph.until(lambda: ("parrot", "/there") in node.get_node_names_and_namespaces())
    assert ("n", "/here") in node.get_node_names_and_namespaces()
    graph.until(lambda: node.count_subscribers("/said") == 1)
    graph.until(lambda: ("/there/echo", ["std_msgs/msg/String"]) in node.get_topic_names_and_types())
    (info,) = node.get_publishers_info_by_topic("/there/echo")
    assert (info.node_name, info.node_namespace, info.topic_type) == (
        "parrot",
        "/there",
        "std_msgs/msg/String",
    )
    assert info.qos_profile.reliability == ReliabilityPolicy.RELIABLE
    assert parrot.end() == 0
    graph.until(lambda: ("parrot", "/there") not in node.get_node_names_and_namespaces())
    graph.until(lambda: node.count_publishers("/there/echo") == 0)


def test_more_processes_than_the_middleware_expects_find_each_other(graph: Any, child: Any) -> None:
    names = [f"node_{i}" for i in range(11)]
    node = graph.node("n")
    children = [child("idle", "--ros-args", "-r", f"__node:={name}") for name in names]
    for one in children:
        one.line()
    graph.until(lambda: set(names) <= {name for name, _ in node.get_node_names_and_namespaces()})
    for one in children:
        one.process.send_signal(signal.SIGTERM)
    assert [one.process.wait(30) for one in children] == [0] * 11


def test_parameters_and_names_reach_a_process(child: Any) -> None:
    arguments = ["--ros-args", "-p", "rate:=7.5", "-r", "__ns:=/left", "-r", "words:=/said"]
    assert child("reporter", *arguments).line() == "/left/reporter 7.5 /said"


def test_the_log_is_on_rosout(graph: Any, child: Any) -> None:
    node, lines = graph.node("n"), []
    node.create_subscription(
        Log, "/rosout", lambda log: lines.append((log.level, log.name, log.msg, log.function)), 10
    )
    reporter = child("reporter", "--ros-args", "-r", "__ns:=/left")
    reporter.line()
    reporter.line()
    latched = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    node.create_subscription(
        Log, "/rosout", lambda log: lines.append((log.level, log.name, log.msg, log.function)), latched
    )
    graph.until(lambda: lines)
    assert lines[0] == (30, "left.reporter", "look here", "reporter")
    assert "[WARN]" in reporter.errors()


def test_a_process_lives_in_simulated_time(graph: Any, child: Any) -> None:
    publisher = graph.node("n").create_publisher(Clock, "/clock", 10)
    simulated = child("simulated", "--ros-args", "-p", "use_sim_time:=true")
    simulated.line()
    graph.until(lambda: publisher.get_subscription_count())
    ticks: list[int] = []
    listener = threading.Thread(
        target=lambda: ticks.extend(int(simulated.line().split()[1]) for _ in range(3))
    )
    listener.start()
    for sec in itertools.count(10):
        message = Clock()
        message.clock.sec = sec
        publisher.publish(message)
        listener.join(0.02)  # also the pace of the simulation
        if not listener.is_alive():
            break
    assert all(tick % 1_000_000_000 == 0 and tick >= 10_000_000_000 for tick in ticks)
    assert sorted(ticks) == ticks


@pytest.mark.parametrize(
    ("role", "how", "word"),
    [
        ("idle", signal.SIGINT, "interrupted"),
        ("idle", signal.SIGTERM, "asked to stop"),
        ("unreliable", signal.SIGINT, "interrupted"),
        ("unreliable", signal.SIGTERM, "asked to stop"),
        pytest.param("busy", signal.SIGINT, "interrupted", marks=WAITS),
        pytest.param("busy", signal.SIGTERM, "asked to stop", marks=WAITS),
    ],
)
def test_a_signal_ends_a_process_in_order(child: Any, role: str, how: signal.Signals, word: str) -> None:
    process = child(role)
    assert process.line() == "ready"
    if role == "busy":
        assert process.line() == "busy"
    assert process.end(how) == 0
    assert process.line() == word
    assert "Traceback" not in process.errors()


def test_a_killed_publisher_does_not_disturb_the_others(graph: Any, child: Any) -> None:
    first, node, heard = child("unreliable"), graph.node("n"), []
    node.create_subscription(String, "sensor", lambda message: heard.append(message), BEST_EFFORT)
    graph.until(lambda: heard)
    first.end(signal.SIGKILL)
    heard.clear()
    child("unreliable")
    graph.until(lambda: heard)

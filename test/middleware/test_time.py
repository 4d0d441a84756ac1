from __future__ import annotations

from typing import Any

import pytest

from rlt_ros.middleware import (
    Clock,
    ClockChange,
    ClockType,
    Duration,
    JumpThreshold,
    Parameter,
    QoSProfile,
    ReliabilityPolicy,
    Time,
)
from rlt_ros.middleware.messages import Clock as ClockMessage

SECOND = 1_000_000_000
CLOCK_QOS = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)


class Simulator:
    """Publishes `/clock` and waits until a node has heard it."""

    def __init__(self, graph: Any, node: Any) -> None:
        self._graph, self._node = graph, node
        # A node of the test's own process: what it publishes comes through DDS all the same.
        self._publisher = graph.node("simulator").create_publisher(ClockMessage, "/clock", CLOCK_QOS)
        graph.until(lambda: self._publisher.get_subscription_count() == 1)

    def set(self, seconds: float) -> None:
        time = Time(nanoseconds=int(seconds * SECOND))
        self._publisher.publish(ClockMessage(clock=time.to_msg()))
        self._graph.until(lambda: self._node.get_clock().now().nanoseconds == time.nanoseconds)


@pytest.fixture
def simulated(graph: Any) -> tuple[Any, Any, Simulator]:
    node = graph.node("n", parameter_overrides=[Parameter("use_sim_time", value=True)])
    return graph, node, Simulator(graph, node)


def test_messages_keep_the_time() -> None:
    time = Time(seconds=5, nanoseconds=7, clock_type=ClockType.ROS_TIME)
    assert Time.from_msg(time.to_msg()) == time
    assert time.seconds_nanoseconds() == (5, 7)
    span = Duration(seconds=-1.5)
    assert (span.to_msg().sec, span.to_msg().nanosec) == (-2, 500_000_000)
    assert Duration.from_msg(span.to_msg()) == span


def test_times_are_calculated_with() -> None:
    early, late = Time(seconds=1), Time(seconds=3)
    assert (late - early).nanoseconds == 2 * SECOND
    assert early + Duration(seconds=2) == late
    assert late - Duration(seconds=2) == early
    assert early < late and late >= early and early != late


def test_times_of_different_clocks_are_not_compared() -> None:
    with pytest.raises(TypeError):
        _ = Time(clock_type=ClockType.ROS_TIME) < Time(clock_type=ClockType.STEADY_TIME)


def test_a_time_before_zero_is_refused() -> None:
    with pytest.raises(ValueError, match=r"-1|negative|positive"):
        Time(nanoseconds=-1)


def test_the_steady_clock_goes_on() -> None:
    clock = Clock(clock_type=ClockType.STEADY_TIME)
    assert clock.now() <= clock.now()
    assert clock.now().clock_type == ClockType.STEADY_TIME


def test_ros_time_is_the_walls_without_simulation(graph: Any) -> None:
    node = graph.node("n")
    wall = Clock(clock_type=ClockType.SYSTEM_TIME)
    before, now = wall.now().nanoseconds, node.get_clock().now().nanoseconds
    assert before <= now <= wall.now().nanoseconds
    assert not node.get_clock().ros_time_is_active


def test_simulated_time_starts_at_zero(simulated: Any) -> None:
    _, node, simulator = simulated
    assert node.get_clock().ros_time_is_active
    assert node.get_clock().now().nanoseconds == 0
    simulator.set(12.5)
    assert node.get_clock().now().seconds_nanoseconds() == (12, 500_000_000)


def test_a_timer_follows_simulated_time(simulated: Any) -> None:
    graph, node, simulator = simulated
    simulator.set(100.0)
    ticks = []
    node.create_timer(1.0, lambda: ticks.append(node.get_clock().now().nanoseconds / SECOND))
    for seconds in (100.5, 100.9, 101.0, 101.5, 102.5):
        simulator.set(seconds)
        expected = {101.0: 1, 101.5: 1, 102.5: 2}.get(seconds, 0)
        graph.until(lambda expected=expected: len(ticks) >= expected)
    assert ticks == [101.0, 102.5]


def test_missed_periods_are_not_made_up_for(simulated: Any) -> None:
    graph, node, simulator = simulated
    simulator.set(100.0)
    ticks: list[float] = []
    node.create_timer(1.0, lambda: ticks.append(node.get_clock().now().nanoseconds / SECOND))
    simulator.set(107.3)
    graph.until(lambda: ticks)
    simulator.set(107.9)
    simulator.set(108.0)
    graph.until(lambda: len(ticks) == 2)
    assert ticks == [107.3, 108.0]


def test_a_timer_goes_on_after_time_jumped_back(simulated: Any) -> None:
    graph, node, simulator = simulated
    simulator.set(100.0)
    ticks: list[float] = []
    node.create_timer(1.0, lambda: ticks.append(node.get_clock().now().nanoseconds / SECOND))
    simulator.set(5.0)
    assert ticks == []
    simulator.set(5.9)
    simulator.set(6.0)
    graph.until(lambda: ticks)
    assert ticks == [6.0]


def test_a_jump_back_is_told(simulated: Any) -> None:
    _, node, simulator = simulated
    jumps: list[Any] = []
    threshold = JumpThreshold(min_forward=None, min_backward=Duration(seconds=-1), on_clock_change=False)
    handle = node.get_clock().create_jump_callback(threshold, post_callback=jumps.append)
    for seconds in (10.0, 20.0, 19.5, 3.0):
        simulator.set(seconds)
    assert [jump.delta.nanoseconds / SECOND for jump in jumps] == [-16.5]
    handle.unregister()
    simulator.set(1.0)
    assert len(jumps) == 1


def test_switching_to_simulated_time_is_told(graph: Any) -> None:
    node = graph.node("n")
    jumps: list[Any] = []
    threshold = JumpThreshold(min_forward=None, min_backward=None, on_clock_change=True)
    handle = node.get_clock().create_jump_callback(threshold, post_callback=jumps.append)
    for value in (True, False):
        assert node.set_parameters([Parameter("use_sim_time", value=value)])[0].successful
    assert [jump.clock_change for jump in jumps] == [
        ClockChange.ROS_TIME_ACTIVATED,
        ClockChange.ROS_TIME_DEACTIVATED,
    ]
    handle.unregister()


def test_a_steady_timer_ignores_simulated_time(simulated: Any) -> None:
    graph, node, _ = simulated
    ticks: list[int] = []
    timer = node.create_timer(0.01, lambda: ticks.append(1), clock=Clock(clock_type=ClockType.STEADY_TIME))
    graph.until(lambda: len(ticks) >= 3)
    assert node.get_clock().now().nanoseconds == 0
    timer.cancel()


def test_a_canceled_timer_is_silent_until_it_is_reset(graph: Any) -> None:
    node = graph.node("n")
    ticks: list[int] = []
    timer = node.create_timer(0.01, lambda: ticks.append(1))
    timer.cancel()
    others: list[int] = []
    other = node.create_timer(0.02, lambda: others.append(1))
    graph.until(lambda: len(others) >= 3)
    assert ticks == [] and timer.is_canceled()
    timer.reset()
    graph.until(lambda: ticks)
    assert node.destroy_timer(timer) and node.destroy_timer(other)

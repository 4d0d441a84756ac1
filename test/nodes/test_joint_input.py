"""Joint states of real drivers: wrapped, wrong now and then, from two nodes; over real topics."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rlt_ros.middleware import Parameter
from rlt_ros.middleware.messages import EpisodeEvent, EpisodeState, JointState
from rlt_ros.robots.profile import load_profile
from rlt_ros.ros import qos
from rlt_ros.ros.conversions import to_header
from rlt_ros.ros.diagnostics import Diagnostics, Dropped
from rlt_ros.ros.joint_input import ArmState, JointInput
from rlt_ros.ros.topics import Topics

KINOVA = load_profile("kinova_gen3")
HOME = np.array(KINOVA.home)
# rad
ELBOW = np.eye(7)[3]
MS = 1_000_000


def wrap(position: Any) -> Any:
    return (np.asarray(position) + np.pi) % (2 * np.pi) - np.pi


class Driver:
    """Publishes joint states as ros2_kortex does."""

    def __init__(self, graph: Any, name: str) -> None:
        self._graph = graph
        self.node = graph.node(name)
        self._out = self.node.create_publisher(JointState, "joint_states", qos.SENSOR_RELIABLE)

    def meet(self) -> None:
        self._graph.until(self._out.get_subscription_count, what="a subscription")

    def publish(self, stamp: int, position: Any, velocity: Any = ()) -> None:
        message = JointState(header=to_header(stamp), name=list(KINOVA.joints))
        message.position = array("d", [float(value) for value in position])
        message.velocity = array("d", [float(value) for value in velocity])
        self._out.publish(message)


class Reader:
    """Node that reads the arm."""

    def __init__(self, graph: Any, *, simulated: bool = False) -> None:
        self.graph, self.states, self.moved = graph, list[ArmState](), list[str]()
        overrides = [Parameter("use_sim_time", value=simulated)]
        node = graph.node("reader", parameter_overrides=overrides)
        diagnostics = Diagnostics(node)
        self.dropped = Dropped(diagnostics)
        self.commands = False
        JointInput(
            node,
            Topics(node, diagnostics),
            KINOVA,
            qos.SENSOR_RELIABLE,
            self.dropped,
            self.states.append,
            velocities=True,
            commanding=lambda: self.commands,
            rejected=lambda detail, _, moved: self.moved.append(detail) if moved else None,
        )

    def seen(self, count: int) -> None:
        """Wait until so many states were accepted or dropped."""
        self.graph.until(lambda: len(self.states) + self.dropped.total >= count, what=f"{count} states")


def test_a_wrapping_driver_is_read_without_a_seam(graph: Any) -> None:
    reader, driver = Reader(graph), Driver(graph, "kortex")
    driver.meet()
    true = HOME.copy()
    for step in range(1, 81):
        speeds = np.full(7, -157.0) if step % 10 == 0 else np.full(7, 0.5)
        driver.publish(step * 20 * MS, wrap(true), speeds)
        reader.seen(step)
        np.testing.assert_allclose(reader.states[-1].positions, true, atol=1e-9)
        true[[0, 2, 4, 6]] += 0.05
    assert wrap(true)[6] < 0 < true[6]
    assert reader.dropped.total == 0
    believed = np.array([state.velocities for state in reader.states])
    assert np.isnan(believed[9]).all()
    assert np.nanmax(np.abs(believed)) == 0.5


def test_wrong_states_are_counted_and_two_publishers_are_named(graph: Any) -> None:
    reader, driver = Reader(graph), Driver(graph, "kortex")
    driver.meet()
    driver.publish(20 * MS, wrap(HOME))
    for number, wrong in enumerate((np.full(7, 1e308), np.full(7, np.nan), wrap(HOME) + 0.9 * ELBOW)):
        driver.publish((2 + number) * 20 * MS, wrong)
    driver.publish(100 * MS, wrap(HOME))
    reader.seen(5)
    assert len(reader.states) == 2
    assert (reader.dropped["joint state out of range"], reader.dropped["joint state jumped"]) == (1, 1)
    assert reader.dropped["unusable joint state"] == 1

    other = Driver(graph, "joint_state_publisher")
    other.meet()
    graph.until(lambda: driver.node.count_publishers("joint_states") == 2, what="both are known")
    named = "/joint_states is published by /joint_state_publisher, /kortex"
    step = 0

    def named_at_last() -> bool:
        nonlocal step
        driver.publish((10 + step) * 20 * MS, wrap(HOME))
        reader.seen(6 + 2 * step)
        other.publish((10 + step) * 20 * MS + 10 * MS, np.zeros(7))
        reader.seen(7 + 2 * step)
        step += 1
        return bool(reader.moved) and named in reader.moved[-1]

    graph.until(named_at_last, what="both publishers are named")
    assert reader.dropped["two sources of joint states"] == len(reader.moved)


def test_a_restarted_driver_is_accepted_when_nothing_commands(graph: Any) -> None:
    reader, driver = Reader(graph), Driver(graph, "kortex")
    driver.meet()
    elsewhere = wrap(HOME + ELBOW)
    driver.publish(20 * MS, wrap(HOME))
    reader.commands = True
    for step in range(20):
        driver.publish((2 + step) * 20 * MS, elsewhere)
        reader.seen(2 + step)
    assert len(reader.states) == 1
    assert len(reader.moved) > 10
    reader.commands = False
    driver.publish(500 * MS, elsewhere)
    reader.seen(22)
    assert reader.states[-1].relocated
    np.testing.assert_allclose(wrap(reader.states[-1].positions), elsewhere, atol=1e-9)


def test_a_simulator_may_put_the_arm_elsewhere(graph: Any) -> None:
    reader, driver = Reader(graph, simulated=True), Driver(graph, "sim")
    driver.meet()
    driver.publish(20 * MS, HOME)
    driver.publish(40 * MS, HOME + ELBOW)
    reader.seen(2)
    assert [state.relocated for state in reader.states] == [False, False]


def test_home_is_reached_by_a_driver_that_wraps(
    graph: Any, start_node: Callable[..., Any], tmp_path: Path
) -> None:
    """Joint 3 of the Kinova profile stands at 3.4998 rad at home, which its driver reports as -2.7834 rad."""
    driver = Driver(graph, "kortex")
    states: list[Any] = []
    driver.node.create_subscription(EpisodeState, "rlt/episode_state", states.append, qos.EPISODE_STATE)
    events = driver.node.create_publisher(EpisodeEvent, "rlt/episode_event", qos.EPISODE_EVENT)
    for topic in ("rlt/observation", "rlt/action_chunk", "joint_trajectory_controller/joint_trajectory"):
        driver.node.create_publisher(JointState, topic, 1)
    start_node("episode_node", robot="kinova_gen3", out=str(tmp_path), plan=["train:5"], reset_tolerance=0.01)
    driver.meet()
    graph.until(events.get_subscription_count, what="the node listens")
    assert np.abs(wrap(HOME) - HOME).max() > 6.0
    driver.publish(20 * MS, wrap(HOME))

    def begins() -> bool:
        newest = states[-1] if states else None
        if newest is not None and newest.phase == EpisodeState.PHASE_RESETTING:
            driver.publish(20 * MS, wrap(HOME))
            events.publish(EpisodeEvent(event=EpisodeEvent.RESET_DONE, episode=newest.episode))
        elif newest is None or newest.phase != EpisodeState.PHASE_APPROACH:
            events.publish(EpisodeEvent(event=EpisodeEvent.START))
        return newest is not None and newest.phase == EpisodeState.PHASE_APPROACH

    graph.until(begins, what="the episode begins at home")

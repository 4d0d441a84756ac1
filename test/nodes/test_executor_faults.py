"""Executor next to drivers that lie and arms that are moved by hand: every command that is published is checked."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from rlt_ros.middleware.arrays import pack
from rlt_ros.middleware.messages import Bool, DiagnosticArray, EpisodeEvent, EpisodeState, JointState
from rlt_ros.robots.profile import load_profile
from rlt_ros.ros import qos
from rlt_ros.ros.conversions import to_header
from rlt_ros.ros.drivers import command_type, read_driver_command

PROFILE = load_profile("franka_fr3")
HOME = np.array(PROFILE.home)
LEAD = 0.12
SPEED = 2.0  # rad/s of the fastest joint
PERIOD = 0.02  # s
QUICK = {"robot": "franka_fr3", "discovery_time": 0.2, "takeover_time": 0.5, "joint_state_timeout": 0.5}
# s; a command answers a joint state that came so long before it at most, on a busy machine.
LATENCY = 1.0


class Driver:
    """FR3 driver with scripted joint states that checks each command against them."""

    def __init__(self, graph: Any) -> None:
        self.graph, node = graph, graph.node("driver")
        self.node = node
        self.position: np.ndarray = HOME.copy()
        self.velocity = np.zeros(7)
        self.stamped, self.silent = True, False
        # Arrival, s, and joint targets, rad.
        self.commands: list[tuple[float, np.ndarray]] = []
        self.violations: list[str] = []
        self.message = ""
        self.input: dict[str, str] = {}
        self.events: list[Any] = []
        self._published: deque[tuple[float, np.ndarray]] = deque(maxlen=1000)
        (self._part,) = PROFILE.drivers
        # Deeper than a driver's own: no command may be missed here, however busy the computer is.
        node.create_subscription(command_type(self._part), self._part.command.topic, self._on_command, 100)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 100)
        node.create_subscription(EpisodeEvent, "rlt/episode_event", self.events.append, 100)
        self._joints = node.create_publisher(JointState, self._part.joint_states, qos.SENSOR)
        self._states = node.create_publisher(EpisodeState, "rlt/episode_state", qos.EPISODE_STATE)
        self._circuit = node.create_publisher(Bool, "rlt/hardware_e_stop", qos.BEST_EFFORT)
        self._button = node.create_publisher(Bool, "rlt/e_stop", qos.E_STOP)

    def meet(self) -> None:
        """Wait until messages pass both ways, and begin to publish."""
        outs = (self._joints, self._states, self._circuit, self._button)
        self.graph.until(lambda: all(p.get_subscription_count() for p in outs), what="the executor listens")
        topic = self.node.resolve_topic_name(self._part.command.topic)
        self.graph.until(lambda: self.node.count_publishers(topic), what="the executor is active")
        self.node.create_timer(PERIOD, self._drive)

    def _drive(self) -> None:
        self.position = self.position + self.velocity * PERIOD
        if not self.silent:
            self.sense(self.position)

    def sense(self, position: np.ndarray) -> None:
        """Publish one joint state."""
        now = self.node.get_clock().now().nanoseconds if self.stamped else 0
        self._published.append((time.monotonic(), np.array(position)))
        self._joints.publish(
            JointState(header=to_header(now), name=list(PROFILE.joints), position=pack(np.array(position)))
        )

    def phase(self, phase: int, episode: int = 1) -> None:
        stamp = to_header(self.node.get_clock().now().nanoseconds)
        over = phase == EpisodeState.PHASE_DONE
        outcome = EpisodeState.OUTCOME_ABORTED if over else EpisodeState.OUTCOME_NONE
        self._states.publish(EpisodeState(header=stamp, episode=episode, phase=phase, outcome=outcome))

    def stop(self, pressed: bool, *, circuit: bool) -> None:
        (self._circuit if circuit else self._button).publish(Bool(data=pressed))

    def pass_states(self, count: int) -> None:
        """Wait until so many joint states were published."""
        end = len(self._published) + count
        self.graph.until(lambda: len(self._published) >= end, what=f"{count} joint states")

    def shows(self, text: str) -> Callable[[], bool]:
        """Condition: the diagnostics of the control loop contain a text."""
        return lambda: text in self.message

    def _on_command(self, message: Any) -> None:
        names, target = read_driver_command(self._part, message)
        now = time.monotonic()
        assert tuple(names) == PROFILE.joints
        recent = [position for then, position in self._published if now - then < LATENCY]
        if not any((np.abs(target - position) <= LEAD + 1e-6).all() for position in recent):
            self.violations.append(f"{np.abs(target - self.position).max():.3f} rad from the arm")
        speeds = np.array([point.velocities for point in message.points])
        if (np.abs(speeds) > SPEED + 1e-6).any():
            self.violations.append(f"{np.abs(speeds).max():.3f} rad/s")
        self.commands.append((now, target))

    def _on_diagnostics(self, message: Any) -> None:
        for status in message.status:
            name, _, task = status.name.rpartition(": ")
            if name == "/executor_node" and task == "control":
                self.message = status.message
            if name == "/executor_node" and task == "input":
                self.input = {value.key: value.value for value in status.values}


@pytest.fixture
def driver(graph: Any, start_node: Any) -> Iterator[Driver]:
    one = Driver(graph)
    node = start_node("executor_node", **QUICK)
    one.meet()
    yield one
    assert node.process.poll() is None, "the executor ended"
    assert one.violations == []


def begun(driver: Driver, episode: int = 1) -> None:
    """Start an episode in which the arm holds."""
    driver.phase(EpisodeState.PHASE_RESETTING, episode)
    driver.phase(EpisodeState.PHASE_APPROACH, episode)
    before = len(driver.commands)
    driver.graph.until(lambda: len(driver.commands) > before + 3, what="holds in the episode")


def test_zeros_before_the_hardware_answers_are_never_commanded(driver: Driver) -> None:
    driver.position = np.zeros(7)
    driver.graph.until(driver.shows("no episode runs"), what="the executor hears the driver")
    driver.pass_states(20)
    driver.position = HOME.copy()
    driver.pass_states(30)
    assert driver.commands == []
    begun(driver)
    np.testing.assert_allclose([target for _, target in driver.commands], [HOME] * len(driver.commands))


@pytest.mark.parametrize("circuit", [True, False])
def test_an_arm_that_is_moved_by_hand_under_an_e_stop_is_not_commanded_back(
    driver: Driver, circuit: bool
) -> None:
    begun(driver)
    driver.stop(True, circuit=circuit)
    driver.graph.until(driver.shows("holds: e-stop"), what="the e-stop")
    driver.phase(EpisodeState.PHASE_DONE)
    driver.velocity = np.array([0.3, 0.0, 0.0, 0.2, 0.0, 0.0, 0.0])
    driver.pass_states(100)
    driver.velocity = np.zeros(7)
    driver.pass_states(10)
    driver.stop(False, circuit=circuit)
    driver.graph.until(
        lambda: np.array_equal(driver.commands[-1][1], driver.position), what="the setpoint is at the arm"
    )
    assert driver.position[0] > 0.5
    sent = len(driver.commands)
    driver.pass_states(20)
    assert len(driver.commands) <= sent + 1


def test_single_wrong_states_leave_the_hold_where_it_is(driver: Driver) -> None:
    begun(driver)
    for bad in (np.zeros(7), np.full(7, 1e308), np.full(7, 1e39), np.full(7, np.nan), np.full(7, 1e6)):
        driver.sense(bad)
        driver.pass_states(10)
    np.testing.assert_allclose([target for _, target in driver.commands], [HOME] * len(driver.commands))
    for kind in ("joint state jumped", "joint state out of range", "unusable joint state"):
        driver.graph.until(lambda: kind in driver.input, what=kind)  # noqa: B023


def test_a_driver_without_stamps_is_commanded_as_any_other(driver: Driver) -> None:
    driver.stamped = False
    begun(driver)


def test_an_arm_that_is_suddenly_elsewhere_is_not_commanded_and_its_episode_is_aborted(
    driver: Driver,
) -> None:
    begun(driver)
    # More than any joint moves while a busy machine delays its states.
    driver.position = HOME + np.array([2.3, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    driver.graph.until(lambda: driver.events, what="an abort")
    sent = len(driver.commands)
    assert (driver.events[0].event, driver.events[0].episode) == (EpisodeEvent.ABORT, 1)
    driver.phase(EpisodeState.PHASE_DONE)
    driver.pass_states(50)
    assert len(driver.commands) == sent
    begun(driver, 2)
    np.testing.assert_allclose(driver.commands[-1][1], driver.position)


def test_a_driver_that_restarts_while_nothing_is_heard_finds_no_command(driver: Driver) -> None:
    begun(driver)
    driver.silent = True
    driver.graph.until(driver.shows("joint states timed out"), what="the arm is not seen")
    sent = len(driver.commands)
    driver.position = HOME - 0.4
    driver.silent = False
    driver.graph.until(lambda: driver.events, what="an abort")
    assert len(driver.commands) == sent


def test_a_start_outside_the_limits_is_reported_and_waits_for_an_operator(driver: Driver) -> None:
    driver.position = HOME.copy()
    driver.position[3] = -0.1
    driver.graph.until(driver.shows("fr3_joint4 is at -0.1, outside its limits"), what="a diagnosis")
    assert driver.commands == []
    driver.phase(EpisodeState.PHASE_APPROACH)

    def inside() -> bool:
        if driver.commands:
            driver.position = driver.commands[-1][1]
        return bool(driver.commands and driver.commands[-1][1][3] < -0.2)

    driver.graph.until(inside, what="the joint is inside its limits")
    fourth = np.array([(then, target[3]) for then, target in driver.commands])
    assert (np.diff(fourth[:, 1]) >= -1.0 * PERIOD - 1e-9).all()

"""Teleoperation in its process: from the topics of device drivers to interventions and events."""

from __future__ import annotations

import signal
from typing import Any

import numpy as np
import pytest

from rlt_ros.middleware.arrays import pack
from rlt_ros.middleware.messages import (
    Bool,
    EpisodeEvent,
    EpisodeState,
    ExecutedStep,
    Intervention,
    JointState,
    Joy,
    Twist,
)
from rlt_ros.robots.profile import load_profile
from rlt_ros.ros import qos

PROFILE = load_profile("agibot_g1_geniesim")
HOME = np.array([1.0734, -0.6109, -0.2793, 1.2846, -0.7313, -1.4957, 0.1868])
DEAD_MAN, SUCCESS, START, E_STOP, RESET_DONE, GRIPPER = 10, 3, 6, 4, 11, 12
FAST = {"blend": 0.05, "hold_off": 0.05, "direct": "false"}


class Others:
    """Drivers, robot and episode, as far as teleoperation sees them."""

    def __init__(self, graph: Any) -> None:
        self.graph, self.node = graph, graph.node("others")
        node = self.node
        self.interventions: list[Any] = []
        self.events: list[Any] = []
        self.stops: list[bool] = []
        node.create_subscription(Intervention, "rlt/intervention", self.interventions.append, 1000)
        node.create_subscription(EpisodeEvent, "rlt/episode_event", self.events.append, 100)
        node.create_subscription(Bool, "rlt/e_stop", lambda m: self.stops.append(m.data), qos.E_STOP)
        self.joints = node.create_publisher(JointState, "joint_states", qos.SENSOR_RELIABLE)
        self.states = node.create_publisher(EpisodeState, "rlt/episode_state", qos.EPISODE_STATE)
        self.steps = node.create_publisher(ExecutedStep, "rlt/executed_step", qos.EXECUTED_STEP)
        self.joy = node.create_publisher(Joy, "joy", 10)
        self.spacenav_joy = node.create_publisher(Joy, "spacenav/joy", 10)
        self.twist = node.create_publisher(Twist, "spacenav/twist", 10)
        self.held: Joy | None = None

    def meet(self, *devices: Any) -> None:
        """Wait until messages pass both ways; then the robot and the driver publish on their own."""
        outs = (self.joints, self.states, self.steps, *devices)
        self.graph.until(lambda: all(p.get_subscription_count() for p in outs), what="teleop listens")
        for topic in ("/rlt/intervention", "/rlt/episode_event", "/rlt/e_stop"):
            self.graph.until(lambda topic=topic: self.node.count_publishers(topic), what=topic)
        self.node.create_timer(0.02, self._drive)

    def _drive(self) -> None:
        self.joints.publish(JointState(name=list(PROFILE.joints), position=pack(HOME)))
        if self.held is not None:
            self.joy.publish(self.held)

    def hold(self, *buttons: int, forward: float = 0.0) -> None:
        """Publish this gamepad state from now on, 50 times per second."""
        self.held = Joy(
            axes=[0.0, forward, 0.0, 0.0, 0.0, 0.0], buttons=[int(i in buttons) for i in range(21)]
        )

    def phase(self, phase: int) -> Any:
        """Next intervention of a phase."""
        seen = len(self.interventions)
        self.graph.until(
            lambda: any(i.phase == phase for i in self.interventions[seen:]), what=f"phase {phase}"
        )
        return next(i for i in self.interventions[seen:] if i.phase == phase)


@pytest.fixture
def others(graph: Any) -> Others:
    return Others(graph)


def test_a_game_pad_takes_the_arm_over_and_gives_it_back(graph: Any, start_node: Any, others: Others) -> None:
    node = start_node("teleop_node", device="joy", **FAST)
    others.meet(others.joy)
    others.phase(Intervention.PHASE_HOLD_OFF)  # no input from the pad yet
    others.hold()
    others.phase(Intervention.PHASE_RELEASED)
    others.hold(DEAD_MAN, forward=1.0)
    engaged = others.phase(Intervention.PHASE_ENGAGED)
    assert (engaged.share, engaged.device, len(engaged.command)) == (1.0, "joy", 7)
    before = next(i for i in others.interventions if i.phase == Intervention.PHASE_BLENDING)
    np.testing.assert_allclose(before.command, HOME, atol=0.01)  # from where the arm is
    assert np.abs(np.array(engaged.command) - HOME).max() > 1e-4
    others.hold()
    others.phase(Intervention.PHASE_RELEASED)
    others.hold(DEAD_MAN)
    others.phase(Intervention.PHASE_ENGAGED)
    others.held = None  # unplugged
    lost = others.phase(Intervention.PHASE_HOLD_OFF)
    assert len(lost.command) == 0
    assert node.end(signal.SIGTERM) == 0
    assert "Traceback" not in node.log


def test_buttons_become_events_once(graph: Any, start_node: Any, others: Others) -> None:
    start_node("teleop_node", device="joy", **FAST)
    others.meet(others.joy)
    others.hold()
    others.phase(Intervention.PHASE_RELEASED)
    others.hold(START)
    graph.until(lambda: others.events, what="start")
    others.states.publish(EpisodeState(episode=7, phase=EpisodeState.PHASE_CRITICAL))
    others.hold()
    others.phase(Intervention.PHASE_RELEASED)
    others.hold(SUCCESS)  # until the node has heard of the episode, presses mean nothing
    while len(others.events) < 2:
        others.hold()
        others.phase(Intervention.PHASE_RELEASED)
        others.hold(SUCCESS)
        others.phase(Intervention.PHASE_RELEASED)
    others.hold(E_STOP)
    graph.until(lambda: others.stops == [True], what="e-stop")
    others.hold(START)
    graph.until(lambda: others.stops == [True, False], what="e-stop released")
    found = [(e.event, e.episode, e.origin) for e in others.events]
    assert found == [(EpisodeEvent.START, 0, "operator"), (EpisodeEvent.SUCCESS, 7, "operator")]


def test_buttons_for_the_gripper_and_for_a_scene_that_is_ready(
    graph: Any, start_node: Any, others: Others
) -> None:
    start_node("teleop_node", device="joy", **FAST)
    others.meet(others.joy)
    others.hold()
    others.phase(Intervention.PHASE_RELEASED)
    others.hold(DEAD_MAN, GRIPPER)
    graph.until(lambda: others.interventions[-1].moves_gripper, what="a wish for the gripper")
    assert others.interventions[-1].gripper == 1.0
    others.hold()
    others.phase(Intervention.PHASE_RELEASED)
    assert not others.interventions[-1].moves_gripper
    others.states.publish(EpisodeState(episode=7, phase=EpisodeState.PHASE_RESETTING))
    while not others.events:  # until the node has heard of the episode, presses mean nothing
        others.hold(RESET_DONE)
        others.phase(Intervention.PHASE_RELEASED)
        others.hold()
        others.phase(Intervention.PHASE_RELEASED)
    assert (others.events[0].event, others.events[0].episode) == (EpisodeEvent.RESET_DONE, 7)


def test_a_space_mouse_takes_over_by_motion(graph: Any, start_node: Any, others: Others) -> None:
    start_node("teleop_node", device="spacenav", **FAST)
    others.meet(others.twist, others.spacenav_joy)
    moved, still = Twist(), Twist()
    moved.linear.z = 0.8
    now = [still]
    others.node.create_timer(0.02, lambda: others.twist.publish(now[0]))
    others.phase(Intervention.PHASE_RELEASED)
    now[0] = moved
    assert others.phase(Intervention.PHASE_ENGAGED).device == "spacenav"
    now[0] = still
    others.phase(Intervention.PHASE_RELEASED)

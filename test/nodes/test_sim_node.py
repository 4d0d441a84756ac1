"""Simulated robot: lock-step, events, and time-outs of answers."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlt_ros.middleware.messages import (
    ChunkRequest,
    Clock,
    EpisodeEvent,
    EpisodeState,
    ExecutedStep,
    Image,
    Intervention,
    JointState,
)
from rlt_ros.robots.profile import load_profile
from rlt_ros.ros import qos
from rlt_ros.ros.conversions import to_header, to_ns

PROFILE = load_profile("agibot_g1_geniesim")
PERIOD = 20_000_000  # ns
WRIST = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.05])
AWAY = np.array([0.0, 0.6, 0.0, 0.0, 0.0, 0.0, 0.0])
RESETTING, APPROACH, CRITICAL, DONE = (
    EpisodeState.PHASE_RESETTING,
    EpisodeState.PHASE_APPROACH,
    EpisodeState.PHASE_CRITICAL,
    EpisodeState.PHASE_DONE,
)


class Others:
    """All other nodes of the graph, as far as the simulator sees them."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        node = graph.node("others")
        self.events: list[Any] = []
        self.joints: list[Any] = []
        self.images: dict[str, list[Any]] = {name: [] for name in PROFILE.cameras}
        self.clocks: list[int] = []
        self.human: list[Any] = []
        node.create_subscription(EpisodeEvent, "rlt/episode_event", self.events.append, qos.EPISODE_EVENT)
        node.create_subscription(JointState, "joint_states", self.joints.append, qos.SENSOR_RELIABLE)
        node.create_subscription(Clock, "/clock", lambda m: self.clocks.append(to_ns(m.clock)), 10)
        node.create_subscription(Intervention, "rlt/intervention", self.human.append, 100)
        for name, camera in PROFILE.cameras.items():
            node.create_subscription(Image, camera.topic, self.images[name].append, qos.SENSOR_RELIABLE)
        self._state = node.create_publisher(EpisodeState, "rlt/episode_state", qos.EPISODE_STATE)
        self._command = node.create_publisher(JointState, "joint_command", qos.COMMAND)
        self._request = node.create_publisher(ChunkRequest, "rlt/chunk_request", qos.CHUNK_REQUEST)
        self._step = node.create_publisher(ExecutedStep, "rlt/executed_step", qos.EXECUTED_STEP)
        self.node = node

    def meet(self) -> None:
        """Wait until messages pass both ways."""
        out = (self._state, self._command, self._request)
        self.graph.until(lambda: all(p.get_subscription_count() for p in out), what="the simulator listens")
        self.graph.until(lambda: self.node.count_publishers("joint_states"), what="the simulator is there")

    def publish_phase(
        self, episode: int, phase: int, *, seed: int = 3, eval: bool = False, stamp: int = 0
    ) -> None:
        """Publish an episode state."""
        outcome = EpisodeState.OUTCOME_ABORTED if phase == DONE else EpisodeState.OUTCOME_NONE
        self._state.publish(
            EpisodeState(
                header=to_header(stamp), episode=episode, phase=phase, seed=seed, eval=eval, outcome=outcome
            )
        )

    def event(self, kind: int) -> Any:
        """Next event of a kind."""
        self.graph.until(lambda: any(e.event == kind for e in self.events), what=f"event {kind}")
        return next(e for e in self.events if e.event == kind)

    def begin(self, episode: int = 1, **options: Any) -> None:
        """Reset, approach, and the first joint state."""
        self.publish_phase(episode, RESETTING, **options)
        self.event(EpisodeEvent.RESET_DONE)
        self.events.clear()
        self.joints.clear()
        self.publish_phase(episode, APPROACH, **options)
        self.graph.until(lambda: self.joints, what="first joint state")

    def arm(self, message: Any) -> np.ndarray:
        """Positions (A,) of the arm in a joint state, found by name."""
        return np.array([message.position[list(message.name).index(name)] for name in PROFILE.joints])

    def send(self, stamp: int, positions: Any, names: Any = PROFILE.joints) -> None:
        """Publish a command."""
        self._command.publish(
            JointState(header=to_header(stamp), name=list(names), position=array("d", positions))
        )

    def answer(self, positions: Any = None) -> None:
        """Command the newest joint state (holding by default), and wait for the next."""
        newest = self.joints[-1]
        self.send(to_ns(newest.header.stamp), self.arm(newest) if positions is None else positions)
        self.graph.until(lambda: self.joints[-1] is not newest, what="next joint state")

    def ask(self, episode: int, step: int = 0, *, boundary: int = ChunkRequest.BOUNDARY_BLOCK) -> None:
        """Request a chunk."""
        header = to_header(to_ns(self.joints[-1].header.stamp))
        self._request.publish(
            ChunkRequest(header=header, episode=episode, step=step, phase=CRITICAL, boundary=boundary)
        )

    def act(self, episode: int) -> None:
        """Publish a step of the actor."""
        self.graph.until(self._step.get_subscription_count, what="the simulator hears of steps")
        self._step.publish(ExecutedStep(episode=episode, source=ExecutedStep.SOURCE_ACTOR))


@pytest.fixture
def others(graph: Any) -> Others:
    return Others(graph)


def test_each_step_waits_for_its_own_command(others: Others, start_node: Callable[..., Any]) -> None:
    start_node("sim_node", command_timeout=1000.0, spare_pictures=False)
    others.meet()
    others.begin()
    first = others.joints[0]
    start = to_ns(first.header.stamp)
    assert start > 0
    assert len(first.name) == 22
    assert len(first.velocity) == len(first.position) == 22
    others.send(start - PERIOD, others.arm(first))  # for a step that is gone
    others.send(start, [np.nan] * 7)
    others.send(start, [0.0] * 6)  # too few
    target = others.arm(first) + WRIST
    shuffled = list(reversed(range(7)))
    for _ in range(10):
        newest = others.joints[-1]
        others.send(
            to_ns(newest.header.stamp), target[shuffled], [PROFILE.joints[index] for index in shuffled]
        )
        others.graph.until(lambda newest=newest: others.joints[-1] is not newest, what="next joint state")
    stamps = [to_ns(message.header.stamp) for message in others.joints]
    assert stamps == [start + i * PERIOD for i in range(11)]
    np.testing.assert_allclose(others.arm(others.joints[-1]), target, atol=0.005)
    others.graph.until(lambda: others.clocks[-1] == stamps[-1])
    for name, images in others.images.items():
        others.graph.until(lambda images=images: len(images) == 6, what=f"pictures of {name}")
        assert [to_ns(image.header.stamp) for image in images] == stamps[::2]
        assert {(i.encoding, i.height, i.width, i.step, len(i.data)) for i in images} == {
            ("rgba8", 64, 64, 256, 64 * 256)
        }


def test_a_command_may_name_the_gripper_too(others: Others, start_node: Callable[..., Any]) -> None:
    gripper = PROFILE.gripper
    assert gripper is not None
    start_node("sim_node", command_timeout=1000.0)
    others.meet()
    others.begin()

    def share() -> float:
        measured = gripper.measured(others.joints[-1].name, others.joints[-1].position)
        assert measured is not None
        return measured

    assert 0.5 < share() < 0.7  # nearly closed about its tool
    arm = others.arm(others.joints[-1])
    for _ in range(40):
        newest = others.joints[-1]
        names = [*PROFILE.joints, gripper.joint]
        others.send(to_ns(newest.header.stamp), [*arm, gripper.open], names)
        others.graph.until(lambda newest=newest: others.joints[-1] is not newest, what="next joint state")
    assert share() < 0.02
    np.testing.assert_allclose(others.arm(others.joints[-1]), arm, atol=0.005)


def test_a_task_file_of_ones_own_needs_a_scene_of_that_name(
    start_node: Callable[..., Any], tmp_path: Path
) -> None:
    unknown = tmp_path / "teapot.yaml"
    unknown.write_text("name: teapot\ninstruction: put the lid on\n")
    refused = start_node("sim_node", task=str(unknown))
    assert refused.process.wait(60) == 2
    assert "task `teapot`: the simulator has scenes for charger, ethernet, screw only" in refused.log


def test_a_task_file_with_a_known_name_has_its_scene(
    others: Others, start_node: Callable[..., Any], tmp_path: Path
) -> None:
    known = tmp_path / "screw.yaml"
    known.write_text("name: screw\ninstruction: drive the screw home\ncritical_steps: 50\n")
    node = start_node("sim_node", task=str(known))
    others.meet()
    others.begin()
    assert "task screw, in lock-step" in node.log


def test_between_episodes_time_stands_still(others: Others, start_node: Callable[..., Any]) -> None:
    start_node("sim_node", command_timeout=0.01)
    others.meet()
    others.begin()
    others.publish_phase(1, DONE)
    others.publish_phase(2, RESETTING, seed=4)
    others.event(EpisodeEvent.RESET_DONE)
    others.graph.until(lambda: others.clocks.count(others.clocks[-1]) >= 2, what="the clock's heartbeat")
    seen, now = len(others.joints), others.clocks[-1]
    others.graph.until(lambda: others.clocks.count(now) >= 4, what="more of it")
    assert others.clocks[-1] == now
    assert len(others.joints) == seen


def test_a_robot_whose_input_died_holds(others: Others, start_node: Callable[..., Any]) -> None:
    start_node("sim_node", command_timeout=0.05)
    others.meet()
    others.begin()
    others.graph.until(lambda: len(others.joints) > 5, what="steps without commands")
    np.testing.assert_allclose(others.arm(others.joints[-1]), others.arm(others.joints[0]), atol=1e-3)


def test_the_critical_phase_begins_and_ends_by_the_tasks_rules(
    others: Others, start_node: Callable[..., Any]
) -> None:
    start_node("sim_node", start="critical", command_timeout=1000.0, answer_timeout=1000.0)
    others.meet()
    others.publish_phase(1, RESETTING)
    reset = others.event(EpisodeEvent.RESET_DONE)
    assert (reset.episode, reset.origin) == (1, "task")
    others.publish_phase(1, APPROACH)
    hand_over = others.event(EpisodeEvent.HAND_OVER)
    assert others.joints == []  # it waits for the answer
    others.publish_phase(1, CRITICAL)
    others.graph.until(lambda: others.joints)
    assert to_ns(others.joints[0].header.stamp) == to_ns(hand_over.header.stamp)
    # Away from the socket until an operator would end the attempt.
    away = others.arm(others.joints[0]) + AWAY
    while not any(event.event == EpisodeEvent.FAILURE for event in others.events):
        newest = others.joints[-1]
        others.send(to_ns(newest.header.stamp), away)
        others.graph.until(
            lambda newest=newest: (
                others.joints[-1] is not newest or others.events[-1].event == EpisodeEvent.FAILURE
            )
        )
    failure = others.event(EpisodeEvent.FAILURE)
    assert to_ns(failure.header.stamp) == to_ns(others.joints[-1].header.stamp)  # the command that caused it
    shown = len(others.joints)
    others.publish_phase(1, DONE)
    others.publish_phase(2, RESETTING)
    others.graph.until(lambda: [e.event for e in others.events].count(EpisodeEvent.RESET_DONE) == 2)
    assert len(others.joints) == shown


def test_a_request_between_pictures_gets_pictures_of_its_own_moment(
    others: Others, start_node: Callable[..., Any]
) -> None:
    start_node("sim_node", command_timeout=1000.0, spare_pictures=False)
    others.meet()
    others.begin()
    others.answer()
    odd = to_ns(others.joints[-1].header.stamp)
    others.graph.until(lambda: len(others.images["head"]) == 1)
    others.ask(1)
    others.ask(1)  # asked again: one set all the same
    others.graph.until(lambda: all(len(images) == 2 for images in others.images.values()))
    assert to_ns(others.images["head"][-1].header.stamp) == odd
    others.answer()
    others.answer()
    others.graph.until(lambda: len(others.images["head"]) == 3)
    assert to_ns(others.images["head"][-1].header.stamp) == odd + 2 * PERIOD


def test_pictures_that_nobody_needs_are_not_taken(others: Others, start_node: Callable[..., Any]) -> None:
    start_node("sim_node", start="critical", command_timeout=1000.0)
    others.meet()
    others.publish_phase(1, RESETTING)
    others.event(EpisodeEvent.RESET_DONE)
    others.publish_phase(1, APPROACH)
    others.event(EpisodeEvent.HAND_OVER)
    assert others.images["head"] == []
    others.publish_phase(1, CRITICAL)
    others.graph.until(lambda: others.joints)
    for _ in range(4):
        others.answer()
    others.graph.until(lambda: all(len(images) == 3 for images in others.images.values()))
    others.publish_phase(2, RESETTING, eval=True)
    others.publish_phase(2, APPROACH, eval=True)
    others.graph.until(lambda: others.events[-1].event == EpisodeEvent.HAND_OVER)
    others.publish_phase(2, CRITICAL, eval=True)
    others.graph.until(lambda: others.joints[-1].header.stamp == others.events[-1].header.stamp)
    others.answer()
    others.ask(2)
    others.graph.until(lambda: all(len(images) == 4 for images in others.images.values()))
    assert others.images["head"][-1].header.stamp == others.joints[-1].header.stamp


def test_who_asks_while_the_arm_goes_on_finds_pictures_there(
    others: Others, start_node: Callable[..., Any]
) -> None:
    start_node("sim_node", command_timeout=1000.0)
    others.meet()
    others.begin()
    others.answer()
    others.ask(1, 6, boundary=ChunkRequest.BOUNDARY_OVERLAP)
    others.graph.until(lambda: all(len(images) == 1 for images in others.images.values()))
    asked = to_ns(others.joints[-1].header.stamp)
    for _ in range(4):
        others.answer()
    others.graph.until(lambda: all(len(images) == 3 for images in others.images.values()))
    stamps = [to_ns(image.header.stamp) for image in others.images["head"]]
    assert stamps == [asked, asked + 2 * PERIOD, asked + 4 * PERIOD]


def test_the_scripted_human_takes_over_from_an_actor_that_is_stuck(
    others: Others, start_node: Callable[..., Any]
) -> None:
    start_node("sim_node", start="critical", operator="scripted", command_timeout=1000.0)
    others.meet()
    others.publish_phase(1, RESETTING)
    others.event(EpisodeEvent.RESET_DONE)
    others.publish_phase(1, APPROACH)
    others.event(EpisodeEvent.HAND_OVER)
    others.publish_phase(1, CRITICAL)
    others.graph.until(lambda: others.joints)
    others.act(1)
    hold = others.arm(others.joints[0])
    for _ in range(120):  # more than its patience
        others.answer(hold)
    assert {message.phase for message in others.human} == {Intervention.PHASE_RELEASED}
    others.ask(1)
    engaged = Intervention.PHASE_ENGAGED
    others.graph.until(lambda: others.human[-1].phase == engaged, what="the human takes over")
    message = others.human[-1]
    assert (message.share, message.device) == (1.0, "script")
    assert message.header.stamp == others.joints[-1].header.stamp
    np.testing.assert_allclose(message.command, hold, atol=0.1)


def test_a_simulator_that_was_restarted_gives_the_episode_up(
    others: Others, start_node: Callable[..., Any]
) -> None:
    others.publish_phase(7, RESETTING)
    others.publish_phase(7, APPROACH)
    others.publish_phase(7, CRITICAL)
    start_node("sim_node")
    abort = others.event(EpisodeEvent.ABORT)
    assert (abort.episode, [event.event for event in others.events]) == (7, [EpisodeEvent.ABORT])


def test_without_lock_step_time_runs_by_itself(others: Others, start_node: Callable[..., Any]) -> None:
    start_node("sim_node", lock_step=False, real_time_factor=4.0)
    others.meet()
    others.begin()
    target = others.arm(others.joints[0]) + WRIST
    others.send(to_ns(others.joints[-1].header.stamp), target)
    others.graph.until(lambda: np.abs(others.arm(others.joints[-1]) - target).max() < 0.005)
    stamps = [to_ns(message.header.stamp) for message in others.joints]
    assert set(np.diff(stamps)) == {PERIOD}


def test_after_a_reset_nobody_holds_the_arm_where_it_was_before(
    others: Others, start_node: Callable[..., Any]
) -> None:
    start_node("sim_node", lock_step=False)
    others.meet()
    others.begin()
    moved = others.arm(others.joints[0]) + 10 * WRIST
    others.send(to_ns(others.joints[-1].header.stamp), moved)
    others.graph.until(lambda: np.abs(others.arm(others.joints[-1]) - moved).max() < 0.005)
    others.publish_phase(1, DONE)
    others.publish_phase(2, RESETTING)
    others.event(EpisodeEvent.RESET_DONE)
    others.joints.clear()
    others.send(0, moved)  # an executor that holds the arm as it did
    others.graph.until(lambda: len(others.joints) > 5)
    start = others.arm(others.joints[-1])
    assert np.abs(start - moved).max() > 0.1
    others.publish_phase(2, APPROACH)
    others.graph.until(lambda: len(others.joints) > 10)
    others.send(0, start + WRIST)
    others.graph.until(lambda: np.abs(others.arm(others.joints[-1]) - start - WRIST).max() < 0.005)


def test_a_task_that_there_is_not_is_told(start_node: Callable[..., Any]) -> None:
    process = start_node("sim_node", task="juggle")
    assert process.process.wait(30) == 2
    assert "charger" in process.log

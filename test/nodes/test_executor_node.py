"""Executor node in its process: answers, rejections, exclusive command topic."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from rlt_ros.middleware import DurabilityPolicy, ReliabilityPolicy
from rlt_ros.middleware.arrays import pack
from rlt_ros.middleware.messages import (
    ActionChunk,
    Bool,
    ChunkRequest,
    DiagnosticArray,
    EpisodeEvent,
    EpisodeState,
    ExecutedStep,
    Intervention,
    JointState,
)
from rlt_ros.robots.profile import load_profile
from rlt_ros.ros import qos
from rlt_ros.ros.conversions import to_header, to_ns

PROFILE = load_profile("agibot_g1_geniesim")
PERIOD = 20_000_000  # ns
HOME = np.array([1.0734, -0.6109, -0.2793, 1.2846, -0.7313, -1.4957, 0.1868])
C = 10
SCALE = 0.02
RESETTING, APPROACH, CRITICAL = (
    EpisodeState.PHASE_RESETTING,
    EpisodeState.PHASE_APPROACH,
    EpisodeState.PHASE_CRITICAL,
)
QUICK = {"discovery_time": 0.2, "takeover_time": 0.5}


class Others:
    """Robot, inference, human and operator, as far as the executor sees them."""

    def __init__(self, graph: Any) -> None:
        self.graph, self.node = graph, graph.node("others")
        self.commands: list[Any] = []
        self.steps: list[Any] = []
        self.requests: list[Any] = []
        self.events: list[Any] = []
        self.diagnostics: dict[str, Any] = {}
        node = self.node
        node.create_subscription(JointState, "joint_command", self.commands.append, 100)
        node.create_subscription(ExecutedStep, "rlt/executed_step", self.steps.append, qos.EXECUTED_STEP)
        node.create_subscription(ChunkRequest, "rlt/chunk_request", self.requests.append, 100)
        node.create_subscription(EpisodeEvent, "rlt/episode_event", self.events.append, 100)
        self.e_stop_states: list[bool] = []
        node.create_subscription(Bool, "rlt/e_stop_state", self._on_e_stop_state, qos.E_STOP)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 100)
        self._joints = node.create_publisher(JointState, "joint_states", qos.SENSOR_RELIABLE)
        self._chunks = node.create_publisher(ActionChunk, "rlt/action_chunk", qos.ACTION_CHUNK)
        self._states = node.create_publisher(EpisodeState, "rlt/episode_state", qos.EPISODE_STATE)
        self._human = node.create_publisher(Intervention, "rlt/intervention", qos.INTERVENTION)
        self._e_stop = node.create_publisher(Bool, "rlt/e_stop", qos.E_STOP)
        self._bare_e_stop = node.create_publisher(Bool, "rlt/e_stop", qos.BEST_EFFORT)
        self._circuit = node.create_publisher(Bool, "rlt/hardware_e_stop", qos.BEST_EFFORT)
        self.stamp = PERIOD
        self.chunk_id = 0
        self.pump = True  # whether the robot publishes on its own

    def _on_e_stop_state(self, message: Any) -> None:
        self.e_stop_states.append(message.data)

    def meet(self) -> None:
        """Wait until messages pass both ways."""
        outs = (
            self._joints,
            self._chunks,
            self._states,
            self._human,
            self._e_stop,
            self._bare_e_stop,
            self._circuit,
        )
        self.graph.until(lambda: all(p.get_subscription_count() for p in outs), what="the executor listens")
        self.graph.until(lambda: self.node.count_publishers("/joint_command"), what="the executor is active")

    def run_robot(self) -> None:
        """From here on the robot publishes its joint states, as a driver does."""
        self.node.create_timer(PERIOD * 1e-9, self._drive)

    def _drive(self) -> None:
        if self.pump:
            self.sense(self.now())

    def now(self) -> int:
        return int(self.node.get_clock().now().nanoseconds)

    def sense(self, stamp: int, position: Any = HOME) -> None:
        """Publish a joint state: more joints than the arm's, in another order."""
        self._joints.publish(
            JointState(
                header=to_header(stamp),
                name=["lift", *reversed(PROFILE.joints)],
                position=pack(np.array([0.3, *reversed(position)])),
            )
        )

    def publish_phase(self, phase: int, episode: int = 1, *, stamp: int = 0) -> None:
        self._states.publish(EpisodeState(header=to_header(stamp), episode=episode, phase=phase))

    def answer(self, request: Any, **changes: Any) -> None:
        """Publish a chunk that moves every joint a little."""
        self.chunk_id += 1
        action = pack(np.full((C, 7), 0.1, np.float32))
        message = ActionChunk(
            header=to_header(to_ns(request.header.stamp)),
            episode=request.episode,
            chunk=self.chunk_id,
            step=request.step,
            source=ActionChunk.SOURCE_VLA,
            anchor=pack(HOME.astype(np.float32)),
            scale=pack(np.full(7, SCALE, np.float32)),
            reference=action,
            action=action,
        )
        for name, value in changes.items():
            setattr(message, name, value)
        self._chunks.publish(message)

    def engage(self, phase: int = Intervention.PHASE_ENGAGED, **gripper: Any) -> None:
        command = pack((HOME + 0.01).astype(np.float32))
        header = to_header(self.now())
        self._human.publish(
            Intervention(header=header, phase=phase, share=1.0, command=command, device="test", **gripper)
        )

    def stop(self, pressed: bool, *, latched: bool = True) -> None:
        (self._e_stop if latched else self._bare_e_stop).publish(Bool(data=pressed))

    def stop_by_circuit(self, pressed: bool) -> None:
        self._circuit.publish(Bool(data=pressed))

    def step(self, source: int, after: int) -> Any:
        """First executed step of a source after the first `after` ones."""
        self.graph.until(
            lambda: any(s.source == source for s in self.steps[after:]), what=f"a step of source {source}"
        )
        return next(s for s in self.steps[after:] if s.source == source)

    def executed(self, count: int) -> None:
        """Wait until this many steps were commanded and recorded."""
        done = (self.steps, self.commands)
        self.graph.until(lambda: min(map(len, done)) >= count, what=f"{count} steps")

    def counted(self, kind: str) -> Callable[[], bool]:
        """Condition: the diagnostics have counted a dropped message of a kind."""
        return lambda: kind in self.diagnostics.get("input", {})

    def _on_diagnostics(self, message: Any) -> None:
        for status in message.status:
            name, _, task = status.name.rpartition(": ")
            if name == "/executor_node":
                self.diagnostics[task] = {value.key: value.value for value in status.values}
                self.diagnostics[f"{task} message"] = status.message


@pytest.fixture
def others(graph: Any) -> Iterator[Others]:
    yield Others(graph)


def test_in_lock_step_every_joint_state_is_answered_with_its_stamp(
    graph: Any, start_node: Any, others: Others
) -> None:
    node = start_node("executor_node", lock_step=True, **QUICK)
    others.meet()
    others.publish_phase(RESETTING)
    others.publish_phase(APPROACH)
    stamps = []
    for index in range(14):
        if index == 12:
            others.publish_phase(CRITICAL)
        stamps.append(others.stamp)
        others.sense(others.stamp)
        # A chunk begins at step 0, after C steps, and at the hand-over.
        if index in (0, C, 12):
            graph.until(lambda: others.requests, what="a request")
            request = others.requests.pop(0)
            assert (request.step, to_ns(request.header.stamp)) == (index, others.stamp)
            assert request.phase == (CRITICAL if index == 12 else APPROACH)
            assert request.boundary == ChunkRequest.BOUNDARY_BLOCK
            others.answer(request)
        others.executed(index + 1)
        others.stamp += PERIOD
    assert [s.step for s in others.steps] == list(range(14))
    assert [s.row for s in others.steps] == [*range(10), 0, 1, 0, 1]
    assert [to_ns(s.header.stamp) for s in others.steps] == stamps
    assert [to_ns(c.header.stamp) for c in others.commands] == stamps
    assert others.commands[0].name == list(PROFILE.joints)
    np.testing.assert_allclose(others.commands[-1].position, HOME + 0.1 * SCALE, atol=1e-6)
    np.testing.assert_allclose(others.steps[-1].command, others.commands[-1].position, atol=1e-6)
    np.testing.assert_allclose(others.steps[-1].measured, HOME, atol=1e-6)
    assert node.end(signal.SIGTERM) == 0
    assert "Traceback" not in node.log


def test_bad_input_is_dropped_counted_and_the_arm_holds(graph: Any, start_node: Any, others: Others) -> None:
    start_node("executor_node", **QUICK)
    others.meet()
    others.run_robot()
    others.publish_phase(RESETTING)
    others.publish_phase(APPROACH, stamp=others.now())
    graph.until(lambda: others.requests, what="a request")
    request = others.requests[0]
    nan = pack(np.full((C, 7), math.nan, np.float32))
    others.answer(request, action=nan)
    others.answer(request, anchor=pack(np.zeros(6, np.float32)))
    others.answer(request, episode=9)
    others.answer(request, step=77)
    others.answer(request, header=to_header(0))
    others.sense(others.now(), np.full(7, math.nan))
    others._states.publish(EpisodeState(episode=1, phase=99))
    for kind in (
        "bad chunk",
        "other episode",
        "unrequested chunk",
        "stale chunk",
        "unusable joint state",
        "bad episode state",
    ):
        graph.until(others.counted(kind), what=kind)
    assert others.diagnostics["input"]["bad chunk"] == "2"
    assert {s.source for s in others.steps} == {ExecutedStep.SOURCE_HOLD}
    assert np.ptp(np.array([c.position for c in others.commands]), axis=0).max() == 0.0
    # It is still at work: a good answer is executed.
    others.answer(request, header=to_header(others.now()))
    others.step(ExecutedStep.SOURCE_VLA, len(others.steps))


def test_a_press_of_the_e_stop_is_sent_again_to_a_subscription_that_missed_it(
    graph: Any, start_node: Any, others: Others
) -> None:
    start_node("executor_node", **QUICK)
    others.meet()
    endpoints = others.node.get_subscriptions_info_by_topic("/rlt/e_stop")
    offered = {(e.qos_profile.reliability, e.qos_profile.durability) for e in endpoints}
    reliable, best_effort = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
    latched, volatile = DurabilityPolicy.TRANSIENT_LOCAL, DurabilityPolicy.VOLATILE
    assert offered >= {(reliable, latched), (reliable, volatile), (best_effort, volatile)}


def test_human_and_e_stop_come_before_the_policy_and_silence_means_hold(
    graph: Any, start_node: Any, others: Others
) -> None:
    start_node("executor_node", **QUICK)
    others.meet()
    others.run_robot()
    others.publish_phase(APPROACH, stamp=others.now())

    def keep_answering() -> None:
        while others.requests:
            others.answer(others.requests.pop(0), header=to_header(others.now()))

    others.node.create_timer(0.01, keep_answering)
    others.step(ExecutedStep.SOURCE_VLA, 0)
    others.engage()
    taken = others.step(ExecutedStep.SOURCE_HUMAN, 0)
    assert (taken.chunk, taken.row) == (0, 0)
    # The device falls silent: the arm holds, and does not go back to the policy by itself.
    place = len(others.steps)
    held = others.step(ExecutedStep.SOURCE_HOLD, place)
    graph.until(lambda: others.steps[-1].step > held.step + 5)
    since = [s.source for s in others.steps if s.step > held.step]
    assert set(since) == {ExecutedStep.SOURCE_HOLD}
    others.engage(Intervention.PHASE_RELEASED)
    others.step(ExecutedStep.SOURCE_VLA, len(others.steps))
    for latched in (True, False):
        others.stop(True, latched=latched)
        graph.until(lambda: others.diagnostics.get("control message") == "holds: e-stop", what="e-stop")
        graph.until(lambda: others.e_stop_states[-1:] == [True], what="the press is published")
        others.stop(False, latched=latched)
        graph.until(lambda: others.e_stop_states[-1:] == [False], what="the release is published")
        others.step(ExecutedStep.SOURCE_VLA, len(others.steps))
    # Releasing one does not release the other.
    others.stop_by_circuit(True)
    graph.until(lambda: others.diagnostics.get("control message") == "holds: e-stop", what="e-stop")
    others.stop(True)
    others.stop(False)
    place = len(others.steps)
    graph.until(lambda: len(others.steps) > place + 10)
    assert {s.source for s in others.steps[place:]} == {ExecutedStep.SOURCE_HOLD}
    others.stop_by_circuit(False)
    others.step(ExecutedStep.SOURCE_VLA, len(others.steps))
    # The robot falls silent.
    others.pump = False
    graph.until(lambda: "joint states" in others.diagnostics.get("control message", ""), what="hold")
    assert [s.step for s in others.steps] == list(range(len(others.steps)))


def test_an_overlap_that_is_too_short_is_told(graph: Any, start_node: Any, others: Others) -> None:
    start_node("executor_node", boundary="overlap", overlap_delay=0.02, **QUICK)
    others.meet()
    others.run_robot()
    others.publish_phase(APPROACH, stamp=others.now())

    def answer_late() -> None:
        request = others.requests[0] if others.requests else None
        if request and others.now() - to_ns(request.header.stamp) > 2 * PERIOD:
            others.answer(others.requests.pop(0), header=to_header(others.now()))

    others.node.create_timer(0.005, answer_late)
    graph.until(lambda: "raise `overlap_delay`" in others.diagnostics.get("control message", ""))


def test_the_gripper_is_commanded_from_the_humans_first_wish_on(
    graph: Any, start_node: Any, others: Others
) -> None:
    gripper = PROFILE.gripper
    assert gripper is not None
    start_node("executor_node", intervention_timeout=30.0, joint_state_timeout=30.0, **QUICK)
    others.meet()
    others.run_robot()
    others.publish_phase(APPROACH, stamp=others.now())
    others.engage()
    others.step(ExecutedStep.SOURCE_HUMAN, 0)
    others.engage(moves_gripper=True, gripper=math.nan)
    graph.until(others.counted("bad intervention"), what="a wish that is none is dropped")
    assert {tuple(c.name) for c in others.commands} == {PROFILE.joints}
    others.engage(moves_gripper=True, gripper=1.0)
    graph.until(lambda: len(others.commands[-1].name) == 8, what="the gripper in a command")
    first = next(c for c in others.commands if len(c.name) == 8)
    assert first.name[-1] == gripper.joint
    assert first.position[-1] == gripper.closed  # without measurement, so at once
    # It stays in the command after the release, and is not training data.
    others.engage(Intervention.PHASE_RELEASED)
    seen = len(others.commands)
    graph.until(lambda: len(others.commands) > seen + 5, what="commands after the human")
    assert others.commands[-1].position[-1] == gripper.closed
    assert {len(s.command) for s in others.steps} == {7}


def test_it_refuses_to_start_beside_another_publisher(graph: Any, start_node: Any) -> None:
    node = graph.node("rival")
    node.create_publisher(JointState, "joint_command", qos.COMMAND)
    executor = start_node("executor_node", **QUICK)
    assert executor.process.wait(30) == 2
    assert "/joint_command is already published by /rival" in executor.log


def test_it_stops_when_another_publisher_comes(graph: Any, start_node: Any, others: Others) -> None:
    executor = start_node("executor_node", **QUICK)
    others.meet()
    rival = graph.node("rival").create_publisher(JointState, "joint_command", qos.COMMAND)
    graph.until(lambda: "inactive" in others.diagnostics.get("control message", ""), what="it deactivates")
    assert others.node.count_publishers("/joint_command") == 1
    assert rival.get_subscription_count() == 1
    assert "/rival publishes /joint_command, too" in executor.log


def test_after_a_crash_in_the_critical_phase_the_episode_is_aborted(
    graph: Any, start_node: Any, others: Others
) -> None:
    start_node("executor_node", lock_step=True, **QUICK)
    others.meet()
    others.publish_phase(RESETTING)
    others.publish_phase(APPROACH)
    others.publish_phase(CRITICAL, stamp=PERIOD)
    others.sense(100 * PERIOD)
    graph.until(lambda: others.events, what="an abort")
    assert (others.events[0].event, others.events[0].episode) == (EpisodeEvent.ABORT, 1)
    graph.until(lambda: others.commands, what="the arm holds, so that simulated time advances")
    assert others.steps == []

"""Plan of a run over real topics, across a crash of the node."""

from __future__ import annotations

import json
import signal
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from rlt_ros.middleware.messages import (
    ActionChunk,
    Bool,
    ChunkRequest,
    Clock,
    DiagnosticArray,
    EpisodeEvent,
    EpisodeState,
    ExecutedStep,
    JointState,
    LearnerStatus,
    Observation,
    ReplayStatus,
)
from rlt_ros.robots.profile import load_profile
from rlt_ros.ros import qos
from rlt_ros.ros.conversions import to_header, to_ns

PROFILE = load_profile("agibot_g1_geniesim")
PERIOD = 20_000_000
RESETTING, APPROACH, CRITICAL, DONE = (
    EpisodeState.PHASE_RESETTING,
    EpisodeState.PHASE_APPROACH,
    EpisodeState.PHASE_CRITICAL,
    EpisodeState.PHASE_DONE,
)


class World:
    """Robot, executor, inference and operator, as far as the node sees them."""

    def __init__(self, graph: Any) -> None:
        self.graph, self.states, self.reports = graph, [], {}
        node = self.node = graph.node("world")
        node.create_subscription(EpisodeState, "rlt/episode_state", self.states.append, qos.EPISODE_STATE)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_report, 10)
        self._joints = node.create_publisher(JointState, "joint_states", qos.SENSOR_RELIABLE)
        self._events = node.create_publisher(EpisodeEvent, "rlt/episode_event", qos.EPISODE_EVENT)
        self._steps = node.create_publisher(ExecutedStep, "rlt/executed_step", qos.EXECUTED_STEP)
        self._requests = node.create_publisher(ChunkRequest, "rlt/chunk_request", qos.CHUNK_REQUEST)
        self._stops = {
            topic: node.create_publisher(Bool, f"rlt/{topic}", qos.E_STOP)
            for topic in ("e_stop", "hardware_e_stop", "e_stop_state")
        }
        self._learner = node.create_publisher(LearnerStatus, "rlt/learner_status", qos.LEARNER_STATUS)
        self._replay = node.create_publisher(ReplayStatus, "rlt/replay_status", qos.REPLAY_STATUS)
        node.create_publisher(Observation, "rlt/observation", qos.OBSERVATION)
        node.create_publisher(ActionChunk, "rlt/action_chunk", qos.ACTION_CHUNK)
        self._stamp = 1_000_000_000

    def complete(self) -> None:
        """Add the last part of the graph: an executor that commands."""
        self.node.create_publisher(JointState, "joint_command", qos.COMMAND)

    def _on_report(self, message: Any) -> None:
        for status in message.status:
            self.reports[status.name] = {value.key: value.value for value in status.values}

    def listens(self) -> None:
        """Wait until the node hears everything."""
        out = (self._events, self._steps, self._requests, self._learner, self._replay, *self._stops.values())
        self.graph.until(lambda: all(p.get_subscription_count() for p in out), what="the node listens")

    def reaches(self, phase: int, episode: int) -> Any:
        """Wait for a phase of an episode."""

        def found() -> Any:
            return next((s for s in self.states if (s.phase, s.episode) == (phase, episode)), None)

        self.graph.until(found, what=f"phase {phase} of episode {episode}")
        return found()

    def event(self, event: int, *, stamp: int | None = None, episode: int = 0) -> None:
        """Something happens."""
        header = to_header(self._stamp if stamp is None else stamp)
        self._events.publish(EpisodeEvent(header=header, event=event, episode=episode, origin="operator"))

    def steps(self, episode: int, numbers: range, source: int = ExecutedStep.SOURCE_VLA) -> None:
        """Publish executed steps."""
        for number in numbers:
            self._stamp += PERIOD
            self._steps.publish(
                ExecutedStep(header=to_header(self._stamp), episode=episode, step=number, source=source)
            )

    def play(self, episode: int, steps: int = 5, label: int = EpisodeEvent.SUCCESS) -> Any:
        """Run an episode from its reset to its end."""
        self.reaches(RESETTING, episode)
        self.event(EpisodeEvent.RESET_DONE)
        self.reaches(APPROACH, episode)
        self.steps(episode, range(3))
        self.event(EpisodeEvent.HAND_OVER)
        self.reaches(CRITICAL, episode)
        self._requests.publish(ChunkRequest(episode=episode, step=3, phase=CRITICAL))
        self.steps(episode, range(3, 3 + steps), ExecutedStep.SOURCE_ACTOR)
        self.event(label)
        return self.reaches(DONE, episode)

    def learner(self, owed: float) -> None:
        """Publish the update debt of the learner."""
        self._learner.publish(LearnerStatus(state=LearnerStatus.LEARNING, owed=owed, version=1))

    def stored(self, newest: dict[str, int]) -> None:
        """Publish a replay with episodes of several robots, and a learner that has caught up."""
        self._replay.publish(ReplayStatus(rows=3, robots=list(newest), last_episodes=list(newest.values())))
        self._learner.publish(LearnerStatus(state=LearnerStatus.CAUGHT_UP, rows=3, version=1))

    def e_stop(self, pressed: bool, by: str) -> None:
        """Press or release an e-stop."""
        self._stops[by].publish(Bool(data=pressed))

    def joints(self, value: float) -> None:
        """All joints of the arm at one position."""
        values = array("d", [value] * PROFILE.dim)
        self._stamp += PERIOD
        self._joints.publish(
            JointState(
                header=to_header(self._stamp), name=list(PROFILE.joints), position=values, velocity=values
            )
        )

    def counted(self, key: str) -> int:
        """Counter of dropped input."""
        return int(self.reports.get("/episode_node: input", {}).get(key, 0))

    def waits_for(self) -> str:
        """Awaited condition of the next episode."""
        return str(self.reports.get("/episode_node: episode", {}).get("waits_for", ""))


@pytest.fixture
def world(graph: Any) -> World:
    return World(graph)


def test_a_plan_is_done_and_written_down(
    world: World, start_node: Callable[..., Any], tmp_path: Path
) -> None:
    node = start_node(
        "episode_node", out=str(tmp_path), plan=["eval_base:1", "warmup:1"], seed=2, needs_replay=True
    )
    world.listens()
    world.graph.until(lambda: world.waits_for() == "the executor")
    assert world.states == []  # nothing begins in a graph that is not complete
    world.complete()
    first = world.play(1, label=EpisodeEvent.FAILURE)
    assert (first.outcome, first.eval, first.seed, first.reward) == (
        EpisodeState.OUTCOME_FAILURE,
        True,
        900_000_000,
        0.0,
    )
    assert first.instruction == "plug the charger into the power strip"
    second = world.play(2)
    assert (second.outcome, second.eval, second.seed, second.reward, second.steps) == (
        EpisodeState.OUTCOME_SUCCESS,
        False,
        2_000_000,
        1.0,
        5,
    )
    assert to_ns(second.header.stamp) == world._stamp
    # Leaving ends the graph, and with it what the replay has not stored.
    world.graph.until(lambda: world.waits_for() == "episode 2 is not in the replay")
    world.stored({"": 2})
    assert node.process.wait(30) == 0
    lines = [json.loads(line) for line in (tmp_path / "episodes.jsonl").read_text().splitlines()]
    assert [(line["phase"], line["end"], line["steps"]) for line in lines] == [
        ("eval_base", "failure", 5),
        ("online", "success", 5),
    ]


def test_no_episode_begins_before_the_replay_is_in_the_graph(
    world: World, start_node: Callable[..., Any], tmp_path: Path
) -> None:
    world.complete()
    world.node.destroy_publisher(world._replay)
    start_node("episode_node", out=str(tmp_path), plan=["train:5"], needs_replay=True)
    world.graph.until(lambda: world.waits_for() == "the replay")
    assert world.states == []
    world.node.create_publisher(ReplayStatus, "rlt/replay_status", qos.REPLAY_STATUS)
    world.reaches(RESETTING, 1)


def test_a_node_that_was_killed_goes_on_and_closes_what_it_had_begun(
    world: World, start_node: Callable[..., Any], tmp_path: Path
) -> None:
    world.complete()
    node = start_node("episode_node", out=str(tmp_path), plan=["train:5"])
    world.listens()
    world.play(1)
    world.reaches(RESETTING, 2)
    node.end(signal.SIGKILL)
    world.states.clear()
    start_node("episode_node", out=str(tmp_path), plan=["train:5"])
    aborted = world.reaches(DONE, 2)
    assert (aborted.outcome, aborted.steps) == (EpisodeState.OUTCOME_ABORTED, 0)
    again = world.reaches(RESETTING, 3)
    assert again.seed == 1  # the second one of training, since the first one is done


@pytest.mark.parametrize("e_stop", ["e_stop", "hardware_e_stop"])
def test_the_next_episode_waits_for_the_learner_and_for_the_e_stop(
    world: World, start_node: Callable[..., Any], tmp_path: Path, e_stop: str
) -> None:
    world.complete()
    start_node("episode_node", out=str(tmp_path), plan=["train:5"], max_debt=100)
    world.listens()
    world.reaches(RESETTING, 1)
    world.learner(500.0)
    world.play(1)
    world.graph.until(lambda: "500 updates" in world.waits_for())
    assert all(state.episode == 1 for state in world.states)
    world.learner(50.0)
    world.reaches(RESETTING, 2)
    world.e_stop(True, by=e_stop)
    assert world.reaches(DONE, 2).outcome == EpisodeState.OUTCOME_ABORTED
    world.e_stop(False, by=e_stop)
    world.reaches(RESETTING, 3)


@pytest.mark.parametrize("e_stop", ["e_stop", "hardware_e_stop"])
def test_a_release_that_only_the_executor_received_begins_the_next_episode(
    world: World, start_node: Callable[..., Any], tmp_path: Path, e_stop: str
) -> None:
    world.complete()
    start_node("episode_node", out=str(tmp_path), plan=["train:5"])
    world.listens()
    world.reaches(RESETTING, 1)
    world.e_stop(True, by=e_stop)
    world.reaches(DONE, 1)
    world.graph.until(lambda: world.waits_for() == "the release of the e-stop")
    world.event(EpisodeEvent.START)
    world.graph.until(lambda: world.counted("START under the e-stop") == 1)
    assert all(state.episode == 1 for state in world.states)
    world.e_stop(False, by="e_stop_state")
    world.reaches(RESETTING, 2)


def test_an_evaluation_waits_for_what_this_robot_and_not_another_one_has_stored(
    world: World, start_node: Callable[..., Any], tmp_path: Path
) -> None:
    world.complete()
    plan = ["train:1", "eval_rlt:1"]
    start_node("episode_node", out=str(tmp_path), plan=plan, replay_patience=3600.0)
    world.listens()
    world.stored({"other": 9, "": 0})
    world.play(1)
    world.graph.until(lambda: world.waits_for() == "episode 1 is not in the replay")
    world.stored({"other": 9, "": 1})
    assert world.reaches(RESETTING, 2).eval  # the other robot's numbers are its own


def test_events_that_cannot_be_are_counted(
    world: World, start_node: Callable[..., Any], tmp_path: Path
) -> None:
    world.complete()
    start_node("episode_node", out=str(tmp_path), plan=["train:5"])
    world.listens()
    world.reaches(RESETTING, 1)
    world.event(99)
    world.event(EpisodeEvent.SUCCESS)
    world.event(EpisodeEvent.RESET_DONE, episode=8)
    world.event(EpisodeEvent.RESET_DONE, stamp=2_100_000_000 * 10**9)
    kinds = ("unknown event", "SUCCESS out of place", "event of another episode", "event from the future")
    world.graph.until(lambda: all(world.counted(kind) == 1 for kind in kinds))
    assert world.states[-1].phase == RESETTING


def test_a_reset_is_done_only_when_the_arm_is_at_home(
    world: World, start_node: Callable[..., Any], tmp_path: Path
) -> None:
    world.complete()
    values = yaml.safe_load((Path(PROFILE.folder) / f"{PROFILE.name}.yaml").read_text())
    own = tmp_path / "homely.yaml"
    own.write_text(yaml.safe_dump({**values, "name": "homely", "home": [0.1] * PROFILE.dim}))
    start_node("episode_node", robot=str(own), out=str(tmp_path), plan=["train:5"], reset_tolerance=0.01)
    world.listens()
    world.reaches(RESETTING, 1)
    world.event(EpisodeEvent.RESET_DONE)
    world.graph.until(lambda: world.counted("reset not done") >= 1)
    world.graph.until(world._joints.get_subscription_count)
    world.joints(0.2)
    world.event(EpisodeEvent.RESET_DONE)
    world.graph.until(lambda: world.counted("reset not done") >= 2)
    assert world.states[-1].phase == RESETTING
    # Its message and the event come by different ways: ask until both have come.
    while world.states[-1].phase == RESETTING:
        world.joints(0.105)
        world.event(EpisodeEvent.RESET_DONE)
        world.graph.executor.spin_once(timeout_sec=0.1)
    assert world.states[-1].phase == APPROACH


@pytest.mark.parametrize(
    ("parameters", "words"),
    [({"plan": ["dance:3"]}, "eval_base"), ({"task": "juggle"}, "charger"), ({"seed": 900}, "0 to 899")],
)
def test_a_wrong_setting_is_told(
    start_node: Callable[..., Any], tmp_path: Path, parameters: dict[str, Any], words: str
) -> None:
    process = start_node("episode_node", out=str(tmp_path), **parameters)
    assert process.process.wait(30) == 2
    assert words in process.log


def test_a_second_simulator_costs_the_episode_and_none_begins_while_it_is_there(
    world: World, start_node: Callable[..., Any], tmp_path: Path
) -> None:
    world.node.create_publisher(Clock, "/clock", qos.CLOCK)
    node = start_node("episode_node", out=str(tmp_path), plan=["train:5"], use_sim_time=True)
    world.listens()
    world.complete()
    first = world.reaches(RESETTING, 1)
    world.event(EpisodeEvent.RESET_DONE)
    world.reaches(APPROACH, 1)
    other = world.graph.node("other")
    second = other.create_publisher(Clock, "/clock", qos.CLOCK)
    done = world.reaches(DONE, 1)
    assert done.discarded and done.outcome == EpisodeState.OUTCOME_ABORTED
    assert "/clock has 2 publishers" in node.log and "/other" in node.log
    other.destroy_publisher(second)
    again = world.reaches(RESETTING, 2)
    assert again.seed == first.seed
    assert "the other graph is gone" in node.log


def test_events_of_another_run_move_nothing(
    world: World, start_node: Callable[..., Any], tmp_path: Path
) -> None:
    start_node("episode_node", out=str(tmp_path), plan=["train:5"], run_id="ours-1-x")
    world.listens()
    world.complete()
    assert world.reaches(RESETTING, 1).run_id == "ours-1-x"
    world._events.publish(EpisodeEvent(event=EpisodeEvent.ABORT, run_id="theirs-2-y"))
    world.event(EpisodeEvent.RESET_DONE)  # of a person, without an id
    world.reaches(APPROACH, 1)
    assert not any(state.phase == DONE for state in world.states)

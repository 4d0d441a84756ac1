"""Episode state machine of a run: executes the plan, accepts labels, and writes the logbook.

The end of an episode has the stamp of the command of its last step: executed steps with a later stamp do not belong to
it, and the reward is that step's. `steps` counts the critical phase up to there, from the step of its first chunk
request.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from rlt_ros.episodes.learning import LearningProgress, WaitConfig
from rlt_ros.episodes.logbook import Logbook
from rlt_ros.episodes.machine import EpisodeConfig, EpisodeMachine, Event, FinishedEpisode
from rlt_ros.episodes.narration import Narrator
from rlt_ros.episodes.plan import FAILED_APPROACHES, parse_plan
from rlt_ros.episodes.tasks import load_task
from rlt_ros.middleware import Clock, ClockType, Node
from rlt_ros.middleware.messages import (
    Bool,
    ChunkRequest,
    EpisodeEvent,
    EpisodeState,
    ExecutedStep,
    LearnerStatus,
    ReplayStatus,
)
from rlt_ros.replay.stream import EpisodeOutcome, Phase
from rlt_ros.replay.stream import EpisodeState as State
from rlt_ros.rlt.transition import Source
from rlt_ros.robots.profile import load_profile
from rlt_ros.robots.turns import distance
from rlt_ros.ros import qos
from rlt_ros.ros.conversions import to_ns, write_episode
from rlt_ros.ros.diagnostics import OK, WARN, Diagnostics, Dropped, Report
from rlt_ros.ros.e_stop import EStop
from rlt_ros.ros.exclusivity import CLOCK, EPISODE_STATE, duplicate_publishers
from rlt_ros.ros.joint_input import ArmState, JointInput
from rlt_ros.ros.parameters import declare
from rlt_ros.ros.run import NodeConfigurationError, ShutdownRequested, run_node
from rlt_ros.ros.settings import EpisodeNodeConfig, Setup
from rlt_ros.ros.topics import Topics

_TIMEOUT_POLL = 0.05
"""s, polling period of the time-outs."""
_MAX_AHEAD = 1_000_000_000
"""ns that the stamp of an event may be ahead of this clock."""
_EXCLUSIVITY_PERIOD = 1.0
"""s between two checks for another graph."""
_DELIVERY_TIME = 1.0
"""s from the last message to the exit, so that the message is delivered."""


class EpisodeNode(Node):
    """Episode machine and logbook in the graph."""

    def __init__(self) -> None:
        super().__init__("episode_node")
        setup, config = declare(self, "", Setup), declare(self, "", EpisodeNodeConfig)
        profile, task = load_profile(setup.robot), load_task(setup.task)
        self._task, self._config, self._home = task, config, profile.home
        self._progress = LearningProgress(declare(self, "", WaitConfig))
        folder = Path(config.out)
        self._logbook = Logbook(
            folder, parse_plan(config.plan), task, seed=config.seed, hz=profile.control_hz
        )
        diagnostics = Diagnostics(self)
        self._dropped = Dropped(diagnostics)
        diagnostics.add("episode", self._report)
        self._machine = EpisodeMachine(declare(self, "", EpisodeConfig), self._dropped.add)
        self._seen_in_replay = 0
        self._waits_for = ""
        self._published = time.monotonic()  # time of the newest published state, s
        self._arm: np.ndarray[Any, Any] | None = None
        self._continuous = profile.continuous if profile.home is not None else None

        topics = Topics(self, diagnostics)
        self._out = topics.publisher(EpisodeState, "rlt/episode_state", qos.EPISODE_STATE)
        topics.subscription(EpisodeEvent, "rlt/episode_event", self._on_event, qos.EPISODE_EVENT)
        topics.subscription(ExecutedStep, "rlt/executed_step", self._on_executed, qos.EXECUTED_STEP)
        topics.subscription(ChunkRequest, "rlt/chunk_request", self._on_request, qos.CHUNK_REQUEST)
        topics.subscription(ReplayStatus, "rlt/replay_status", self._on_replay, qos.REPLAY_STATUS)
        topics.subscription(LearnerStatus, "rlt/learner_status", self._on_learner, qos.LEARNER_STATUS)
        e_stop = EStop(self._on_e_stop)
        topics.subscription(Bool, "rlt/e_stop", e_stop.on_button, qos.E_STOP, any_qos=True)
        topics.subscription(Bool, "rlt/hardware_e_stop", e_stop.on_hardware, qos.E_STOP, any_qos=True)
        topics.subscription(Bool, "rlt/e_stop_state", e_stop.on_state, qos.E_STOP)
        if self._home is not None:
            sensors = qos.sensor(reliable=profile.reliable_sensors)
            JointInput(self, topics, profile, sensors, self._dropped, self._on_joints)
        self._needed = {
            "the robot": profile.drivers[0].joint_states,
            "perception": "rlt/observation",
            "inference": "rlt/action_chunk",
            "the executor": profile.drivers[0].command.topic,
            **({"the replay": "rlt/replay_status"} if config.needs_replay else {}),
        }
        simulated = bool(self.get_parameter("use_sim_time").value)
        joint_states = (part.joint_states for part in profile.drivers)
        exclusive = (EPISODE_STATE, CLOCK, *joint_states) if simulated else (EPISODE_STATE,)
        self._exclusive_topics = [self.resolve_topic_name(topic) for topic in exclusive]
        self._other_graph = ""
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(_TIMEOUT_POLL, self._check_timeouts, clock=steady)
        self.create_timer(_EXCLUSIVITY_PERIOD, self._check_exclusivity, clock=steady)
        if self._logbook.interrupted is not None:
            self._close_interrupted(self._logbook.interrupted)
        self._narrator = Narrator(self._logbook.goals, self._logbook.records)
        self.get_logger().info(f"{self._narrator.opening(self._logbook.records)}; {folder}/episodes.jsonl")

    def destroy_node(self) -> None:
        """Close the logbook and destroy the node."""
        self._logbook.close()
        super().destroy_node()

    def _on_event(self, message: Any) -> None:
        now, stamp = self._ros_time(), to_ns(message.header.stamp)
        try:
            event = Event(message.event)
        except ValueError:
            self._dropped.add("unknown event", f"number {message.event}")
            return
        if now and stamp - now > _MAX_AHEAD:
            self._dropped.add(
                "event from the future",
                f"{event.name} stamped {(stamp - now) * 1e-9:.3f} s ahead of the clock of this node",
            )
            return
        if event is Event.RESET_DONE and not self._is_home():
            return
        self._machine.event(
            event,
            stamp=stamp or now,
            now=time.monotonic(),
            episode=message.episode,
            reason=": ".join(filter(None, (message.origin, message.reason))),
        )
        self._advance()

    def _on_executed(self, message: Any) -> None:
        try:
            source = Source(message.source)
        except ValueError:
            self._dropped.add("bad executed step", f"source {message.source}")
            return
        self._machine.step(
            message.episode, message.step, to_ns(message.header.stamp), source, time.monotonic()
        )
        self._publish_results()

    def _on_request(self, message: Any) -> None:
        critical = message.phase == ChunkRequest.PHASE_CRITICAL
        self._machine.chunk_requested(message.episode, message.step, critical=critical)

    def _on_replay(self, message: Any) -> None:
        newest = dict(zip(message.robots, message.last_episodes, strict=False))
        self._seen_in_replay = int(newest.get(self.get_namespace().strip("/"), 0))
        self._progress.replay_status(rows=message.rows, newest=self._seen_in_replay)

    def _on_learner(self, message: Any) -> None:
        busy = message.state == LearnerStatus.LEARNING
        self._progress.learner_status(
            owed=message.owed, busy=busy, rows=message.rows, version=message.version
        )

    def _on_e_stop(self, pressed: bool) -> None:
        self._machine.e_stop(pressed)
        if pressed:
            self.get_logger().warning(
                "e-stop pressed: no episode begins until it is released, by `false` on rlt/e_stop or by the robot's "
                "circuit on rlt/hardware_e_stop"
            )
        else:
            self.get_logger().info(
                f"e-stop released; {self._machine.awaited_input or 'the next episode begins'}"
            )
        self._publish_results()

    def _on_joints(self, state: ArmState) -> None:
        self._arm = state.positions

    def _check_timeouts(self) -> None:
        self._machine.tick(self._ros_time(), time.monotonic())
        self._advance()

    def _check_exclusivity(self) -> None:
        """Discard the running episode when another graph appears, and start none until it is gone."""
        before, self._other_graph = self._other_graph, duplicate_publishers(self, self._exclusive_topics)
        if self._other_graph == before:
            return
        if not self._other_graph:
            self.get_logger().info("the other graph is gone")
            return
        self.get_logger().error(
            f"another graph is in this domain: {self._other_graph}. Stop one of them; no episode starts until then"
        )
        if self._machine.running:
            reason = f"another graph: {self._other_graph}"
            self._machine.event(Event.RE_RECORD, stamp=self._ros_time(), now=time.monotonic(), reason=reason)
            self._publish_results()

    def _advance(self) -> None:
        """Publish the results of the input, and start the next episode if nothing blocks it."""
        self._publish_results()
        if not self._machine.may_begin:
            self._waits_for = self._machine.awaited_input
            return
        stage, now = self._logbook.stage, time.monotonic()
        newest = self._logbook.newest_stored
        if stage is None:
            self._waits_for = self._unstored(newest, now) or self._progress.backlog(newest=newest, now=now)
            if not self._waits_for and now - self._published > _DELIVERY_TIME:
                raise ShutdownRequested("the plan is done")
            return
        if self._logbook.failed_approaches() >= FAILED_APPROACHES:
            raise NodeConfigurationError(
                f"the VLA did not reach the critical phase in {FAILED_APPROACHES} successive episodes; train it "
                "longer, or start episodes at the critical phase (`start` of sim_node)"
            )
        block_reason = self._progress.block_reason(stage.kind, newest=newest, now=now)
        self._waits_for = self._other_graph or block_reason or self._missing()
        if self._waits_for:
            return
        assignment = self._logbook.next(above=self._seen_in_replay)
        assert assignment is not None
        self._machine.begin(assignment, self._ros_time(), now)
        self._publish_results()

    def _publish_results(self) -> None:
        for state in self._machine.take_states():
            self._out.publish(write_episode(state))
            self._published = time.monotonic()
        for done in self._machine.take_finished():
            self._log_episode(done)

    def _log_episode(self, done: FinishedEpisode) -> None:
        record = self._logbook.note(done)
        text = (
            f"episode {done.assignment.episode} ({done.assignment.kind.value}): {done.outcome.name.lower()}"
        )
        why = f" ({done.reason})" if done.reason else ""
        if record is None:
            self.get_logger().warning(f"{text}{why}; not counted")
        else:
            # The reason of a time-out or of a success by task rules repeats the outcome.
            reason = done.reason if done.outcome in (EpisodeOutcome.FAILURE, EpisodeOutcome.ABORTED) else ""
            for line in self._narrator.after(self._logbook.records, reason):
                self.get_logger().info(line)

    def _close_interrupted(self, episode: int) -> None:
        """Announce the end of the episode that a crash of this node interrupted."""
        stamp = self._ros_time()
        ended = State(episode, Phase.DONE, EpisodeOutcome.ABORTED, task=self._task.name, stamp=stamp)
        self._out.publish(write_episode(ended))
        self.get_logger().warning(f"episode {episode} was interrupted by the end of this node; not counted")

    def _unstored(self, newest: int, now: float) -> str:
        """Text with an episode that the replay has not stored yet; empty without one. Exiting now would cut it."""
        if not self._config.needs_replay:
            return ""
        return self._progress.missing_episode(newest=newest, now=now)

    def _missing(self) -> str:
        """Name of a missing part of the graph; empty if complete."""
        for part, topic in self._needed.items():
            if not self.count_publishers(self.resolve_topic_name(topic)):
                return part
        return ""

    def _is_home(self) -> bool:
        """Return True if the arm is at the start position; otherwise the reset is incomplete despite RESET_DONE."""
        if self._home is None or self._config.reset_tolerance == 0.0:
            return True
        if self._arm is None:
            self._dropped.add("reset not done", "no joint state received")
            return False
        far = float(distance(self._arm, np.array(self._home), self._continuous).max())
        if far > self._config.reset_tolerance:
            self._dropped.add(
                "reset not done",
                f"a joint is {far:.3f} rad from `home`; bring the arm within {self._config.reset_tolerance:g} rad",
            )
            return False
        return True

    def _ros_time(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _report(self) -> Report:
        state = self._machine.state
        values = {
            "episode": state.episode,
            "phase": state.phase.name,
            "robot_minutes": self._logbook.robot_minutes,
            "progress": self._logbook.progress(),
            "waits_for": self._waits_for,
        }
        if self._machine.stop_reason:
            return WARN, self._machine.stop_reason, values
        return OK, f"waiting for {self._waits_for}" if self._waits_for else state.phase.name.lower(), values


def main() -> int:
    """Run the node."""
    return run_node(EpisodeNode)


if __name__ == "__main__":
    sys.exit(main())

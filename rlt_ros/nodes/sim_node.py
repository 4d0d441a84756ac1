"""Simulated robot on the topics of its profile, with the rules of its task.

In lock-step every control step waits for the command with the stamp of its joint state, so the speed of the computer
affects the duration only. Between episodes simulated time stands still. An event (hand-over, success, failure) is
published before the joint state of the same time, which waits for the answer: nothing is executed after the step that
mated, and its stamp is the event's.

Without lock-step time runs at a multiple of real time, and the newest command holds.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np

from rlt_ros.episodes.tasks import load_task
from rlt_ros.middleware import Clock as NodeClock
from rlt_ros.middleware import ClockType, Node
from rlt_ros.middleware.arrays import pack
from rlt_ros.middleware.messages import (
    ChunkRequest,
    Clock,
    EpisodeEvent,
    EpisodeState,
    ExecutedStep,
    Intervention,
    JointState,
)
from rlt_ros.replay.stream import EpisodeState as Episode
from rlt_ros.replay.stream import Phase
from rlt_ros.robots.intervention import Intervention as Human
from rlt_ros.robots.intervention import TakeOver
from rlt_ros.robots.profile import RobotProfile, load_profile
from rlt_ros.ros import qos
from rlt_ros.ros.cameras import camera_type, write_camera
from rlt_ros.ros.conversions import read_episode, to_header, to_ns, to_time, write_intervention
from rlt_ros.ros.diagnostics import OK, WARN, Diagnostics, Dropped, Report
from rlt_ros.ros.drivers import command_stamp, read_driver_command, subscribe_commands
from rlt_ros.ros.parameters import declare
from rlt_ros.ros.run import run_node
from rlt_ros.ros.settings import Setup, SimConfig
from rlt_ros.ros.topics import Topics
from rlt_ros.sim.opengl import OpenGLMissing, ensure_opengl
from rlt_ros.store.parameters import ConfigError

_ACTING = (Phase.APPROACH, Phase.CRITICAL)
_DEVICE = "script"
"""Device of the simulated human."""
_CLOCK_PERIOD = 0.5
"""s between two `/clock` messages while time stands still, for late joiners."""
_LATCHED_TIME = 0.3
"""s after the first episode state in which earlier latched ones arrive."""
_TIMEOUT_POLL = 0.05
"""s, polling period of the time-outs."""


class SimNode(Node):
    """Sensors of the simulated robot out, commands in."""

    def __init__(self) -> None:
        super().__init__("sim_node")
        setup, config = declare(self, "", Setup), declare(self, "", SimConfig)
        self._config, self._profile = config, load_profile(setup.robot)
        task = load_task(setup.task).name
        self._session = _session(task, self._profile, config)
        diagnostics = Diagnostics(self)
        self._dropped = Dropped(diagnostics)
        diagnostics.add("simulation", self._report)
        topics = Topics(self, diagnostics)
        self._clock_out = topics.publisher(Clock, "/clock", qos.CLOCK)
        self._joints_out = topics.publisher(JointState, self._profile.joint_states, qos.SENSOR_RELIABLE)
        self._images_out = {
            name: topics.publisher(camera_type(camera), camera.topic, qos.SENSOR_RELIABLE)
            for name, camera in self._profile.cameras.items()
        }
        self._events_out = topics.publisher(EpisodeEvent, "rlt/episode_event", qos.EPISODE_EVENT)
        self._human_out = topics.publisher(Intervention, "rlt/intervention", qos.INTERVENTION)

        self._episode = Episode(0, Phase.IDLE)
        self._scene = 0  # episode of the current scene; 0 before the first
        self._awaits_approach = False  # after a reset, before the approach
        self._reset_done = (0, 0)  # episode and stamp of the newest completed reset
        self._joined: float | None = None  # arrival of the first episode state, s
        self._following = False
        self._waiting = False  # lock-step: joint state published, command pending
        self._pending: tuple[int, str] | None = None  # episode and unanswered event
        self._since = time.monotonic()  # start of either wait, s
        self._clock_sent = 0.0
        self._pictures_sent = 0  # stamp
        self._requests_overlap = (
            False  # requests come while the arm moves: a picture on request would be too late
        )
        self._actor_acts = False
        self._steps = self._unanswered = 0
        self._reported = (0, time.monotonic())

        topics.subscription(EpisodeState, "rlt/episode_state", self._on_episode, qos.EPISODE_STATE)
        (self._driver,) = self._profile.drivers
        subscribe_commands(topics, self._driver, self._on_command)
        topics.subscription(ChunkRequest, "rlt/chunk_request", self._on_request, qos.CHUNK_REQUEST)
        if config.operator == "scripted":
            topics.subscription(ExecutedStep, "rlt/executed_step", self._on_step, qos.EXECUTED_STEP)
        steady = NodeClock(clock_type=ClockType.STEADY_TIME)
        if config.lock_step:
            self.create_timer(_TIMEOUT_POLL, self._check_timeouts, clock=steady)
        else:
            seconds = 1.0 / self._profile.control_hz / config.real_time_factor
            self.create_timer(seconds, self._run, clock=steady)
        self.get_logger().info(
            f"task {task}, "
            + ("in lock-step" if config.lock_step else f"{config.real_time_factor:g} times real time")
        )

    def _on_episode(self, message: Any) -> None:
        try:
            state = read_episode(message)
        except ValueError as error:
            self._dropped.add("bad episode state", str(error))
            return
        before, self._episode = self._episode, state
        if self._joined is None:
            self._joined = time.monotonic()
        if self._following:
            self._follow(before)

    def _start_following(self) -> None:
        """Process the newest episode state after all latched ones have arrived."""
        if self._joined is not None and time.monotonic() - self._joined > _LATCHED_TIME:
            self._following = True
            self._follow(Episode(0, Phase.IDLE))

    def _follow(self, before: Episode) -> None:
        state = self._episode
        self._awaits_approach = self._awaits_approach and state.phase not in _ACTING
        if state.phase is Phase.RESETTING:
            if (state.episode, state.stamp) != self._reset_done:
                self._reset(state)
            self._publish_event(EpisodeEvent.RESET_DONE, self._session.stamp, f"seed {state.seed}")
        elif state.phase not in _ACTING:
            self._waiting, self._pending = False, None
            self._publish_released()
        elif state.episode != self._scene:
            self._publish_event(EpisodeEvent.ABORT, self._session.stamp, "the simulator was restarted")
        elif state.phase is not before.phase or state.episode != before.episode:
            self._pending = None
            if state.phase is Phase.CRITICAL:
                self._session.expose_cameras()
                self._session.start_supervision()
            if self._config.lock_step and not self._waiting:
                self._advance()

    def _reset(self, state: Episode) -> None:
        self._waiting, self._pending, self._actor_acts, self._awaits_approach = False, None, False, True
        self._session.reset(state.seed)
        self._scene, self._reset_done = state.episode, (state.episode, state.stamp)
        self._publish_time()
        self._publish_released()

    def _on_command(self, message: Any) -> None:
        now = self._session.stamp
        stamp = command_stamp(message) or now  # a command without stamp is for now
        if self._config.lock_step and not self._waiting:
            # Between episodes, or before the answer to an event: time stands still.
            return
        if self._awaits_approach:
            # A command for the position before the reset.
            return
        if self._config.lock_step and stamp != now:
            self._dropped.add("command for another step", f"stamp {stamp} ns at {now} ns")
            return
        try:
            foreign = self._session.command(*read_driver_command(self._driver, message), stamp)
        except ValueError as error:
            self._dropped.add("bad command", str(error))
            return
        if foreign:
            self._dropped.add("unknown joint in a command", ", ".join(foreign))
        if self._config.lock_step:
            self._step()

    def _on_request(self, message: Any) -> None:
        """Publish pictures for a chunk request. In lock-step they must be of this step, since the arm waits for it."""
        lock_step, stamp = self._config.lock_step, self._session.stamp
        if message.episode != self._episode.episode:
            return
        overlap = message.boundary == ChunkRequest.BOUNDARY_OVERLAP
        if lock_step and not overlap and (not self._waiting or to_ns(message.header.stamp) != stamp):
            # A repeated request for an earlier step.
            return
        on_request = self._on_request_only if overlap else lock_step
        if on_request and self._pictures_sent != stamp:
            self._session.expose_cameras()
            self._publish_pictures()
        self._requests_overlap = self._requests_overlap or overlap
        if self._actor_acts and not self._episode.eval and not self._session.human_acts:
            self._session.help_if_stuck()
            if self._session.human_acts and lock_step:
                self._publish_human()

    def _on_step(self, message: Any) -> None:
        if message.episode == self._episode.episode and message.source == ExecutedStep.SOURCE_ACTOR:
            self._actor_acts = True

    def _check_timeouts(self) -> None:
        """Continue after time-outs of commands and answers."""
        now = time.monotonic()
        if not self._following:
            self._start_following()
        elif self._pending and now - self._since > self._config.answer_timeout:
            self._dropped.add("unanswered event", f"{self._pending[1]} of episode {self._pending[0]}")
            self._pending = None
            self._publish_step()
        elif self._waiting and now - self._since > self._config.command_timeout:
            self._unanswered += 1
            self.get_logger().warning(
                f"no command for {self._config.command_timeout:g} s; the arm holds", throttle_duration_sec=5.0
            )
            self._step()
        elif now - self._clock_sent > _CLOCK_PERIOD:
            self._publish_time()

    def _step(self) -> None:
        """Simulate one control period in lock-step, then publish its result."""
        self._waiting = False
        self._session.step()
        self._steps += 1
        self._advance()

    def _advance(self) -> None:
        """Publish an event of the task rules, or else the next sensor data."""
        if not self._publish_event_if_due():
            self._publish_step()

    def _publish_step(self) -> None:
        """Publish time, joint state and pictures; in lock-step wait for the command."""
        self._waiting, self._since = self._episode.phase in _ACTING, time.monotonic()
        self._publish_time()
        if self._config.operator == "scripted":
            self._publish_human()
        self._publish_joints()
        if self._session.cameras_due and not self._on_request_only:
            self._publish_pictures()

    @property
    def _on_request_only(self) -> bool:
        """Return True if pictures are needed on request only."""
        stored = self._episode.phase is Phase.CRITICAL and not self._episode.eval
        spares = self._config.spare_pictures and not self._requests_overlap
        return self._config.lock_step and spares and not stored

    def _run(self) -> None:
        """Simulate one control period without lock-step."""
        if not self._following:
            self._start_following()
        self._session.step()
        self._steps += 1
        if self._pending and time.monotonic() - self._since > self._config.answer_timeout:
            self._pending = None
        if self._episode.episode == self._scene and not self._pending:
            self._publish_event_if_due()
        self._publish_step()

    def _publish_event_if_due(self) -> bool:
        """Publish an event of the task rules once; return True if there is one."""
        event = self._session.task_event(self._episode.phase)
        if event is None:
            return False
        self._pending, self._since = (self._episode.episode, event.name), time.monotonic()
        stamp = self._session.event_stamp(event)
        self._publish_event(getattr(EpisodeEvent, event.name), stamp, event.value)
        return True

    def _publish_event(self, event: int, stamp: int, reason: str) -> None:
        self._events_out.publish(
            EpisodeEvent(
                header=to_header(stamp),
                event=event,
                episode=self._episode.episode,
                origin="task",
                reason=reason,
            )
        )

    def _publish_time(self) -> None:
        self._clock_sent = time.monotonic()
        self._clock_out.publish(Clock(clock=to_time(self._session.stamp)))

    def _publish_joints(self) -> None:
        sample = self._session.joints()
        self._joints_out.publish(
            JointState(
                header=to_header(sample.stamp, self._profile.base_frame),
                name=list(self._session.joint_names),
                position=pack(sample.position),
                velocity=pack(sample.velocity),
            )
        )

    def _publish_pictures(self) -> None:
        self._pictures_sent = self._session.stamp
        pictures = self._session.pictures()
        for name, publisher in self._images_out.items():
            header = to_header(self._session.stamp, f"{name}_optical_frame")
            publisher.publish(write_camera(pictures[name], self._profile.cameras[name], header))

    def _publish_human(self) -> None:
        command = self._session.human_command()
        if command is None:
            self._publish_released()
            return
        self._human_out.publish(
            write_intervention(Human(TakeOver.ENGAGED, 1.0, command, _DEVICE, self._session.stamp))
        )

    def _publish_released(self) -> None:
        if self._config.operator == "scripted":
            human = Human(TakeOver.RELEASED, 0.0, np.zeros(0), _DEVICE, self._session.stamp)
            self._human_out.publish(write_intervention(human))

    def _report(self) -> Report:
        now = time.monotonic()
        (steps, since), self._reported = self._reported, (self._steps, now)
        factor = (self._steps - steps) / self._profile.control_hz / max(now - since, 1e-9)
        values = {
            "real_time_factor": factor,
            "steps": self._steps,
            "stamp_s": self._session.stamp * 1e-9,
            "steps_without_command": self._unanswered,
            "episode": self._scene,
        }
        if self._waiting and now - self._since > self._config.command_timeout / 2:
            return WARN, "waits for a command", values
        return OK, "", values


def _session(task: str, profile: RobotProfile, config: SimConfig) -> Any:
    try:
        # Before the modules below import MuJoCo.
        ensure_opengl()
    except OpenGLMissing as error:
        raise ConfigError(str(error)) from error
    from rlt_ros.sim.scripted_operator import ScriptedOperator
    from rlt_ros.sim.simulated_robot import SimulatedRobot
    from rlt_ros.sim.station import station
    from rlt_ros.sim.tasks import simulated
    from rlt_ros.sim.workcell import Start, Workcell

    workcell = Workcell(simulated(task), station(profile), image_size=config.image_size)
    return SimulatedRobot(
        workcell,
        start=Start(config.start),
        camera_every=config.camera_every,
        operator=ScriptedOperator(workcell) if config.operator == "scripted" else None,
    )


def main() -> int:
    """Run the node."""
    return run_node(SimNode)


if __name__ == "__main__":
    sys.exit(main())

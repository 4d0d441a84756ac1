"""A simulated robot behind the topics of its profile, and the judge of its task.

In lock-step every control step waits for the command that carries the stamp of its joint state, so that a slow computer
changes nothing but the duration. Between episodes time stands still then. An event (hand-over, success, failure) is
published before the joint state of the moment that it happened in, and that joint state waits for the answer: nothing
is executed after the step that mated, and its stamp is the event's.

Without lock-step time runs at a multiple of the real one, and the newest command holds.
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
from rlt_ros.nodes import qos
from rlt_ros.nodes.cameras import camera_type, write_camera
from rlt_ros.nodes.conversions import read_episode, to_header, to_ns, to_time, write_intervention
from rlt_ros.nodes.diagnostics import OK, WARN, Diagnostics, Dropped, Report
from rlt_ros.nodes.drivers import command_stamp, read_driver_command, subscribe_commands
from rlt_ros.nodes.parameters import declare
from rlt_ros.nodes.run import run_node
from rlt_ros.nodes.settings import Setup, SimConfig
from rlt_ros.nodes.topics import Topics
from rlt_ros.rlt.parameters import ConfigError
from rlt_ros.rlt.stream import EpisodeState as Episode
from rlt_ros.rlt.stream import Phase
from rlt_ros.robots.intervention import Intervention as Human
from rlt_ros.robots.intervention import TakeOver
from rlt_ros.robots.profile import RobotProfile, load_profile
from rlt_ros.sim.opengl import OpenGLMissing, ensure_opengl

_ACTING = (Phase.APPROACH, Phase.CRITICAL)
_DEVICE = "script"  # of the simulated human
_HEARTBEAT = 0.5  # s between two `/clock` messages while time stands still, for nodes that join
_SETTLING = 0.3  # s after the first episode state, in which those come that were latched before
_WATCH = 0.05  # s between two looks at what has been waited for too long


class SimNode(Node):
    """Publishes what the robot senses and takes its commands."""

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
        self._scene = 0  # episode that the scene was set up for; 0 before the first
        self._untouched = False  # a reset put the arm somewhere, and nobody acts yet
        self._reset_done = (0, 0)  # episode and stamp of the newest reset order that was carried out
        self._joined: float | None = None  # when the first episode state came, s
        self._settled = False
        self._waiting = False  # lock-step: the joint state is out, its command has not come
        self._asked: tuple[int, str] | None = None  # episode and event that no answer has come to
        self._since = time.monotonic()  # of either
        self._clock_sent = 0.0
        self._pictures_sent = 0  # stamp
        self._asked_ahead = False  # chunks are asked for while the arm goes on: a picture would come too late
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
            self.create_timer(_WATCH, self._check_waits, clock=steady)
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
        if self._settled:
            self._follow(before)

    def _settle(self) -> None:
        """Act on the episode state once the ones that were latched before have come, and not on each of these."""
        if self._joined is not None and time.monotonic() - self._joined > _SETTLING:
            self._settled = True
            self._follow(Episode(0, Phase.IDLE))

    def _follow(self, before: Episode) -> None:
        state = self._episode
        self._untouched = self._untouched and state.phase not in _ACTING
        if state.phase is Phase.RESETTING:
            if (state.episode, state.stamp) != self._reset_done:
                self._reset(state)
            self._event(EpisodeEvent.RESET_DONE, self._session.stamp, f"seed {state.seed}")
        elif state.phase not in _ACTING:
            self._waiting, self._asked = False, None
            self._say_released()
        elif state.episode != self._scene:
            self._event(EpisodeEvent.ABORT, self._session.stamp, "the simulator was restarted")
        elif state.phase is not before.phase or state.episode != before.episode:
            self._asked = None
            if state.phase is Phase.CRITICAL:
                self._session.expose_cameras()
                self._session.start_supervision()
            if self._config.lock_step and not self._waiting:
                self._go_on()

    def _reset(self, state: Episode) -> None:
        self._waiting, self._asked, self._actor_acts, self._untouched = False, None, False, True
        self._session.reset(state.seed)
        self._scene, self._reset_done = state.episode, (state.episode, state.stamp)
        self._say_time()
        self._say_released()

    def _on_command(self, message: Any) -> None:
        now = self._session.stamp
        stamp = command_stamp(message) or now  # who sends no stamp means now
        if self._config.lock_step and not self._waiting:
            return  # between episodes, or an event's answer is waited for: time stands still
        if self._untouched:
            return  # it holds the arm where it was before the reset
        if self._config.lock_step and stamp != now:
            self._dropped.add("command for another step", f"stamp {stamp} ns at {now} ns")
            return
        try:
            foreign = self._session.command(*read_driver_command(self._driver, message), stamp)
        except ValueError as error:
            self._dropped.add("bad command", str(error))
            return
        if foreign:
            self._dropped.add("joint that is not commanded here", ", ".join(foreign))
        if self._config.lock_step:
            self._step()

    def _on_request(self, message: Any) -> None:
        """The policy decides anew. In lock-step it needs pictures of just this moment, where the arm waits for it."""
        lock_step, stamp = self._config.lock_step, self._session.stamp
        if message.episode != self._episode.episode:
            return
        goes_on = message.boundary == ChunkRequest.BOUNDARY_OVERLAP
        if lock_step and not goes_on and (not self._waiting or to_ns(message.header.stamp) != stamp):
            return  # asked again, of a moment that is gone
        lacking = self._on_request_only if goes_on else lock_step
        if lacking and self._pictures_sent != stamp:
            self._session.expose_cameras()
            self._say_pictures()
        self._asked_ahead = self._asked_ahead or goes_on
        if self._actor_acts and not self._episode.eval and not self._session.human_acts:
            self._session.help_if_stuck()
            if self._session.human_acts and lock_step:
                self._say_human()

    def _on_step(self, message: Any) -> None:
        if message.episode == self._episode.episode and message.source == ExecutedStep.SOURCE_ACTOR:
            self._actor_acts = True

    def _check_waits(self) -> None:
        """Go on without what did not come."""
        now = time.monotonic()
        if not self._settled:
            self._settle()
        elif self._asked and now - self._since > self._config.answer_timeout:
            self._dropped.add("event without an answer", f"{self._asked[1]} of episode {self._asked[0]}")
            self._asked = None
            self._present()
        elif self._waiting and now - self._since > self._config.command_timeout:
            self._unanswered += 1
            self.get_logger().warning(
                f"no command for {self._config.command_timeout:g} s; the arm holds", throttle_duration_sec=5.0
            )
            self._step()
        elif now - self._clock_sent > _HEARTBEAT:
            self._say_time()

    def _step(self) -> None:
        """One control period in lock-step, then what it led to."""
        self._waiting = False
        self._session.step()
        self._steps += 1
        self._go_on()

    def _go_on(self) -> None:
        """Ask for the next command, or first tell what the task's rules say about this moment."""
        if not self._judge():
            self._present()

    def _present(self) -> None:
        """Show this moment; in lock-step its command is waited for from here on."""
        self._waiting, self._since = self._episode.phase in _ACTING, time.monotonic()
        self._say_time()
        if self._config.operator == "scripted":
            self._say_human()
        self._say_joints()
        if self._session.cameras_due and not self._on_request_only:
            self._say_pictures()

    @property
    def _on_request_only(self) -> bool:
        """Return whether nobody looks at a picture that was not asked for."""
        stored = self._episode.phase is Phase.CRITICAL and not self._episode.eval
        spares = self._config.spare_pictures and not self._asked_ahead
        return self._config.lock_step and spares and not stored

    def _run(self) -> None:
        """One control period without lock-step."""
        if not self._settled:
            self._settle()
        self._session.step()
        self._steps += 1
        if self._asked and time.monotonic() - self._since > self._config.answer_timeout:
            self._asked = None
        if self._episode.episode == self._scene and not self._asked:
            self._judge()
        self._present()

    def _judge(self) -> bool:
        """Publish the event that the task's rules see, once; whether there was one."""
        verdict = self._session.task_event(self._episode.phase)
        if verdict is None:
            return False
        # The hand-over is a state to act in; success and failure were caused by the command before it.
        stamp = self._session.stamp if verdict.name == "HAND_OVER" else self._session.command_stamp
        self._asked, self._since = (self._episode.episode, verdict.name), time.monotonic()
        self._event(getattr(EpisodeEvent, verdict.name), stamp, verdict.value)
        return True

    def _event(self, event: int, stamp: int, reason: str) -> None:
        self._events_out.publish(
            EpisodeEvent(
                header=to_header(stamp),
                event=event,
                episode=self._episode.episode,
                origin="task",
                reason=reason,
            )
        )

    def _say_time(self) -> None:
        self._clock_sent = time.monotonic()
        self._clock_out.publish(Clock(clock=to_time(self._session.stamp)))

    def _say_joints(self) -> None:
        sample = self._session.joints()
        self._joints_out.publish(
            JointState(
                header=to_header(sample.stamp, self._profile.base_frame),
                name=list(self._session.joint_names),
                position=pack(sample.position),
                velocity=pack(sample.velocity),
            )
        )

    def _say_pictures(self) -> None:
        self._pictures_sent = self._session.stamp
        pictures = self._session.pictures()
        for name, publisher in self._images_out.items():
            header = to_header(self._session.stamp, f"{name}_optical_frame")
            publisher.publish(write_camera(pictures[name], self._profile.cameras[name], header))

    def _say_human(self) -> None:
        command = self._session.human_command()
        if command is None:
            self._say_released()
            return
        self._human_out.publish(
            write_intervention(Human(TakeOver.ENGAGED, 1.0, command, _DEVICE, self._session.stamp))
        )

    def _say_released(self) -> None:
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
        ensure_opengl()  # before MuJoCo is imported, which the modules below do
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

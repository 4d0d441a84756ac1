"""``rlt-ros bench safety``: no wrong motion with any driver, hand, policy and operator.

Tracker, controller and command writers of a profile run against a random driver and a random graph, and every command
is checked against docs/explanation/commands.md.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlt_ros.acting.config import BLOCK, OVERLAP, ControlConfig
from rlt_ros.acting.controller import Controller
from rlt_ros.acting.records import Command, InputRefused
from rlt_ros.bench.command_audit import Audit, CommandAuditor
from rlt_ros.bench.faulty_driver import FaultyDriver, Report
from rlt_ros.bench.random_graph import RandomGraph
from rlt_ros.robots.commands import CommandWriter, read_command
from rlt_ros.robots.joint_tracking import JointStateRejected, JointTracker
from rlt_ros.robots.profile import RobotProfile, load_profile, profile_names

Array = NDArray[np.float64]

# Control steps of a random run.
_RUN_STEPS = 2000


class Arm:
    """Tracker, controller and command writers of a profile, connected like in `executor_node`.

    Args:
        profile: of the robot.
        rng: random generator.
        audit: receives the figures.
    """

    def __init__(self, profile: RobotProfile, rng: np.random.Generator, audit: Audit) -> None:
        self._profile, self._rng = profile, rng
        self._joints = profile.tracked_joints
        self._period = round(1e9 / profile.control_hz)
        config = ControlConfig(boundary=str(rng.choice([BLOCK, OVERLAP])))
        self.controller = Controller.of_robot(config, profile, profile.kinematics())
        limits = self.controller.limits
        self._tracker = JointTracker(self._joints)
        self._writers = [CommandWriter(part, 1.0 / profile.control_hz) for part in profile.drivers]
        self.driver = FaultyDriver(self._joints, 1.0 / profile.control_hz, rng)
        self.graph = RandomGraph(self.controller, rng)
        limits = dataclasses.replace(limits.with_held(len(profile.held)), continuous=self._joints.continuous)
        self._auditor = CommandAuditor(limits, self.driver, self.graph, audit)
        self._now = 10**12

    def run(self, steps: int) -> None:
        """Check a number of control steps."""
        for _ in range(steps):
            self._now += self._period * (1 if self._rng.random() < 0.99 else int(self._rng.integers(2, 12)))
            self._disturb()
            for report in self.driver.step():
                self._sense(report)
            self._auditor.record_position(self._now)
            starts = self.graph.starts
            takes_over = self.graph.step(self._now, self.driver.clock)
            self._auditor.update_deceived(began=self.graph.starts > starts)
            if takes_over:
                self._now += int(self._rng.integers(0, self._period))
                self._send(self.controller.preempt(self._now, self.driver.clock))
                self._now += self._period
            result = self.controller.tick(self._now, self.driver.clock)
            if result.request is not None:
                self.graph.accept_request(result.request, self._now)
            self._send(result.command)

    def _disturb(self) -> None:
        rng = self._rng
        if rng.random() < (0.05 if self.graph.circuit else 0.01):
            self.driver.arm.push()
        self.driver.arm.powered = not self.graph.circuit
        if rng.random() < 0.0005:
            self.driver.set_clock_back()
        if rng.random() < 0.0003:
            self._send(self.controller.end(self._now, self.driver.clock))
            # Commanding pauses, and other nodes may move the arm.
            self._now += 10**9
            self.controller.begin()
            self._auditor.forget()

    def _sense(self, report: Report) -> None:
        controller = self.controller
        try:
            state = self._tracker.update(
                report.stamp, report.positions, now=self._now, commanding=controller.commanding
            )
            controller.joint_state(state.stamp, state.positions, self._now, relocated=state.relocated)
        except JointStateRejected as error:
            controller.joint_state_rejected(self._now, stamp=report.stamp, moved=error.moved)
            return
        except InputRefused:
            return
        if state.relocated:
            self.graph.acts = False
        self._auditor.accept(state.positions)

    def _send(self, command: Command | None) -> None:
        """Write a command like the node, and check the messages of its drivers."""
        if command is None or command.target is None:
            return
        target = np.full(self._joints.dim, np.nan)
        for part, writer in zip(self._profile.drivers, self._writers, strict=True):
            own = command.target[[self._profile.joints.index(joint) for joint in part.joints]]
            if command.is_start:
                writer.rest()
            held = command.held[[self._profile.held.index(joint) for joint in part.held]]
            record = writer.write(own, held)
            self._auditor.check_velocities(record, part.scale)
            for joint, value in zip(*read_command(part, record), strict=True):
                target[self._joints.names.index(joint)] = value
        self._auditor.check(target, self._now)
        self.driver.arm.setpoint = target


def check(profile: RobotProfile, steps: int, seed: int = 0) -> Audit:
    """Audit a profile over a number of control steps, in random runs of 2000."""
    audit = Audit()
    for run_seed, begin in enumerate(range(0, steps, _RUN_STEPS)):
        rng = np.random.default_rng((seed, run_seed))
        with np.errstate(all="ignore"):
            Arm(profile, rng, audit).run(min(_RUN_STEPS, steps - begin))
    return audit


def run(steps: int = 100_000, robot: str = "") -> dict[str, Any]:
    """Check the shipped profiles.

    Args:
        steps: control steps of each profile.
        robot: one profile; empty for all.

    Returns:
        ``safety``, for each profile: ``commands``, ``violations``, ``lead`` and ``speed``, the greatest in units of
        their limits. ``missed``: first violations, one sentence each.
    """
    rows, missed = [], []
    for name in [robot] if robot else profile_names():
        audit = check(load_profile(name), steps)
        rows.append(
            {
                "robot": name,
                "steps": steps,
                "commands": audit.commands,
                "violations": audit.violations,
                "lead": audit.lead,
                "speed": audit.speed,
            }
        )
        missed += [f"{name}: {text}" for text in audit.examples]
    return {"safety": rows, "missed": missed}

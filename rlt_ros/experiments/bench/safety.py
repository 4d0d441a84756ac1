"""``rlt-ros bench safety``: no wrong motion with any driver, hand, policy and operator.

Tracker, controller and command writers of a profile run against a random driver and a random graph, and every command
is checked against docs/explanation/commands.md.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlt_ros.control.config import BLOCK, OVERLAP, ControlConfig
from rlt_ros.control.controller import Controller
from rlt_ros.control.records import Command, InputRefused
from rlt_ros.experiments.bench.faulty_driver import FaultyDriver, Report
from rlt_ros.experiments.bench.random_graph import RandomGraph
from rlt_ros.robots.commands import CommandWriter, Record, Trajectory, read_command
from rlt_ros.robots.joint_tracking import JointStateRejected, JointTracker
from rlt_ros.robots.profile import RobotProfile, load_profile, profile_names
from rlt_ros.robots.turns import distance

Array = NDArray[np.float64]

# Share of a limit by which rounding may exceed it; periods are rounded to a nanosecond.
_ROUNDING = 1e-6
# rad; greatest distance of a true joint state from the arm.
_MAX_ERROR = 0.1
# Number of kept true positions.
_HISTORY = 20
# ns; a command must be near a position of the arm in this time: the time-out of joint states and a period.
_MAX_AGE = 100_000_000
# Control steps of a random run.
_RUN_STEPS = 2000
# Number of violations in words.
_MAX_EXAMPLES = 20


@dataclass
class Audit:
    """Figures of all checked commands.

    Attributes:
        commands: number of sent commands.
        lead: greatest distance of a command from the measured arm, in units of the lead.
        speed: greatest speed from one command to the next, in units of the limit.
        violations: number of broken rules.
        examples: first violations, one sentence each.
    """

    commands: int = 0
    lead: float = 0.0
    speed: float = 0.0
    violations: int = 0
    examples: list[str] = field(default_factory=list)

    def break_rule(self, text: str) -> None:
        """Record a violation."""
        self.violations += 1
        if len(self.examples) < _MAX_EXAMPLES:
            self.examples.append(text)


class Arm:
    """Tracker, controller and command writers of a profile, connected like in `executor_node`.

    Args:
        profile: of the robot.
        rng: random generator.
        audit: receives the figures.
    """

    def __init__(self, profile: RobotProfile, rng: np.random.Generator, audit: Audit) -> None:
        self._profile, self._rng, self._audit = profile, rng, audit
        kinematics = profile.kinematics()
        self._limits = profile.limits(kinematics)
        self._joints = profile.tracked_joints
        self._period = round(1e9 / profile.control_hz)
        config = ControlConfig(boundary=str(rng.choice([BLOCK, OVERLAP])))
        self.controller = Controller(
            config,
            self._limits,
            profile.control_hz,
            kinematics,
            profile.gripper,
            held=len(profile.held),
        )
        self._tracker = JointTracker(self._joints)
        self._writers = [CommandWriter(part, 1.0 / profile.control_hz) for part in profile.drivers]
        self.driver = FaultyDriver(self._joints, 1.0 / profile.control_hz, rng)
        self.graph = RandomGraph(self.controller, rng)
        every = self._limits.with_held(len(profile.held))
        self._lead, self._speed = every.lead, every.velocity
        self._lower, self._upper = every.lower, every.upper
        self._now = 10**12
        self._accepted: Array | None = None
        # Steady time, ns, and true positions of the arm.
        self._true: deque[tuple[int, Array]] = deque(maxlen=_HISTORY)
        # Policy or human began to act on a wrong position, or the driver is frozen.
        self._deceived = False
        self._sent: tuple[int, Array] | None = None
        # (J,) rad, greatest distance of arm or command outside the limits since the newest command.
        self._excess = np.zeros(self._joints.dim)

    def run(self, steps: int) -> None:
        """Check a number of control steps."""
        for _ in range(steps):
            self._now += self._period * (1 if self._rng.random() < 0.99 else int(self._rng.integers(2, 12)))
            self._disturb()
            for report in self.driver.step():
                self._sense(report)
            self._true.append((self._now, self.driver.position))
            starts = self.graph.starts
            takes_over = self.graph.step(self._now, self.driver.clock)
            self._update_deceived(began=self.graph.starts > starts)
            if takes_over:
                self._now += int(self._rng.integers(0, self._period))
                self._send(self.controller.preempt(self._now, self.driver.clock))
                self._now += self._period
            result = self.controller.tick(self._now, self.driver.clock)
            if result.request is not None:
                self.graph.accept_request(result.request, self._now)
            self._send(result.command)

    def _update_deceived(self, *, began: bool) -> None:
        """Record whether the true position can be known: motion may begin on a persistent wrong one."""
        accepted, true = self._accepted, self.driver.position
        apart = accepted is None or bool((self._distance(accepted, true) > _MAX_ERROR).any())
        if self.driver.is_frozen or (began and (apart or self.driver.lies)):
            self._deceived = True
        elif not self.driver.lies and not apart:
            self._deceived = False

    def _distance(self, first: Array, second: Array) -> Array:
        return distance(first, second, self._joints.continuous)

    def _disturb(self) -> None:
        rng = self._rng
        if rng.random() < (0.05 if self.graph.circuit else 0.01):
            self.driver.push()
        self.driver.powered = not self.graph.circuit
        if rng.random() < 0.0005:
            self.driver.set_clock_back()
        if rng.random() < 0.0003:
            self._send(self.controller.end(self._now, self.driver.clock))
            # Commanding pauses, and other nodes may move the arm.
            self._now += 10**9
            self.controller.begin()
            self._sent = None

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
        self._accepted = state.positions
        if state.relocated:
            self.graph.acts = False
        self._update_excess(state.positions)

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
            self._check_velocities(record, part.scale)
            for joint, value in zip(*read_command(part, record), strict=True):
                target[self._joints.names.index(joint)] = value
        self._check(target)
        self.driver.setpoint = target

    def _check(self, target: Array) -> None:
        audit, accepted = self._audit, self._accepted
        audit.commands += 1
        if accepted is None or not np.isfinite(target).all():
            audit.break_rule(f"{target} was commanded to an arm at {accepted}")
            return
        self._check_lead(target, accepted, "measured")
        if self.driver.binding is not None:
            self._check_lead(target, self.driver.binding, "true")
        elif not self._deceived and not any(
            (self._distance(target, true) <= self._lead * (1.0 + _ROUNDING)).all()
            for then, true in self._true
            if self._now - then <= _MAX_AGE
        ):
            audit.break_rule("a wrong position of the driver was commanded")
        if not self.graph.acts and not (self.graph.button or self.graph.circuit) and self._sent is None:
            audit.break_rule("a command was sent before policy or human acted")
        if self._sent is not None:
            then, before = self._sent
            speed = float((np.abs(target - before) / self._speed).max()) / ((self._now - then) * 1e-9)
            audit.speed = max(audit.speed, speed)
            if speed > 1.0 + _ROUNDING:
                audit.break_rule(f"{speed:.4f} of the speed limit")
        excess = np.maximum(self._lower - target, target - self._upper)
        if (excess > np.maximum(self._excess, 0.0) + _ROUNDING).any():
            audit.break_rule(f"{excess.max():.4f} rad outside the limits")
        self._sent, self._excess = (self._now, target), excess
        self._update_excess(accepted)

    def _check_lead(self, target: Array, position: Array, kind: str) -> None:
        lead = float((self._distance(target, position) / self._lead).max())
        self._audit.lead = max(self._audit.lead, lead)
        if lead > 1.0 + _ROUNDING:
            self._audit.break_rule(f"{lead:.4f} of the lead from the {kind} arm")

    def _check_velocities(self, record: Record, scale: float) -> None:
        if not isinstance(record, Trajectory):
            return
        fastest = max(float(np.abs(point.velocities).max()) * scale for point in record.points)
        if fastest > float(self._speed.max()) * (1.0 + _ROUNDING):
            self._audit.break_rule(f"a trajectory passes a point at {fastest:.3f} rad/s")

    def _update_excess(self, position: Array) -> None:
        excess = np.maximum(self._lower - position, position - self._upper)
        self._excess = np.maximum(self._excess, excess)


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

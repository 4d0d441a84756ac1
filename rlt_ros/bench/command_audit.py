"""Audit of commands for ``rlt-ros bench safety``: every rule of docs/explanation/commands.md."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rlt_ros.bench.faulty_driver import FaultyDriver
from rlt_ros.bench.random_graph import RandomGraph
from rlt_ros.robots.commands import Record, Trajectory
from rlt_ros.robots.safety import Limits
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


class CommandAuditor:
    """Auditor of the commands to one arm.

    Args:
        limits: of the arm and of the joints that commands must hold.
        driver: of the arm.
        graph: source of the motion.
        audit: receives the figures.
    """

    def __init__(self, limits: Limits, driver: FaultyDriver, graph: RandomGraph, audit: Audit) -> None:
        self._limits, self._driver, self._graph, self._audit = limits, driver, graph, audit
        self._accepted: Array | None = None
        # Steady time, ns, and true positions of the arm.
        self._true: deque[tuple[int, Array]] = deque(maxlen=_HISTORY)
        # Policy or human began to act on a wrong position, or the driver is frozen.
        self._deceived = False
        self._sent: tuple[int, Array] | None = None
        # (J,) rad, greatest distance of arm or command outside the limits since the newest command.
        self._excess = np.zeros(limits.dim)

    def accept(self, positions: Array) -> None:
        """Record an accepted joint state (J,) rad."""
        self._accepted = positions
        self._update_excess(positions)

    def forget(self) -> None:
        """Forget the newest command: commanding pauses."""
        self._sent = None

    def record_position(self, now: int) -> None:
        """Record the true position at steady time `now`, ns."""
        self._true.append((now, self._driver.arm.position))

    def update_deceived(self, *, began: bool) -> None:
        """Record whether the true position can be known: motion may begin on a persistent wrong one."""
        accepted, true = self._accepted, self._driver.arm.position
        apart = accepted is None or bool((self._distance(accepted, true) > _MAX_ERROR).any())
        if self._driver.is_frozen or (began and (apart or self._driver.lies)):
            self._deceived = True
        elif not self._driver.lies and not apart:
            self._deceived = False

    def check(self, target: Array, now: int) -> None:
        """Check a command (J,) rad at steady time `now`, ns."""
        audit, accepted = self._audit, self._accepted
        audit.commands += 1
        if accepted is None or not np.isfinite(target).all():
            audit.break_rule(f"{target} was commanded to an arm at {accepted}")
            return
        self._check_lead(target, accepted, "measured")
        if self._driver.binding is not None:
            self._check_lead(target, self._driver.binding, "true")
        elif not self._deceived and not any(
            (self._distance(target, true) <= self._limits.lead * (1.0 + _ROUNDING)).all()
            for then, true in self._true
            if now - then <= _MAX_AGE
        ):
            audit.break_rule("a wrong position of the driver was commanded")
        if not self._graph.acts and not (self._graph.button or self._graph.circuit) and self._sent is None:
            audit.break_rule("a command was sent before policy or human acted")
        if self._sent is not None:
            then, before = self._sent
            speed = float((np.abs(target - before) / self._limits.velocity).max()) / ((now - then) * 1e-9)
            audit.speed = max(audit.speed, speed)
            if speed > 1.0 + _ROUNDING:
                audit.break_rule(f"{speed:.4f} of the speed limit")
        excess = np.maximum(self._limits.lower - target, target - self._limits.upper)
        if (excess > np.maximum(self._excess, 0.0) + _ROUNDING).any():
            audit.break_rule(f"{excess.max():.4f} rad outside the limits")
        self._sent, self._excess = (now, target), excess
        self._update_excess(accepted)

    def check_velocities(self, record: Record, scale: float) -> None:
        """Check the velocities of a trajectory in units of `scale` rad."""
        if not isinstance(record, Trajectory):
            return
        fastest = max(float(np.abs(point.velocities).max()) * scale for point in record.points)
        if fastest > float(self._limits.velocity.max()) * (1.0 + _ROUNDING):
            self._audit.break_rule(f"a trajectory passes a point at {fastest:.3f} rad/s")

    def _distance(self, first: Array, second: Array) -> Array:
        return distance(first, second, self._limits.continuous)

    def _check_lead(self, target: Array, position: Array, kind: str) -> None:
        lead = float((self._distance(target, position) / self._limits.lead).max())
        self._audit.lead = max(self._audit.lead, lead)
        if lead > 1.0 + _ROUNDING:
            self._audit.break_rule(f"{lead:.4f} of the lead from the {kind} arm")

    def _update_excess(self, position: Array) -> None:
        excess = np.maximum(self._limits.lower - position, position - self._limits.upper)
        self._excess = np.maximum(self._excess, excess)

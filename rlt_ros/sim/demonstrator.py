"""Scripted demonstrator with a human's strategy: approach, pause, probe, retreat, pause again, insert.

Its estimate of the fixture's position has an error that shrinks with every pause. Its reference motion is limited in
speed and in its lead over the real tool, which limits the contact force.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray

from rlt_ros.robots.kinematics import pose_error, rotation
from rlt_ros.sim import scene
from rlt_ros.sim.workcell import HZ, Workcell

Array = NDArray[np.float64]


@dataclass(frozen=True)
class DemonstratorConfig:
    """Behaviour of the demonstrator. Lengths in m, times in s, angles in rad; ranges are sampled per episode or probe.

    Attributes:
        error: standard deviation of the first estimate's sideways error.
        turn_error: standard deviation of the first estimate's error about the normal.
        error_shrink: factor on both at each further estimate.
        transit_speed: speed on the way to the socket, m/s.
        fine_speed: speed of probing and inserting, m/s.
        turn_speed: rad/s.
        look: pause before a probe.
        hover: height of the tip over the face before the first probe.
        retreat: height of the tip after a failed probe.
        patience: time without progress after which a probe has failed.
        lead: largest distance of the reference ahead of the tool; about 1.5 kN/m of tip stiffness turn 8 mm into 12 N.
        sway: standard deviation of the hand's unsteadiness, in the sent but not in the recorded command.
    """

    error: float = 0.0020
    turn_error: float = 0.03
    error_shrink: float = 0.6
    transit_speed: tuple[float, float] = (0.08, 0.20)
    fine_speed: tuple[float, float] = (0.020, 0.035)
    turn_speed: float = 0.6
    look: tuple[float, float] = (0.3, 1.0)
    hover: tuple[float, float] = (0.008, 0.014)
    retreat: tuple[float, float] = (0.006, 0.012)
    patience: float = 0.30
    lead: float = 0.008
    sway: float = 0.0012


class _Phase(Enum):
    TRANSIT = auto()
    LOOK = auto()
    PROBE = auto()
    RETREAT = auto()


class Demonstrator:
    """Demonstrator of one episode; call `command` once per control step.

    Args:
        workcell: workcell after a reset.
        seed: seed of all random choices.
        config: behaviour.
    """

    def __init__(self, workcell: Workcell, seed: int, config: DemonstratorConfig | None = None) -> None:
        self._workcell = workcell
        self._config = config or DemonstratorConfig()
        self._rng = np.random.default_rng([seed, 0xDE30])
        self._tool_from_mate = np.linalg.inv(scene.mate_in_tool(workcell.task))
        self._reference = workcell.kinematics.forward(workcell.position)
        self._joints = workcell.position
        self._sway = np.zeros(3)
        self._estimates = 0
        self._phase = _Phase.TRANSIT
        self._clock = 0.0
        self._deepest = np.inf
        self._transit_speed = self._rng.uniform(*self._config.transit_speed)
        self._estimate_fixture()
        self._height = workcell.task.reach + self._rng.uniform(*self._config.hover)

    def command(self) -> tuple[Array, Array]:
        """Joint targets (A,) rad for this step: the sent one, and the intended one without the hand's sway."""
        self._advance_phase()
        goal = self._goal()
        self._move_reference(goal)
        self._joints = self._workcell.kinematics.inverse(self._reference, self._joints)
        # Ornstein-Uhlenbeck with a time constant of 0.3 s.
        decay = np.exp(-1.0 / (HZ * 0.3))
        self._sway = decay * self._sway + np.sqrt(1 - decay**2) * self._rng.normal(0, self._config.sway, 3)
        swayed = self._reference.copy()
        swayed[:3, 3] += self._sway
        return self._workcell.kinematics.inverse(swayed, self._joints), self._joints

    def _advance_phase(self) -> None:
        """Enter the next phase when this one is complete."""
        config, relative = self._config, self._workcell.relative
        self._clock += 1.0 / HZ
        tip = relative[2] - self._workcell.task.reach
        if self._phase in (_Phase.TRANSIT, _Phase.RETREAT):
            arrived = np.abs(pose_error(self._reference, self._goal())).max() < 1e-3
            if arrived:
                self._enter(_Phase.LOOK)
                self._pause = self._rng.uniform(*config.look)
        elif self._phase is _Phase.LOOK:
            if self._clock > self._pause:
                self._enter(_Phase.PROBE)
                self._fine_speed = self._rng.uniform(*config.fine_speed)
                self._deepest, self._height = np.inf, -0.004
        elif self._phase is _Phase.PROBE:
            if relative[2] < self._deepest - 2e-4:
                self._deepest, self._clock = relative[2], 0.0
            if self._clock > config.patience:
                self._enter(_Phase.RETREAT)
                self._estimate_fixture()
                self._height = max(tip, 0.0) + self._workcell.task.reach + self._rng.uniform(*config.retreat)

    def _enter(self, phase: _Phase) -> None:
        self._phase, self._clock = phase, 0.0

    def _estimate_fixture(self) -> None:
        config = self._config
        shrink = config.error_shrink**self._estimates
        self._offset = self._rng.normal(0, config.error * shrink, 2)
        self._turn = self._rng.normal(0, config.turn_error * shrink)
        self._estimates += 1

    def _goal(self) -> Array:
        """Tool pose (4, 4) at `height` above the mated pose, according to the estimate."""
        mate = np.eye(4)
        mate[:3, :3] = rotation(np.array([0.0, 0.0, self._turn]))
        mate[:3, 3] = [*self._offset, self._height]
        return self._workcell.conditions.face @ mate @ self._tool_from_mate

    def _move_reference(self, goal: Array) -> None:
        """Move the reference towards the goal, within speed and lead."""
        error = pose_error(self._reference, goal)
        distance, angle = float(np.linalg.norm(error[:3])), float(np.linalg.norm(error[3:]))
        speed = self._transit_speed if self._phase is _Phase.TRANSIT else self._config.fine_speed[1]
        if self._phase is _Phase.PROBE:
            speed = self._fine_speed
        # Slow down over the last two centimetres, like a human.
        speed = min(speed, max(6.0 * distance, 0.01))
        self._reference[:3, 3] += error[:3] * min(1.0, speed / HZ / max(distance, 1e-9))
        turn = error[3:] * min(1.0, self._config.turn_speed / HZ / max(angle, 1e-9))
        self._reference[:3, :3] = rotation(turn) @ self._reference[:3, :3]
        actual = self._workcell.kinematics.forward(self._workcell.position)
        lead = self._reference[:3, 3] - actual[:3, 3]
        excess = float(np.linalg.norm(lead))
        if excess > self._config.lead:
            self._reference[:3, 3] = actual[:3, 3] + lead * self._config.lead / excess

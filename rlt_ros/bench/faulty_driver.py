"""Arm and driver with all known faults of drivers: the robot's side of ``rlt-ros bench safety``."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlt_ros.robots.joint_tracking import JUMP_MARGIN
from rlt_ros.robots.tracked_joints import TrackedJoints
from rlt_ros.robots.turns import distance, wrapped

Array = NDArray[np.float64]

# rad/s; greatest speed of an arm guided by hand.
_MAX_HAND_SPEED = 2.5
# Share of the distance to its setpoint that an arm moves per control step.
_STIFFNESS = 0.5
# rad; greatest sag of an arm below its setpoint.
_MAX_SAG = 0.03
# rad; greatest motion of a joint between two joint states by a blow.
_MAX_BLOW = 0.6
# rad; distance of a wrong position near the true one.
_NEARBY = 0.5
# s of correct joint states after which commands must obey the newest one.
_MIN_HONEST_TIME = 0.25


class Report(NamedTuple):
    """Joint state: stamp, ns, and positions of any shape and value."""

    stamp: int
    positions: Array


class Fault(enum.Enum):
    """Faults of joint states that last for some time."""

    NONE = enum.auto()
    ZEROS = enum.auto()
    ELSEWHERE = enum.auto()
    FROZEN_STAMP = enum.auto()
    FROZEN_VALUE = enum.auto()
    SILENT = enum.auto()
    NAN = enum.auto()
    HUGE = enum.auto()
    WRONG_SHAPE = enum.auto()
    TWO_PUBLISHERS = enum.auto()
    SINGLE_GLITCHES = enum.auto()
    LATE = enum.auto()
    NO_STAMP = enum.auto()


_LIES = (Fault.ZEROS, Fault.ELSEWHERE, Fault.FROZEN_VALUE, Fault.TWO_PUBLISHERS, Fault.SINGLE_GLITCHES)


class PushedArm:
    """Arm with a position controller, blocked by obstacles and guided by hands.

    It follows its setpoint with lag and sag while it has power.

    Args:
        joints: of the arm, and those that commands must hold.
        period: s of a control step.
        rng: random generator.
    """

    def __init__(self, joints: TrackedJoints, period: float, rng: np.random.Generator) -> None:
        self._joints, self._period, self._rng = joints, period, rng
        self.position = _random_posture(joints, rng, outside=rng.random() < 0.3)
        """(J,) rad, true."""
        self.setpoint: Array | None = None
        """(J,) rad, newest command; None before the first."""
        self.powered = True
        self._sag = rng.uniform(-_MAX_SAG, _MAX_SAG, joints.dim)
        self._hand, self._hand_steps = np.zeros(joints.dim), 0
        self._blocked = 0

    def push(self) -> None:
        """Guide the arm by hand, block it, or move it at once by a blow."""
        if self._rng.random() < 0.1:
            self.position = self.position + self._rng.uniform(-_MAX_BLOW, _MAX_BLOW, self._joints.dim)
            return
        if self._rng.random() < 0.4:
            self._blocked = int(self._rng.integers(5, 60))
            return
        self._hand = self._rng.uniform(-1.0, 1.0, self._joints.dim) * self._rng.uniform(0.05, _MAX_HAND_SPEED)
        self._hand *= self._rng.random(self._joints.dim) < 0.4
        self._hand_steps = int(self._rng.integers(3, 60))

    def move(self) -> None:
        """Move for one control step."""
        if self._hand_steps > 0:
            self._hand_steps -= 1
            self.position = self.position + self._hand * self._period
        elif self._blocked > 0:
            self._blocked -= 1
        elif self.powered and self.setpoint is not None:
            limit = self._joints.speed * self._period * 0.5
            move = _STIFFNESS * (self.setpoint + self._sag - self.position)
            self.position = self.position + np.clip(move, -limit, limit)


class FaultyDriver:
    """Driver of an arm with joint states that are correct most of the time.

    Args:
        joints: of the arm, and those that commands must hold.
        period: s between two joint states.
        rng: random generator.
    """

    def __init__(self, joints: TrackedJoints, period: float, rng: np.random.Generator) -> None:
        self._joints, self._period, self._rng = joints, period, rng
        self._wraps = bool(rng.random() < 0.5)
        self.arm = PushedArm(joints, period, rng)
        """Arm of the driver."""
        self._fault, self._fault_steps = Fault.ZEROS if rng.random() < 0.3 else Fault.NONE, 25
        self._is_near_miss = False
        self._lie = _random_posture(self._joints, self._rng)
        self._newest = Report(0, self.arm.position)
        self._clock = 10**9
        # s
        self._honest_for = 0.0
        self.binding: Array | None = None
        """(J,) rad, newest true joint state after enough correct ones; None otherwise."""
        self.faults: set[Fault] = set()
        """Faults that occurred."""

    @property
    def lies(self) -> bool:
        """Return whether joint states are wrong, rather than missing or unusable."""
        return self._fault in _LIES

    @property
    def is_frozen(self) -> bool:
        """Return whether the driver repeats a position that the arm had when the fault began.

        This fault cannot be detected.
        """
        return self._fault is Fault.FROZEN_VALUE or self._is_near_miss

    @property
    def clock(self) -> int:
        """ROS time, ns."""
        return self._clock

    def step(self) -> list[Report]:
        """Move the arm for one control period; return the joint states of its driver."""
        self._clock += round(self._period * 1e9)
        self.arm.move()
        self._choose_fault()
        reports = self._reports()
        honest = self._fault is Fault.NONE and len(reports) == 1
        self._honest_for = self._honest_for + self._period if honest else 0.0
        self.binding = self.arm.position.copy() if self._honest_for > _MIN_HONEST_TIME else None
        return reports

    def set_clock_back(self) -> None:
        """Set the clock of the driver's computer back."""
        self._clock = max(10**9, self._clock - 5 * 10**9)
        self._honest_for = 0.0

    def _choose_fault(self) -> None:
        self._fault_steps -= 1
        if self._fault_steps > 0:
            return
        rng = self._rng
        if self._fault is Fault.NONE and rng.random() < 0.4:
            self._fault = tuple(Fault)[int(rng.integers(1, len(Fault)))]
            self._fault_steps = int(rng.choice([1, 2, 4, 10, 40, 100, 300]))
            self._lie = self._nearby() if rng.random() < 0.5 else _random_posture(self._joints, self._rng)
            self.faults.add(self._fault)
            claim = {Fault.ZEROS: np.zeros_like(self.arm.position), Fault.ELSEWHERE: self._lie}.get(
                self._fault
            )
            # The arm can move so far in two periods; its tracker cannot tell.
            near = np.maximum(_NEARBY, 2.0 * (JUMP_MARGIN + self._joints.speed * self._period))
            self._is_near_miss = claim is not None and bool(
                (distance(claim, self.arm.position, self._joints.continuous) < near).all()
            )
        else:
            self._fault, self._fault_steps = Fault.NONE, int(rng.integers(10, 200))
            self._is_near_miss = False

    def _reports(self) -> list[Report]:
        """Joint states of this period, in order."""
        true = self._report(self.arm.position)
        fault: dict[Fault, Callable[[], list[Report]]] = {
            Fault.ZEROS: lambda: [self._report(np.zeros_like(self.arm.position))],
            Fault.ELSEWHERE: lambda: [self._report(self._lie)],
            Fault.FROZEN_STAMP: lambda: [self._newest],
            Fault.FROZEN_VALUE: lambda: [self._report(self._newest.positions)],
            Fault.SILENT: lambda: [],
            Fault.NAN: lambda: [self._report(np.full_like(self.arm.position, np.nan))],
            Fault.HUGE: lambda: [self._report(np.full_like(self.arm.position, self._huge()))],
            Fault.WRONG_SHAPE: lambda: [self._report(np.append(self.arm.position, 0.0))],
            Fault.TWO_PUBLISHERS: lambda: [true, self._report(self._lie, later=1)],
            Fault.SINGLE_GLITCHES: lambda: [true, self._report(self._glitch(), later=1)],
            Fault.LATE: lambda: [true, self._report(self._newest.positions, later=-50_000_000)],
            Fault.NO_STAMP: lambda: [Report(0, true.positions)],
        }
        if self._fault is Fault.NONE:
            self._newest = true
            return [true]
        return fault[self._fault]()

    def _report(self, positions: Array, later: int = 0) -> Report:
        reported = np.array(positions)
        if self._wraps and reported.shape == self._joints.continuous.shape:
            reported = wrapped(reported, self._joints.continuous)
        return Report(self._clock + later, reported)

    def _glitch(self) -> Array:
        if self._rng.random() < 0.3:
            return _random_posture(self._joints, self._rng)
        return self.arm.position

    def _nearby(self) -> Array:
        """Posture near the true one, with one joint further away than any motion between two states."""
        away = self._rng.uniform(-_NEARBY, _NEARBY, self._joints.dim)
        joint = int(self._rng.integers(self._joints.dim))
        away[joint] = np.copysign(_NEARBY, away[joint])
        return self.arm.position + away

    def _huge(self) -> float:
        return float(self._rng.choice([1e6, 1e38, 1e39, 1e308, -1e308, np.inf]))


def _random_posture(joints: TrackedJoints, rng: np.random.Generator, *, outside: bool = False) -> Array:
    """Posture within the limits of the URDF or, with `outside`, partly a little beyond them."""
    lower, upper = np.maximum(joints.lower, -3.0), np.minimum(joints.upper, 3.0)
    position = rng.uniform(lower, upper)
    beyond = outside & (rng.random(joints.dim) < 0.3)
    return np.where(beyond, joints.upper + rng.uniform(0.0, 0.4, joints.dim), position)

"""Last check of a joint command: every command stays inside the limits, for any target.

A target that is not finite or has a wrong shape is refused, and the arm brakes and holds. A finite one is cut to the
limits. Speed, step and workspace hold for every command. Position limits hold for every command that begins
inside them; a command that begins outside moves no further out, and returns at the speed limit. Acceleration yields to
the workspace and to the lead. Deviation bounds the target.

The lead bounds the command as far as the speed limit allows. If the arm is further away than that,
`SafetyFilter.within_lead` is False and the command must not be sent.
"""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rlt_ros.robots.turns import UNLIMITED, Mask, nearest_turn

Array = NDArray[np.float64]

# rad; rounding of sums and differences of joint positions.
_ROUNDING = 1e-12


class Limit(enum.IntFlag):
    """Limits that changed a command; the bits of `ExecutedStep.limits`."""

    NONE = 0
    POSITION = 1
    VELOCITY = 2
    ACCELERATION = 4
    WORKSPACE = 8
    STEP = 16
    DEVIATION = 32
    LEAD = 64

    @property
    def names(self) -> list[str]:
        """Names of the limits in it, in lower case."""
        return [str(limit.name).lower() for limit in Limit if limit & self]


@dataclass(frozen=True)
class Limits:
    """Limits of an arm; None for no limit.

    Attributes:
        lower: (A,) rad, least joint position.
        upper: (A,) rad, greatest joint position.
        velocity: (A,) rad/s, greatest speed of the command.
        lead: (A,) rad, greatest distance of the command from the measured position; bounds the force on contact.
        acceleration: (A,) rad/s², greatest change of the command's speed.
        step: (A,) rad, greatest distance between successive commands.
        workspace: (6,) m, box of the tip: least x, y, z, then greatest x, y, z in the base frame.
        deviation: policy units, greatest distance of an actor's target from the VLA's, for every joint.
        continuous: (A,) joints that turn without end: targets and positions in any turn mean the one nearest to the
            last command.
    """

    lower: Array
    upper: Array
    velocity: Array
    lead: Array
    acceleration: Array | None = None
    step: Array | None = None
    workspace: Array | None = None
    deviation: float | None = None
    continuous: Mask | None = None

    def __post_init__(self) -> None:
        """Check that limits are finite and ordered; raise ValueError naming the field."""
        for name in ("lower", "upper", "velocity", "lead", "acceleration", "step"):
            value = getattr(self, name)
            if value is None:
                continue
            if value.shape != self.lower.shape or value.ndim != 1 or not np.isfinite(value).all():
                raise ValueError(f"joint limits: {name} must be (A,) and finite, got {value}")
            if name not in ("lower", "upper") and not (value > 0).all():
                raise ValueError(f"joint limits: {name} must be above 0 for every joint, got {value}")
        if self.continuous is not None and self.continuous.shape != self.lower.shape:
            raise ValueError(f"joint limits: continuous must be (A,), got {self.continuous}")
        if not (self.lower < self.upper).all():
            raise ValueError(
                f"joint limits: need lower < upper for every joint, got {self.lower}, {self.upper}"
            )
        box = self.workspace
        if box is not None and (
            box.shape != (6,) or not np.isfinite(box).all() or not (box[:3] < box[3:]).all()
        ):
            raise ValueError(f"workspace must be xmin, ymin, zmin, xmax, ymax, zmax in m, got {box}")
        if self.deviation is not None and not 0 < self.deviation < np.inf:
            raise ValueError(f"deviation must be above 0 policy units, got {self.deviation}")

    @property
    def dim(self) -> int:
        """Number of joints A."""
        return len(self.lower)

    def with_held(self, count: int) -> Limits:
        """Limits of the arm and of `count` further joints that hold: the strictest of the arm's, without a range."""
        if count == 0:
            return self

        def strictest(value: Array) -> Array:
            return np.append(value, np.full(count, value.min()))

        return dataclasses.replace(
            self,
            lower=np.append(self.lower, np.full(count, -UNLIMITED)),
            upper=np.append(self.upper, np.full(count, UNLIMITED)),
            velocity=strictest(self.velocity),
            lead=strictest(self.lead),
            acceleration=None if self.acceleration is None else strictest(self.acceleration),
            step=None if self.step is None else strictest(self.step),
            continuous=None
            if self.continuous is None
            else np.append(self.continuous, np.zeros(count, dtype=bool)),
        )


class Reference(NamedTuple):
    """Centre of the deviation limit: the VLA's target (A,) rad, and one policy unit (A,) rad."""

    target: Array
    unit: Array


class ForwardKinematics(Protocol):
    """Forward kinematics of an arm."""

    def forward(self, q: Array) -> Array:
        """Pose (4, 4) of the tip at joint positions (A,)."""
        ...


class SafetyFilter:
    """Joint targets in, safe joint targets out, once per control step.

    Args:
        limits: of the arm.
        hz: control rate, 1/s.
        kinematics: of the arm; needed for a workspace.

    Raises:
        ValueError: a workspace without kinematics.
    """

    def __init__(self, limits: Limits, hz: float, kinematics: ForwardKinematics | None = None) -> None:
        if limits.workspace is not None and kinematics is None:
            raise ValueError("a workspace limit needs the arm's kinematics; give them, or no workspace")
        self._limits, self._kinematics = limits, kinematics
        self._step = limits.velocity / hz
        # Joints with a step limit below their speed limit.
        self._stricter = np.zeros(limits.dim, dtype=bool)
        if limits.step is not None:
            self._stricter = limits.step < self._step
            self._step = np.minimum(self._step, limits.step)
        # Greatest change of the distance between successive commands, rad.
        self._change = None if limits.acceleration is None else limits.acceleration / hz**2
        self._last: Array | None = None
        self._moved = self._target = np.zeros(limits.dim)
        self.hit = Limit.NONE
        """Limits that changed the last command."""
        self.within_lead = False
        """No joint of the last command is further than the lead from the measured arm."""
        self.cut = 0
        """Commands that a limit changed."""
        self.refused = 0
        """Commands that were not finite or had a wrong shape."""

    @property
    def last(self) -> Array | None:
        """Last command (A,) rad; None before `reset`."""
        return None if self._last is None else self._last.copy()

    @property
    def step(self) -> Array:
        """Greatest distance (A,) rad between successive commands, by speed and step limit."""
        return self._step

    @property
    def is_moving(self) -> bool:
        """Return whether the last command differs from the one before."""
        return bool(self._moved.any())

    def reset(self, position: Array) -> None:
        """Start from rest at the measured joint `position` (A,) rad, which may lie outside the position limits.

        Raises:
            ValueError: the position is not (A,) finite numbers.
        """
        if np.shape(position) != (self._limits.dim,) or not np.isfinite(position).all():
            raise ValueError(
                f"safety filter cannot start at {position}: need {self._limits.dim} finite positions"
            )
        self._last = np.array(position, dtype=np.float64)
        self._target, self._moved = self._last, np.zeros(self._limits.dim)
        self.hit, self.within_lead = Limit.NONE, True

    def filter(self, target: Array, position: Array, reference: Reference | None = None) -> Array:
        """Safe joint target (A,) rad for a `target` (A,) and the measured `position` (A,).

        Args:
            target: (A,) rad; anything else is refused.
            position: (A,) rad; if it is not finite the target is refused.
            reference: centre of the deviation limit; None for a free target.

        Raises:
            RuntimeError: `reset` was never called.
        """
        last, limits = self._require_last(), self._limits
        usable = [target, position, *(reference or ())]
        if any(np.shape(value) != last.shape or not np.isfinite(value).all() for value in usable):
            self.refused += 1
            return self.hold(position)
        self.hit = Limit.NONE
        wanted, position = self._in_turn(target), self._in_turn(position)
        if reference is not None and limits.deviation is not None:
            reach, center = limits.deviation * reference.unit, self._in_turn(reference.target)
            wanted = self._clip(wanted, center - reach, center + reach, Limit.DEVIATION)
        wanted = self._clip(wanted, limits.lower, limits.upper, Limit.POSITION)
        followed = wanted if self._change is None else self._follow(last, wanted)
        near = self._clip(followed, position - limits.lead, position + limits.lead, Limit.LEAD)
        safe = self._slow(last, near)
        safe = self._keep_inside(last, safe)
        safe = self._keep_near(last, safe, position)
        self.cut += int(not np.array_equal(safe, target))
        self._advance(last, safe, wanted)
        return safe.copy()

    def hold(self, position: Array) -> Array:
        """Command (A,) rad of a step without a target: the last one, after braking if it moved.

        A command further than the lead from the measured `position` (A,) rad is moved along by a pushed arm. A position
        that is not finite leaves `within_lead` False.

        Raises:
            RuntimeError: `reset` was never called.
        """
        last = self._require_last()
        self.hit = Limit.NONE
        safe = last if self._change is None else self._keep_inside(last, self._braked(last))
        if np.shape(position) == last.shape and np.isfinite(position).all():
            safe = self._keep_near(last, safe, self._in_turn(position))
        else:
            self.within_lead = False
        self._advance(last, safe, safe)
        return safe.copy()

    def follow(self, position: Array) -> Array:
        """Command (A,) rad one step nearer to the measured `position` (A,) rad.

        Speed and step limit hold. Acceleration yields where the arm turns back; workspace and position limits do not
        apply, since only the arm's own position is commanded.
        """
        last, position = self._require_last(), self._in_turn(position)
        self.hit = Limit.NONE
        low, high = np.minimum(last, position), np.maximum(last, position)
        safe = np.clip(position, last - self._step, last + self._step)
        if self._change is not None:
            slower, faster = self._reachable_moves(last, low, high)
            safe = np.clip(np.clip(safe, last + slower, last + faster), low, high)
        self.within_lead = bool((np.abs(safe - position) <= self._limits.lead + _ROUNDING).all())
        self._advance(last, safe, safe)
        return safe.copy()

    def _in_turn(self, value: Array) -> Array:
        """Positions (A,) rad in the turn nearest to the last command, for joints that turn without end."""
        return nearest_turn(value, self._require_last(), self._limits.continuous)

    def _require_last(self) -> Array:
        if self._last is None:
            raise RuntimeError("safety filter used before reset(position)")
        return self._last

    def _advance(self, last: Array, safe: Array, wanted: Array) -> None:
        self._moved, self._last, self._target = safe - last, safe, wanted

    def _clip(self, value: Array, low: Array, high: Array, limit: Limit) -> Array:
        clipped = np.clip(value, low, high)
        if not np.array_equal(clipped, value):
            self.hit |= limit
        return clipped

    def _slow(self, last: Array, wanted: Array) -> Array:
        """Target inside the position limits, cut to the limits of speed, step and acceleration."""
        slow = np.clip(wanted, last - self._step, last + self._step)
        changed = slow != wanted
        if changed.any():
            self.hit |= Limit.STEP if (changed & self._stricter).any() else Limit.NONE
            self.hit |= Limit.VELOCITY if (changed & ~self._stricter).any() else Limit.NONE
        lower, upper = self._range(last)
        if self._change is None:
            return self._clip(slow, lower, upper, Limit.POSITION)
        low, high = self._reachable_moves(last, self._limits.lower, self._limits.upper)
        smooth = self._clip(slow, last + low, last + high, Limit.ACCELERATION)
        # Rounding of the last digit.
        return np.clip(smooth, lower, upper)

    def _range(self, last: Array) -> tuple[Array, Array]:
        """Position limits, widened to include the last command."""
        return np.minimum(self._limits.lower, last), np.maximum(self._limits.upper, last)

    def _reachable_moves(self, last: Array, lower: Array, upper: Array) -> tuple[Array, Array]:
        """Least and greatest next move (A,) rad from which the arm can stop between `lower` and `upper`."""
        assert self._change is not None
        low = np.maximum(self._moved - self._change, -_brakeable(last - lower, self._change))
        high = np.minimum(self._moved + self._change, _brakeable(upper - last, self._change))
        return low, high

    def _follow(self, last: Array, wanted: Array) -> Array:
        """Target (A,) rad without overshoot of a command that lags behind.

        The last target is `behind` ahead of the command; this distance is reduced only at a speed that can be braked
        in time. A command that does not lag follows the target.
        """
        assert self._change is not None
        behind = self._target - last
        distance = np.abs(behind)
        left = np.sign(behind) * np.maximum(0.0, distance - _brakeable(distance, self._change))
        followed = wanted - left
        if not np.array_equal(followed, wanted):
            self.hit |= Limit.ACCELERATION
        return np.clip(followed, self._limits.lower, self._limits.upper)

    def _braked(self, last: Array) -> Array:
        """Next command (A,) rad of an arm that brakes at the acceleration limit."""
        assert self._change is not None
        moved = np.sign(self._moved) * np.maximum(0.0, np.abs(self._moved) - self._change)
        return np.clip(last + moved, *self._range(last))

    def _keep_near(self, last: Array, safe: Array, position: Array) -> Array:
        """Move `safe` into the lead around the measured position if speed, limits and workspace allow it."""
        low, high = position - self._limits.lead, position + self._limits.lead
        near = np.clip(safe, low, high)
        if np.array_equal(near, safe):
            self.within_lead = True
            return safe
        lower, upper = self._range(last)
        self.within_lead = bool(
            (np.abs(near - last) <= self._step + _ROUNDING).all()
            and ((near >= lower) & (near <= upper)).all()
            and (self._limits.workspace is None or self._outside(near) <= self._outside(last))
        )
        if not self.within_lead:
            return safe
        self.hit |= Limit.LEAD
        return near

    def _keep_inside(self, last: Array, safe: Array) -> Array:
        """Return `safe` if tip and stopping point stay in the workspace; else brake; else stay.

        From outside the workspace, every move that leads nearer is allowed.
        """
        if self._limits.workspace is None or np.array_equal(safe, last):
            return safe
        here = self._outside(last)
        ahead = (self._outside(safe), self._outside(self._stopping_point(last, safe)))
        if all(distance == 0.0 or distance < here for distance in ahead):
            return safe
        self.hit |= Limit.WORKSPACE
        if self._change is None:
            return last
        braked = self._braked(last)
        return braked if self._outside(braked) <= here else last

    def _stopping_point(self, last: Array, safe: Array) -> Array:
        """Position (A,) rad at which the arm comes to rest when it brakes after a move from `last` to `safe`."""
        if self._change is None:
            return safe
        moved = np.abs(safe - last)
        steps = np.floor(moved / self._change)
        further = steps * moved - self._change * steps * (steps + 1) / 2
        return np.clip(safe + np.sign(safe - last) * further, *self._range(safe))

    def _outside(self, q: Array) -> float:
        """Distance of the tip at `q` from the workspace, m; 0 inside."""
        assert self._kinematics is not None and self._limits.workspace is not None
        tip, box = self._kinematics.forward(q)[:3, 3], self._limits.workspace
        return float(np.linalg.norm(np.maximum(0.0, np.maximum(box[:3] - tip, tip - box[3:]))))


def _brakeable(distance: Array, change: Array) -> Array:
    """Greatest first step (A,) rad of an arm that slows down by `change` per step and stops within `distance`.

    A first step of s is followed by s - c, s - 2c, …; with m further steps the sum is (m + 1) s - c m (m + 1) / 2.
    """
    distance = np.maximum(distance, 0.0)
    more = np.floor((np.sqrt(1.0 + 8.0 * distance / change) - 1.0) / 2.0)
    return np.asarray((distance + change * more * (more + 1) / 2.0) / (more + 1))

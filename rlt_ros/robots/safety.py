"""The last check before a joint command: whatever comes in, what goes out stays inside the limits.

A command that is not finite or has a wrong shape is refused, and the arm holds its last command. A finite one is cut to
the limits of position, of speed between successive commands, and of distance from the measured position.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class JointLimits:
    """Limits of an arm, each (A,).

    Attributes:
        lower: rad, least joint position.
        upper: rad, greatest joint position.
        velocity: rad/s, greatest speed of the command.
        lead: rad, greatest distance of the command from the measured position; bounds the force on contact.
    """

    lower: Array
    upper: Array
    velocity: Array
    lead: Array

    def __post_init__(self) -> None:
        """Check that limits are finite and ordered; raise ValueError naming the field."""
        for name in ("lower", "upper", "velocity", "lead"):
            value = getattr(self, name)
            if value.shape != self.lower.shape or value.ndim != 1 or not np.isfinite(value).all():
                raise ValueError(f"joint limits: {name} must be (A,) and finite, got {value}")
        if not (self.lower < self.upper).all() or not (self.velocity > 0).all() or not (self.lead > 0).all():
            raise ValueError("joint limits: need lower < upper, velocity > 0 and lead > 0 for every joint")


class SafetyFilter:
    """Joint targets in, safe joint targets out, once a control step.

    Args:
        limits: of the arm.
        hz: control rate, 1/s.
    """

    def __init__(self, limits: JointLimits, hz: float) -> None:
        self._limits = limits
        self._step = limits.velocity / hz
        self._last: Array | None = None
        self.cut = 0
        """Commands that a limit changed."""
        self.refused = 0
        """Commands that were not finite or had a wrong shape."""

    def reset(self, position: Array) -> None:
        """Start from rest at the measured joint `position` (A,) rad."""
        self._last = np.clip(position, self._limits.lower, self._limits.upper)

    def filter(self, target: Array, position: Array) -> Array:
        """Safe joint target (A,) rad for the wanted `target` (A,) and the measured `position` (A,).

        Raises:
            RuntimeError: `reset` was never called, so there is no command to hold.
        """
        if self._last is None:
            raise RuntimeError("safety filter used before reset(position)")
        limits = self._limits
        if np.shape(target) != self._last.shape or not np.isfinite(target).all():
            self.refused += 1
            return self._last.copy()
        near = np.clip(target, position - limits.lead, position + limits.lead)
        slow = np.clip(near, self._last - self._step, self._last + self._step)
        safe = np.clip(slow, limits.lower, limits.upper)
        self.cut += int(not np.array_equal(safe, target))
        self._last = safe
        return safe.copy()

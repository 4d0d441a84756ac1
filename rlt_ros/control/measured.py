"""Newest joint state of the arm and of the joints that commands must hold."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlt_ros.control.records import InputRefused
from rlt_ros.control.watchdog import Watchdog
from rlt_ros.robots.turns import Mask, nearest_turn

Array = NDArray[np.float64]

# ns; a joint state that is older by less came late, by more the clock was set back.
_REORDERED = 1_000_000_000
# s of silence after which the way from one joint state to the next is unknown.
_LOST_TRACK = 0.5


class MeasuredJoints:
    """Takes in joint states; refuses the ones that cannot be used.

    Args:
        lead: (J,) rad, greatest distance of a command from the arm.
        timeout: s without a joint state after which the arm is not seen.
        continuous: (A,) joints that turn without end, the first A of all; None for none.
        lock_step: silence is measured on the stamps instead of the steady clock.
    """

    def __init__(
        self, lead: Array, timeout: float, continuous: Mask | None = None, *, lock_step: bool
    ) -> None:
        self._lead, self._lock_step, self._continuous = lead, lock_step, continuous
        self._watch = Watchdog(timeout)
        self.positions: Array | None = None
        """(J,) rad; None before the first joint state."""
        self.stamp = 0
        """ROS time, ns; 0 from drivers that leave it empty."""

    def check(self, stamp: int, positions: Array) -> None:
        """Raise InputRefused for a joint state that is not finite, of a wrong shape, repeated or out of order."""
        dim = len(self._lead)
        if np.shape(positions) != (dim,) or not np.isfinite(positions).all():
            raise InputRefused("unusable joint state", f"positions {positions}; need {dim} finite numbers")
        if not stamp or not self.stamp:
            return
        if stamp == self.stamp:
            raise InputRefused("repeated joint state", f"the stamp {stamp} ns came before")
        if 0 < self.stamp - stamp < _REORDERED:
            raise InputRefused(
                "joint state out of order", f"{(self.stamp - stamp) * 1e-9:.3f} s behind the newest"
            )

    def is_restart(self, stamp: int) -> bool:
        """Return whether the clock of a checked joint state was set back since the newest one."""
        return 0 < stamp < self.stamp

    def is_lost(self, stamp: int, now: int) -> bool:
        """Return whether the way to a checked joint state at steady time `now`, ns, is unknown: a silence or a restart.

        False for the first one.
        """
        if self.positions is None:
            return False
        return self.is_restart(stamp) or self._watch.age(stamp if self._lock_step else now) > _LOST_TRACK

    def take(self, stamp: int, positions: Array, now: int) -> bool:
        """Take in a checked joint state at steady time `now`, ns.

        Returns:
            Whether the way of the arm to there was seen. It was not after a long silence or a restart, and where the
            arm is further than the lead from the joint state before: a driver that lies after a gap can pass as motion.
        """
        before, lost = self.positions, self.is_lost(stamp, now)
        self.positions, self.stamp = positions, stamp
        self._watch.feed(self.time(now))
        return before is not None and not lost and bool((np.abs(positions - before) <= self._lead).all())

    def in_turn(self, position: NDArray[Any]) -> NDArray[Any]:
        """Positions (A,) rad in the turn in which the arm is measured, for joints that turn without end.

        Perception and teleoperation may have begun in another one.
        """
        if self.positions is None:
            return position
        return nearest_turn(position, self.positions[: len(position)], self._continuous)

    def silent(self, now: int) -> bool:
        """Return whether the newest joint state is too old at steady time `now`, ns."""
        return self._watch.silent(self.time(now))

    def time(self, now: int) -> int:
        """Time of the robot, ns: that of its stamps in lock-step, else steady time `now`, ns."""
        return self.stamp if self._lock_step else now

"""Newest joint state of the arm and of the joints that commands must hold."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlt_ros.acting.records import InputRefused
from rlt_ros.acting.watchdog import Watchdog
from rlt_ros.robots.turns import Mask, nearest_turn

Array = NDArray[np.float64]

# ns; a joint state older than the newest by less is out of order, by more its clock was set back.
_MAX_REORDERING = 1_000_000_000
# s without a joint state after which the motion up to the next one is unknown.
_MAX_GAP = 0.5


class MeasuredJoints:
    """Newest joint state; refuses unusable ones.

    Args:
        lead: (J,) rad, greatest distance of a command from the arm.
        timeout: s after which the newest joint state is too old.
        continuous: (A,) joints that turn without end, the first A of all; None for none.
        lock_step: age is measured on the stamps instead of the steady clock.
    """

    def __init__(
        self, lead: Array, timeout: float, continuous: Mask | None = None, *, lock_step: bool
    ) -> None:
        self._lead, self._lock_step, self._continuous = lead, lock_step, continuous
        self._watchdog = Watchdog(timeout)
        self.positions: Array | None = None
        """(J,) rad; None before the first joint state."""
        self.stamp = 0
        """ROS time, ns; 0 from drivers that leave it empty."""
        self.rejected = False
        """The newest joint state was rejected, and the arm may be at its position."""
        self._rejected_stamp = 0

    def reject(self, stamp: int) -> None:
        """Record a joint state of ROS time `stamp`, ns, that was rejected."""
        self.rejected, self._rejected_stamp = True, stamp

    def check(self, stamp: int, positions: Array) -> None:
        """Raise InputRefused for a joint state that is not finite, of a wrong shape, repeated or out of order."""
        dim = len(self._lead)
        if np.shape(positions) != (dim,) or not np.isfinite(positions).all():
            raise InputRefused("unusable joint state", f"positions {positions}; need {dim} finite numbers")
        if not stamp or not self.stamp:
            return
        if stamp == self.stamp:
            raise InputRefused("repeated joint state", f"stamp {stamp} ns was received before")
        if 0 < self.stamp - stamp < _MAX_REORDERING:
            raise InputRefused(
                "joint state out of order", f"{(self.stamp - stamp) * 1e-9:.3f} s behind the newest"
            )

    def is_restart(self, stamp: int) -> bool:
        """Return whether the clock of a checked joint state was set back since the newest one."""
        return 0 < stamp < self.stamp

    def is_lost(self, stamp: int, now: int) -> bool:
        """Return whether the motion up to a checked joint state at steady time `now`, ns, is unknown.

        True after a gap or a restart of the clock, False for the first joint state.
        """
        if self.positions is None:
            return False
        return self.is_restart(stamp) or self._watchdog.age(stamp if self._lock_step else now) > _MAX_GAP

    def update(self, stamp: int, positions: Array, now: int) -> bool:
        """Accept a checked joint state at steady time `now`, ns.

        Returns:
            True if the motion up to it is known. It is unknown after a gap or a restart, and where the arm is further
            than the lead from the last joint state: a wrong position after a gap can look like motion.
        """
        before, lost = self.positions, self.is_lost(stamp, now)
        self.positions, self.stamp = positions, stamp
        # An old state that arrives late confirms nothing about the arm since.
        is_old = stamp > 0 and 0 <= self._rejected_stamp - stamp < _MAX_REORDERING
        self.rejected = self.rejected and is_old
        self._watchdog.feed(self.time(now))
        return before is not None and not lost and bool((np.abs(positions - before) <= self._lead).all())

    def in_turn(self, position: NDArray[Any]) -> NDArray[Any]:
        """Positions (A,) rad in the turn of the measured arm, for joints that turn without end.

        Perception and teleoperation may have started in another turn.
        """
        if self.positions is None:
            return position
        return nearest_turn(position, self.positions[: len(position)], self._continuous)

    def timed_out(self, now: int) -> bool:
        """Return whether the newest joint state is too old at steady time `now`, ns."""
        return self._watchdog.expired(self.time(now))

    def time(self, now: int) -> int:
        """Time of the robot, ns: that of its stamps in lock-step, else steady time `now`, ns."""
        return self.stamp if self._lock_step else now

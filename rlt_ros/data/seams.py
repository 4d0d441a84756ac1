"""Seams in recorded positions of continuous joints, from drivers that wrap them.

A data set neither lists continuous joints nor describes how its driver reports them, so they are recognised by their
values: all positions within one turn, and motion by most of a turn between two rows. No arm is that fast (47 rad/s at
10 rows per second); degrees and encoder counts do not stay within 6.28.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rlt_ros.robots.turns import TURN, nearest_turn, unwrapped

FloatArray = NDArray[np.float32]

# rad between two rows, three quarters of a turn.
_JUMP = 0.75 * TURN
# rad; rounding of float32, and of drivers that report 3.15 for π.
_SLACK = 0.05


def without_seams(position: FloatArray, command: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Positions (T, A) without seams, and commands (T, A) in the turn nearest to their row's position, rad.

    Joints without a seam are unchanged, bit for bit.
    """
    if not len(position):
        return position, command
    both = np.concatenate([position, command])
    one_turn = np.ptp(both, axis=0) <= TURN + _SLACK
    jumps = np.abs(np.diff(position, axis=0)).max(axis=0, initial=0.0) > _JUMP
    wrapped = one_turn & (jumps | (np.abs(command - position).max(axis=0) > _JUMP))
    if not wrapped.any():
        return position, command
    path = unwrapped(position, wrapped)
    return path.astype(np.float32), nearest_turn(command, path, wrapped).astype(np.float32)

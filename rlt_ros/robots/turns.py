"""Arithmetic of joints that turn without end: positions that differ by whole turns are equal.

Every function takes a mask (A,) of these joints; positions of all other joints stay bitwise the same.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Mask = NDArray[np.bool_]

TURN = 2 * math.pi
"""rad"""

UNLIMITED = 1000.0
"""rad; position limit of a joint without one."""


def nearest_turn(position: Array, reference: Array, continuous: Mask | None) -> Array:
    """Positions (..., A) rad, shifted by whole turns to within half a turn of `reference` (..., A)."""
    if continuous is None or not continuous.any():
        return position
    turns = np.where(continuous, np.round((reference - position) / TURN), 0.0)
    return np.asarray(np.where(turns == 0.0, position, position + TURN * turns))


def turn_inside(position: Array, near: Array, lower: Array, upper: Array, continuous: Mask | None) -> Array:
    """Positions (A,) rad, shifted by whole turns to within `lower` and `upper`, as near to `near` (A,) as possible.

    A joint without a turn inside the limits is shifted to the turn nearest to `near`.
    """
    if continuous is None or not continuous.any():
        return position
    nearest = np.where(continuous, np.round((near - position) / TURN), 0.0)
    found = position + TURN * nearest
    below, above = np.maximum(0.0, lower - found), np.maximum(0.0, found - upper)
    inside = nearest + np.ceil(below / TURN) - np.ceil(above / TURN)
    moved = position + TURN * inside
    turns = np.where(continuous & (lower <= moved) & (moved <= upper), inside, nearest)
    return np.asarray(np.where(turns == 0.0, position, position + TURN * turns))


def distance(first: Array, second: Array, continuous: Mask | None) -> Array:
    """Absolute distances (..., A) rad between two positions, modulo a turn for continuous joints."""
    return np.asarray(np.abs(nearest_turn(first, second, continuous) - second))


def wrapped(position: Array, continuous: Mask | None) -> Array:
    """Positions (..., A) rad with continuous joints in (-π, π]."""
    if continuous is None or not continuous.any():
        return position
    inside = np.where(
        (-math.pi < position) & (position <= math.pi), 0.0, -np.ceil((position - math.pi) / TURN)
    )
    return np.asarray(np.where(continuous & (inside != 0.0), position + TURN * inside, position))


def unwrapped(path: Array, continuous: Mask | None, gaps: NDArray[np.bool_] | None = None) -> Array:
    """Path (T, A) rad of a wrapping driver, continuous in every continuous joint; its first row is unchanged.

    Args:
        path: (T, A) successive positions, each less than half a turn from the last.
        continuous: (A,) joints that turn without end.
        gaps: (T,) rows that begin a new path; None for one path.
    """
    if continuous is None or not continuous.any() or len(path) < 2:
        return path
    steps = np.diff(path, axis=0)
    turns = np.where(continuous, -np.round(steps / TURN), 0.0)
    if gaps is not None:
        turns[gaps[1:]] = 0.0
    total = np.concatenate([np.zeros((1, path.shape[1])), np.cumsum(turns, axis=0)])
    if gaps is not None:
        starts = np.maximum.accumulate(np.where(gaps, np.arange(len(path)), 0))
        total -= total[starts]
    return np.asarray(np.where(total == 0.0, path, path + TURN * total))

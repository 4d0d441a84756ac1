"""Data sets of drivers that wrap their joints are read without seams."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from rlt_ros.data.seams import without_seams

TURN = 2 * np.pi


def wrap(values: NDArray[np.float64]) -> NDArray[np.float32]:
    return ((values + np.pi) % TURN - np.pi).astype(np.float32)


@given(
    start=st.floats(-3.0, 3.0),
    steps=st.lists(st.floats(-0.6, 0.6), min_size=2, max_size=80),
    lead=st.floats(-0.2, 0.2),
)
def test_a_wrapped_joint_moves_as_it_did(start: float, steps: list[float], lead: float) -> None:
    true = (start + np.cumsum(steps))[:, None]
    position, command = without_seams(wrap(true), wrap(true + lead))
    np.testing.assert_allclose(np.diff(position, axis=0), np.diff(true, axis=0), atol=1e-4)
    np.testing.assert_allclose(command - position, np.full_like(true, lead), atol=1e-4)


@given(
    rows=st.lists(st.lists(st.floats(-2.0, 2.0, width=32), min_size=2, max_size=2), min_size=1, max_size=40),
    scale=st.sampled_from([1.0, 0.001]),
)
def test_joints_without_a_seam_are_unchanged(rows: list[list[float]], scale: float) -> None:
    given = (np.array(rows) * scale).astype(np.float32)
    position, command = without_seams(given, given[::-1].copy())
    assert position is given
    np.testing.assert_array_equal(command, given[::-1])


def test_degrees_are_not_taken_for_turns() -> None:
    degrees = np.array([[0.0], [6.3], [12.5], [6.2], [-20.0]], np.float32)
    position, command = without_seams(degrees, degrees + 6.28)
    np.testing.assert_array_equal(position, degrees)
    np.testing.assert_array_equal(command, degrees + np.float32(6.28))


def test_only_the_command_may_be_beyond_the_seam() -> None:
    position, command = without_seams(np.full((3, 1), 3.13, np.float32), np.full((3, 1), -3.13, np.float32))
    np.testing.assert_array_equal(position, np.full((3, 1), 3.13, np.float32))
    np.testing.assert_allclose(command, TURN - 3.13, atol=1e-5)

"""The arm's joints are found by name, and known between two samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlt_ros.perception.joints import JointOrder, JointSample, JointStateError, JointTrack


@given(st.permutations(["base", "a", "b", "c", "gripper"]))
def test_joints_are_found_in_any_order(names: list[str]) -> None:
    order = JointOrder(["c", "a", "b"])
    value = {"base": 9.0, "a": 1.0, "b": 2.0, "c": 3.0, "gripper": 8.0}
    for sign in (1.0, -1.0):  # the second message with the same names
        position, velocity = order.pick(
            names, [sign * value[name] for name in names], [10 * sign * value[name] for name in names]
        )
        assert position.tolist() == [3 * sign, 1 * sign, 2 * sign]
        assert velocity.tolist() == [30 * sign, 10 * sign, 20 * sign]


@pytest.mark.parametrize(
    ("names", "position", "velocity", "words"),
    [
        (["a"], [1.0], [1.0], "lacks b"),
        (["a", "b"], [1.0], [1.0, 2.0], "2 names with 1 positions"),
        (["a", "b"], [1.0, 2.0], [], "0 velocities"),
        (["a", "b"], [1.0, np.nan], [1.0, 2.0], "finite"),
        (["a", "b"], [1.0, 2.0], [np.inf, 2.0], "finite"),
    ],
)
def test_a_joint_state_that_says_too_little_is_refused(
    names: list[str], position: list[float], velocity: list[float], words: str
) -> None:
    with pytest.raises(JointStateError, match=words):
        JointOrder(["a", "b"]).pick(names, position, velocity)


def test_nan_of_a_joint_outside_the_arm_does_not_matter() -> None:
    position, _ = JointOrder(["a"]).pick(["a", "finger"], [1.0, np.nan], [0.0, np.nan])
    assert position.tolist() == [1.0]


def track(*stamps: int) -> JointTrack:
    kept = JointTrack(100, gap=50)
    for stamp in stamps:
        kept.add(JointSample(stamp, np.array([2.0 * stamp]), np.array([3.0 * stamp])))
    return kept


@given(st.integers(10, 60))
def test_between_samples_a_straight_line_is_followed(stamp: int) -> None:
    sample = track(10, 35, 60).at(stamp)
    assert sample is not None
    np.testing.assert_allclose([*sample.position, *sample.velocity], [2.0 * stamp, 3.0 * stamp])


@pytest.mark.parametrize("stamp", [9, 61, 100])
def test_nothing_is_known_outside_the_samples(stamp: int) -> None:
    assert track(10, 35, 60).at(stamp) is None


def test_nothing_is_known_in_a_gap_except_at_its_ends() -> None:
    kept = track(10, 100)
    assert kept.at(50) is None
    assert kept.at(10) is not None
    assert kept.at(100) is not None


def test_old_samples_are_let_go() -> None:
    kept = JointTrack(2, gap=50)
    for stamp in (10, 20, 30):
        kept.add(JointSample(stamp, np.zeros(1), np.zeros(1)))
    assert kept.at(10) is None
    assert kept.at(25) is not None

"""The arm's joints are found by name, and known between two samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlt_ros.perception.joints import BASELINE, JointOrder, JointSample, JointStateError, JointTrack


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
        (["a", "b"], [1.0, 2.0], [1.0], "2 names with 1 velocities"),
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


def test_velocities_that_the_driver_does_not_say_are_not_known() -> None:
    order = JointOrder(["a", "b"])
    _, left_out = order.pick(["b", "a"], [1.0, 2.0], [])
    _, partly = order.pick(["b", "a"], [1.0, 2.0], [np.nan, 5.0])
    np.testing.assert_array_equal(left_out, [np.nan, np.nan])
    np.testing.assert_array_equal(partly, [5.0, np.nan])


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


MS = 1_000_000


def driven(*times: float, gap: float = 100.0) -> JointTrack:
    """States of a joint that turns at 2 rad/s, without velocities, at times in ms."""
    kept = JointTrack(1000, gap=round(gap * MS))
    for ms in times:
        kept.add(JointSample(round(ms * MS), np.array([2e-3 * ms]), np.array([np.nan])))
    return kept


def speed(kept: JointTrack) -> float:
    newest = kept.newest
    assert newest is not None
    return float(newest.velocity[0])


@given(st.lists(st.floats(1.0, 30.0), min_size=1, max_size=60))
def test_a_steady_motion_has_its_velocity_as_soon_as_it_can_be_known(periods: list[float]) -> None:
    times = np.cumsum([1000.0, *periods])
    known = round(times[-1] * MS) - round(times[0] * MS) >= BASELINE
    assert speed(driven(*times)) == (
        pytest.approx(2.0, rel=1e-4) if known else pytest.approx(np.nan, nan_ok=True)
    )


@pytest.mark.parametrize(
    ("times", "over"),
    [
        ([0, 8, 16, 24, 32], 24),  # 125 Hz: 16 ms would be too short
        ([0, 20, 39], 19),  # 50 Hz with jitter
        ([0, 20, 37], 37),
        ([0, 90], 90),
    ],
)
def test_a_velocity_is_the_mean_since_the_newest_state_that_is_old_enough(
    times: list[float], over: float
) -> None:
    kept = JointTrack(100, gap=100 * MS)
    for ms in times:  # position: the square of the time
        kept.add(JointSample(round(ms * MS), np.array([1e-6 * ms * ms]), np.array([np.nan])))
    before = times[-1] - over
    assert speed(kept) == pytest.approx((times[-1] ** 2 - before**2) * 1e-6 / (over * 1e-3))


@pytest.mark.parametrize("times", [[0], [0, 10], [0, 101], [0, 5, 10, 120]])
def test_no_velocity_is_made_up_where_no_state_is_near_enough(times: list[float]) -> None:
    assert np.isnan(speed(driven(*times)))


def test_after_it_forgot_all_no_velocity_is_known() -> None:
    kept = driven(0, 20)
    kept.clear()
    kept.add(JointSample(40 * MS, np.ones(1), np.array([np.nan])))
    assert np.isnan(speed(kept))


def test_velocities_of_the_driver_are_kept_and_only_the_others_derived() -> None:
    kept = JointTrack(100, gap=100 * MS)
    for ms in (10, 30):
        position = np.array([1e-3 * ms, 2e-3 * ms])
        kept.add(JointSample(ms * MS, position, np.array([7.0, np.nan])))
    newest = kept.newest
    assert newest is not None
    np.testing.assert_allclose(newest.velocity, [7.0, 2.0])


def test_between_a_known_velocity_and_an_unknown_one_none_is_known() -> None:
    sample = driven(0, 10, 20).at(15 * MS)
    assert sample is not None
    assert np.isnan(sample.velocity).all()
    assert sample.position[0] == pytest.approx(0.03)


def test_between_two_sides_of_a_seam_a_joint_goes_the_short_way() -> None:
    kept = JointTrack(100, gap=100 * MS)
    for number, position in enumerate((3.120, 3.128, 3.136, 3.144 - 2 * math.pi, 3.152 - 2 * math.pi)):
        kept.add(JointSample(number * 20 * MS, np.array([position]), np.array([np.nan])))
    for ms, expected in ((50, 3.140), (70, 3.148)):
        sample = kept.at(ms * MS)
        assert sample is not None
        assert math.remainder(sample.position[0] - expected, 2 * math.pi) == pytest.approx(0.0, abs=1e-9)
        assert sample.velocity[0] == pytest.approx(0.4)

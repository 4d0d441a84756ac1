"""Joint tracking: joint states are unwrapped, and dropped where the arm cannot have moved there."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rlt_ros.robots.joint_tracking import (
    JUMP_MARGIN,
    JointStateRejected,
    JointTracker,
    TrackedState,
)
from rlt_ros.robots.profile import load_profile, profile_names
from rlt_ros.robots.tracked_joints import TrackedJoints
from rlt_ros.robots.turns import TURN, distance, nearest_turn, unwrapped, wrapped

Array = NDArray[np.float64]

MS = 1_000_000
FR3 = load_profile("franka_fr3")
FR3_HOME = np.array(FR3.home)
KINOVA = load_profile("kinova_gen3").tracked_joints


def driver_wrap(position: Array, low: float = -math.pi) -> Array:
    """Report of a driver that wraps every joint into [low, low + 2π)."""
    return np.asarray((position - low) % TURN + low)


def two_joints(continuous: tuple[bool, bool] = (True, False)) -> TrackedJoints:
    """A joint that turns without end, and one limited to ±3 rad."""
    return TrackedJoints(
        ("roll", "elbow"),
        np.array([-50.0, -3.0]),
        np.array([50.0, 3.0]),
        np.full(2, 4.0),
        np.array(continuous),
        np.zeros(2),
    )


class Feed:
    """States that come every 10 ms."""

    def __init__(self, tracker: JointTracker) -> None:
        self.tracker, self.time = tracker, 0

    def __call__(self, position: Array, *, commanding: bool = False, stamped: bool = True) -> TrackedState:
        self.time += 10 * MS
        return self.tracker.update(
            self.time if stamped else 0, position, now=self.time, commanding=commanding
        )

    def rejected(self, position: Array, *, commanding: bool = False) -> JointStateRejected:
        with pytest.raises(JointStateRejected) as caught:
            self(position, commanding=commanding)
        return caught.value

    def until_accepted(self, position: Array, most: int = 100) -> int:
        """Number of states that were dropped before this position was accepted."""
        for dropped in range(most):
            try:
                self(position)
            except JointStateRejected:
                continue
            return dropped
        raise AssertionError(f"{position} was not accepted within {most} states")


def fr3() -> Feed:
    feed = Feed(JointTracker(FR3.tracked_joints))
    feed(FR3_HOME)
    return feed


# -- turns ------------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    steps=st.lists(st.tuples(st.floats(-3.9, 3.9), st.floats(-3.9, 3.9)), min_size=1, max_size=120),
    start=st.floats(-3.0, 3.0),
    low=st.sampled_from([-math.pi, 0.0, -TURN, -0.5]),
)
def test_a_smooth_motion_of_a_wrapping_driver_is_tracked_without_a_seam(
    steps: list[tuple[float, float]], start: float, low: float
) -> None:
    tracker = Feed(JointTracker(two_joints()))
    true = np.array([start, 0.0])
    first, before = None, None
    for speed in steps:
        state = tracker(np.array([driver_wrap(true[:1], low)[0], true[1]]))
        first = state.positions[0] - true[0] if first is None else first
        # The same place, always in the same turn, and never faster than the arm.
        assert state.positions[0] == pytest.approx(true[0] + first, abs=1e-9)
        assert state.positions[1] == true[1]
        if before is not None:
            assert (np.abs(state.positions - before) <= 0.04 + 1e-9).all()
        before = state.positions
        true = true + 0.01 * np.array(speed)
        true[1] = np.clip(true[1], -3.0, 3.0)
    assert first is not None
    assert first / TURN == pytest.approx(round(first / TURN), abs=1e-9)


@given(position=st.floats(-9.0, 9.0))
def test_a_limited_joint_is_never_shifted_by_a_turn(position: float) -> None:
    tracker = Feed(JointTracker(two_joints(continuous=(True, False))))
    assert tracker(np.array([0.0, position])).positions[1] == position


@pytest.mark.parametrize("name", ["ur5e", "xarm7"])
def test_a_driver_that_counts_turns_is_believed(name: str) -> None:
    joints = load_profile(name).tracked_joints
    position = joints.home.copy()
    position[-1 if name == "ur5e" else 0] = 6.0
    np.testing.assert_array_equal(Feed(JointTracker(joints))(position).positions, position)


def test_the_first_state_is_in_the_turn_of_home() -> None:
    home = KINOVA.home
    assert home[2] > math.pi
    state = Feed(JointTracker(KINOVA))(driver_wrap(home))
    np.testing.assert_allclose(state.positions, home, atol=1e-12)


def test_the_first_state_is_inside_the_limits_if_a_turn_is() -> None:
    home = KINOVA.home.copy()
    home[0] = 6.2
    joints = TrackedJoints(KINOVA.names, KINOVA.lower, KINOVA.upper, KINOVA.speed, KINOVA.continuous, home)
    reported = KINOVA.home.copy()
    # In the turn nearest to home it would be 6.583, outside.
    reported[0] = 0.3
    assert Feed(JointTracker(joints))(reported).positions[0] == 0.3


@given(
    position=st.lists(st.floats(-100, 100), min_size=2, max_size=2),
    reference=st.lists(st.floats(-100, 100), min_size=2, max_size=2),
)
def test_turns_leave_the_place_alone(position: list[float], reference: list[float]) -> None:
    mask, here, there = np.array([True, False]), np.array(position), np.array(reference)
    near = nearest_turn(here, there, mask)
    assert near[1] == here[1]
    assert abs(near[0] - there[0]) <= math.pi + 1e-9
    inside = wrapped(here, mask)
    assert inside[1] == here[1]
    assert -math.pi - 1e-9 < inside[0] <= math.pi + 1e-9
    for moved in (near, inside):
        assert distance(moved, here, mask)[0] == pytest.approx(0.0, abs=1e-9)


@given(st.lists(st.floats(-3.0, 3.0), min_size=1, max_size=60))
def test_a_recorded_path_is_unwrapped_as_a_whole(steps: list[float]) -> None:
    true = np.cumsum(np.array([[step, step] for step in steps]), axis=0)
    mask = np.array([True, False])
    path = np.column_stack([driver_wrap(true[:, 0]), true[:, 1]])
    found = unwrapped(path, mask)
    np.testing.assert_allclose(found - found[0], true - true[0], atol=1e-9)
    np.testing.assert_array_equal(found[:, 1], path[:, 1])


def test_a_gap_begins_a_new_path() -> None:
    path = np.array([[3.0], [-3.0], [-3.1], [3.1]])
    gaps = np.array([False, False, True, False])
    found = unwrapped(path, np.array([True]), gaps)
    np.testing.assert_allclose(found[:, 0], [3.0, TURN - 3.0, -3.1, 3.1 - TURN])


# -- jumps ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [0.0, 1.0, 3.0, 1e6, 1e39, 1e308, np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("commanding", [False, True])
def test_single_wrong_states_are_dropped_and_the_arm_is_followed(wrong: float, commanding: bool) -> None:
    feed, position = fr3(), FR3_HOME.copy()
    for _ in range(30):
        error = feed.rejected(np.full(7, wrong), commanding=commanding)
        assert not error.moved
        assert "fr3_joint" in str(error)
        for _ in range(6):
            position = position + 0.01
            np.testing.assert_array_equal(feed(position, commanding=commanding).positions, position)


def test_a_hand_moves_the_arm_at_3_rad_per_second() -> None:
    feed = fr3()
    for step in range(40):
        position = FR3_HOME.copy()
        position[0] += 0.03 * (step + 1)
        assert not feed(position).relocated


def test_a_driver_without_stamps_is_judged_by_arrival() -> None:
    feed = Feed(JointTracker(FR3.tracked_joints))
    feed(FR3_HOME, stamped=False)
    feed(FR3_HOME + 0.04, stamped=False)
    with pytest.raises(JointStateRejected, match="moves from"):
        feed(FR3_HOME + 1.0, stamped=False)
    feed.time += 300 * MS
    feed(FR3_HOME - 0.5, stamped=False)


def test_a_long_silence_does_not_excuse_every_jump() -> None:
    feed = fr3()
    feed.time += 3_600_000 * MS
    assert "can move" in str(feed.rejected(np.array([0.0] * 6 + [-3.0])))


def test_a_jump_that_persists_is_accepted_while_nothing_commands() -> None:
    feed = Feed(JointTracker(FR3.tracked_joints))
    feed(np.zeros(7))
    kinds = []
    for _ in range(50):
        try:
            state = feed(FR3_HOME)
        except JointStateRejected as error:
            kinds.append(error.kind)
            assert not error.moved
        else:
            break
    assert state.relocated
    np.testing.assert_array_equal(state.positions, FR3_HOME)
    assert set(kinds) == {"joint state jumped"}
    assert len(kinds) == 10
    assert not feed(FR3_HOME).relocated


def test_a_jump_that_persists_ends_the_episode_before_it_is_accepted() -> None:
    for elsewhere in (np.zeros(7), FR3_HOME + 0.3):
        feed = fr3()
        errors = [feed.rejected(elsewhere, commanding=True) for _ in range(200)]
        assert not any(error.moved for error in errors[:4])
        assert all(error.moved for error in errors[20:])
        assert feed(elsewhere).relocated


def test_after_a_relocation_a_continuous_joint_is_in_the_turn_of_home_again() -> None:
    feed = Feed(JointTracker(two_joints()))
    for step in range(400):
        state = feed(np.array([driver_wrap(np.array([0.03 * step]))[0], 0.0]))
    assert state.positions[0] > 11.0
    feed.until_accepted(np.array([-1.0, 2.0]))
    np.testing.assert_array_equal(feed(np.array([-1.0, 2.0])).positions, [-1.0, 2.0])


def test_scattered_wrong_states_never_become_a_place() -> None:
    feed, noise = fr3(), np.random.default_rng(0)
    for _ in range(300):
        if noise.random() < 0.1:
            feed.rejected(noise.uniform(-1.0, 1.0, 7))
        else:
            feed(FR3_HOME)
    assert not feed.tracker.has_two_sources


def test_whole_turns_of_a_limited_joint_name_the_remedy() -> None:
    feed = Feed(JointTracker(load_profile("ur5e").tracked_joints))
    position = np.array(load_profile("ur5e").home)
    feed(position)
    position[5] += TURN
    assert "`continuous_joints`" in str(feed.rejected(position))


# -- two publishers ---------------------------------------------------------------------------------------------------


def alternating(first: Array, second: Array) -> Iterator[Array]:
    while True:
        yield first
        yield second


@pytest.mark.parametrize("foreign_first", [False, True])
def test_two_publishers_in_turn_are_recognised_and_neither_is_believed(foreign_first: bool) -> None:
    feed = Feed(JointTracker(FR3.tracked_joints))
    both = (np.zeros(7), FR3_HOME) if foreign_first else (FR3_HOME, np.zeros(7))
    states = alternating(*both)
    for _ in range(20):
        try:
            feed(next(states))
        except JointStateRejected:
            continue
    for _ in range(100):
        error = feed.rejected(next(states))
        assert error.kind == "two sources of joint states"
        assert error.moved
    # The foreign one ends.
    assert feed.until_accepted(FR3_HOME) < 60
    assert not feed.tracker.has_two_sources


def test_a_slow_foreign_publisher_that_came_first_does_not_win() -> None:
    feed = Feed(JointTracker(FR3.tracked_joints))
    feed(np.zeros(7))
    accepted = []
    for step in range(100):
        try:
            state = feed(np.zeros(7) if step % 10 == 9 else FR3_HOME)
        except JointStateRejected:
            continue
        accepted.append(state.positions)
    np.testing.assert_array_equal(accepted[-1], FR3_HOME)
    assert sum(not position.any() for position in accepted) <= 3


@pytest.mark.parametrize("ahead", [400, -400, 90, 10_000, -10_000, -1_700_000_000_000])
@pytest.mark.parametrize("apart", [0.3, 1.2])
def test_two_publishers_with_different_clocks_are_recognised(ahead: int, apart: float) -> None:
    tracker, began = JointTracker(FR3.tracked_joints), 1_700_000_100_000 * MS
    foreign, kinds = FR3_HOME + apart, []
    tracker.update(began, FR3_HOME, now=0)
    for step in range(1, 100):
        now = step * 10 * MS
        stamp, position = (began + now + ahead * MS, foreign) if step % 2 else (began + now, FR3_HOME)
        try:
            state = tracker.update(stamp, position, now=now)
        except JointStateRejected as error:
            kinds.append(error.kind)
        else:
            np.testing.assert_array_equal(state.positions, FR3_HOME)
    assert kinds[-50:] == ["two sources of joint states"] * 50


@pytest.mark.parametrize("apart", [0.0, 0.1])
def test_two_publishers_at_one_place_are_recognised_by_their_stamps(apart: float) -> None:
    feed = Feed(JointTracker(FR3.tracked_joints))
    for step in range(40):
        feed.time += 400 * MS * (-1) ** step
        with contextlib.suppress(JointStateRejected):
            feed(FR3_HOME + apart * (step % 2))
    assert feed.tracker.has_two_sources


@pytest.mark.parametrize("foreign_first", [False, True])
@pytest.mark.parametrize("faster", [4, 8, 20])
@pytest.mark.parametrize("drift", [0.0, 0.0003])
def test_a_foreign_publisher_that_is_faster_by_far_is_recognised(
    faster: int, drift: float, foreign_first: bool
) -> None:
    """50 Hz of truth, up to 1 kHz of another place, which may move away slowly."""
    tracker, foreign, now = JointTracker(FR3.tracked_joints), FR3_HOME + 0.5, 0
    tracker.update(1, foreign if foreign_first else FR3_HOME, now=1)
    for step in range(faster * 100):
        now += 20 * MS // faster
        foreign = foreign + drift
        with contextlib.suppress(JointStateRejected):
            tracker.update(now, foreign if step % faster else FR3_HOME, now=now)
    assert tracker.has_two_sources


# -- clocks and simulators --------------------------------------------------------------------------------------------


def test_states_out_of_order_do_not_move_the_reference() -> None:
    feed = fr3()
    for step in range(10):
        feed(FR3_HOME + 0.01 * step)
    tracker, stamp = feed.tracker, feed.time
    tracker.update(stamp - 50 * MS, FR3_HOME + 0.04, now=stamp, commanding=True)
    assert tracker.update(stamp + 10 * MS, FR3_HOME + 0.1, now=stamp + 10 * MS).positions[0] == 0.1


def test_a_clock_that_is_set_back_begins_again() -> None:
    feed = fr3()
    feed.time += 100_000 * MS
    feed(FR3_HOME)
    tracker = feed.tracker
    for step in range(1, 100):
        position = FR3_HOME + 0.01 * step
        tracker.update(step * 10 * MS, position, now=feed.time + step)


def test_a_simulator_may_put_the_arm_elsewhere_at_once() -> None:
    feed = Feed(JointTracker(FR3.tracked_joints, jumps=False))
    feed(FR3_HOME)
    assert not feed(np.zeros(7), commanding=True).relocated
    assert feed.rejected(np.full(7, 1e308)).kind == "joint state out of range"


def test_velocities_of_a_wrapped_difference_are_not_believed() -> None:
    tracker = JointTracker(KINOVA)
    speeds = np.array([-157.0, 0.4, np.nan, -3.9, 0.0, 1e308, 2.0])
    expected = np.array([np.nan, 0.4, np.nan, -3.9, 0.0, np.nan, 2.0])
    np.testing.assert_array_equal(tracker.plausible_velocities(speeds), expected)


# -- any driver -------------------------------------------------------------------------------------------------------

PROFILES = {name: load_profile(name).tracked_joints for name in profile_names()}


@settings(max_examples=30, deadline=None)
@given(data=st.data(), name=st.sampled_from(sorted(PROFILES)), seed=st.integers(0, 2**32 - 1))
def test_an_accepted_path_of_any_driver_is_one_that_the_arm_can_move(
    data: st.DataObject, name: str, seed: int
) -> None:
    joints, random = PROFILES[name], np.random.default_rng(seed)
    wraps = data.draw(st.booleans())
    commanding = data.draw(st.booleans())
    tracker, time = JointTracker(joints), 1_000_000_000
    true = joints.home.copy()
    before: TrackedState | None = None
    for _ in range(200):
        time += int(random.integers(1, 30)) * MS
        true = np.clip(true + random.uniform(-0.02, 0.02, joints.dim), joints.lower, joints.upper)
        reported = np.where(joints.continuous & wraps, driver_wrap(true), true)
        fault = random.random()
        if fault < 0.1:
            reported = random.choice([0.0, np.nan, 1e308, 1e39, -5.0, 7.0]) * np.ones(joints.dim)
        elif fault < 0.13:
            true = random.uniform(np.maximum(joints.lower, -3), np.minimum(joints.upper, 3))
        try:
            state = tracker.update(time, reported, now=time, commanding=commanding)
        except JointStateRejected:
            continue
        assert np.isfinite(state.positions.astype(np.float32)).all()
        assert distance(state.positions, reported, joints.continuous).max() < 1e-9
        if before is not None and not state.relocated:
            reach = JUMP_MARGIN + joints.speed * (time - before.stamp) * 1e-9
            assert (np.abs(state.positions - before.positions) <= reach + 1e-9).all()
        assert not (state.relocated and commanding)
        before = state

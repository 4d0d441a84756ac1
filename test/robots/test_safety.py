"""Safety filter: for any target the command stays inside the limits."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rlt_ros.middleware.messages import ExecutedStep
from rlt_ros.robots.profile import load_profile
from rlt_ros.robots.safety import Limit, Limits, Reference, SafetyFilter

HZ = 50.0
LIMITS = Limits(
    lower=np.array([-1.0, -2.0, 0.0]),
    upper=np.array([1.0, 0.5, 3.0]),
    velocity=np.array([1.0, 2.0, 0.5]),
    lead=np.array([0.1, 0.1, 0.05]),
)
ANY_FLOAT = st.floats(width=64, allow_nan=True, allow_infinity=True)


@given(
    start=arrays(np.float64, 3, elements=st.floats(-4, 4)),
    targets=st.lists(arrays(np.float64, 3, elements=ANY_FLOAT), min_size=1, max_size=20),
    seed=st.integers(0, 1000),
)
def test_no_input_makes_a_command_leave_the_limits_of_position_speed_and_lead(
    start: np.ndarray, targets: list[np.ndarray], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    safety = SafetyFilter(LIMITS, HZ)
    safety.reset(start)
    last, position = start, start
    for target in targets:
        position = position + rng.uniform(-0.08, 0.08, 3)
        command = safety.filter(target, position)
        # A command that began outside the position limits comes back and goes no further out.
        assert (command >= np.minimum(LIMITS.lower, last)).all()
        assert (command <= np.maximum(LIMITS.upper, last)).all()
        assert (np.abs(command - last) <= LIMITS.velocity / HZ + 1e-12).all()
        if safety.within_lead:
            assert (np.abs(command - position) <= LIMITS.lead + 1e-12).all()
        last = command


@given(
    start=arrays(np.float64, 3, elements=st.floats(-4, 4)),
    pushes=st.lists(arrays(np.float64, 3, elements=st.floats(-0.3, 0.3)), min_size=1, max_size=30),
    acceleration=st.none() | st.just(np.array([5.0, 10.0, 2.0])),
    follows=st.booleans(),
)
def test_a_hold_is_within_the_lead_of_an_arm_that_is_pushed_or_may_not_be_sent(
    start: np.ndarray, pushes: list[np.ndarray], acceleration: np.ndarray | None, follows: bool
) -> None:
    safety = SafetyFilter(dataclasses.replace(LIMITS, acceleration=acceleration), HZ)
    safety.reset(start)
    position = last = start
    for push in pushes:
        position = position + push
        command = safety.follow(position) if follows else safety.hold(position)
        near = bool((np.abs(command - position) <= LIMITS.lead + 1e-12).all())
        assert near or not safety.within_lead
        assert (np.abs(command - last) <= LIMITS.velocity / HZ + 1e-12).all()
        if follows:
            assert (np.minimum(last, position) <= command).all()
            assert (command <= np.maximum(last, position)).all()
        last = command


@pytest.mark.parametrize("acceleration", [None, np.array([5.0, 10.0, 2.0])])
def test_following_an_arm_that_stands_reaches_it_and_stays(acceleration: np.ndarray | None) -> None:
    safety = SafetyFilter(dataclasses.replace(LIMITS, acceleration=acceleration), HZ)
    safety.reset(np.array([0.0, 0.0, 1.0]))
    position = np.array([0.3, -0.4, 3.1])
    for _ in range(300):
        command = safety.follow(position)
    np.testing.assert_allclose(command, position, atol=1e-12)
    assert not safety.is_moving


def test_a_start_outside_the_limits_is_held_there_and_comes_back_at_the_speed_limit() -> None:
    safety, start = SafetyFilter(LIMITS, HZ), np.array([1.5, -2.5, 1.0])
    safety.reset(start)
    np.testing.assert_array_equal(safety.hold(start), start)
    position, moves = start, []
    for _ in range(60):
        command = safety.filter(np.array([9.0, -9.0, 1.0]), position)
        moves.append(command - position)
        position = command
    np.testing.assert_allclose(position, [1.0, -2.0, 1.0])
    np.testing.assert_allclose(moves[0], [-0.02, 0.04, 0.0])
    assert (np.abs(moves) <= LIMITS.velocity / HZ + 1e-12).all()


def test_a_command_within_every_limit_passes_unchanged() -> None:
    safety = SafetyFilter(LIMITS, HZ)
    position = np.array([0.0, 0.0, 1.0])
    safety.reset(position)
    target = position + 0.005
    np.testing.assert_array_equal(safety.filter(target, position), target)
    assert safety.cut == safety.refused == 0


def test_a_command_far_ahead_of_the_arm_is_held_back_to_the_lead() -> None:
    safety = SafetyFilter(LIMITS, HZ)
    position = np.zeros(3)
    safety.reset(position)
    for _ in range(200):  # the arm is blocked and does not follow
        command = safety.filter(np.array([1.0, 0.5, 3.0]), position)
    np.testing.assert_allclose(command, LIMITS.lead)


@pytest.mark.parametrize(
    "target", [np.array([np.nan, 0, 0]), np.array([0, np.inf, 0]), np.zeros(2), np.zeros((3, 1))]
)
def test_an_unusable_command_holds_the_last_one_and_is_counted(target: np.ndarray) -> None:
    safety = SafetyFilter(LIMITS, HZ)
    safety.reset(np.array([0.2, 0.1, 1.0]))
    held = safety.filter(np.array([0.21, 0.1, 1.0]), np.array([0.2, 0.1, 1.0]))
    np.testing.assert_array_equal(safety.filter(target, np.zeros(3)), held)
    assert safety.refused == 1


def test_commands_before_the_first_reset_are_an_error() -> None:
    with pytest.raises(RuntimeError, match="reset"):
        SafetyFilter(LIMITS, HZ).filter(np.zeros(3), np.zeros(3))


def test_limits_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValueError, match="lower < upper"):
        Limits(LIMITS.upper, LIMITS.lower, LIMITS.velocity, LIMITS.lead)


STRICT = dataclasses.replace(
    LIMITS, acceleration=np.array([5.0, 10.0, 2.0]), step=np.array([0.015, 0.05, 0.02]), deviation=0.5
)
BOX = np.array([-0.2, -0.2, -1.0, 0.5, 0.5, 1.0])


class Gantry:
    """Three sliding joints: the tip is where the joints are."""

    def forward(self, q: np.ndarray) -> np.ndarray:
        pose = np.eye(4)
        pose[:3, 3] = q
        return pose


@given(
    start=arrays(np.float64, 3, elements=st.floats(-4, 4)),
    inputs=st.lists(
        st.tuples(*[arrays(np.float64, 3, elements=ANY_FLOAT | st.floats(-3, 3))] * 3, st.booleans()),
        min_size=1,
        max_size=40,
    ),
)
def test_no_input_makes_a_command_leave_the_limits_of_acceleration_and_step(
    start: np.ndarray, inputs: list[tuple[np.ndarray, np.ndarray, np.ndarray, bool]]
) -> None:
    safety = SafetyFilter(STRICT, HZ)
    safety.reset(start)
    last, before = start, np.zeros(3)
    for target, position, reference, hold in inputs:
        near = Reference(reference, np.full(3, 0.1))
        command = safety.hold(position) if hold else safety.filter(target, position, near)
        moved = command - last
        assert (command >= np.minimum(STRICT.lower, last)).all()
        assert (command <= np.maximum(STRICT.upper, last)).all()
        assert (np.abs(moved) <= np.minimum(STRICT.velocity / HZ, STRICT.step) + 1e-12).all()
        # Acceleration yields to the lead of a command that is sent.
        if not (safety.within_lead and safety.hit & Limit.LEAD):
            assert (np.abs(moved - before) <= STRICT.acceleration / HZ**2 + 1e-12).all()
        last, before = command, moved


@given(
    targets=st.lists(arrays(np.float64, 3, elements=ANY_FLOAT | st.floats(-3, 3)), min_size=1, max_size=60),
    smooth=st.booleans(),
)
def test_no_input_makes_the_tip_leave_the_workspace(targets: list[np.ndarray], smooth: bool) -> None:
    limits = dataclasses.replace(STRICT if smooth else LIMITS, lower=np.full(3, -3.0), workspace=BOX)
    safety = SafetyFilter(limits, HZ, Gantry())
    position = np.zeros(3)
    safety.reset(position)
    for target in targets:
        position = safety.filter(target, position)
        assert (position >= BOX[:3]).all() and (position <= BOX[3:]).all()


def test_from_outside_the_workspace_the_way_back_is_open_and_the_way_on_is_not() -> None:
    limits = dataclasses.replace(LIMITS, lower=np.full(3, -3.0), workspace=BOX)
    safety = SafetyFilter(limits, HZ, Gantry())
    position, step = np.array([-0.3, 0.0, 0.0]), np.array([0.01, 0.0, 0.0])
    safety.reset(position)
    np.testing.assert_array_equal(safety.filter(position - step, position), position)
    assert safety.hit == Limit.WORKSPACE
    np.testing.assert_array_equal(safety.filter(position + step, position), position + step)


@given(seed=st.integers(0, 1000), speed=st.floats(0.05, 0.7))
def test_a_motion_within_every_limit_passes_unchanged(seed: int, speed: float) -> None:
    rng = np.random.default_rng(seed)
    safety, position = SafetyFilter(STRICT, HZ), np.array([0.0, 0.0, 1.0])
    safety.reset(position)
    moved = np.zeros(3)
    step, change = np.minimum(STRICT.velocity / HZ, STRICT.step), STRICT.acceleration / HZ**2
    for _ in range(30):
        moved = np.clip(moved + rng.uniform(-speed, speed, 3) * change, -0.9 * step, 0.9 * step)
        target = np.clip(position + moved, [-0.5, -1.0, 0.5], [0.5, 0.0, 2.0])
        if not (np.abs(target - position - safety._moved) <= change).all():
            break  # the clipping above was not smooth
        np.testing.assert_array_equal(safety.filter(target, position), target)
        assert safety.hit == Limit.NONE
        position = target


def test_a_target_that_jumps_is_reached_without_shooting_over_it() -> None:
    safety, position = SafetyFilter(STRICT, HZ), np.array([0.0, 0.0, 1.0])
    safety.reset(position)
    target = np.array([0.3, -0.5, 1.2])
    path = []
    for _ in range(200):
        position = safety.filter(target, position)
        path.append(position)
    np.testing.assert_allclose(path[-1], target, atol=1e-9)
    far = np.sign(target - [0.0, 0.0, 1.0])
    assert ((np.array(path) - target) * far <= 1e-9).all()


def test_an_arm_in_motion_brakes_without_a_target() -> None:
    safety, position = SafetyFilter(STRICT, HZ), np.array([0.0, 0.0, 1.0])
    safety.reset(position)
    for _ in range(20):
        position = safety.filter(position + 1.0, position)
    speeds = []
    for _ in range(20):
        held = safety.hold(position)
        speeds.append(np.abs(held - position).max())
        position = held
    assert speeds == sorted(speeds, reverse=True)
    assert speeds[0] > 0.0
    assert speeds[-1] == 0.0


@pytest.mark.parametrize(
    ("target", "position", "reference", "hit"),
    [
        ([0.005, 0.0, 1.0], None, None, Limit.NONE),
        ([0.0, 0.0, 4.0], [0.0, 0.0, 2.99], None, Limit.POSITION | Limit.VELOCITY),
        ([0.05, 0.0, 1.0], None, None, Limit.VELOCITY),
        ([0.005, 0.0, 1.0], [0.2, 0.0, 1.0], None, Limit.LEAD | Limit.VELOCITY),
        ([0.005, 0.0, 1.0], None, [0.004, 0.0, 1.0], Limit.DEVIATION),
    ],
)
def test_the_limits_that_changed_a_command_are_named(
    target: list[float], position: Any, reference: Any, hit: Limit
) -> None:
    safety, start = SafetyFilter(dataclasses.replace(LIMITS, deviation=0.5), HZ), np.array([0.0, 0.0, 1.0])
    safety.reset(start)
    near = None if reference is None else Reference(np.array(reference), np.full(3, 0.001))
    safety.filter(np.array(target), start if position is None else np.array(position), near)
    assert safety.hit == hit


def test_limits_have_the_bits_of_the_message() -> None:
    bits = {f"LIMIT_{limit.name}": int(limit) for limit in Limit if limit}
    assert bits == {
        name: getattr(ExecutedStep, name) for name in dir(ExecutedStep) if name.startswith("LIMIT_")
    }


@pytest.mark.parametrize("position", [np.array([np.nan, 0.0, 1.0]), np.zeros(2)])
def test_a_measurement_that_cannot_be_holds_the_last_command(position: np.ndarray) -> None:
    safety = SafetyFilter(LIMITS, HZ)
    start = np.array([0.0, 0.0, 1.0])
    safety.reset(start)
    np.testing.assert_array_equal(safety.filter(start + 0.001, position), start)
    assert safety.refused == 1


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"acceleration": np.zeros(3)}, "acceleration must be above 0"),
        ({"step": np.ones(2)}, "step must be"),
        ({"workspace": np.array([1.0, 0, 0, 0, 1, 1])}, "workspace"),
        ({"deviation": 0.0}, "deviation"),
    ],
)
def test_limits_that_cannot_be_are_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        dataclasses.replace(LIMITS, **changes)


def test_a_workspace_needs_kinematics() -> None:
    with pytest.raises(ValueError, match="kinematics"):
        SafetyFilter(dataclasses.replace(LIMITS, workspace=BOX), HZ)


def test_the_shipped_robot_is_limited_on_its_own_kinematics() -> None:
    profile = load_profile("agibot_g1_geniesim")
    arm = profile.kinematics()
    limits = dataclasses.replace(profile.limits(arm), acceleration=np.full(7, 10.0))
    safety = SafetyFilter(limits, profile.control_hz, arm)
    home = np.array([1.0734, -0.6109, -0.2793, 1.2846, -0.7313, -1.4957, 0.1868])
    safety.reset(home)
    rng, position = np.random.default_rng(0), home
    assert limits.workspace is not None
    begin = safety._outside(home)
    for _ in range(300):
        position = safety.filter(position + rng.uniform(-1, 1, 7), position)
        assert safety._outside(position) <= begin

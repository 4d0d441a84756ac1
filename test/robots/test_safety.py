"""Whatever is asked for, what is sent stays inside the limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rlt_ros.robots.safety import Limits, SafetyFilter

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
def test_no_input_makes_a_command_leave_position_or_speed_limits(
    start: np.ndarray, targets: list[np.ndarray], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    safety = SafetyFilter(LIMITS, HZ)
    safety.reset(start)
    last = np.clip(start, LIMITS.lower, LIMITS.upper)
    for target in targets:
        command = safety.filter(target, rng.uniform(LIMITS.lower, LIMITS.upper))
        assert (command >= LIMITS.lower).all()
        assert (command <= LIMITS.upper).all()
        assert (np.abs(command - last) <= LIMITS.velocity / HZ + 1e-12).all()
        last = command


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

"""From the stick to the arm's joints."""

from __future__ import annotations

import numpy as np
import pytest

from rlt_ros.replay.stream import EpisodeState, Phase
from rlt_ros.robots.intervention import TakeOver
from rlt_ros.robots.kinematics import Kinematics
from rlt_ros.robots.profile import load_profile
from rlt_ros.teleop.config import TeleopConfig
from rlt_ros.teleop.hand import Hand
from rlt_ros.teleop.operator import Operator
from rlt_ros.teleop.samples import DeviceSample

PROFILE = load_profile("agibot_g1_geniesim")
HOME = np.array([1.0734, -0.6109, -0.2793, 1.2846, -0.7313, -1.4957, 0.1868])
MS = 1_000_000
EPISODE = EpisodeState(1, Phase.CRITICAL)
CONFIG = TeleopConfig(linear_speed=0.1, angular_speed=0.5)
FORWARD = [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]


@pytest.fixture(scope="module")
def arm() -> Kinematics:
    return PROFILE.kinematics()


def pad(axes: list[float], *held: int) -> DeviceSample:
    return DeviceSample(axes, [int(i in held) for i in range(21)])


@pytest.mark.parametrize("axis", range(6))
def test_the_tip_moves_along_one_axis_at_the_speed_that_was_asked_for(arm: Kinematics, axis: int) -> None:
    hand = Hand(arm, PROFILE.limits(arm), 50.0, CONFIG)
    hand.begin(HOME)
    twist, target = np.eye(6)[axis], HOME
    for _ in range(10):
        target = hand.move(twist, target)
    start, end = arm.forward(HOME), arm.forward(target)
    shift = end[:3, 3] - start[:3, 3]
    turn = end[:3, :3] @ start[:3, :3].T
    turned = 0.5 * np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
    expected = twist * np.repeat([0.1, 0.5], 3) * 10 / 50.0
    np.testing.assert_allclose(np.concatenate([shift, turned]), expected, atol=4e-3)


def test_in_the_tips_frame_forward_is_the_tips_own_axis(arm: Kinematics) -> None:
    hand = Hand(arm, PROFILE.limits(arm), 50.0, TeleopConfig(linear_speed=0.1, frame="tip"))
    hand.begin(HOME)
    target = hand.move(np.eye(6)[2], HOME)
    shift = (arm.forward(target) - arm.forward(HOME))[:3, 3]
    np.testing.assert_allclose(shift, arm.forward(HOME)[:3, 2] * 0.1 / 50.0, atol=1e-4)


def test_pushing_against_a_wall_does_not_wind_the_target_up(arm: Kinematics) -> None:
    limits = PROFILE.limits(arm)
    hand = Hand(arm, limits, 50.0, TeleopConfig(linear_speed=1.0))
    hand.begin(HOME)
    for _ in range(200):
        target = hand.move(np.ones(6), HOME)  # the arm is blocked
    assert (np.abs(target - HOME) <= limits.lead + 1e-12).all()


@pytest.mark.parametrize("seed", range(5))
def test_no_joint_is_faster_than_it_may_be(arm: Kinematics, seed: int) -> None:
    limits = PROFILE.limits(arm)
    hand, rng = (
        Hand(arm, limits, 50.0, TeleopConfig(linear_speed=1.0, angular_speed=3.0)),
        np.random.default_rng(seed),
    )
    hand.begin(HOME)
    last = HOME
    for _ in range(100):
        target = hand.move(rng.uniform(-1, 1, 6), last)
        assert (np.abs(target - last) <= limits.velocity / 50.0 + 1e-12).all()
        assert (target >= limits.lower).all() and (target <= limits.upper).all()
        last = target


class Session:
    """An operator with a clock."""

    def __init__(self, arm: Kinematics) -> None:
        self.operator = Operator(CONFIG, arm, PROFILE.limits(arm), 50.0)
        self.now = 10**12

    def step(self, raw: DeviceSample | None) -> object:
        self.now += 20 * MS
        if raw is not None:
            self.operator.add_sample(raw, EPISODE, self.now)
        return self.operator.command(self.now, self.now, HOME, HOME + 0.01)


def test_a_take_over_begins_at_the_last_command(arm: Kinematics) -> None:
    session = Session(arm)
    session.step(pad([0.0] * 6))
    for _ in range(25):
        released = session.step(pad([0.0] * 6))
    assert released.phase is TakeOver.RELEASED  # type: ignore[attr-defined]
    assert released.command.size == 0  # type: ignore[attr-defined]
    taken = session.step(pad([0.0] * 6, 10))
    assert taken.phase is TakeOver.BLENDING  # type: ignore[attr-defined]
    np.testing.assert_allclose(taken.command, HOME + 0.01)  # type: ignore[attr-defined]


def test_a_device_that_falls_silent_ends_the_intervention_and_the_arm_holds(arm: Kinematics) -> None:
    session = Session(arm)
    session.step(pad([0.0] * 6))
    for _ in range(30):
        engaged = session.step(pad(FORWARD, 10))
    assert engaged.phase is TakeOver.ENGAGED  # type: ignore[attr-defined]
    phases = [session.step(None).phase for _ in range(40)]  # type: ignore[attr-defined]
    assert phases[:25] == [TakeOver.ENGAGED] * 25  # half a second
    assert set(phases[26:]) == {TakeOver.HOLD_OFF}


def test_before_the_device_was_ever_heard_the_arm_holds(arm: Kinematics) -> None:
    assert Session(arm).step(None).phase is TakeOver.HOLD_OFF  # type: ignore[attr-defined]

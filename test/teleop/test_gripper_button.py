"""One button opens and closes the gripper, while the human has the arm."""

from __future__ import annotations

import numpy as np
import pytest

from rlt_ros.replay.stream import EpisodeState, Phase
from rlt_ros.robots.intervention import Intervention, TakeOver
from rlt_ros.robots.kinematics import Kinematics
from rlt_ros.robots.profile import load_profile
from rlt_ros.teleop.config import JOY, KEYBOARD, SPACENAV, TeleopConfig
from rlt_ros.teleop.gripper import GripperButton
from rlt_ros.teleop.operator import Operator
from rlt_ros.teleop.samples import DeviceSample

PROFILE = load_profile("agibot_g1_geniesim")
HOME = np.array([1.0734, -0.6109, -0.2793, 1.2846, -0.7313, -1.4957, 0.1868])
PERIOD = 20_000_000  # ns
DEAD_MAN, GRIPPER, E_STOP, START = 10, 12, 4, 6
OPEN, CLOSED = 0.0, 1.0


@pytest.fixture(scope="module")
def arm() -> Kinematics:
    return PROFILE.kinematics()


class Session:
    """An operator with a clock."""

    def __init__(self, arm: Kinematics, config: TeleopConfig | None = None, *, gripper: bool = True) -> None:
        config = config or TeleopConfig(hold_off=0.0)
        self.operator = Operator(config, arm, PROFILE.limits(arm), 50.0, gripper=gripper)
        self.now = 10**12
        self.step()
        self.step()

    def step(self, *held: int, axes: tuple[float, ...] = (0.0,) * 6) -> Intervention:
        self.now += PERIOD
        raw = DeviceSample(axes, [int(i in held) for i in range(21)])
        self.operator.add_sample(raw, EpisodeState(1, Phase.CRITICAL), self.now)
        return self.operator.command(self.now, self.now, HOME, HOME)

    def silence(self) -> Intervention:
        self.now += 10**9
        return self.operator.command(self.now, self.now, HOME, HOME)


def test_each_press_turns_round_what_the_gripper_does(arm: Kinematics) -> None:
    session = Session(arm)
    wishes = [session.step(DEAD_MAN).gripper]
    for _ in range(3):
        wishes += [session.step(DEAD_MAN, GRIPPER).gripper, session.step(DEAD_MAN, GRIPPER).gripper]
        wishes += [session.step(DEAD_MAN).gripper]
    assert wishes == [None, *[CLOSED] * 3, *[OPEN] * 3, *[CLOSED] * 3]


@pytest.mark.parametrize(("measured", "goal"), [(0.1, CLOSED), (0.6, OPEN), (None, CLOSED)])
def test_the_first_press_goes_by_where_the_gripper_is(
    arm: Kinematics, measured: float | None, goal: float
) -> None:
    session = Session(arm)
    if measured is not None:
        session.operator.measure_gripper(measured)
    assert session.step(DEAD_MAN, GRIPPER).gripper == goal


def test_a_gripper_that_something_keeps_open_can_still_be_opened(arm: Kinematics) -> None:
    session = Session(arm)
    session.operator.measure_gripper(0.2)
    assert session.step(DEAD_MAN, GRIPPER).gripper == CLOSED
    session.operator.measure_gripper(0.3)  # the object is wide
    session.step(DEAD_MAN)
    assert session.step(DEAD_MAN, GRIPPER).gripper == OPEN


def test_who_has_let_go_wishes_nothing_and_goes_on_from_the_last_wish(arm: Kinematics) -> None:
    session = Session(arm)
    assert session.step(DEAD_MAN, GRIPPER).gripper == CLOSED
    assert session.step().gripper is None
    assert session.step(DEAD_MAN).gripper is None
    assert session.step(DEAD_MAN, GRIPPER).gripper == OPEN


def test_a_press_without_the_dead_man_counts_as_ignored(arm: Kinematics) -> None:
    session = Session(arm)
    assert session.step(GRIPPER).gripper is None
    assert session.operator.ignored_presses == 1
    assert session.step(GRIPPER, DEAD_MAN).gripper is None  # held since before


def test_a_robot_without_a_gripper_is_told_nothing_of_one(arm: Kinematics) -> None:
    session = Session(arm, gripper=False)
    assert session.step(DEAD_MAN, GRIPPER).gripper is None
    assert session.operator.ignored_presses == 1


def test_the_e_stop_ends_the_wish_and_takes_no_new_one(arm: Kinematics) -> None:
    session = Session(arm)
    session.step(DEAD_MAN, GRIPPER)
    assert session.step(DEAD_MAN, E_STOP).gripper is None
    assert session.step(DEAD_MAN, GRIPPER).gripper is None
    session.step(DEAD_MAN, START)
    session.step(DEAD_MAN)
    assert session.step(DEAD_MAN, GRIPPER).gripper == OPEN
    session.operator.e_stop(True)  # somebody else's
    assert session.silence().gripper is None


def test_a_device_that_is_gone_wishes_nothing(arm: Kinematics) -> None:
    session = Session(arm)
    session.step(DEAD_MAN, GRIPPER)
    lost = session.silence()
    assert (lost.phase, lost.gripper) == (TakeOver.HOLD_OFF, None)
    assert session.step(DEAD_MAN, GRIPPER).gripper is None  # held when it is back


def test_a_space_mouse_takes_over_by_its_gripper_button_too(arm: Kinematics) -> None:
    session = Session(arm, TeleopConfig(device=SPACENAV, gripper=(7,), hold_off=0.0))
    assert session.step().phase is TakeOver.RELEASED
    taken = session.step(7)
    assert (taken.phase, taken.gripper) == (TakeOver.BLENDING, CLOSED)


@pytest.mark.parametrize(("device", "buttons"), [(JOY, (12,)), (KEYBOARD, (7,)), (SPACENAV, ())])
def test_devices_with_many_buttons_have_one_for_the_gripper(device: str, buttons: tuple[int, ...]) -> None:
    assert TeleopConfig(device=device).completed().gripper == buttons


def test_a_held_button_is_one_press() -> None:
    button = GripperButton(present=True)
    for _ in range(5):
        button.update(True, acts=True)
    assert button.goal == CLOSED

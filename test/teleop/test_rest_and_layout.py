"""Nothing moves the arm before its device was seen at rest, and a device that does not fit the mapping is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlt_ros.replay.stream import EpisodeState, Phase
from rlt_ros.robots.intervention import Intervention, TakeOver
from rlt_ros.robots.profile import load_profile
from rlt_ros.store.parameters import ConfigError
from rlt_ros.teleop.config import SPACENAV, UNUSED, TeleopConfig
from rlt_ros.teleop.labels import ButtonEvent
from rlt_ros.teleop.operator import Operator
from rlt_ros.teleop.samples import DeviceSample, Interpreter

PROFILE = load_profile("agibot_g1_geniesim")
ARM = PROFILE.kinematics()
LIMITS = PROFILE.limits(ARM)
HOME = np.array([1.0734, -0.6109, -0.2793, 1.2846, -0.7313, -1.4957, 0.1868])
EPISODE = EpisodeState(1, Phase.CRITICAL)
MS = 1_000_000
DEAD_MAN, E_STOP, START = 10, 4, 6
# An Xbox pad as joy_node has it, with the triggers for up and down.
XBOX = TeleopConfig(
    axes=(1, 0, 2, UNUSED, UNUSED, 3),
    rests=(0.0, 0.0, 1.0, 0.0, 0.0, 0.0),
    dead_man=(5,),
    success=(3,),
    failure=(0, 1),
    re_record=(2,),
    hand_over=(4,),
    start=(7,),
    e_stop=(6,),
    reset_done=(8,),
    gripper=(9,),
)


class Session:
    """An operator with a clock, whose device publishes 50 times a second."""

    def __init__(self, config: TeleopConfig | None = None) -> None:
        self.operator = Operator(config or TeleopConfig(), ARM, LIMITS, 50.0)
        self.now = 10**12
        self.events: list[ButtonEvent] = []

    def step(self, raw: DeviceSample | None) -> Intervention:
        self.now += 20 * MS
        if raw is not None:
            self.events += self.operator.add_sample(raw, EPISODE, self.now)
        return self.operator.command(self.now, self.now, HOME, HOME)

    def silence(self, seconds: float) -> None:
        self.now += round(seconds * 1e9)
        self.operator.command(self.now, self.now, HOME, HOME)


def pad(*held: int, **axes: float) -> DeviceSample:
    values = [axes.get(f"a{number}", 0.0) for number in range(6)]
    return DeviceSample(values, [int(i in held) for i in range(21)])


def xbox(*held: int, **axes: float) -> DeviceSample:
    values = [axes.get(f"a{number}", 0.0) for number in range(8)]
    return DeviceSample(values, [int(i in held) for i in range(11)])


# Axes of the standard mapping.
USED = {0, 1, 2, 3}


@settings(max_examples=60, deadline=None)
@given(
    samples=st.lists(
        st.tuples(
            st.lists(
                st.sampled_from([0.0, 0.05, -0.05, 0.3, -0.7, 1.0, -1.0, float("nan")]),
                min_size=6,
                max_size=6,
            ),
            st.booleans(),
            st.sampled_from(["sample", "sample", "sample", "silence", "reconnect"]),
        ),
        min_size=1,
        max_size=60,
    )
)
def test_nothing_acts_before_every_axis_and_the_dead_man_were_seen_at_rest(
    samples: list[tuple[list[float], bool, str]],
) -> None:
    session, connection = Session(), 1
    rested: set[int] = set()
    released = False
    for axes, held, what in samples:
        if what == "silence":
            session.silence(0.6)
            rested, released = set(), False
        elif what == "reconnect":
            connection += 1
            rested, released = set(), False
        raw = DeviceSample(axes, [int(held and i == DEAD_MAN) for i in range(21)], connection)
        human = session.step(raw)
        rested |= {number for number in USED if abs(axes[number]) <= 0.1}
        released = released or not held
        if rested != USED or not released:
            assert not human.phase.commands
            assert human.command.size == 0
        if human.phase.commands:
            assert held


@pytest.mark.parametrize("stuck", [{"a0": 0.9}, {"a2": -1.0}, {"a3": 0.2}])
def test_a_stick_that_is_held_at_the_start_moves_nothing(stuck: dict[str, float]) -> None:
    session = Session()
    for _ in range(10):
        assert not session.step(pad(**stuck)).phase.commands
    for _ in range(30):
        assert not session.step(pad(DEAD_MAN, **stuck)).phase.commands
    assert "release it" in session.operator.problem
    session.step(pad())
    assert session.operator.problem == ""
    assert session.step(pad(DEAD_MAN)).phase.commands


def test_a_trigger_counts_only_after_it_was_seen_at_its_rest() -> None:
    session = Session(XBOX)
    # joy_node publishes 0 for triggers that were not touched yet: that would be half of full speed.
    for _ in range(30):
        assert not session.step(xbox(5)).phase.commands
        assert not session.step(xbox()).phase.commands
    assert session.operator.problem == (
        "axis 2 (z) is at 0.00 and was not yet at rest, 1: its driver publishes 0 before the first motion; move and "
        "release it once"
    )
    for value in (0.4, -1.0, 0.2, 1.0):
        session.step(xbox(a2=value))
    assert session.operator.problem == ""
    for _ in range(40):
        resting = session.step(xbox(5, a2=1.0))
    assert resting.phase is TakeOver.ENGAGED
    np.testing.assert_allclose(resting.command, HOME)
    assert np.abs(session.step(xbox(5, a2=-1.0)).command - HOME).max() > 1e-4


@pytest.mark.parametrize(
    ("value", "expected"), [(1.0, 0.0), (0.95, 0.0), (0.0, -(0.5 - 0.08) / 0.92), (-1.0, -1.0)]
)
def test_a_trigger_is_read_from_its_rest(value: float, expected: float) -> None:
    sample = Interpreter(XBOX.completed())(xbox(a2=value))
    assert sample.twist[2] == pytest.approx(expected)


def test_a_trigger_without_its_rest_is_recognised_when_it_is_first_let_go_of() -> None:
    session = Session(TeleopConfig(**{**vars(XBOX), "rests": ()}))
    session.step(xbox())
    assert session.operator.problem == ""
    for _ in range(60):
        session.step(xbox(a2=1.0))
    assert "axis 2 (z)" in session.operator.problem
    assert "it is a trigger: set `rests`" in session.operator.problem
    for _ in range(30):
        assert not session.step(xbox(5, a2=1.0)).phase.commands


def test_a_space_mouse_that_is_held_at_the_start_moves_nothing() -> None:
    session = Session(TeleopConfig(device=SPACENAV))
    for _ in range(30):
        assert not session.step(DeviceSample([0.5, 0, 0, 0, 0, 0], [])).phase.commands
    session.step(DeviceSample([0.0] * 6, []))
    assert session.step(DeviceSample([0.5, 0, 0, 0, 0, 0], [0])).phase.commands


@pytest.mark.parametrize("how", ["silence", "gone", "another"])
def test_after_a_reconnect_rest_must_be_seen_again(how: str) -> None:
    session = Session()
    session.step(pad())
    assert session.step(pad(DEAD_MAN, a1=0.5)).phase.commands
    if how == "silence":
        session.silence(0.6)
        held = pad(DEAD_MAN, a1=0.5)
    elif how == "gone":
        assert not session.step(DeviceSample()).phase.commands
        held = pad(DEAD_MAN, a1=0.5)
    else:
        held = DeviceSample(pad(a1=0.5).axes, pad(DEAD_MAN).buttons, 2)
    for _ in range(60):
        assert not session.step(held).phase.commands
    for _ in range(60):
        session.step(pad() if how != "another" else DeviceSample(pad().axes, pad().buttons, 2))
    released = DeviceSample(pad(DEAD_MAN).axes, pad(DEAD_MAN).buttons, held.connection)
    assert session.step(released).phase.commands


@pytest.mark.parametrize(
    ("axes", "buttons"),
    # Xbox and DualShock pads by joy_node, a joystick, game_controller_node's axes with a joystick's buttons.
    [(8, 11), (8, 13), (3, 12), (6, 12), (14, 9)],
)
def test_the_layout_of_another_joy_node_is_named_and_moves_nothing(axes: int, buttons: int) -> None:
    session = Session()
    for held in (*range(buttons), None):
        for _ in range(3):
            human = session.step(DeviceSample([0.0] * axes, [int(i == held) for i in range(buttons)]))
            assert not human.phase.commands
    # Its numbers mean other buttons; only an e-stop is taken at any risk.
    assert set(session.events) <= {ButtonEvent.E_STOP}
    problem = session.operator.problem
    assert problem.startswith(
        f"the device has {axes} axes and {buttons} buttons; the mapping is that of game_controller"
    )
    assert "ros2 run joy game_controller_node" in problem
    assert "`rests`" in problem


@pytest.mark.parametrize("buttons", [15, 21])
def test_every_version_of_game_controller_node_fits(buttons: int) -> None:
    session = Session()
    session.step(DeviceSample([0.0] * 6, [0] * buttons))
    assert session.operator.problem == ""
    assert session.operator.missing_buttons == ""
    assert session.step(DeviceSample([0.0] * 6, [int(i == DEAD_MAN) for i in range(buttons)])).phase.commands


def test_an_own_mapping_is_compared_with_the_device() -> None:
    session = Session(XBOX)
    session.step(DeviceSample([0.0, 0.0, 1.0], [0] * 11))
    assert "`axes` names axis 3" in session.operator.problem
    session = Session(XBOX)
    session.step(DeviceSample([0.0, 0.0, 1.0, 0.0], [0] * 4))
    assert "`dead_man` is button 5" in session.operator.problem
    session = Session(XBOX)
    session.step(DeviceSample([0.0, 0.0, 1.0, 0.0], [0] * 8))
    assert session.operator.problem == ""
    assert session.operator.missing_buttons == "the device has 8 buttons, too few for reset_done, gripper"


@pytest.mark.parametrize("rests", [(0.0,), (0.0, 0.0, 2.0, 0.0, 0.0, 0.0)])
def test_rests_that_cannot_be_are_refused(rests: Any) -> None:
    with pytest.raises(ConfigError, match="rests"):
        TeleopConfig(rests=rests)

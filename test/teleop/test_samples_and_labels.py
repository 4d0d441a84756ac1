from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlt_ros.replay.stream import EpisodeOutcome, EpisodeState, Phase
from rlt_ros.store.parameters import ConfigError
from rlt_ros.teleop.config import KEYBOARD, SPACENAV, TeleopConfig
from rlt_ros.teleop.labels import ButtonEvent, Labels
from rlt_ros.teleop.samples import DeviceSample, Interpreter

PAD = Interpreter(TeleopConfig().completed())
MOUSE = Interpreter(TeleopConfig(device=SPACENAV).completed())


def buttons(*held: int) -> list[int]:
    return [int(i in held) for i in range(21)]


def test_a_game_pad_moves_the_tip_forward_left_and_up() -> None:
    sample = PAD(DeviceSample([0.5, 1.0, -1.0, 0.0, 1.0, 1.0], buttons(10)))
    assert sample.acts
    np.testing.assert_allclose(sample.twist, [1.0, (0.5 - 0.08) / 0.92, 0.0, 0.0, 0.0, -1.0])


def test_within_the_dead_zone_nothing_moves() -> None:
    assert not PAD(DeviceSample([0.07] * 6, buttons())).twist.any()


def test_without_the_dead_man_the_human_does_not_act() -> None:
    assert not PAD(DeviceSample([1.0] * 6, buttons(0, 3))).acts


@pytest.mark.parametrize(("deflection", "acts"), [(0.1, False), (0.5, True), (-0.5, True)])
def test_a_space_mouse_acts_when_it_is_moved(deflection: float, acts: bool) -> None:
    assert MOUSE(DeviceSample([0.0, 0.0, 0.0, 0.0, 0.0, deflection])).acts is acts


@given(
    axes=st.lists(st.floats(width=32, allow_nan=True, allow_infinity=True), max_size=8),
    held=st.lists(st.integers(0, 1), max_size=25),
)
def test_whatever_a_device_says_the_twist_stays_within_full_speed(axes: list[float], held: list[int]) -> None:
    for interpret in (PAD, MOUSE):
        twist = interpret(DeviceSample(axes, held)).twist
        assert np.isfinite(twist).all()
        assert (np.abs(twist) <= 1.0).all()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"success": (3,), "failure": (3,)}, "one meaning"),
        ({"axes": (0, 1)}, "six"),
        ({"dead_man": (3,), "success": (3,)}, "one"),
    ],
)
def test_a_map_that_cannot_be_is_refused(changes: dict[str, tuple[int, ...]], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        TeleopConfig(**changes)  # type: ignore[arg-type]


def test_what_is_given_wins_over_the_devices_own_map() -> None:
    config = TeleopConfig(device=KEYBOARD, success=(9,)).completed()
    assert (config.success, config.failure) == ((9,), (1,))


APPROACH, CRITICAL = EpisodeState(4, Phase.APPROACH), EpisodeState(4, Phase.CRITICAL)
DONE = EpisodeState(4, Phase.DONE, EpisodeOutcome.FAILURE)
IDLE, RESETTING = EpisodeState(0, Phase.IDLE), EpisodeState(4, Phase.RESETTING)


def press(labels: Labels, name: str, episode: EpisodeState) -> list[ButtonEvent]:
    pressed = labels.update(frozenset({name}), episode)
    assert labels.update(frozenset({name}), episode) == []  # held, not pressed again
    labels.update(frozenset(), episode)
    return pressed


@pytest.mark.parametrize(
    ("name", "episode", "event"),
    [
        ("start", IDLE, ButtonEvent.START),
        ("start", DONE, ButtonEvent.START),
        ("start", CRITICAL, None),
        ("reset_done", RESETTING, ButtonEvent.RESET_DONE),
        ("reset_done", APPROACH, None),
        ("reset_done", DONE, None),
        ("hand_over", APPROACH, ButtonEvent.HAND_OVER),
        ("hand_over", CRITICAL, None),
        ("success", CRITICAL, ButtonEvent.SUCCESS),
        ("success", APPROACH, None),
        ("success", DONE, None),
        ("failure", APPROACH, ButtonEvent.FAILURE),
        ("re_record", CRITICAL, ButtonEvent.RE_RECORD),
        ("re_record", DONE, ButtonEvent.RE_RECORD),
        ("re_record", IDLE, None),
    ],
)
def test_a_press_counts_once_and_where_it_means_something(
    name: str, episode: EpisodeState, event: ButtonEvent | None
) -> None:
    labels = Labels()
    assert press(labels, name, episode) == ([event] if event else [])
    assert labels.ignored == int(event is None)


def test_a_label_holds_until_the_next_episode() -> None:
    labels = Labels()
    assert press(labels, "success", CRITICAL) == [ButtonEvent.SUCCESS]
    assert press(labels, "failure", CRITICAL) == []
    assert press(labels, "re_record", DONE) == [ButtonEvent.RE_RECORD]
    assert press(labels, "failure", EpisodeState(5, Phase.CRITICAL)) == [ButtonEvent.FAILURE]


def test_a_scene_may_be_called_ready_again_for_the_answer_may_have_been_no() -> None:
    labels = Labels()
    assert press(labels, "reset_done", RESETTING) == [ButtonEvent.RESET_DONE]
    assert press(labels, "reset_done", RESETTING) == [ButtonEvent.RESET_DONE]


def test_the_e_stop_is_released_by_start_which_starts_nothing_then() -> None:
    labels = Labels()
    assert press(labels, "e_stop", CRITICAL) == [ButtonEvent.E_STOP]
    assert press(labels, "success", CRITICAL) == []
    assert press(labels, "start", IDLE) == [ButtonEvent.E_STOP_RELEASED]
    assert press(labels, "start", IDLE) == [ButtonEvent.START]


def test_a_button_that_is_held_when_the_device_comes_back_is_not_pressed() -> None:
    labels = Labels()
    labels.ignore_held()
    assert labels.update(frozenset({"success"}), CRITICAL) == []
    labels.update(frozenset(), CRITICAL)
    assert labels.update(frozenset({"success"}), CRITICAL) == [ButtonEvent.SUCCESS]

"""Devices that are read directly, as far as they are there without hardware."""

from __future__ import annotations

import os
import pty
import sys
from collections.abc import Iterator

import pytest

from rlt_ros.teleop.config import KEYBOARD, TeleopConfig
from rlt_ros.teleop.devices import GamePad
from rlt_ros.teleop.keyboard import KEYS, MOTIONS, Keyboard
from rlt_ros.teleop.samples import Interpreter


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A real pseudo-terminal as standard input; gives the side where keys are typed."""
    typed, read = pty.openpty()
    with os.fdopen(read) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield typed
    os.close(typed)


def test_keys_move_turn_and_press(terminal: int) -> None:
    keyboard = Keyboard()
    os.write(terminal, b"wy")
    raw = keyboard.poll()
    while raw is not None and not any(raw.buttons):  # the terminal has a moment of its own
        raw = keyboard.poll()
    assert raw is not None
    sample = Interpreter(TeleopConfig(device=KEYBOARD).completed())(raw)
    assert (sample.twist[0], sample.acts, sample.held) == (1.0, True, {"success"})
    after = keyboard.poll()
    assert after is not None
    assert not any(after.buttons[:6])  # pressed once
    keyboard.close()


def test_the_gripper_key_takes_the_arm_too(terminal: int) -> None:
    keyboard = Keyboard()
    os.write(terminal, b"g")
    raw = keyboard.poll()
    while raw is not None and not any(raw.buttons):
        raw = keyboard.poll()
    assert raw is not None
    sample = Interpreter(TeleopConfig(device=KEYBOARD).completed())(raw)
    assert (sample.acts, sample.held) == (True, {"gripper"})
    after = keyboard.poll()
    assert after is not None
    sample = Interpreter(TeleopConfig(device=KEYBOARD).completed())(after)
    assert (sample.acts, sample.held) == (True, frozenset())  # pressed once, and the arm is kept for a moment
    keyboard.close()


def test_a_key_means_one_thing() -> None:
    assert not MOTIONS.keys() & KEYS.keys()


def test_input_that_has_ended_is_a_device_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        assert Keyboard().poll() is None


def test_without_a_game_pad_nothing_is_heard() -> None:
    pytest.importorskip("pygame", reason="pip install 'rlt_ros[teleop]'")
    pad = GamePad()
    if pad.poll() is not None:
        pytest.skip("a game pad is connected")
    pad.close()

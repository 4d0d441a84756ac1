from __future__ import annotations

import numpy as np
import pytest

from rlt_ros.robots.intervention import TakeOver
from rlt_ros.teleop.take_over import TakeOverMachine

MS = 1_000_000
RELEASED, BLENDING, ENGAGED, HOLD_OFF = TakeOver


def machine() -> TakeOverMachine:
    return TakeOverMachine(blend=0.3, hold_off=0.4)


def test_the_share_rises_in_the_blend_time_and_the_arm_holds_after_letting_go() -> None:
    one = machine()
    seen = []
    for ms in range(0, 1500, 100):
        one.update(ms * MS, wants=100 <= ms < 800)
        seen.append((one.phase, round(one.share, 2)))
    assert seen == [
        (RELEASED, 0.0),
        (BLENDING, 0.0),
        (BLENDING, 0.33),
        (BLENDING, 0.67),
        *[(ENGAGED, 1.0)] * 4,
        *[(HOLD_OFF, 0.0)] * 4,
        *[(RELEASED, 0.0)] * 3,
    ]


def test_who_takes_hold_again_at_once_goes_on_where_they_let_go() -> None:
    one = machine()
    for ms, wants in ((0, True), (400, True), (500, False), (600, True)):
        one.update(ms * MS, wants=wants)
    assert one.phase is ENGAGED


def test_a_lost_device_holds_the_arm_until_it_is_back_and_let_go_of() -> None:
    one = machine()
    one.update(0, wants=True)
    one.update(400 * MS, wants=True)
    for ms in (500, 5000):
        assert one.update(ms * MS, wants=False, lost=True) is HOLD_OFF
    assert one.update(5100 * MS, wants=False) is HOLD_OFF
    assert one.update(5500 * MS, wants=False) is RELEASED


@pytest.mark.parametrize("seed", range(20))
def test_the_share_is_of_the_human_only_while_the_human_commands(seed: int) -> None:
    rng, one, now = np.random.default_rng(seed), machine(), 0
    for _ in range(200):
        now += int(rng.integers(1, 200)) * MS
        one.update(now, wants=bool(rng.random() < 0.6), lost=bool(rng.random() < 0.1))
        assert 0.0 <= one.share <= 1.0
        assert one.phase.commands or one.share == 0.0
        assert (one.share == 1.0) == (one.phase is ENGAGED)

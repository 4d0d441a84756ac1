"""No wrong motion: commands of every shipped robot next to drivers that lie, hands that push and e-stops."""

from __future__ import annotations

import pytest

from rlt_ros.acting.setpoint import Setpoint
from rlt_ros.bench.safety import check
from rlt_ros.robots.profile import load_profile, profile_names


@pytest.mark.parametrize("robot", profile_names())
def test_no_command_is_too_far_from_the_arm_or_too_fast(robot: str) -> None:
    audit = check(load_profile(robot), steps=1500, seed=profile_names().index(robot) + 1)
    assert audit.examples == []
    assert audit.violations == 0
    assert audit.commands > 100
    # The limits are reached, so the check is one.
    assert audit.lead == pytest.approx(1.0, abs=1e-6)
    assert audit.speed == pytest.approx(1.0, abs=1e-6)


def test_the_check_finds_commands_that_are_sent_too_far_from_the_arm(monkeypatch: pytest.MonkeyPatch) -> None:
    def checked(setpoint: Setpoint, command: object, now: int) -> object:
        return command

    monkeypatch.setattr(Setpoint, "_checked", checked)
    audit = check(load_profile("ur5e"), steps=1500)
    assert audit.lead > 1.05
    assert audit.violations > 0

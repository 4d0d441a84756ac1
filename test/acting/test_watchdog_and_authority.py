from __future__ import annotations

import numpy as np
import pytest

from rlt_ros.acting import authority
from rlt_ros.acting.authority import Inputs, decide
from rlt_ros.acting.chunks import Row
from rlt_ros.acting.watchdog import Watchdog
from rlt_ros.replay.stream import ActionChunk
from rlt_ros.rlt.transition import Source
from rlt_ros.robots.intervention import Intervention, TakeOver
from rlt_ros.robots.safety import Reference

LAST = np.zeros(2)
FLOATS = np.ones((1, 2), np.float32)


def row(source: Source) -> Row:
    chunk = ActionChunk(0, 1, 1, 0, source, FLOATS[0], FLOATS[0], FLOATS, FLOATS)
    return Row(chunk, 0, np.array([0.2, 0.4]), Reference(np.array([0.1, 0.1]), np.ones(2)))


def human(phase: TakeOver, share: float = 1.0) -> Intervention:
    return Intervention(phase, share, np.array([1.0, 2.0]), "joy")


def inputs(**changes: object) -> Inputs:
    usual = {
        "stopped": False,
        "timed_out": False,
        "rejected": False,
        "human": human(TakeOver.RELEASED, 0.0),
        "human_timed_out": False,
        "running": True,
        "row": None,
    }
    return Inputs(**{**usual, **changes})  # type: ignore[arg-type]


ACTOR, VLA = row(Source.ACTOR), row(Source.VLA)
ENGAGED = human(TakeOver.ENGAGED)


@pytest.mark.parametrize(
    ("known", "source", "reason"),
    [
        (inputs(stopped=True, human=ENGAGED, row=ACTOR), Source.HOLD, authority.E_STOP),
        (inputs(timed_out=True, human=ENGAGED, row=ACTOR), Source.HOLD, authority.JOINTS_TIMED_OUT),
        (inputs(human=ENGAGED, row=ACTOR), Source.HUMAN, ""),
        (inputs(human=ENGAGED, running=False), Source.HUMAN, ""),
        (inputs(human=ENGAGED, human_timed_out=True, row=ACTOR), Source.HOLD, authority.HUMAN_TIMED_OUT),
        (inputs(human=human(TakeOver.HOLD_OFF), row=ACTOR), Source.HOLD, authority.HOLD_OFF),
        (inputs(human=human(TakeOver.RELEASED), human_timed_out=True, row=ACTOR), Source.ACTOR, ""),
        (inputs(row=ACTOR), Source.ACTOR, ""),
        (inputs(row=VLA), Source.VLA, ""),
        (inputs(), Source.HOLD, authority.NO_CHUNK),
        (inputs(running=False, row=ACTOR), Source.HOLD, authority.NO_EPISODE),
    ],
)
def test_e_stop_over_human_over_actor_over_vla_over_hold(known: Inputs, source: Source, reason: str) -> None:
    decision = decide(known, LAST)
    assert (decision.source, decision.reason) == (source, reason)
    assert (decision.target is None) == (source is Source.HOLD)


def test_a_take_over_is_blended_with_the_target_of_the_policy() -> None:
    decision = decide(inputs(human=human(TakeOver.BLENDING, 0.25), row=ACTOR), LAST)
    assert decision.target is not None
    np.testing.assert_allclose(decision.target, 0.25 * np.array([1.0, 2.0]) + 0.75 * np.array([0.2, 0.4]))


def test_without_a_policy_a_take_over_begins_at_the_arm() -> None:
    decision = decide(inputs(human=human(TakeOver.BLENDING, 0.25), running=False), LAST)
    assert decision.target is not None
    np.testing.assert_allclose(decision.target, [0.25, 0.5])


def test_only_the_actor_is_kept_near_the_reference() -> None:
    assert decide(inputs(row=ACTOR), LAST).reference is ACTOR.reference
    assert decide(inputs(row=VLA), LAST).reference is None
    assert decide(inputs(row=ACTOR, human=ENGAGED), LAST).reference is None


def test_a_watchdog_expires_before_the_first_message_and_after_the_timeout() -> None:
    watchdog = Watchdog(0.1)
    assert watchdog.expired(0)
    watchdog.feed(10**9)
    assert not watchdog.expired(10**9 + 100_000_000)
    assert watchdog.expired(10**9 + 100_000_001)


def test_a_watchdog_without_timeout_never_expires() -> None:
    assert not Watchdog(0.0).expired(10**12)


@pytest.mark.parametrize(
    ("share", "command"), [(1.5, [0.0, 0.0]), (-0.1, [0.0, 0.0]), (np.nan, [0.0, 0.0]), (0.5, [np.nan, 0.0])]
)
def test_an_intervention_of_nonsense_is_refused(share: float, command: list[float]) -> None:
    with pytest.raises(ValueError, match="intervention of joy"):
        Intervention(TakeOver.ENGAGED, share, np.array(command), "joy")

"""Refused inputs of the controller: chunks and joint states that do not fit, and random input."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

import numpy as np
import pytest
from control_arm import CHUNK, LIMITS, PERIOD, Arm, engaged, record, started
from hypothesis import given, settings
from hypothesis import strategies as st

from rlt_ros.acting import authority
from rlt_ros.acting.chunks import ChunkRefused
from rlt_ros.acting.controller import JOINTS_LOST
from rlt_ros.acting.records import InputRefused
from rlt_ros.replay.stream import EpisodeOutcome, Phase, StreamError
from rlt_ros.rlt.transition import Source
from rlt_ros.robots.intervention import Intervention, TakeOver
from rlt_ros.store.lineage import Lineage


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"episode": 2}, "other episode"),
        ({"step": 7}, "unrequested chunk"),
        ({"stamp": 0}, "stale chunk"),
        ({"stamp": 10**10}, "chunk from the future"),
        ({"source": Source.ACTOR}, "actor outside its phase"),
        (
            {
                "anchor": np.zeros(3, np.float32),
                "scale": np.ones(3, np.float32),
                "action": np.zeros((4, 3), np.float32),
                "reference": np.zeros((4, 3), np.float32),
            },
            "wrong shape",
        ),
    ],
)
def test_a_chunk_that_does_not_fit_is_refused_and_the_arm_holds(changes: dict[str, Any], kind: str) -> None:
    arm = started()
    arm.later()
    arm.sense()
    arm.tick()
    with pytest.raises(ChunkRefused) as refused:
        arm.offer(**{"step": 0, **changes})
    assert refused.value.kind == kind
    assert record(arm.tick()).source is Source.HOLD


@pytest.mark.parametrize("values", [np.nan, np.inf])
def test_a_chunk_that_is_not_finite_cannot_be_made(values: float) -> None:
    with pytest.raises(StreamError, match="not finite"):
        started().offer(0, action=np.full((CHUNK, 2), values, np.float32))


def test_a_chunk_of_other_lineage_is_refused_within_an_episode() -> None:
    arm = started()
    for _ in range(5):
        arm.step()
    arm.step()
    with pytest.raises(ChunkRefused) as refused:
        arm.offer(5, lineage=Lineage("another", "token", "stats"))
    assert refused.value.kind == "other lineage"


def test_a_repeated_chunk_is_refused() -> None:
    arm = started()
    arm.step()
    for chunk, kind in ((arm.ids, "duplicate chunk"), (arm.ids - 1, "chunk out of order")):
        with pytest.raises(ChunkRefused) as refused:
            arm.offer(0, chunk=chunk)
        assert refused.value.kind == kind


def test_the_arm_holds_when_joint_states_time_out() -> None:
    arm = started()
    arm.step()
    arm.step()
    arm.later(3.5)
    held = record(arm.tick())
    assert (held.source, arm.controller.hold_reason) == (Source.HOLD, authority.JOINTS_TIMED_OUT)


def test_a_repeated_joint_state_is_refused() -> None:
    arm = started()
    arm.step()
    with pytest.raises(InputRefused) as refused:
        arm.sense()
    assert refused.value.kind == "repeated joint state"


@pytest.mark.parametrize("position", [[np.nan, 0.0], [0.0], [[0.0, 0.0]], [0.0, np.inf]])
def test_an_unusable_joint_state_is_refused(position: Any) -> None:
    with pytest.raises(InputRefused, match="2 finite"):
        Arm().sense(position)


def test_a_late_joint_state_is_dropped_and_a_clock_that_jumps_back_restarts_the_plan() -> None:
    arm = started(boundary="block")
    arm.step()
    arm.stamp -= PERIOD
    with pytest.raises(InputRefused) as refused:
        arm.sense()
    assert refused.value.kind == "joint state out of order"
    arm.stamp = 1
    arm.sense((0.1, 0.1))
    assert arm.controller.abort_reason(arm.now) == JOINTS_LOST
    arm.phase(Phase.DONE, outcome=EpisodeOutcome.ABORTED)
    arm.phase(Phase.APPROACH, 2)
    arm.later()
    arm.sense((0.1, 0.1))
    # The chunk belongs to another time.
    assert record(arm.tick()).source is Source.HOLD


ANY = st.floats(width=32, allow_nan=True, allow_infinity=True)
PAIR = st.tuples(ANY, ANY)
EVENT = st.one_of(
    st.tuples(st.just("sense"), PAIR),
    st.tuples(st.just("human"), PAIR),
    st.tuples(st.just("let go"), PAIR),
    st.tuples(st.just("chunk"), PAIR),
    st.tuples(st.just("critical"), PAIR),
    st.tuples(st.just("reset"), PAIR),
    st.tuples(st.just("stop"), PAIR),
    st.tuples(st.just("wait"), PAIR),
)


@settings(max_examples=150, deadline=None)
@given(events=st.lists(EVENT, min_size=5, max_size=40), boundary=st.sampled_from(["block", "overlap"]))
def test_no_input_makes_a_command_leave_the_limits(
    events: list[tuple[str, tuple[float, float]]], boundary: str
) -> None:
    limits = dataclasses.replace(LIMITS, acceleration=np.full(2, 5.0), deviation=1.0)
    arm = Arm(limits, boundary=boundary)
    arm.sense()
    arm.phase(Phase.APPROACH)
    arm.tick()
    sent: list[tuple[int, np.ndarray]] = []
    for event, (a, b) in events:
        arm.later()
        with contextlib.suppress(ValueError):
            _send(arm, event, np.array([a, b]))
        command, measured = arm.tick().command, arm.controller.measured
        if command is None or command.target is None:
            continue
        assert measured is not None
        assert (np.abs(command.target - measured) <= 0.5 + 1e-12).all()
        # Inside the position limits, or where the arm is outside of them.
        outside = np.maximum(np.abs(measured), 1.0)
        assert (np.abs(command.target) <= outside + 1e-12).all()
        if sent:
            then, before = sent[-1]
            assert (np.abs(command.target - before) <= (arm.now - then) * 1e-9 + 1e-12).all()
        sent.append((arm.now, command.target))


def _send(arm: Arm, event: str, values: np.ndarray) -> None:
    if event == "sense":
        arm.sense(values)
    elif event == "human":
        engaged_command = Intervention(TakeOver.ENGAGED, 1.0, values, "joy", arm.stamp)
        arm.controller.intervention(engaged_command, arm.now)
    elif event == "let go":
        engaged(arm, phase=TakeOver.RELEASED)
    elif event == "chunk":
        action = np.broadcast_to(values.astype(np.float32), (CHUNK, 2))
        arm.offer(arm.ids, action=action, reference=action, source=Source.ACTOR)
    elif event == "critical":
        arm.phase(Phase.CRITICAL)
    elif event == "reset":
        arm.phase(Phase.RESETTING)
        arm.phase(Phase.APPROACH)
    elif event == "stop":
        arm.controller.e_stop(bool(values[0] > 0))
    elif event == "wait":
        arm.later(5)

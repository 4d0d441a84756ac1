"""Source of a chunk: the VLA, an actor, or an actor that arrived while the chunk was computed or waited."""

from __future__ import annotations

import numpy as np
import pytest
from inference_robot import PERIOD, Robot, actor, chunks, states

from rlt_ros.replay.stream import ChunkRequest, Phase
from rlt_ros.rlt.transition import Source


def test_the_actor_acts_in_the_critical_phase_and_explores_from_the_seed() -> None:
    robot, again = Robot(), Robot()
    for one in (robot, again):
        one.inference.accept(actor(3))
    (chunk, _), other = chunks(robot.runs()), chunks(again.runs())
    assert chunk.source is Source.ACTOR and chunk.version == 3 and chunk.lineage.actor == "a3"
    # Explored
    assert float(np.abs(chunk.action - 5.0).max()) > 0.01
    np.testing.assert_array_equal(chunk.action, other[0].action)


def test_an_evaluation_uses_the_mean_action_and_makes_no_states_between_borders() -> None:
    robot = Robot()
    robot.inference.accept(actor())
    output = robot.runs(eval=True)
    assert robot.encoder.batches == [[0], [4]] and states(output) == [0, 4]
    first, second = chunks(output)
    np.testing.assert_allclose(first.action, second.action, atol=0.3)
    np.testing.assert_allclose(first.action, 5.0, atol=0.2)
    assert robot.done(8, eval=True) == []


def test_a_new_actor_acts_from_the_next_chunk_on() -> None:
    robot = Robot()
    robot.inference.accept(actor(1))
    first = chunks(robot.runs(chunks=1))
    robot.inference.accept(actor(2))
    robot.sees(4)
    assert [c.version for c in first + chunks(robot.asks(4))] == [1, 2]


def test_an_actor_that_comes_during_the_pass_acts_in_that_chunk() -> None:
    robot = Robot()
    robot.inference.accept(actor(1))
    robot.encoder.meanwhile = lambda: robot.inference.accept(actor(2, offset=9.0))
    (chunk,) = chunks(robot.runs(chunks=1))
    assert chunk.version == 2 and chunk.lineage.actor == "a2"
    np.testing.assert_allclose(chunk.action, 9.0, atol=0.5)


def test_an_actor_that_comes_after_the_choice_takes_the_place_of_a_chunk_that_has_not_begun() -> None:
    robot = Robot()
    robot.inference.accept(actor(1))
    robot.episode(Phase.CRITICAL)
    robot.sees(0)
    first, again = *chunks(robot.asks(0, overlap=True)), robot.inference.accept(actor(2, offset=9.0))
    assert again is not None and (again.version, again.lineage.actor) == (2, "a2")
    assert again.chunk > first.chunk and (again.step, again.stamp) == (first.step, first.stamp)
    np.testing.assert_array_equal(again.reference, first.reference)
    np.testing.assert_allclose(again.action, 9.0, atol=0.5)
    # From the same pass
    assert robot.encoder.batches == [[0]]
    assert chunks(robot.asks(0, overlap=True)) == [again]
    robot.executes(0)
    # It has begun
    assert robot.inference.accept(actor(3)) is None


@pytest.mark.parametrize("case", ["the arm waits", "approach", "over", "not finite"])
def test_a_chunk_is_not_chosen_anew_where_the_new_actor_has_no_say(case: str) -> None:
    robot = Robot()
    robot.inference.accept(actor(1))
    phase = Phase.APPROACH if case == "approach" else Phase.CRITICAL
    robot.episode(phase)
    robot.sees(0)
    first = chunks(robot.asks(0, phase, overlap=case != "the arm waits"))
    if case == "over":
        robot.done(0)
    assert robot.inference.accept(actor(2, offset=np.nan if case == "not finite" else 5.0)) is None
    if case != "over":
        # A repeated request gets the same reply.
        assert chunks(robot.asks(0, phase)) == first


def test_without_an_actor_the_vla_acts() -> None:
    robot = Robot()
    assert {chunk.source for chunk in chunks(robot.runs())} == {Source.VLA}
    assert robot.inference.fallback_reason == "no actor has come"


def test_an_actor_that_no_update_follows_becomes_stale_and_one_from_a_file_does_not() -> None:
    for ages, source in ((True, Source.VLA), (False, Source.ACTOR)):
        robot = Robot(stale_after=1)
        robot.inference.accept(actor(), ages=ages)
        robot.runs(chunks=1)
        robot.done(4)
        robot.episode(Phase.CRITICAL, number=2)
        robot.inference.request(ChunkRequest(4 * PERIOD, 2, 0, Phase.CRITICAL))
        robot.sees(4)
        assert {chunk.source for chunk in chunks(robot.inference.work())} == {source}
    assert robot.inference.fallback_reason is None


def test_an_action_that_is_not_finite_is_never_sent() -> None:
    robot = Robot()
    robot.inference.accept(actor(offset=float("nan")))
    assert {chunk.source for chunk in chunks(robot.runs())} == {Source.VLA}
    assert {kind for kind, _ in robot.dropped} == {"not finite"}

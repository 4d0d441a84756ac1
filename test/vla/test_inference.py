"""Chunks and states from requests, observations and steps: matching and waiting."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from inference_robot import CHUNK, HORIZON, JOINTS, PERIOD, Robot, StampEncoder, actor, chunks, states

from rlt_ros.perception import Observation
from rlt_ros.replay.stream import EpisodeOutcome, Phase, StateRecord
from rlt_ros.rlt.transition import Source
from rlt_ros.vla.frozen import VLAFeatures


def test_in_the_approach_the_vla_acts_and_no_state_is_made() -> None:
    robot = Robot()
    robot.episode(Phase.APPROACH)
    robot.inference.accept(actor())
    robot.sees(0)
    output = robot.asks(0, Phase.APPROACH)
    (chunk,) = chunks(output)
    assert states(output) == [] and chunk.source is Source.VLA and chunk.version == 0
    np.testing.assert_array_equal(chunk.action, chunk.reference)
    assert chunk.lineage == StampEncoder.lineage and chunk.step == 0 and chunk.stamp == 0


def test_frames_inside_a_chunk_and_the_one_at_its_border_go_through_the_vla_together() -> None:
    robot = Robot()
    output = robot.runs(chunks=3, start=8)
    assert robot.encoder.batches == [[8], [10, 12], [14, 16]]
    assert states(output) == [8, 10, 12, 14, 16]
    assert [chunk.step for chunk in chunks(output)] == [8, 12, 16]
    assert [chunk.chunk for chunk in chunks(output)] == [1, 2, 3]


def test_numbers_are_those_of_one_process_with_the_same_seed() -> None:
    robot = Robot()
    output = [record for record in robot.runs(chunks=2) if isinstance(record, StateRecord)]
    # One generator for all passes, in the order of `Rollout`.
    noise = torch.Generator().manual_seed(7)
    expected = torch.cat([torch.randn(n, HORIZON, JOINTS, generator=noise) for n in (1, 2)])[:, :CHUNK]
    np.testing.assert_array_equal([record.state.reference for record in output], expected.numpy())
    np.testing.assert_array_equal(output[1].state.anchor, np.full(JOINTS, 0.02, np.float32))
    np.testing.assert_array_equal(output[1].state.proprio[JOINTS:], np.zeros(JOINTS))


def test_a_request_waits_for_the_picture_of_its_moment() -> None:
    robot = Robot()
    robot.episode(Phase.CRITICAL)
    robot.sees(2)
    assert robot.asks(4) == []
    assert robot.inference.missing_input == "an observation of 0.080 s" and robot.inference.busy
    robot.sees(4)
    assert [chunk.stamp for chunk in chunks(robot.inference.work())] == [4 * PERIOD]
    assert not robot.inference.busy


def test_a_request_waits_for_the_steps_before_it_and_for_its_episode() -> None:
    robot = Robot()
    robot.sees(0)
    assert robot.asks(0) == [] and robot.inference.missing_input == "the state of episode 1"
    robot.episode(Phase.CRITICAL)
    assert chunks(robot.inference.work())
    robot.sees(2, 4)
    robot.executes(0, 1, 3)
    assert robot.asks(4) == [] and robot.inference.missing_input == "step 2"
    robot.executes(2)
    assert states(robot.inference.work()) == [2, 4]


def test_steps_that_come_before_their_episode_is_announced_are_kept() -> None:
    robot = Robot()
    robot.executes(0, 1, 2, 3)
    robot.episode(Phase.CRITICAL)
    robot.sees(0)
    robot.asks(0)
    robot.sees(2, 4)
    assert states(robot.asks(4)) == [2, 4]


def test_after_its_patience_a_request_is_answered_with_what_is_there() -> None:
    robot = Robot(patience=0.5)
    robot.episode(Phase.CRITICAL)
    robot.sees(0)
    robot.asks(0)
    robot.sees(2)
    robot.executes(0, 1)
    assert robot.asks(4) == []
    robot.now = 0.3
    robot.sees(3)
    assert robot.inference.work() == []
    robot.now = 0.6
    output = robot.inference.work()
    # The newest, and step 2 is left out.
    assert states(output) == [4] and chunks(output)[0].stamp == 3 * PERIOD
    assert [kind for kind, _ in robot.dropped] == ["state left out"]


def test_where_no_picture_comes_any_more_nobody_acts_on_the_last_one() -> None:
    robot = Robot(patience=0.5)
    robot.episode(Phase.CRITICAL)
    robot.sees(0, 3)
    assert robot.asks(4) == []
    robot.now = 60.0
    assert robot.inference.work() == []
    robot.sees(4)
    assert chunks(robot.inference.work())[0].stamp == 4 * PERIOD


def test_a_picture_that_is_too_old_is_not_acted_on() -> None:
    robot = Robot(patience=0.0, max_observation_age=0.05)
    robot.episode(Phase.CRITICAL)
    assert robot.asks(4) == []
    robot.now = 0.1
    robot.sees(0)
    assert robot.inference.work() == []
    robot.sees(2)
    assert chunks(robot.inference.work())[0].stamp == 2 * PERIOD


def test_a_request_that_is_sent_again_gets_the_same_chunk() -> None:
    robot = Robot()
    robot.episode(Phase.CRITICAL)
    robot.sees(0)
    first, again = chunks(robot.asks(0)), robot.asks(0)
    assert again == first and robot.encoder.batches == [[0]]


def test_a_hand_over_at_a_step_that_has_a_chunk_asks_anew() -> None:
    robot = Robot()
    robot.episode(Phase.APPROACH)
    robot.sees(0)
    robot.asks(0, Phase.APPROACH)
    robot.episode(Phase.CRITICAL)
    assert states(robot.asks(0)) == [0]


def test_a_token_that_is_the_same_everywhere_is_neither_acted_on_nor_stored() -> None:
    robot = Robot()
    robot.encoder.blind = True
    robot.inference.accept(actor())
    output = robot.runs(chunks=6)
    assert chunks(output)[0].source is Source.ACTOR and chunks(output)[-1].source is Source.VLA
    assert "same token" in robot.inference.fallback_reason and max(states(output)) < 20


@pytest.mark.parametrize("outcome", [EpisodeOutcome.SUCCESS, EpisodeOutcome.FAILURE])
def test_a_terminal_owes_the_states_before_it(outcome: EpisodeOutcome) -> None:
    robot = Robot()
    robot.runs(chunks=2)
    assert states(robot.done(7, outcome)) == [6]
    assert robot.done(7, outcome) == [] and not robot.inference.busy


@pytest.mark.parametrize("outcome", [EpisodeOutcome.TIMEOUT, EpisodeOutcome.ABORTED])
def test_a_cut_episode_owes_the_state_after_its_last_step_too(outcome: EpisodeOutcome) -> None:
    robot = Robot()
    robot.runs(chunks=2)
    # Its observation has not arrived.
    assert robot.done(8, outcome) == [] and robot.inference.busy
    robot.sees(8)
    assert states(robot.inference.work()) == [6, 8]


def test_it_owes_that_state_also_where_it_lies_between_window_starts_and_those_were_made() -> None:
    robot = Robot()
    robot.runs(chunks=1)
    robot.executes(*range(4, 11))
    robot.sees(*range(4, 12))
    assert states(robot.inference.work())[-1] == 10
    assert states(robot.done(11, EpisodeOutcome.ABORTED)) == [11]


def test_an_end_waits_for_the_picture_before_its_last_window() -> None:
    robot = Robot()
    robot.episode(Phase.CRITICAL)
    robot.sees(0)
    robot.asks(0)
    robot.executes(0, 1, 2)
    # The picture at step 2 is on its way.
    assert robot.done(3) == [] and robot.inference.busy
    robot.sees(2)
    output = robot.inference.work()
    assert states(output) == [2] and output[0].stamp == 2 * PERIOD


def test_an_end_waits_for_its_last_steps_but_not_for_ever() -> None:
    robot = Robot(patience=0.5)
    robot.episode(Phase.CRITICAL)
    robot.sees(0)
    robot.asks(0)
    robot.sees(2)
    robot.executes(0, 1)
    assert robot.done(4) == []
    robot.now = 0.6
    assert robot.inference.work() == [] and not robot.inference.busy


def test_an_inference_that_joined_in_the_middle_makes_the_states_that_it_can() -> None:
    robot = Robot(patience=0.5)
    robot.episode(Phase.CRITICAL)
    robot.sees(20)
    robot.asks(20)
    robot.executes(20, 21, 22)
    robot.sees(22)
    # Steps are counted from where the critical phase began.
    assert robot.done(23) == []
    robot.now = 0.6
    assert states(robot.inference.work()) == [22] and not robot.dropped


def test_a_withdrawn_episode_owes_nothing() -> None:
    robot = Robot()
    robot.runs(chunks=2)
    assert robot.done(8, EpisodeOutcome.ABORTED, discarded=True) == [] and not robot.inference.busy


def test_after_the_end_nothing_is_answered_any_more() -> None:
    robot = Robot()
    robot.runs(chunks=1)
    robot.done(4)
    robot.sees(4)
    assert robot.asks(4) == [] and not robot.inference.busy


def test_states_at_steps_between_windows_are_not_published() -> None:
    robot = Robot()
    robot.runs(chunks=1)
    robot.executes(4)
    robot.sees(4, 5)
    # A human let go in the middle of a chunk.
    output = robot.asks(5)
    assert states(output) == [2, 4] and chunks(output)[0].step == 5


def test_states_are_made_also_while_nobody_asks_for_chunks() -> None:
    robot = Robot()
    robot.runs(chunks=1)
    robot.executes(*range(4, 12))
    robot.sees(*range(4, 13, 2))
    assert states(robot.inference.work()) == [2, 4, 6, 8, 10]


def test_a_clock_that_was_set_back_starts_a_new_timeline() -> None:
    robot = Robot()
    robot.sees(1000, 0)
    robot.episode(Phase.CRITICAL)
    assert chunks(robot.asks(0)) and not robot.dropped


def test_observations_out_of_order_are_dropped_and_counted() -> None:
    robot = Robot()
    robot.sees(4, 2, 4)
    assert [kind for kind, _ in robot.dropped] == ["observation out of order"] * 2


def test_what_the_vla_refuses_is_not_answered() -> None:
    robot = Robot()

    def refuse(*_: object) -> VLAFeatures:
        raise ValueError("no known word")

    robot.encoder.encode = refuse  # type: ignore[method-assign]
    assert robot.runs(chunks=1) == []
    assert robot.dropped == [("refused by the VLA", "step 0 of episode 1: no known word")]


def test_an_episode_may_begin_anew_under_its_number() -> None:
    robot = Robot()
    robot.runs(chunks=1)
    robot.done(4)
    robot.inference.observe(Observation(0, {}, np.zeros(JOINTS), np.zeros(JOINTS)))
    output = robot.runs(chunks=1)
    assert chunks(output)

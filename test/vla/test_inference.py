"""Requests, observations and steps in; chunks and states out: what belongs together, what is waited for, who acts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from rlt_ros.perception import Observation
from rlt_ros.rlt.checkpoint import PolicyUpdate
from rlt_ros.rlt.config import RLTConfig, Shapes
from rlt_ros.rlt.lineage import Lineage
from rlt_ros.rlt.networks import Actor
from rlt_ros.rlt.stream import ActionChunk, Ending, EpisodeState, Phase, StateRecord
from rlt_ros.rlt.transition import Source
from rlt_ros.robots.action_space import ActionSpace
from rlt_ros.vla.frozen import Perceived
from rlt_ros.vla.inference import Inference, Output
from rlt_ros.vla.request import InferenceConfig, Request

PERIOD = 20_000_000  # ns
CHUNK, HORIZON, STRIDE, JOINTS, Z = 4, 6, 2, 3, 5
SHAPES = Shapes(z_dim=Z, proprio_dim=2 * JOINTS, chunk=CHUNK, action_dim=JOINTS)
CONFIG = RLTConfig(chunk=CHUNK, stride=STRIDE, hidden=(8,), sigma=0.1)


class Eyes:
    """A frozen half that says what it was shown: the token is the stamp, the chunk noise."""

    action_space = ActionSpace(np.array([0.1, 0.2, 0.3]))
    z_dim = Z
    lineage = Lineage(vla="v", token="t", stats=action_space.fingerprint)

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.blind = False
        self.meanwhile: Callable[[], None] | None = None  # what another thread does during a pass

    def perceive(
        self, observations: Sequence[Observation], instruction: str, generator: torch.Generator
    ) -> Perceived:
        self.batches.append([round(o.stamp / PERIOD) for o in observations])
        if self.meanwhile:
            self.meanwhile()
        count = len(observations)
        z = np.array([[0.0 if self.blind else o.stamp / PERIOD] * Z for o in observations], np.float32)
        proprio = np.stack([o.proprio for o in observations]).astype(np.float32)
        return Perceived(z, proprio, torch.randn(count, HORIZON, JOINTS, generator=generator).numpy())


class Robot:
    """An inference, and what it is told. Step k is commanded at k periods."""

    def __init__(self, **options: float) -> None:
        self.now = 0.0
        self.eyes = Eyes()
        self.dropped: list[tuple[str, str]] = []
        self.inference = Inference(
            self.eyes,
            CONFIG,
            InferenceConfig(**options),  # type: ignore[arg-type]
            lambda kind, reason: self.dropped.append((kind, reason)),
            clock=lambda: self.now,
        )

    def episode(self, phase: Phase, number: int = 1, **fields: object) -> None:
        state = EpisodeState(number, phase, instruction="go", seed=7, **fields)  # type: ignore[arg-type]
        self.inference.follow(state)

    def done(self, steps: int, ending: Ending = Ending.SUCCESS, **fields: object) -> list[Output]:
        self.episode(Phase.DONE, steps=steps, ending=ending, **fields)
        return self.inference.work()

    def sees(self, *steps: int) -> None:
        for step in steps:
            position = np.full(JOINTS, 0.01 * step)
            self.inference.observe(Observation(step * PERIOD, {}, position, np.zeros(JOINTS)))

    def executes(self, *steps: int, episode: int = 1) -> None:
        for step in steps:
            self.inference.executed(episode, step, step * PERIOD)

    def asks(
        self,
        step: int,
        phase: Phase = Phase.CRITICAL,
        *,
        at: int | None = None,
        overlap: bool = False,
        expected: Sequence[float] | None = None,
    ) -> list[Output]:
        stamp = (step if at is None else at) * PERIOD
        place = None if expected is None else np.array(expected)
        self.inference.ask(Request(stamp, 1, step, phase, overlap, place))
        return self.inference.work()

    def runs(self, *, chunks: int = 2, start: int = 0, **fields: object) -> list[Output]:
        """The first ``chunks`` of a critical phase, with a picture at every window start."""
        self.episode(Phase.CRITICAL, **fields)
        output: list[Output] = []
        for border in range(start, start + chunks * CHUNK, CHUNK):
            self.sees(border)
            output += self.asks(border)
            self.executes(*range(border, border + CHUNK))
            self.sees(*range(border + STRIDE, border + CHUNK, STRIDE))
        return output


def actor(version: int = 1, *, offset: float = 5.0) -> PolicyUpdate:
    """An actor whose actions are far from the VLA's."""
    made = Actor(SHAPES, (8,), dtype=torch.float32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        made.body.biases[-1].fill_(offset)
    return PolicyUpdate(
        made.requires_grad_(False), version, dataclasses.replace(Eyes.lineage, actor=f"a{version}")
    )


def states(output: Sequence[Output]) -> list[int]:
    return [record.state.step for record in output if isinstance(record, StateRecord)]


def chunks(output: Sequence[Output]) -> list[ActionChunk]:
    return [record for record in output if isinstance(record, ActionChunk)]


def test_in_the_approach_the_vla_acts_and_no_state_is_made() -> None:
    robot = Robot()
    robot.episode(Phase.APPROACH)
    robot.inference.use(actor())
    robot.sees(0)
    output = robot.asks(0, Phase.APPROACH)
    (chunk,) = chunks(output)
    assert states(output) == [] and chunk.source is Source.VLA and chunk.version == 0
    np.testing.assert_array_equal(chunk.action, chunk.reference)
    assert chunk.lineage == Eyes.lineage and chunk.step == 0 and chunk.stamp == 0


def test_frames_inside_a_chunk_and_the_one_at_its_border_go_through_the_vla_together() -> None:
    robot = Robot()
    output = robot.runs(chunks=3, start=8)
    assert robot.eyes.batches == [[8], [10, 12], [14, 16]]
    assert states(output) == [8, 10, 12, 14, 16]
    assert [chunk.step for chunk in chunks(output)] == [8, 12, 16]
    assert [chunk.chunk for chunk in chunks(output)] == [1, 2, 3]


def test_numbers_are_those_of_one_process_with_the_same_seed() -> None:
    robot = Robot()
    output = [record for record in robot.runs(chunks=2) if isinstance(record, StateRecord)]
    noise = torch.Generator().manual_seed(7)  # one generator for all passes, in the order of `Rollout`
    expected = torch.cat([torch.randn(n, HORIZON, JOINTS, generator=noise) for n in (1, 2)])[:, :CHUNK]
    np.testing.assert_array_equal([record.state.reference for record in output], expected.numpy())
    np.testing.assert_array_equal(output[1].state.anchor, np.full(JOINTS, 0.02, np.float32))
    np.testing.assert_array_equal(output[1].state.proprio[JOINTS:], np.zeros(JOINTS))


def test_a_request_waits_for_the_picture_of_its_moment() -> None:
    robot = Robot()
    robot.episode(Phase.CRITICAL)
    robot.sees(2)
    assert robot.asks(4) == []
    assert robot.inference.waiting_for == "an observation of 0.080 s" and robot.inference.busy
    robot.sees(4)
    assert [chunk.stamp for chunk in chunks(robot.inference.work())] == [4 * PERIOD]
    assert not robot.inference.busy


def test_a_request_waits_for_the_steps_before_it_and_for_its_episode() -> None:
    robot = Robot()
    robot.sees(0)
    assert robot.asks(0) == [] and robot.inference.waiting_for == "the state of episode 1"
    robot.episode(Phase.CRITICAL)
    assert chunks(robot.inference.work())
    robot.sees(2, 4)
    robot.executes(0, 1, 3)
    assert robot.asks(4) == [] and robot.inference.waiting_for == "step 2"
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
    assert (
        states(output) == [4] and chunks(output)[0].stamp == 3 * PERIOD
    )  # the newest, and step 2 is left out
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
    assert again == first and robot.eyes.batches == [[0]]


def test_a_hand_over_at_a_step_that_has_a_chunk_asks_anew() -> None:
    robot = Robot()
    robot.episode(Phase.APPROACH)
    robot.sees(0)
    robot.asks(0, Phase.APPROACH)
    robot.episode(Phase.CRITICAL)
    assert states(robot.asks(0)) == [0]


def test_the_actor_acts_in_the_critical_phase_and_explores_from_the_seed() -> None:
    robot, again = Robot(), Robot()
    for one in (robot, again):
        one.inference.use(actor(3))
    (chunk, _), other = chunks(robot.runs()), chunks(again.runs())
    assert chunk.source is Source.ACTOR and chunk.version == 3 and chunk.lineage.actor == "a3"
    assert float(np.abs(chunk.action - 5.0).max()) > 0.01  # explored
    np.testing.assert_array_equal(chunk.action, other[0].action)


def test_an_evaluation_uses_the_mean_action_and_makes_no_states_between_borders() -> None:
    robot = Robot()
    robot.inference.use(actor())
    output = robot.runs(eval=True)
    assert robot.eyes.batches == [[0], [4]] and states(output) == [0, 4]
    first, second = chunks(output)
    np.testing.assert_allclose(first.action, second.action, atol=0.3)
    np.testing.assert_allclose(first.action, 5.0, atol=0.2)
    assert robot.done(8, eval=True) == []


def test_a_new_actor_acts_from_the_next_chunk_on() -> None:
    robot = Robot()
    robot.inference.use(actor(1))
    first = chunks(robot.runs(chunks=1))
    robot.inference.use(actor(2))
    robot.sees(4)
    assert [c.version for c in first + chunks(robot.asks(4))] == [1, 2]


def test_an_actor_that_comes_during_the_pass_acts_in_that_chunk() -> None:
    robot = Robot()
    robot.inference.use(actor(1))
    robot.eyes.meanwhile = lambda: robot.inference.use(actor(2, offset=9.0))
    (chunk,) = chunks(robot.runs(chunks=1))
    assert chunk.version == 2 and chunk.lineage.actor == "a2"
    np.testing.assert_allclose(chunk.action, 9.0, atol=0.5)


def test_an_actor_that_comes_after_the_choice_takes_the_place_of_a_chunk_that_has_not_begun() -> None:
    robot = Robot()
    robot.inference.use(actor(1))
    robot.episode(Phase.CRITICAL)
    robot.sees(0)
    first, again = *chunks(robot.asks(0, overlap=True)), robot.inference.use(actor(2, offset=9.0))
    assert again is not None and (again.version, again.lineage.actor) == (2, "a2")
    assert again.chunk > first.chunk and (again.step, again.stamp) == (first.step, first.stamp)
    np.testing.assert_array_equal(again.reference, first.reference)
    np.testing.assert_allclose(again.action, 9.0, atol=0.5)
    assert robot.eyes.batches == [[0]]  # from the same pass
    assert chunks(robot.asks(0, overlap=True)) == [again]
    robot.executes(0)
    assert robot.inference.use(actor(3)) is None  # it has begun


@pytest.mark.parametrize("case", ["the arm waits", "approach", "over", "not finite"])
def test_a_chunk_is_not_chosen_anew_where_the_new_actor_has_no_say(case: str) -> None:
    robot = Robot()
    robot.inference.use(actor(1))
    phase = Phase.APPROACH if case == "approach" else Phase.CRITICAL
    robot.episode(phase)
    robot.sees(0)
    first = chunks(robot.asks(0, phase, overlap=case != "the arm waits"))
    if case == "over":
        robot.done(0)
    assert robot.inference.use(actor(2, offset=np.nan if case == "not finite" else 5.0)) is None
    if case != "over":
        assert chunks(robot.asks(0, phase)) == first  # who asks again is told the same


def test_without_an_actor_the_vla_acts() -> None:
    robot = Robot()
    assert {chunk.source for chunk in chunks(robot.runs())} == {Source.VLA}
    assert robot.inference.fallback == "no actor has come"


def test_an_actor_that_no_update_follows_becomes_stale_and_one_from_a_file_does_not() -> None:
    for ages, source in ((True, Source.VLA), (False, Source.ACTOR)):
        robot = Robot(stale_after=1)
        robot.inference.use(actor(), ages=ages)
        robot.runs(chunks=1)
        robot.done(4)
        robot.episode(Phase.CRITICAL, number=2)
        robot.inference.ask(Request(4 * PERIOD, 2, 0, Phase.CRITICAL))
        robot.sees(4)
        assert {chunk.source for chunk in chunks(robot.inference.work())} == {source}
    assert "stale" not in robot.inference.fallback


def test_an_action_that_is_not_finite_is_never_sent() -> None:
    robot = Robot()
    robot.inference.use(actor(offset=float("nan")))
    assert {chunk.source for chunk in chunks(robot.runs())} == {Source.VLA}
    assert {kind for kind, _ in robot.dropped} == {"not finite"}


def test_a_token_that_is_the_same_everywhere_is_neither_acted_on_nor_stored() -> None:
    robot = Robot()
    robot.eyes.blind = True
    robot.inference.use(actor())
    output = robot.runs(chunks=6)
    assert chunks(output)[0].source is Source.ACTOR and chunks(output)[-1].source is Source.VLA
    assert "same token" in robot.inference.fallback and max(states(output)) < 20


@pytest.mark.parametrize("ending", [Ending.SUCCESS, Ending.FAILURE])
def test_a_terminal_owes_the_states_before_it(ending: Ending) -> None:
    robot = Robot()
    robot.runs(chunks=2)
    assert states(robot.done(7, ending)) == [6]
    assert robot.done(7, ending) == [] and not robot.inference.busy


@pytest.mark.parametrize("ending", [Ending.TIMEOUT, Ending.ABORTED])
def test_a_cut_episode_owes_the_state_after_its_last_step_too(ending: Ending) -> None:
    robot = Robot()
    robot.runs(chunks=2)
    assert robot.done(8, ending) == [] and robot.inference.busy  # what is seen there has not come
    robot.sees(8)
    assert states(robot.inference.work()) == [6, 8]


def test_an_end_waits_for_the_picture_before_its_last_window() -> None:
    robot = Robot()
    robot.episode(Phase.CRITICAL)
    robot.sees(0)
    robot.asks(0)
    robot.executes(0, 1, 2)
    assert robot.done(3) == [] and robot.inference.busy  # the picture at step 2 is on its way
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
    assert robot.done(23) == []  # steps are counted from where the critical phase began
    robot.now = 0.6
    assert states(robot.inference.work()) == [22] and not robot.dropped


def test_a_withdrawn_episode_owes_nothing() -> None:
    robot = Robot()
    robot.runs(chunks=2)
    assert robot.done(8, Ending.ABORTED, discarded=True) == [] and not robot.inference.busy


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
    output = robot.asks(5)  # a human let go in the middle of a chunk
    assert states(output) == [2, 4] and chunks(output)[0].step == 5


def test_states_are_made_also_while_nobody_asks_for_chunks() -> None:
    robot = Robot()
    robot.runs(chunks=1)
    robot.executes(*range(4, 12))
    robot.sees(*range(4, 13, 2))
    assert states(robot.inference.work()) == [2, 4, 6, 8, 10]


def test_where_the_arm_does_not_wait_the_chunk_comes_first_from_the_newest_picture() -> None:
    robot = Robot()
    robot.episode(Phase.CRITICAL)
    robot.sees(0)
    robot.asks(0, overlap=True)
    robot.executes(0, 1)
    robot.sees(2)
    output = robot.asks(4, at=3, overlap=True)
    assert [chunk.stamp for chunk in chunks(output)] == [2 * PERIOD] and states(output) == []
    robot.executes(2, 3, 4)
    assert robot.inference.work() == []  # what was seen at step 4 has not come
    robot.sees(4)
    assert states(robot.inference.work()) == [0, 2, 4]


def test_a_chunk_begins_where_the_arm_will_be_and_the_states_are_of_where_it_was() -> None:
    robot = Robot()
    robot.episode(Phase.CRITICAL)
    robot.sees(0)
    (chunk,) = chunks(robot.asks(0, overlap=True, expected=[0.5, 0.6, 0.7]))
    np.testing.assert_allclose(chunk.anchor, [0.5, 0.6, 0.7])
    robot.executes(*range(6))
    robot.sees(*range(1, 6))
    records = [one for one in robot.inference.work() if isinstance(one, StateRecord)]
    np.testing.assert_allclose(records[0].state.anchor, 0.0)
    assert robot.asks(8, overlap=True, expected=[0.5]) == []
    assert robot.dropped[-1][0] == "malformed request"


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

    def refuse(*_: object) -> Perceived:
        raise ValueError("no known word")

    robot.eyes.perceive = refuse  # type: ignore[method-assign]
    assert robot.runs(chunks=1) == []
    assert robot.dropped == [("refused by the VLA", "step 0 of episode 1: no known word")]


def test_an_episode_may_begin_anew_under_its_number() -> None:
    robot = Robot()
    robot.runs(chunks=1)
    robot.done(4)
    robot.inference.observe(Observation(0, {}, np.zeros(JOINTS), np.zeros(JOINTS)))
    output = robot.runs(chunks=1)
    assert chunks(output)

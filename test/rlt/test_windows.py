from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlt_ros.rlt.config import Shapes
from rlt_ros.rlt.windows import (
    ExecutedStep,
    RLState,
    RowOutcome,
    Source,
    Window,
    WindowBuilder,
    WindowError,
    lineage_id,
)
from rlt_ros.store.lineage import Lineage

SHAPES = Shapes(z_dim=3, proprio_dim=4, chunk=6, action_dim=2)
SCALE = np.array([0.5, 2.0], np.float32)
GAMMA = 0.9
FEW = settings(max_examples=60, deadline=None)


def encode(anchor: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return (targets - anchor) / SCALE


def decode(anchor: np.ndarray, actions: np.ndarray) -> np.ndarray:
    return anchor + actions * SCALE


@dataclasses.dataclass(frozen=True)
class Episode:
    first: int
    stride: int
    steps: list[ExecutedStep]
    states: list[RLState]
    final: RLState
    terminated: bool
    reward: float

    @property
    def end(self) -> int:
        return self.first + len(self.steps)

    def state_at(self, step: int) -> RLState:
        return self.final if step == self.end else self.states[(step - self.first) // self.stride]


def random_state(rng: np.random.Generator, step: int) -> RLState:
    shapes = ((3,), (4,), (6, 2), (2,))
    return RLState(step, *(rng.normal(size=shape).astype(np.float32) for shape in shapes))


@st.composite
def episodes(draw: st.DrawFn) -> Episode:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    first = draw(st.integers(0, 5))
    stride = draw(st.sampled_from([1, 2, 3, 6]))
    sources = draw(st.lists(st.sampled_from(Source), min_size=1, max_size=40))
    steps = [
        ExecutedStep(first + i, rng.normal(size=2).astype(np.float32), source, float(rng.normal()))
        for i, source in enumerate(sources)
    ]
    end = first + len(steps)
    return Episode(
        first=first,
        stride=stride,
        steps=steps,
        states=[random_state(rng, step) for step in range(first, end, stride)],
        final=random_state(rng, end),
        terminated=draw(st.booleans()),
        reward=draw(st.sampled_from([0.0, 1.0])),
    )


def builder_for(episode: Episode) -> WindowBuilder:
    return WindowBuilder(SHAPES, encode, episode=7, lineage=11, stride=episode.stride, gamma=GAMMA)


def build(episode: Episode) -> list[Window]:
    """Everything at once: all states, all steps, then the end."""
    builder = builder_for(episode)
    windows = [window for state in episode.states for window in builder.add_state(state)]
    windows += [window for step in episode.steps for window in builder.add_step(step)]
    return windows + finish(builder, episode)


def finish(builder: WindowBuilder, episode: Episode) -> list[Window]:
    return builder.finish(terminated=episode.terminated, reward=episode.reward, final_state=episode.final)


def brute_force(episode: Episode) -> list[Window]:
    """The definition, written down with the whole episode at hand and one control step at a time."""
    rewards = {step.step: step.reward for step in episode.steps}
    rewards[episode.end - 1] += episode.reward
    result = []
    for start in range(episode.first, episode.end, episode.stride):
        state = episode.state_at(start)
        action, source = np.zeros((6, 2), np.float32), np.zeros(6, np.uint8)
        total, discount, valid = 0.0, 1.0, 0
        for j in range(6):
            if start + j < episode.end:
                step = episode.steps[start + j - episode.first]
                action[j] = (step.command - state.anchor) / SCALE
                source[j] = step.source
                total += discount * rewards[start + j]
                discount *= GAMMA
                valid += 1
        reaches_end = start + valid == episode.end
        terminated = reaches_end and episode.terminated
        following = state if terminated else episode.state_at(start + valid)
        after = episode.end - (start + 6)
        is_last = start + episode.stride >= episode.end
        ended = RowOutcome.TRUNCATED
        if episode.terminated:
            ended = RowOutcome.SUCCESS if episode.reward > 0 else RowOutcome.FAILURE
        result.append(
            Window(
                episode=7,
                step=start,
                z=state.z,
                proprio=state.proprio,
                reference=state.reference,
                action=action,
                reward=total,
                discount=0.0 if terminated else discount,
                next_z=following.z,
                next_proprio=following.proprio,
                next_reference=following.reference,
                valid=valid,
                next_valid=6 if after <= 0 else min(6, after),
                terminated=terminated,
                truncated=reaches_end and not episode.terminated,
                outcome=ended if is_last else RowOutcome.NONE,
                source=source,
                lineage=11,
            )
        )
    return result


def assert_equal(found: list[Window], expected: list[Window]) -> None:
    assert [window.step for window in found] == [window.step for window in expected]
    for one, other in zip(found, expected, strict=True):
        for field in dataclasses.fields(Window):
            np.testing.assert_allclose(
                getattr(one, field.name), getattr(other, field.name), rtol=1e-6, atol=1e-7, err_msg=field.name
            )


@FEW
@given(episodes())
def test_windows_equal_the_slow_definition(episode: Episode) -> None:
    windows = build(episode)
    assert_equal(windows, brute_force(episode))
    for window in windows:
        window.check(SHAPES)


@FEW
@given(episodes(), st.data())
def test_any_interleaving_of_states_and_steps_gives_the_same_windows(
    episode: Episode, data: st.DataObject
) -> None:
    builder, windows = builder_for(episode), []
    states, steps = list(episode.states), list(episode.steps)
    while states or steps:
        take_state = not steps or (states and data.draw(st.booleans()))
        windows += builder.add_state(states.pop(0)) if take_state else builder.add_step(steps.pop(0))
    assert_equal(windows + finish(builder, episode), build(episode))


@FEW
@given(episodes())
def test_windows_come_out_while_the_episode_runs_and_never_change_afterwards(episode: Episode) -> None:
    builder, early = builder_for(episode), []
    for step in episode.steps:
        if (step.step - episode.first) % episode.stride == 0:
            early += builder.add_state(episode.state_at(step.step))
        early += builder.add_step(step)
        executed = step.step + 1
        assert len(early) == len(range(episode.first, executed - 2 * 6 + 1, episode.stride))
    assert_equal(early, brute_force(episode)[: len(early)])


@FEW
@given(episodes())
def test_every_executed_step_is_in_a_window(episode: Episode) -> None:
    covered = {window.step + j for window in build(episode) for j in range(window.valid)}
    assert covered == {step.step for step in episode.steps}


@FEW
@given(episodes())
def test_actions_decode_to_the_commands_that_were_sent(episode: Episode) -> None:
    for window in build(episode):
        sent = [step.command for step in episode.steps if 0 <= step.step - window.step < window.valid]
        anchor = episode.state_at(window.step).anchor
        np.testing.assert_allclose(decode(anchor, window.action[: window.valid]), sent, rtol=1e-4, atol=1e-5)
        assert not window.action[window.valid :].any()


@FEW
@given(episodes())
def test_every_window_that_reaches_the_end_is_kept_and_marked(episode: Episode) -> None:
    windows = build(episode)
    reaching = [w for w in windows if w.step + 6 >= episode.end]
    assert len(reaching) == sum(state.step >= episode.end - 6 for state in episode.states)
    assert all(w.terminated == episode.terminated and w.truncated != episode.terminated for w in reaching)
    assert not any(w.terminated or w.truncated for w in windows if w not in reaching)
    assert [w.outcome != RowOutcome.NONE for w in windows] == [False] * (len(windows) - 1) + [True]


@FEW
@given(episodes())
def test_next_valid_is_the_valid_horizon_of_the_window_one_chunk_later(episode: Episode) -> None:
    windows = build(episode)
    horizon = {window.step: window.valid for window in windows}
    for window in windows:
        assert window.next_valid == horizon.get(window.step + 6, 6)


@FEW
@given(episodes())
def test_human_mask_is_per_step_and_false_in_the_padding(episode: Episode) -> None:
    by_step = {step.step: step.source == Source.HUMAN for step in episode.steps}
    for window in build(episode):
        assert window.human.tolist() == [by_step.get(window.step + j, False) for j in range(6)]


def test_terminal_reward_is_discounted_to_each_window_start() -> None:
    windows = build(steady_episode(steps=8, terminated=True, reward=1.0))
    assert [w.step for w in windows] == [0, 2, 4, 6]
    np.testing.assert_allclose([w.reward for w in windows], [0.0, GAMMA**5, GAMMA**3, GAMMA**1])
    np.testing.assert_allclose([w.discount for w in windows], [GAMMA**6, 0, 0, 0])
    assert [w.valid for w in windows] == [6, 6, 4, 2]
    assert [w.next_valid for w in windows] == [2, 6, 6, 6]


def test_truncation_bootstraps_from_the_final_state() -> None:
    episode = steady_episode(steps=8, terminated=False, reward=0.0)
    windows = build(episode)
    np.testing.assert_allclose([w.discount for w in windows], [GAMMA**6, GAMMA**6, GAMMA**4, GAMMA**2])
    for window in windows[1:]:
        assert window.truncated
        np.testing.assert_array_equal(window.next_z, episode.final.z)
        np.testing.assert_array_equal(window.next_reference, episode.final.reference)


def test_the_state_after_the_last_step_serves_as_final_state() -> None:
    episode = steady_episode(steps=8, terminated=False, reward=0.0)
    builder = builder_for(episode)
    for state in [*episode.states, episode.final]:
        builder.add_state(state)
    for step in episode.steps:
        builder.add_step(step)
    assert_equal(builder.finish(terminated=False), build(episode))


def test_a_buffer_that_is_written_again_does_not_change_the_windows() -> None:
    episode = steady_episode(steps=3, terminated=True, reward=1.0)
    builder, buffer = builder_for(episode), np.zeros(2, np.float32)
    for state in episode.states:
        builder.add_state(state)
    for step in episode.steps:
        buffer[:] = step.command
        builder.add_step(dataclasses.replace(step, command=buffer))
    assert_equal(finish(builder, episode), build(episode))


def test_an_episode_without_steps_has_no_windows() -> None:
    episode = steady_episode(steps=1, terminated=True, reward=0.0)
    assert builder_for(episode).finish(terminated=True) == []
    builder = builder_for(episode)
    builder.add_state(episode.states[0])
    assert builder.finish(terminated=False) == []


def test_lineage_id_is_64_bit_and_ignores_the_actor() -> None:
    one = lineage_id(Lineage(vla="a", token="b", stats="c", actor="1"))
    assert 0 <= one < 2**64
    assert one == lineage_id(Lineage(vla="a", token="b", stats="c", actor="2"))
    assert one != lineage_id(Lineage(vla="a", token="bc", stats="", actor="1"))


def steady_episode(*, steps: int, terminated: bool, reward: float) -> Episode:
    rng = np.random.default_rng(0)
    return Episode(
        first=0,
        stride=2,
        steps=[ExecutedStep(i, rng.normal(size=2).astype(np.float32), Source.ACTOR) for i in range(steps)],
        states=[random_state(rng, step) for step in range(0, steps, 2)],
        final=random_state(rng, steps),
        terminated=terminated,
        reward=reward,
    )


def test_a_gap_in_the_steps_is_refused() -> None:
    episode = steady_episode(steps=4, terminated=True, reward=0.0)
    builder = builder_for(episode)
    builder.add_step(episode.steps[0])
    with pytest.raises(WindowError, match=r"executed step 2 in episode 7, expected step 1"):
        builder.add_step(episode.steps[2])


def test_a_repeated_step_is_refused() -> None:
    episode = steady_episode(steps=4, terminated=True, reward=0.0)
    builder = builder_for(episode)
    builder.add_step(episode.steps[0])
    with pytest.raises(WindowError, match=r"executed step 0 in episode 7, expected step 1.*each once"):
        builder.add_step(episode.steps[0])


def test_a_missing_state_is_refused_where_it_is_missed() -> None:
    episode = steady_episode(steps=8, terminated=True, reward=0.0)
    builder = builder_for(episode)
    builder.add_state(episode.states[0])
    with pytest.raises(WindowError, match=r"state of step 4 in episode 7, expected step 2"):
        builder.add_state(episode.states[2])


def test_finish_names_the_state_that_is_still_being_computed() -> None:
    episode = steady_episode(steps=8, terminated=True, reward=0.0)
    builder = builder_for(episode)
    for state in episode.states[:-1]:
        builder.add_state(state)
    for step in episode.steps:
        builder.add_step(step)
    with pytest.raises(WindowError, match=r"ends at step 8 without the state of step 6"):
        builder.finish(terminated=True)
    builder.add_state(episode.states[-1])
    assert_equal(finish(builder, episode), build(episode))


def test_a_state_behind_the_end_is_refused() -> None:
    episode = steady_episode(steps=3, terminated=True, reward=0.0)
    builder = builder_for(episode)
    for step in (0, 2, 4):
        builder.add_state(dataclasses.replace(episode.states[0], step=step))
    for executed in episode.steps:
        builder.add_step(executed)
    with pytest.raises(WindowError, match=r"state of step 4 lies behind the end of episode 7 at step 3"):
        builder.finish(terminated=True)


def test_truncation_without_a_final_state_is_refused() -> None:
    episode = steady_episode(steps=3, terminated=False, reward=0.0)
    builder = builder_for(episode)
    for state in episode.states:
        builder.add_state(state)
    for step in episode.steps:
        builder.add_step(step)
    with pytest.raises(WindowError, match=r"truncated at step 3 without a final state"):
        builder.finish(terminated=False)
    with pytest.raises(WindowError, match=r"final state of episode 7 is of step 5, expected step 3"):
        builder.finish(terminated=False, final_state=random_state(np.random.default_rng(0), 5))


@pytest.mark.parametrize("field", ["z", "proprio", "reference", "anchor"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_state_that_is_not_finite_is_refused(field: str, value: float) -> None:
    state = random_state(np.random.default_rng(0), 0)
    bad = getattr(state, field).copy()
    bad.flat[1] = value
    with pytest.raises(WindowError, match=rf"`{field}` of state 0 of episode 7 holds 1 values"):
        builder_for(steady_episode(steps=1, terminated=True, reward=0.0)).add_state(
            dataclasses.replace(state, **{field: bad})
        )


@pytest.mark.parametrize("field", ["z", "proprio", "reference", "anchor"])
def test_a_state_of_another_shape_is_refused(field: str) -> None:
    state = random_state(np.random.default_rng(0), 0)
    bad = dataclasses.replace(state, **{field: getattr(state, field)[1:]})
    with pytest.raises(WindowError, match=rf"`{field}` of state 0 of episode 7 has shape .* expected"):
        builder_for(steady_episode(steps=1, terminated=True, reward=0.0)).add_state(bad)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (ExecutedStep(0, np.array([0.0, np.nan], np.float32), Source.VLA), "`command` of step 0"),
        (ExecutedStep(0, np.zeros(3, np.float32), Source.VLA), r"has shape \(3,\), expected \(2,\)"),
        (ExecutedStep(0, np.zeros(2, np.float32), Source.VLA, float("nan")), "`reward` of step 0"),
    ],
)
def test_a_bad_step_is_refused_and_leaves_the_builder_as_it_was(step: ExecutedStep, message: str) -> None:
    episode = steady_episode(steps=5, terminated=True, reward=1.0)
    builder = builder_for(episode)
    with pytest.raises(WindowError, match=message):
        builder.add_step(step)
    for state in episode.states:
        builder.add_state(state)
    for good in episode.steps:
        builder.add_step(good)
    assert_equal(finish(builder, episode), build(episode))


def test_an_encoder_that_changes_the_shape_is_refused() -> None:
    builder = WindowBuilder(SHAPES, lambda a, t: t[:, :1], episode=7, lineage=0, stride=2, gamma=GAMMA)
    episode = steady_episode(steps=2, terminated=True, reward=0.0)
    builder.add_state(episode.states[0])
    for step in episode.steps:
        builder.add_step(step)
    with pytest.raises(WindowError, match="encoded action of window 0"):
        builder.finish(terminated=True)


def test_a_stride_that_does_not_divide_the_chunk_is_refused() -> None:
    with pytest.raises(WindowError, match="stride 4 does not divide the chunk of 6"):
        WindowBuilder(SHAPES, encode, episode=0, lineage=0, stride=4, gamma=GAMMA)


def test_a_finished_builder_takes_nothing_more() -> None:
    episode = steady_episode(steps=1, terminated=True, reward=0.0)
    builder = builder_for(episode)
    builder.finish(terminated=True)
    with pytest.raises(WindowError, match="is finished; start a new WindowBuilder"):
        builder.add_step(episode.steps[0])

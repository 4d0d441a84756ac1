"""Round trips of records through messages, and rejection of malformed messages."""

from __future__ import annotations

import array
import dataclasses
from typing import Any

import numpy as np
import pytest
from stream_source import LINEAGE, SCALE, SHAPES, stream

from rlt_ros.middleware import deserialize_message, serialize_message
from rlt_ros.middleware.messages import Intervention as InterventionMessage
from rlt_ros.perception import Observation
from rlt_ros.replay.stream import ActionChunk, ChunkRequest, EpisodeOutcome, EpisodeState, Phase
from rlt_ros.rlt.transition import Source
from rlt_ros.robots.intervention import Intervention, TakeOver
from rlt_ros.ros import conversions

MADE = stream(2**40 - 1, steps=4)


def sent(message: Any) -> Any:
    """Message after serialisation."""
    return deserialize_message(serialize_message(message), type(message))


def same(one: Any, other: Any) -> bool:
    for field in dataclasses.fields(one):
        mine, yours = getattr(one, field.name), getattr(other, field.name)
        if dataclasses.is_dataclass(mine):
            assert same(mine, yours)
        else:
            np.testing.assert_array_equal(mine, yours, field.name)
            assert type(mine) is type(yours), field.name
    return True


def chunk() -> ActionChunk:
    rng = np.random.default_rng(0)
    shape = (SHAPES.chunk, SHAPES.action_dim)
    return ActionChunk(
        stamp=17 * 10**17 + 7,
        episode=3,
        chunk=9,
        step=40,
        source=Source.ACTOR,
        anchor=rng.normal(size=SHAPES.action_dim).astype(np.float32),
        scale=SCALE,
        reference=rng.normal(size=shape).astype(np.float32),
        action=rng.normal(size=shape).astype(np.float32),
        version=12,
        lineage=dataclasses.replace(LINEAGE, actor="a"),
        latency=1_500_000_000,
    )


def observation() -> Observation:
    rng = np.random.default_rng(0)
    images = {name: rng.integers(0, 256, (4, 6, 3), dtype=np.uint8) for name in ("head", "hand_left")}
    return Observation(1_000_000_007, images, rng.normal(size=7), rng.normal(size=7))


def test_a_state_comes_out_as_it_went_in() -> None:
    record = MADE.states[1]
    assert same(conversions.read_state(sent(conversions.write_state(record)), SHAPES), record)
    assert conversions.state_shapes(conversions.write_state(record), SHAPES.chunk) == SHAPES


def test_a_step_comes_out_as_it_went_in() -> None:
    record = dataclasses.replace(
        MADE.steps[-1], chunk=4, row=3, observation=17, version=8, limits=64, reward=0.5
    )
    assert same(conversions.read_step(sent(conversions.write_step(record)), 7), record)


def test_a_chunk_comes_out_as_it_went_in() -> None:
    record = chunk()
    found = conversions.read_chunk(sent(conversions.write_chunk(record)), SHAPES.chunk, SHAPES.action_dim)
    assert same(found, record)


@pytest.mark.parametrize("expected", [None, np.array([0.1, -0.2])], ids=["block", "overlap"])
def test_a_request_comes_out_as_it_went_in(expected: Any) -> None:
    request = ChunkRequest(10**18 + 1, 3, 40, Phase.CRITICAL, expected is not None, expected)
    assert same(conversions.read_request(sent(conversions.write_request(request))), request)


def test_the_state_of_an_episode_comes_out_as_it_went_in() -> None:
    state = EpisodeState(
        7, Phase.DONE, EpisodeOutcome.TIMEOUT, True, True, "charger", "plug it in", 2**63, 0.25, 220, 10**18
    )
    assert same(conversions.read_episode(sent(conversions.write_episode(state))), state)


def test_an_observation_comes_out_as_it_went_in() -> None:
    given = observation()
    message = conversions.write_observation(
        given, episode=2, joints=[f"j{i}" for i in range(7)], frame_id="base"
    )
    found = conversions.read_observation(sent(message), 7)
    assert found.stamp == given.stamp and list(found.images) == list(given.images)
    for name in given.images:
        np.testing.assert_array_equal(found.images[name], given.images[name])
    np.testing.assert_array_equal(found.proprio, given.proprio)


def test_rows_of_a_picture_may_be_padded() -> None:
    message = conversions.write_observation(observation(), episode=1, joints=[])
    picture = message.images[0]
    whole = np.frombuffer(picture.data, np.uint8).reshape(4, 18)
    picture.step, picture.data = 20, array.array("B", np.pad(whole, ((0, 0), (0, 2))).tobytes())
    np.testing.assert_array_equal(
        conversions.read_observation(message, 7).images["head"], whole.reshape(4, 6, 3)
    )


def test_an_exported_actor_arrives_whole_or_not_at_all() -> None:
    message = sent(conversions.write_policy(b"weights", stamp=5, version=3, lineage=LINEAGE))
    assert conversions.read_policy(message) == b"weights"
    message.data[0] ^= 1
    with pytest.raises(ValueError, match="checksum"):
        conversions.read_policy(message)


def _change(message: Any, **fields: Any) -> Any:
    for name, value in fields.items():
        setattr(message, name, value)
    return message


def _read_state(**fields: Any) -> Any:
    return conversions.read_state(_change(conversions.write_state(MADE.states[0]), **fields), SHAPES)


def _read_step(**fields: Any) -> Any:
    return conversions.read_step(_change(conversions.write_step(MADE.steps[0]), **fields), 7)


def _read_chunk(**fields: Any) -> Any:
    return conversions.read_chunk(_change(conversions.write_chunk(chunk()), **fields), SHAPES.chunk, 7)


def _read_observation(**fields: Any) -> Any:
    message = conversions.write_observation(observation(), episode=1, joints=[])
    return conversions.read_observation(_change(message, **fields), 7)


NAN = float("nan")


@pytest.mark.parametrize(
    ("read", "fields", "says"),
    [
        (_read_state, {"z": [0.0]}, "`z` holds 1 values, expected 6"),
        (_read_state, {"anchor": [NAN] * 7}, "`anchor` of state of step 3"),
        (_read_state, {"scale": [0.0] * 7}, "`scale`"),
        (_read_step, {"command": [0.0] * 6}, "`command` holds 6 values"),
        (_read_step, {"command": [NAN] * 7}, "`command` of step 0"),
        (_read_step, {"source": 9}, "9 is not a valid Source"),
        (_read_chunk, {"action": [0.0]}, "`action` holds 1 values"),
        (_read_chunk, {"reference": [NAN] * 28}, "`reference` of chunk 9"),
        (_read_chunk, {"source": 3}, "HUMAN"),
        (_read_observation, {"images": []}, "0 pictures of 2 cameras"),
        (_read_observation, {"velocity": [NAN] * 7}, "velocity is not finite"),
    ],
)
def test_what_is_malformed_is_refused_in_words(read: Any, fields: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read(**fields)


@pytest.mark.parametrize(
    ("fields", "says"),
    [({"encoding": "rgba8"}, "rgba8"), ({"step": 17}, "rows of 17"), ({"height": 5}, "expected 5 rows")],
)
def test_a_picture_that_contradicts_itself_is_refused(fields: Any, says: str) -> None:
    message = conversions.write_observation(observation(), episode=1, joints=[])
    _change(message.images[1], **fields)
    with pytest.raises(ValueError, match=says):
        conversions.read_observation(message, 7)


@pytest.mark.parametrize("fields", [{"phase": 4}, {"outcome": 1}, {"phase": 9}, {"reward": NAN}])
def test_an_episode_state_that_contradicts_itself_is_refused(fields: Any) -> None:
    message = conversions.write_episode(EpisodeState(1, Phase.CRITICAL))
    with pytest.raises(ValueError):
        conversions.read_episode(_change(message, **fields))


@pytest.mark.parametrize("gripper", [None, 0.0, 0.25, 1.0])
def test_an_intervention_arrives_as_it_was_sent(gripper: float | None) -> None:
    human = Intervention(TakeOver.ENGAGED, 1.0, np.array([0.5, -1.0]), "joy", 3_000_000_007, gripper)
    assert same(human, conversions.read_intervention(sent(conversions.write_intervention(human))))


def test_a_message_that_says_nothing_of_the_gripper_leaves_it_alone() -> None:
    assert conversions.read_intervention(sent(InterventionMessage())).gripper is None


@pytest.mark.parametrize("gripper", [NAN, -0.5, 2.0])
def test_a_wish_for_the_gripper_that_is_none_is_refused(gripper: float) -> None:
    with pytest.raises(ValueError, match="gripper"):
        conversions.read_intervention(sent(InterventionMessage(moves_gripper=True, gripper=gripper)))

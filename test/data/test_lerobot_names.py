"""Elements of LeRobot states and actions by their names: paired, or a refusal with the remedy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from foreign_set import JOINTS, ROWS, Foreign, foreign, motion
from hypothesis import given, settings
from hypothesis import strategies as st

from rlt_ros.data.errors import DataError, EpisodeError
from rlt_ros.data.lerobot_names import JointPairs, element_names
from rlt_ros.data.source import open_source

__all__ = ["foreign"]


def test_elements_are_paired_by_name_in_any_order(foreign: Foreign) -> None:
    foreign.names = {"observation.state": ["j2.pos", "j0.pos", "j1.pos"], "action": JOINTS}
    plain = foreign.state
    foreign.state = plain[:, [2, 0, 1]]
    episode, _, notes = foreign.read()
    assert episode.joints == tuple(JOINTS) and np.array_equal(episode.position, plain) and not notes


@settings(max_examples=30)
@given(order=st.permutations(range(5)), suffix=st.sampled_from(["", ".pos"]), nested=st.booleans())
def test_every_order_of_names_gives_the_same_joints(order: list[int], suffix: str, nested: bool) -> None:
    names: Any = [f"j{index}{suffix}" for index in order]
    found = element_names({"axes": names} if nested else [names], 5, "here")
    assert found == names


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([JOINTS], JOINTS),
        ({"motors": JOINTS}, JOINTS),
        ({"left": ["a"], "right": {"arm": ["b", "c"]}}, ["a", "b", "c"]),
        ({"left": ["a"], "right": ["a", "b"]}, ["left_a", "right_a", "right_b"]),
        ({"b": 1, "a": 0, "c": 2}, ["a", "b", "c"]),
        (["state"], None),
        (None, None),
        ([], None),
    ],
)
def test_names_are_found_in_any_nesting(names: Any, expected: list[str] | None) -> None:
    assert element_names(names, 3, "here") == expected


@pytest.mark.parametrize("names", [["a", "b"], ["a", "a", "b"], {"x": ["a"] * 3}])
def test_names_that_do_not_fit_are_refused(names: Any) -> None:
    with pytest.raises(DataError, match=r"here: `names` has .*; correct it in meta/info.json"):
        element_names(names, 3, "here")


@pytest.mark.parametrize(
    ("state", "action", "message"),
    [
        (
            JOINTS,
            ["arm.x", "arm.y", "arm.z"],
            r"has no arm.x, arm.y, arm.z, which the action commands; .*--action-key",
        ),
        (JOINTS, ["j0", "j1", "wrist"], "has no wrist, which the action commands"),
        (JOINTS, {"delta_x": 0, "delta_y": 1, "gripper": 2}, "changes of a pose"),
        (["x", "y", "z"], ["dx", "dy", "dz"], "changes of a pose"),
        (JOINTS, None, "the action has 3 elements without names.*--joint-names"),
        (None, JOINTS, "the state has 3 elements without names.*--joint-names"),
        (["j0.vel", "j1.vel", "j2.vel"], JOINTS, "has no j0, j1, j2"),
        (["j0", "j0.pos", "j1"], ["j0", "j1", "j1.pos"], "twice|has no"),
    ],
)
def test_names_that_share_nothing_are_never_paired_by_position(
    foreign: Foreign, state: Any, action: Any, message: str
) -> None:
    foreign.names = {"observation.state": state, "action": action}
    with pytest.raises(DataError, match=message):
        open_source([foreign.write()])


def test_without_any_names_positions_count_and_that_is_reported(foreign: Foreign) -> None:
    foreign.names = {"observation.state": None, "action": ["action"]}
    episode, _, notes = foreign.read()
    assert episode.joints == ("joint_0", "joint_1", "joint_2")
    assert list(notes) == ["has no names; state and action are paired by position"]


def test_a_vector_without_names_takes_those_that_the_user_gives(foreign: Foreign) -> None:
    foreign.names = {"observation.state": ["j2", "j0", "j1"], "action": None}
    plain = foreign.state
    foreign.state = plain[:, [2, 0, 1]]
    episode, _, notes = foreign.read(joints=JOINTS)
    assert np.array_equal(episode.position, plain) and notes == {}


@pytest.mark.parametrize(
    "change", [lambda s, a: np.diff(s, axis=0, append=s[-1:]), lambda s, a: 0.98 * (a - s)]
)
def test_actions_that_are_changes_are_refused(
    foreign: Foreign, change: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> None:
    foreign.state = foreign.state + np.float32(0.3)
    foreign.action = change(foreign.state, foreign.action + np.float32(0.3)).astype(np.float32)
    assert (
        "has actions that are changes of the state, not targets (j0, j1, j2; name a feature"
        in foreign.refused()
    )


def pairs() -> JointPairs:
    return JointPairs(JOINTS, JOINTS, (3, 3), (), "here")


@pytest.mark.parametrize("unit", [0.02, 1.0, 30.0])
def test_changes_in_any_unit_are_refused(unit: float) -> None:
    state, _ = motion(rows=60)
    change = np.diff(state, axis=0, append=state[-1:]) * np.float32(unit)
    with pytest.raises(EpisodeError, match="changes of the state"):
        pairs().check_targets(state + np.float32(1.0), change)


@settings(max_examples=50, deadline=None)
@given(
    lag=st.integers(0, 6),
    offset=st.floats(-0.3, 0.3),
    noise=st.floats(0, 0.02),
    center=st.floats(-2, 2),
    speed=st.floats(0.1, 3),
    seed=st.integers(0, 1000),
)
def test_targets_that_an_arm_follows_late_and_badly_are_never_refused(
    lag: int, offset: float, noise: float, center: float, speed: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    time = np.arange(66)[:, None] / 30
    path = center + 0.4 * np.sin(speed * time * (1 + np.arange(3)) + random.uniform(0, 6, 3))
    state = path[:60].astype(np.float32)
    command = (path[lag : lag + 60] + offset + noise * random.normal(size=(60, 3))).astype(np.float32)
    pairs().check_targets(state, command)


def test_an_arm_that_stands_still_commands_no_changes(foreign: Foreign) -> None:
    foreign.state = np.full((ROWS, 3), 0.5, np.float32)
    foreign.action = np.zeros((ROWS, 3), np.float32)
    assert np.array_equal(foreign.read()[0].command, foreign.action)

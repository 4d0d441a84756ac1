"""Commands of drivers: joint targets survive the way through each message type."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlt_ros.robots.action_space import ActionSpace
from rlt_ros.robots.commands import (
    CommandError,
    CommandWriter,
    GroupTargets,
    NamedTargets,
    Trajectory,
    TrajectoryPoint,
    Values,
    read_command,
)
from rlt_ros.robots.interface import COMMAND_TYPES, CommandProfile, PartProfile
from rlt_ros.robots.profile import load_profile, profile_names

PERIOD = 0.02


def part(kind: str, **more: Any) -> PartProfile:
    order = more.pop("order", None)
    return PartProfile(("a", "b"), "joint_states", CommandProfile("command", kind, order), **more)


@pytest.mark.parametrize("robot", profile_names())
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_policy_actions_survive_the_way_to_the_driver_and_back(robot: str, data: st.DataObject) -> None:
    profile = load_profile(robot)
    numbers = st.lists(st.floats(-2, 2), min_size=profile.dim, max_size=profile.dim).map(np.array)
    anchor, action = data.draw(numbers), data.draw(numbers)
    space = ActionSpace(data.draw(st.floats(1e-3, 1.0)) * np.ones(profile.dim))
    (target,) = space.decode(anchor, action[None])
    heard = {}
    for driver in profile.drivers:
        writer = CommandWriter(driver, 1 / profile.control_hz)
        own = np.array([target[profile.joints.index(joint)] for joint in driver.joints])
        names, values = read_command(driver, writer.write(own, np.full(len(driver.held), 0.3)))
        heard.update(zip(names, values, strict=True))
    assert all(heard.pop(joint) == 0.3 for driver in profile.drivers for joint in driver.held)
    back = space.encode(anchor, np.array([heard[joint] for joint in profile.joints])[None])[0]
    np.testing.assert_allclose(back, action, atol=1e-9)
    assert len(heard) == profile.dim


def test_a_joint_state_has_the_drivers_names_order_and_unit() -> None:
    driver = part("joint_state", order=("b", "c", "a"), message_names={"b": "2", "c": "3"}, unit="deg")
    writer = CommandWriter(driver, PERIOD)
    command = writer.write(np.array([np.pi, np.pi / 4]), np.array([np.pi / 2]))
    assert isinstance(command, NamedTargets)
    assert command.names == ("2", "3", "a")
    np.testing.assert_allclose(command.positions, [45.0, 90.0, 180.0])


def test_a_trajectory_passes_the_target_and_then_stands_still() -> None:
    writer = CommandWriter(part("joint_trajectory"), PERIOD)
    first, second = writer.write(np.array([0.1, 0.2])), writer.write(np.array([0.12, 0.19]))
    assert isinstance(first, Trajectory)
    assert isinstance(second, Trajectory)
    np.testing.assert_array_equal(first.points[0].velocities, 0.0)
    onward, rest = second.points
    assert (onward.time, rest.time) == (PERIOD, 2 * PERIOD)
    np.testing.assert_allclose(onward.velocities, [1.0, -0.5])
    np.testing.assert_array_equal(rest.velocities, 0.0)
    np.testing.assert_array_equal(onward.positions, rest.positions)
    writer.rest()
    after = writer.write(np.array([0.5, 0.5]))
    assert isinstance(after, Trajectory)
    np.testing.assert_array_equal(after.points[0].velocities, 0.0)


def test_values_without_names_have_the_drivers_order() -> None:
    forward = CommandWriter(part("forward", order=("b", "a")), PERIOD).write(np.array([1.0, 2.0]))
    group = CommandWriter(part("interbotix", order=("b", "a")), PERIOD).write(np.array([1.0, 2.0]))
    assert isinstance(forward, Values)
    assert isinstance(group, GroupTargets)
    assert (forward.values.tolist(), group.values.tolist(), group.group) == ([2.0, 1.0], [2.0, 1.0], "arm")


@pytest.mark.parametrize("held", [np.zeros(0), np.array([np.nan]), np.zeros(2)])
def test_nothing_is_made_without_the_place_of_a_joint_that_must_be_held(held: np.ndarray) -> None:
    driver = part("forward", order=("a", "c", "b"))
    with pytest.raises(CommandError, match="must hold c"):
        CommandWriter(driver, PERIOD).write(np.zeros(2), held)
    names, values = read_command(driver, CommandWriter(driver, PERIOD).write(np.ones(2), np.array([0.7])))
    assert dict(zip(names, values, strict=True)) == {"a": 1.0, "c": 0.7, "b": 1.0}


@pytest.mark.parametrize(
    "target", [np.zeros(3), np.array([0.0, np.nan]), np.array([np.inf, 0.0]), np.zeros((2, 1))]
)
@pytest.mark.parametrize("kind", COMMAND_TYPES)
def test_an_unusable_target_is_refused(kind: str, target: np.ndarray) -> None:
    with pytest.raises(CommandError, match="2 finite targets"):
        CommandWriter(part(kind), PERIOD).write(target)


def trajectory(names: tuple[str, ...] = ("a", "b"), points: Any = ((0.02, (1, 2), (0, 0)),)) -> Trajectory:
    rows = [TrajectoryPoint(np.array(p, float), np.array(v, float), time) for time, p, v in points]
    return Trajectory(names, tuple(rows))


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (trajectory(names=("a",)), "exactly the joints a, b"),
        (trajectory(points=()), "without points"),
        (trajectory(points=((0.02, (1,), ()),)), "2 positions"),
        (trajectory(points=((0.02, (1, 2), (0,)),)), "as many velocities"),
        (trajectory(points=((0.02, (1, 2), (0, 0)), (0.02, (1, 2), (0, 0)))), "later than the last"),
        (trajectory(points=((0.02, (1, 2), (0, 0.1)),)), "must be 0"),
        (trajectory(points=((0.02, (1, np.nan), (0, 0)),)), "finite"),
        (NamedTargets(("a", "b"), np.zeros(3)), "3 values for 2 joints"),
        (Values(np.zeros(1)), "1 values for 2 joints"),
        (GroupTargets("gripper", np.zeros(2)), "group gripper, not arm"),
    ],
)
def test_a_command_that_its_driver_would_refuse_is_refused(record: Any, words: str) -> None:
    with pytest.raises(CommandError, match=words):
        read_command(part("forward"), record)


@given(
    start=st.floats(-20.0, 20.0),
    moves=st.lists(st.floats(-0.05, 0.05), min_size=1, max_size=30),
    unit=st.sampled_from(["rad", "deg"]),
    kind=st.sampled_from(["joint_state", "joint_trajectory", "forward"]),
)
def test_targets_are_wrapped_only_where_the_interface_demands_it(
    start: float, moves: list[float], unit: str, kind: str
) -> None:
    def writer(turns: str) -> CommandWriter:
        command = CommandProfile(topic="command", type=kind, turns=turns)
        return CommandWriter(PartProfile(("a", "b"), "joint_states", command, unit=unit), 0.02, {"a"})

    def row(record: Any) -> tuple[Any, Any]:
        if isinstance(record, Trajectory):
            return record.points[0].positions, record.points[0].velocities
        return (record.positions if isinstance(record, NamedTargets) else record.values), np.zeros(2)

    plain, wraps = writer("continuous"), writer("wrapped")
    factor = 1.0 if unit == "rad" else np.pi / 180
    for path in np.cumsum([start, *moves]):
        target = np.array([path, path])
        straight, speed = row(plain.write(target))
        inside, same_speed = row(wraps.write(target))
        np.testing.assert_allclose(straight * factor, target, atol=1e-9)
        assert -np.pi - 1e-9 <= inside[0] * factor <= np.pi + 1e-9
        assert np.cos(inside[0] * factor - path) == pytest.approx(1.0)
        assert inside[1] == straight[1]
        # No speed at the seam.
        np.testing.assert_array_equal(speed, same_speed)
        assert (np.abs(speed * factor) <= 0.05 / 0.02 + 1e-6).all()

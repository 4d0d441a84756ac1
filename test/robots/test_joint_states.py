"""Joint states of drivers, under any names, are read as the robot's joints."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rlt_ros.robots.interface import CommandProfile, PartProfile
from rlt_ros.robots.joint_states import JointStateReader
from rlt_ros.robots.profile import load_profile


def part(*joints: str, **more: Any) -> PartProfile:
    return PartProfile(joints, "joint_states", CommandProfile(), **more)


def test_names_and_unit_become_the_robots_own() -> None:
    reader = JointStateReader([part("a", "b", message_names={"a": "1"}, unit="deg")])
    assert not reader.is_plain
    joints = reader.read(0, 7, ["lift", "b", "1"], np.array([0.4, 90.0, 180.0]), np.array([0.0, 9.0, 18.0]))
    assert joints is not None
    assert (joints.stamp, joints.names) == (7, ("lift", "b", "a"))
    np.testing.assert_allclose(joints.positions, [0.4, np.pi / 2, np.pi])  # a lift has no angle
    np.testing.assert_allclose(joints.velocities, [0.0, np.pi / 20, np.pi / 10])


@pytest.mark.parametrize("names", [[], ["left1", "left2", "right1", "right2"]])
def test_joint_order_of_the_profile_replaces_names(names: list[str]) -> None:
    reader = JointStateReader([part("c", "d", joint_order=("a", "b", "c", "d"))])
    joints = reader.read(0, 1, names, np.arange(4.0), np.zeros(0))
    assert joints is not None
    assert joints.names == ("a", "b", "c", "d")
    assert np.isnan(joints.velocities).tolist() == [True] * 4
    with pytest.raises(ValueError, match=r"3 joints; `joint_order` of the profile has 4"):
        reader.read(0, 1, names[:3], np.arange(3.0), np.zeros(0))


@pytest.mark.parametrize("velocities", [np.zeros(1), np.zeros(3)])
def test_velocities_are_as_many_as_joints_or_none(velocities: np.ndarray) -> None:
    for parts in ([part("a", "b")], [part("a", "b"), part("c")]):
        with pytest.raises(ValueError, match=f"2 joints with {len(velocities)} velocities"):
            JointStateReader(parts).read(0, 1, ["a", "b"], np.zeros(2), velocities)


def test_one_driver_may_have_velocities_without_the_other() -> None:
    reader = JointStateReader([part("a"), part("b", unit="deg")])
    assert reader.read(0, 1, ["a"], np.zeros(1), np.zeros(0)) is None
    joints = reader.read(1, 1, ["b"], np.zeros(1), np.array([180.0]))
    assert joints is not None
    np.testing.assert_allclose(joints.velocities, [np.nan, np.pi])


def test_two_drivers_make_one_state_once_both_have_said_something_new() -> None:
    reader = JointStateReader(
        [part("l/a", message_names={"l/a": "a"}), part("r/a", message_names={"r/a": "a"})]
    )
    names = ["a", "finger"]
    assert reader.read(0, 10, names, np.array([1.0, 5.0]), np.zeros(2)) is None
    assert reader.read(0, 20, names, np.array([2.0, 5.0]), np.zeros(2)) is None
    joints = reader.read(1, 15, names, np.array([3.0, 6.0]), np.ones(2))
    assert joints is not None
    # Both drivers use one name for the fingers, which belong to neither arm: they are ambiguous.
    assert (joints.stamp, joints.names) == (15, ("l/a", "r/a"))
    assert (joints.positions.tolist(), joints.velocities.tolist()) == ([2.0, 3.0], [0.0, 1.0])
    assert reader.read(1, 30, names, np.array([3.0, 6.0]), np.ones(2)) is None


def test_the_grippers_of_two_arms_are_distinguished() -> None:
    profile = load_profile("aloha")
    assert profile.gripper is not None
    reader = JointStateReader(profile.drivers)
    names = [
        "waist",
        "shoulder",
        "elbow",
        "forearm_roll",
        "wrist_angle",
        "wrist_rotate",
        "gripper",
        "left_finger",
    ]
    assert reader.read(0, 1, names, np.full(8, profile.gripper.open), np.zeros(8)) is None
    joints = reader.read(1, 2, names, np.full(8, profile.gripper.closed), np.zeros(8))
    assert joints is not None
    assert joints.names == (*profile.joints, "follower_right/gripper")
    assert profile.gripper.measured(joints.names, list(joints.positions)) == 1.0
    assert profile.gripper_message_name == "gripper"


def test_only_some_robots_need_reading() -> None:
    assert JointStateReader(load_profile("ur5e").drivers).is_plain
    assert not JointStateReader(load_profile("aloha").drivers).is_plain
    assert not JointStateReader(load_profile("agibot_g1_real").drivers).is_plain

"""Robot profiles: shipped ones load, faulty ones are refused with file and key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from rlt_ros.robots.gripper import ChangeFilter, GripperProfile
from rlt_ros.robots.profile import RobotProfile, load_profile, profile_names
from rlt_ros.store.parameters import ConfigError, describe

G1 = "agibot_g1_geniesim"


def changed(into: Path, /, **changes: Any) -> Path:
    """The G1's profile with other values, as a file of one's own; None removes a key, a dict changes a section."""
    values = yaml.safe_load((Path(__file__).parents[2] / "config" / "robots" / f"{G1}.yaml").read_text())
    values["name"] = "mine"
    for key, value in changes.items():
        if value is None:
            del values[key]
        else:
            values[key] = {**values.get(key, {}), **value} if isinstance(value, dict) else value
    path = into / "mine.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.mark.parametrize("robot", [name for name in profile_names() if load_profile(name).simulation])
def test_a_simulated_robot_works_well_inside_its_workspace_and_limits(robot: str) -> None:
    profile = load_profile(robot)
    assert profile.simulation is not None
    arm, at_fixture = profile.kinematics(), np.array(profile.simulation.at_fixture)
    limits = profile.limits(arm)
    box, tip = limits.workspace, arm.forward(at_fixture)[:3, 3]
    assert box is not None
    assert (tip - box[:3] > 0.15).all()
    assert (box[3:] - tip > 0.15).all()
    assert np.minimum(at_fixture - limits.lower, limits.upper - at_fixture).min() > 0.2
    assert np.linalg.svd(arm.jacobian(at_fixture))[1].min() > 0.06


def test_every_shipped_profile_has_kinematics_and_limits() -> None:
    assert G1 in profile_names()
    for name in profile_names():
        assert load_profile(name).limits().dim == load_profile(name).dim


def test_limits_are_the_stricter_of_profile_and_urdf(tmp_path: Path) -> None:
    velocity = [9.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
    profile = load_profile(
        changed(tmp_path, safety={"velocity": velocity, "position_margin": 0.1, "step": 0.02})
    )
    arm = profile.kinematics()
    limits = profile.limits(arm)
    np.testing.assert_allclose(limits.velocity, [3.14, *velocity[1:]])
    np.testing.assert_allclose(limits.lower, arm.lower + 0.1)
    np.testing.assert_allclose(limits.upper, arm.upper - 0.1)
    np.testing.assert_allclose(limits.step, 0.02)
    assert limits.acceleration is None


def test_a_urdf_beside_the_profile_is_found(tmp_path: Path) -> None:
    (tmp_path / "own.urdf").write_bytes(load_profile(G1).urdf_path.read_bytes())
    profile = load_profile(changed(tmp_path, urdf="own.urdf"))
    assert profile.urdf_path == tmp_path / "own.urdf"
    assert profile.kinematics().joints == load_profile(G1).joints


def test_a_profile_that_extends_another_has_its_values_but_for_its_own(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("extends: ur5e\nname: mine\ncommand: {topic: a/b}\ncontrol_hz: 125\n")
    mine, base = load_profile(tmp_path / "mine.yaml"), load_profile("ur5e")
    assert (mine.control_hz, mine.command.topic) == (125, "a/b")
    assert (mine.command.type, mine.joints, mine.home) == (base.command.type, base.joints, base.home)
    (tmp_path / "other.yaml").write_text("extends: mine.yaml\nname: other\ncommand: {type: forward}\n")
    other = load_profile(tmp_path / "other.yaml")
    assert (other.command.type, other.command.topic, other.control_hz) == ("forward", "a/b", 125)


def test_a_gripper_receives_changes_and_both_ends_at_a_limited_rate() -> None:
    profile = GripperProfile("finger", open=0.0, closed=1.0, type="forward", topic="g", change=0.1, rate=10.0)
    changes = ChangeFilter(profile)
    commands = [
        (0.0, 0.5),
        (0.2, 0.5),
        (0.4, 0.55),
        (0.45, 0.9),
        (0.5, 0.9),
        (0.55, 1.0),
        (0.7, 1.0),
        (0.9, 1.0),
    ]
    assert [time for time, value in commands if changes.passes(value, time)] == [0.0, 0.45, 0.55]


def test_a_refused_gripper_command_is_sent_again_after_a_pause() -> None:
    changes = ChangeFilter(
        GripperProfile("finger", open=0.0, closed=1.0, type="forward", topic="g", rate=10.0)
    )
    assert changes.passes(1.0, 5.0)
    changes.failed(5.1)
    assert [now for now in (5.2, 5.9, 6.2, 6.4) if changes.passes(1.0, now)] == [6.2]


def test_every_key_is_explained() -> None:
    keys = list(describe(RobotProfile))
    assert {"joints", "safety.workspace", "command.topic", "cameras"} <= {key.name for key in keys}
    assert all(key.help for key in keys)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"joint": ["a"]}, ["`joint` is unknown", "did you mean `joints`"]),
        ({"joints": None}, ["`joints` is required"]),
        ({"joints": ["idx61_arm_r_joint1"] * 2}, ["`joints`", "once"]),
        ({"name": "another"}, ["`name` is another", "mine"]),
        ({"control_hz": 0}, ["`control_hz`", "1.0 to 1000.0 Hz"]),
        ({"control_hz": "fast"}, ["`control_hz`", "float"]),
        ({"cameras": {"head": {"topic": "a/b", "encoding": "yuv"}}}, ["cameras.head", "yuv", "rgba8"]),
        (
            {"cameras": {"head": {"topic": "genie_sim/left_camera_rgb"}}},
            ["cameras.head.topic", "cameras.hand_left.topic"],
        ),
        (
            {"cameras": {"head": {"topic": "/genie_sim/left_camera_rgb"}}},
            ["cameras.hand_left.topic", "same topic"],
        ),
        (
            {"cameras": {"head": {"topic": "/joint_states"}}},
            ["`joint_states`", "`cameras.head.topic`", "same topic"],
        ),
        ({"joint_states": "/joint_command"}, ["`joint_states`", "`command.topic`", "same topic"]),
        ({"gripper": {"type": "forward", "topic": "/joint_command"}}, ["gripper", "same topic"]),
        ({"cameras": {"head": {"topic": "~/color"}}}, ["cameras.head", "~/color", "in full"]),
        ({"joint_states": "joints//arm"}, ["`joint_states`", "joints//arm"]),
        ({"joint_states": "joints/"}, ["`joint_states`", "joints/"]),
        ({"joint_states": "joints\n"}, ["`joint_states`", "topic's name"]),
        ({"joint_states": "gelenkstellungäü"}, ["`joint_states`", "topic's name"]),
        ({"cameras": {"head": {"topic": "not a topic"}}}, ["cameras.head", "not a topic"]),
        ({"command": {"type": "telepathy"}}, ["command", "telepathy", "joint_state"]),
        ({"safety": {"velocity": [1.0, 2.0]}}, ["`safety.velocity` has 2 values", "7"]),
        ({"safety": {"velocity": -1}}, ["safety", "`velocity`", "rad/s"]),
        ({"safety": {"lead": float("nan")}}, ["lead", "finite"]),
        ({"safety": {"workspace": [0, 0, 0, 1, 1]}}, ["workspace", "xmin"]),
        ({"safety": {"workspace": [0, 0, 0, 1, -1, 1]}}, ["workspace", "above its least"]),
        ({"posture": {"idx61_arm_r_joint1": 0.1}}, ["`posture`", "idx61_arm_r_joint1"]),
        ({"home": [0.0]}, ["`home` has 1 values", "7"]),
        ({"gripper": {"joint": "idx61_arm_r_joint1"}}, ["`gripper.joint`", "belongs to `joints`"]),
        ({"gripper": {"joint": ""}}, ["gripper", "`joint` is empty"]),
        ({"gripper": {"closed": 0.78}}, ["gripper", "`open` and `closed` are both 0.78"]),
        ({"gripper": {"open": float("inf")}}, ["`gripper.open`", "finite"]),
        ({"gripper": {"speed": 0.0}}, ["gripper", "`speed`", "at least"]),
        ({"gripper": {"type": "magnet"}}, ["gripper", "magnet", "joint"]),
        ({"gripper": {"width": 0.1}}, ["`gripper.width` is unknown"]),
        ({"folder": "/"}, ["`folder`"]),
        ({"unit": "grad"}, ["`unit`", "rad, deg"]),
        ({"joint_order": ["idx61_arm_r_joint1"]}, ["`joint_order` lacks idx62_arm_r_joint2"]),
        ({"message_names": {"thumb": "1"}}, ["`message_names` has thumb"]),
        ({"message_names": {"idx61_arm_r_joint1": "idx62_arm_r_joint2"}}, ["`message_names`", "its own"]),
        ({"command": {"type": "forward"}}, ["`gripper.type` is joint", "forward", "topic or action"]),
        ({"command": {"order": ["idx61_arm_r_joint1"] * 2}}, ["`order`", "once"]),
        ({"gripper": {"type": "forward"}}, ["gripper", "`topic` is missing"]),
        ({"gripper": {"topic": "gripper"}}, ["gripper", "leave it out"]),
        ({"gripper": {"type": "forward", "topic": "no topic"}}, ["gripper", "no topic"]),
        (
            {"parts": {"right": {"joints": ["idx61_arm_r_joint1"], "joint_states": "a"}}},
            ["`parts`", "`joints`"],
        ),
        ({"simulation": {"at_fixture": [0.0]}}, ["`simulation.at_fixture` has 1 values", "7"]),
        ({"simulation": {"bench": [0.0]}}, ["simulation", "`bench` has 1 values"]),
        ({"simulation": {"cameras": {}}}, ["`simulation.cameras`", "hand_left"]),
        ({"extends": "r2d2"}, ["`extends` is r2d2", "agibot_g1_geniesim"]),
        ({"extends": "mine.yaml"}, ["`extends` is mine.yaml", "extends this profile"]),
    ],
)
def test_a_mistake_is_named_with_file_and_key(
    tmp_path: Path, changes: dict[str, Any], words: list[str]
) -> None:
    values = {key: value for key, value in changes.items() if key != "joint"}
    path = changed(tmp_path, **values)
    if "joint" in changes:
        path.write_text(path.read_text() + "joint: [a]\n")
    with pytest.raises(ConfigError) as error:
        load_profile(path)
    assert str(path) in str(error.value)
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"urdf": "robots/urdf/nobody.urdf"}, ["nobody.urdf", "`urdf`"]),
        ({"joints": ["elbow"], "posture": None, "simulation": None}, ["elbow", "idx61_arm_r_joint1"]),
        ({"tip_frame": "fingertip"}, ["fingertip"]),
        ({"safety": {"position_margin": 5.0}}, ["lower < upper", "safety"]),
    ],
)
def test_a_value_that_contradicts_the_urdf_is_named(
    tmp_path: Path, changes: dict[str, Any], words: list[str]
) -> None:
    profile = load_profile(changed(tmp_path, **changes))
    with pytest.raises(ConfigError) as error:
        profile.limits()
    assert all(word in str(error.value) for word in ["mine", *words]), error.value


def test_a_gripper_goes_from_open_to_closed_in_the_robots_own_unit() -> None:
    gripper = load_profile(G1).gripper
    assert gripper is not None
    assert (gripper.value(0.0), gripper.value(1.0)) == (gripper.open, gripper.closed) == (0.78, 0.0)
    for share in (0.0, 0.25, 1.0):
        assert gripper.share(gripper.value(share)) == pytest.approx(share)
    assert (gripper.share(0.9), gripper.share(-0.1)) == (0.0, 1.0)  # measured a little beyond its ends


def test_a_robot_need_not_have_a_gripper(tmp_path: Path) -> None:
    assert load_profile(changed(tmp_path, gripper=None)).gripper is None


def test_an_unknown_robot_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=G1):
        load_profile("r2d2")

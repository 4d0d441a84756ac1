"""`rlt-ros robot`: list, check, fk and new."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from rlt_ros.cli.main import main
from rlt_ros.cli.output import EXIT_ERROR
from rlt_ros.robots.kinematics import MIN_DEXTERITY
from rlt_ros.robots.profile import load_profile, profile_names

ROOT = Path(__file__).resolve().parents[2]
UR5E_URDF = ROOT / "rlt_ros" / "robots" / "urdf" / "ur5e.urdf"


def robot_json(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> dict[str, Any]:
    assert main(["robot", *argv, "--json"]) == code
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert isinstance(result, dict)
    return result


def test_list_has_every_shipped_profile(capsys: pytest.CaptureFixture[str]) -> None:
    listed = robot_json(capsys, "list")["profiles"]
    assert [one["name"] for one in listed] == profile_names()
    assert {
        "agibot_g1_geniesim",
        "agibot_g1_real",
        "franka_fr3",
        "ur5e",
        "xarm7",
        "kinova_gen3",
        "viperx_300s",
    } <= {one["name"] for one in listed}


@pytest.mark.parametrize("robot", profile_names())
def test_every_shipped_profile_is_found_usable(robot: str, capsys: pytest.CaptureFixture[str]) -> None:
    result = robot_json(capsys, "check", robot)
    assert [one for one in result["findings"] if one["verdict"] == "error"] == []
    assert result["usable"]


def test_fk_prints_position_and_orientation_in_the_base_frame(capsys: pytest.CaptureFixture[str]) -> None:
    pose = robot_json(
        capsys, "fk", "ur5e", "--joints", "shoulder_pan_joint=1.5707963267948966", "--link", "tool0"
    )
    assert (pose["frame"], pose["link"]) == ("base_link", "tool0")
    # Stretched out along y: a quarter turn of the zero posture along x.
    np.testing.assert_allclose(pose["position"], [-0.2329, 0.8172, 0.0628], atol=1e-4)
    x, y, z, w = pose["orientation"]
    assert x * x + y * y + z * z + w * w == pytest.approx(1.0)


def test_fk_of_the_working_posture_is_that_of_the_kinematics(capsys: pytest.CaptureFixture[str]) -> None:
    profile = load_profile("franka_fr3")
    pose = robot_json(capsys, "fk", "franka_fr3", "--working")
    expected = profile.kinematics().forward(np.array(profile.home))[:3, 3]
    np.testing.assert_allclose(pose["position"], expected, atol=1e-9)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["fk"], "needs a profile"),
        (["check"], "needs a profile"),
        (["fk", "ur5e", "--link", "thumb"], "no link named thumb; the URDF has base_link"),
        (["fk", "ur5e", "--joints", "knee=1"], "no joint named knee; there are shoulder_pan_joint"),
        (["fk", "ur5e", "--joints", "elbow_joint"], "NAME=VALUE"),
        (["fk", "ur5e", "--joints", "elbow_joint=far"], "NAME=VALUE"),
        (["fk", "ur5e", "--joints", "elbow_joint=nan"], "elbow_joint must be a finite number"),
        (["fk", "r2d2"], "robot `r2d2` is unknown"),
        (["new", "mine", "--urdf", str(UR5E_URDF)], "not a YAML file"),
        (["new", "mine.yaml"], "--urdf FILE"),
        (["new", "mine.yaml", "--urdf", str(UR5E_URDF)], "name the tip with --tip, e.g. one of"),
        (["new", "mine.yaml", "--urdf", "arm.urdf.xacro"], "xacro"),
    ],
)
def test_an_error_is_one_line(
    argv: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["robot", *argv]) == EXIT_ERROR
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert words in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_a_new_profile_is_commented_and_usable_and_never_overwrites(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "arm.urdf").write_bytes(UR5E_URDF.read_bytes())
    file = tmp_path / "mine.yaml"
    argv = ["new", str(file), "--urdf", str(tmp_path / "arm.urdf"), "--tip", "tool0"]
    assert robot_json(capsys, *argv)["written"] == str(file)
    text = file.read_text()
    assert text.count("(!)") >= 5
    assert yaml.safe_load(text)["urdf"] == "arm.urdf"
    assert load_profile(file).joints == load_profile("ur5e").joints
    assert robot_json(capsys, "check", str(file))["usable"]
    assert main(["robot", *argv]) == EXIT_ERROR
    assert "exists already" in capsys.readouterr().err
    assert file.read_text() == text


def altered(into: Path, **changes: tuple[str, str]) -> Path:
    """UR5e with its URDF or profile changed by a regular expression."""
    urdf, profile = UR5E_URDF.read_text(), (ROOT / "config" / "robots" / "ur5e.yaml").read_text()
    profile = profile.replace("name: ur5e", "name: mine").replace("robots/urdf/ur5e.urdf", "mine.urdf")
    if "urdf" in changes:
        urdf = re.sub(*changes["urdf"], urdf, count=1)
    if "profile" in changes:
        profile = re.sub(*changes["profile"], profile, count=1)
    (into / "mine.urdf").write_text(urdf)
    (into / "mine.yaml").write_text(profile)
    return into / "mine.yaml"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"urdf": ('lower="-3.14159[^"]*" upper="3.14159[^"]*"', 'lower="3.1" upper="-3.1"')}, "swapped"),
        ({"urdf": ('lower="-3.14159[^"]*" upper="3.14159[^"]*"', 'lower="-180" upper="180"')}, "degrees"),
        ({"urdf": ('velocity="3.14159[^"]*"', 'velocity="180"')}, "180 rad/s; this looks like degrees"),
        ({"urdf": ("</robot>", "")}, "cannot be read as a URDF"),
        ({"urdf": ("(?s).*", "<html></html>")}, "root element is `html`"),
        ({"urdf": ('child link="forearm_link"', 'child link="missing"')}, "an incomplete URDF"),
        ({"profile": ("  - elbow_joint\n", "")}, "`home` has 6 values"),
        ({"profile": ("- elbow_joint", "- knee_joint")}, "no joint named ['knee_joint']"),
        (
            {"profile": ("base_frame: base_link", "base_frame: world")},
            "world is not the root of the URDF, base_link",
        ),
        (
            {"profile": ("home: .*", "home: [-15.5, -88, 108.5, -110.5, -90, -105.5]")},
            "these look like degrees",
        ),
        ({"profile": ("home: .*", "home: [0, -1.5, 0, 0, 0, 0]")}, "outside `safety.workspace`"),
        ({"profile": ("velocity: 1.0", "velocity: 1.0\n  step: -1")}, "`step`"),
        (
            {"profile": ("type: joint_trajectory", "type: telepathy")},
            "allowed: joint_state, joint_trajectory",
        ),
        (
            {"profile": ("type: joint_trajectory", "type: forward\n  order: [elbow_joint]")},
            "`command.order` lacks",
        ),
        ({"profile": ("control_hz: 50", "control_hz: 50\nposture: {tail: 1}")}, "tail"),
        (
            {"profile": ("continuous_joints: .*", "continuous_joints: [elbow_joint]")},
            "limits to -3.142 … 3.142",
        ),
        (
            {"profile": ("continuous_joints: .*", "continuous_joints: [knee]")},
            "`continuous_joints` names knee",
        ),
        ({"profile": ("image_raw}", "image_raw/compressedDepth, encoding: compressed}")}, "a depth topic"),
    ],
)
def test_check_finds_a_fault(
    changes: dict[str, tuple[str, str]], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    result = robot_json(capsys, "check", str(altered(tmp_path, **changes)), code=EXIT_ERROR)
    errors = [one["text"] for one in result["findings"] if one["verdict"] == "error"]
    assert not result["usable"]
    assert any(words in text for text in errors), result["findings"]


def test_check_names_the_encodings_of_the_cameras_and_doubts_a_compressed_topic_that_is_read_raw(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def cameras(topic: str) -> dict[str, tuple[str, str]]:
        result = robot_json(
            capsys, "check", str(altered(tmp_path, profile=("camera/color/image_raw}", topic)))
        )
        found = (one for one in result["findings"] if one["what"].startswith("cameras"))
        return {one["what"]: (one["verdict"], one["text"]) for one in found}

    right = cameras("a/compressed, encoding: compressed}")
    assert right == {
        "cameras": ("ok", "head on a/compressed (compressed), hand on hand_camera/color/image_raw (rgb8)")
    }
    verdict, text = cameras("a/compressed}")["cameras.head"]
    assert (verdict, "set `encoding: compressed`" in text) == ("warning", True)


def test_joints_that_turn_without_end_are_one_angle_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    endless = ('(name="wrist_3_joint" type=)"revolute"', r'\1"continuous"')
    file = altered(tmp_path, urdf=endless)
    arm, bounded = load_profile(file).kinematics(), load_profile("ur5e").kinematics()
    q = np.array([0.1, -1.0, 1.2, -0.4, 0.3, 7.0])
    np.testing.assert_allclose(arm.forward(q), bounded.forward(q), atol=1e-9)
    assert arm.upper[-1] > 100
    assert robot_json(capsys, "check", str(file))["usable"]
    values = yaml.safe_load((tmp_path / "mine.yaml").read_text())
    del values["continuous_joints"]
    file.write_text(yaml.safe_dump(values))
    assert load_profile(file).continuous.tolist() == [False] * 5 + [True]


def test_check_doubts_a_joint_that_turns_more_than_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def findings(change: str) -> list[tuple[str, str]]:
        file = altered(tmp_path, profile=("continuous_joints: .*", change))
        found = robot_json(capsys, "check", str(file))["findings"]
        return [(one["verdict"], one["text"]) for one in found if one["what"] == "continuous_joints"]

    assert findings("continuous_joints: []") == []
    assert findings("continuous_joints: [wrist_3_joint]") == [
        ("ok", "wrist_3_joint: unwrapped when read, compared modulo a turn")
    ]
    ((verdict, text),) = findings("")
    assert verdict == "warning"
    assert text.startswith(
        "shoulder_pan_joint, shoulder_lift_joint, wrist_1_joint, wrist_2_joint, wrist_3_joint can"
    )


def test_a_new_profile_names_the_joints_that_turn_without_end(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    altered(tmp_path, urdf=('(name="wrist_3_joint" type=)"revolute"', r'\1"continuous"'))
    file = tmp_path / "new.yaml"
    robot_json(capsys, "new", str(file), "--urdf", str(tmp_path / "mine.urdf"), "--tip", "tool0")
    assert load_profile(file).continuous_joints == ("wrist_3_joint",)


def test_a_new_profile_marks_the_joints_of_a_gripper(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    urdf = ROOT / "rlt_ros" / "robots" / "urdf" / "viperx_300s.urdf"
    file = tmp_path / "new.yaml"
    robot_json(capsys, "new", str(file), "--urdf", str(urdf), "--tip", "vx300s/left_finger_link")
    marked = [line for line in file.read_text().splitlines() if "looks like a gripper" in line]
    assert [line.split()[1] for line in marked] == ["left_finger"]


@pytest.mark.parametrize("robot", ["ur5e", "kinova_gen3", "so101"])
def test_the_home_of_a_new_profile_is_no_singularity(
    robot: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    profile = load_profile(robot)
    file = tmp_path / "new.yaml"
    robot_json(
        capsys, "new", str(file), "--urdf", str(profile.urdf_path), "--tip", profile.tip_frame,
        "--arm", ",".join(profile.joints),
    )  # fmt: skip
    made = load_profile(file)
    assert made.kinematics().dexterity(np.array(made.home)) > 2 * MIN_DEXTERITY


def test_a_home_at_a_singularity_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    straight = "home: [0.0, -1.57, 0.0, -1.57, 0.0, 0.0]"
    profile = altered(tmp_path, profile=(r"home: \[[^\]]*\]", straight))
    main(["robot", "check", str(profile), "--json"])
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert any(one["what"] == "home" and "singularity" in one["text"] for one in findings)
    main(["robot", "check", "ur5e", "--json"])
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert [one["verdict"] for one in findings if one["what"] == "home"] == ["ok"]

"""States from recordings: equal to the live ones, and states of third-party robots."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bags import START, write_bag
from tiny_vla import CAMERAS, SIDE, TASK, write_tiny_vla

from rlt_ros.bags.errors import BagError
from rlt_ros.middleware.arrays import pack
from rlt_ros.middleware.messages import JointState, message_type
from rlt_ros.perception.pictures import encode
from rlt_ros.replay.ring import Replay, ReplayFormat
from rlt_ros.rlt.config import RLTConfig
from rlt_ros.rlt.transition import RowOutcome, Window
from rlt_ros.robots.profile import RobotProfile, load_profile
from rlt_ros.ros.bag_import import BagImport, ImportSettings
from rlt_ros.ros.cameras import write_camera
from rlt_ros.ros.conversions import to_duration, to_header, to_ns
from rlt_ros.ros.settings import BagConfig, Setup

RLT = RLTConfig(chunk=4, stride=2, replay_capacity=1000, z_storage="float32")
XARM = """\
name: other
extends: xarm7
urdf: robots/urdf/xarm7.urdf
cameras:
  hand_left: {topic: left/image}
  hand_right: {topic: right/image, encoding: bgr8}
simulation:
"""
MS = 1_000_000


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    write_tiny_vla(folder)
    return folder


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A profile of an arm with a JointTrajectoryController."""
    path = tmp_path / "other.yaml"
    path.write_text(XARM)
    return path


def joints_at(ms: int) -> np.ndarray:
    return 0.1 * np.sin(0.002 * ms + np.arange(7))


def robot_alone(
    profile: RobotProfile, *, seconds: float = 2.0, velocities: bool = True
) -> Iterator[tuple[str, int, Any]]:
    """Pictures at 25 Hz, joint states at 100 Hz, commands at 50 Hz: where the arm will be 20 ms later."""
    rng = np.random.default_rng(0)
    part = profile.drivers[0]
    for ms in range(0, round(1000 * seconds), 10):
        header = to_header(START + ms * MS)
        if ms % 40 == 0:
            for camera in profile.cameras.values():
                pixels = rng.integers(0, 256, (2 * SIDE, SIDE, 3), dtype=np.uint8)
                yield f"/{camera.topic}", ms * MS, write_camera(pixels, camera, header)
        names = list(part.joints)
        state = JointState(header=header, name=names, position=pack(joints_at(ms)))
        if velocities:
            state.velocity = pack(np.zeros(7))
        yield f"/{part.joint_states}", ms * MS, state
        if ms % 20 == 0:
            yield f"/{part.command.topic}", ms * MS + 1, command(profile, joints_at(ms + 20))


def command(profile: RobotProfile, target: np.ndarray) -> Any:
    part = profile.drivers[0]
    if part.command.type == "joint_state":
        return JointState(name=list(part.joints), position=pack(target))
    point = message_type("trajectory_msgs/msg/JointTrajectoryPoint")
    points = [point(positions=pack(target), time_from_start=to_duration(20 * MS))]
    return message_type("trajectory_msgs/msg/JointTrajectory")(joint_names=list(part.joints), points=points)


def imported(out: Path, bag: Path, robot: str, weights: Path, **options: Any) -> dict[str, Any]:
    config = BagConfig(bags=(str(bag),), out=str(out), **options)
    made = BagImport(ImportSettings(Setup(robot=robot, task=TASK, vla=str(weights)), config, rlt=RLT))
    try:
        for _ in made.run():
            pass
        return made.report()
    finally:
        made.close()


def take(
    out: Path, bag: Path, robot: str, weights: Path, **options: Any
) -> tuple[dict[str, Any], list[Window]]:
    report = imported(out, bag, robot, weights, **options)
    found = ReplayFormat.read(out / "replay.rlt")
    replay = Replay.attach(out / "replay.rlt", found.shapes, lineage=found.lineage)
    windows = [replay.window(i) for i in range(len(replay))]
    replay.close()
    return report, windows


@pytest.mark.parametrize("kind", ["joint_state", "joint_trajectory"])
def test_a_robot_alone_becomes_an_episode(tmp_path: Path, weights: Path, other: Path, kind: str) -> None:
    robot = "agibot_g1_geniesim" if kind == "joint_state" else str(other)
    profile = load_profile(robot)
    assert profile.drivers[0].command.type == kind and set(CAMERAS) <= set(profile.cameras)
    bag = write_bag(tmp_path / "bag", robot_alone(profile))
    report, found = take(tmp_path / "out", bag, robot, weights, outcome="success")
    assert (report["episodes"], report["successes"], report["skipped"]) == (1, 1, {})
    assert [row.step for row in found] == list(range(0, 100, 2))
    assert found[-1].outcome is RowOutcome.SUCCESS and all(row.human[: row.valid].all() for row in found)
    scale = np.linspace(0.01, 0.04, 7)
    for row in found[:10]:
        # ms of the observation before the step.
        seen = 40 * (20 * row.step // 40)
        np.testing.assert_allclose(row.proprio[:7], joints_at(seen), atol=1e-6)
        np.testing.assert_allclose(
            row.action[1] * scale + joints_at(seen), joints_at(20 * row.step + 40), atol=1e-5
        )


def test_pictures_may_be_files_and_velocities_left_out(tmp_path: Path, weights: Path, other: Path) -> None:
    other.write_text(
        XARM.replace("topic: left/image", "topic: left/image/compressed, encoding: compressed").replace(
            "bgr8", "compressed"
        )
    )
    profile = load_profile(other)
    bag = write_bag(tmp_path / "bag", robot_alone(profile, velocities=False))
    report, found = take(tmp_path / "out", bag, str(other), weights, outcome="success")
    assert (report["episodes"], report["successes"]) == (1, 1)
    # The first picture comes with the first joint state, whose velocity is unknown: the second begins the rows.
    assert [row.step for row in found] == list(range(2, 100, 2))
    assert {kind: one["count"] for kind, one in report["skipped"].items()} == {"incomplete observation": 1}
    assert found[-1].outcome is RowOutcome.SUCCESS
    for row in found:
        # ms of the observation before the step.
        seen = 40 * (20 * row.step // 40)
        np.testing.assert_allclose(row.proprio[:7], joints_at(seen), atol=1e-6)
        np.testing.assert_allclose(
            row.proprio[7:], (joints_at(seen) - joints_at(seen - 20)) / 0.02, atol=1e-6
        )


def test_a_camera_that_was_recorded_otherwise_is_told_with_the_key(tmp_path: Path, weights: Path) -> None:
    profile = load_profile("agibot_g1_geniesim")
    path = tmp_path / "g1.yaml"
    path.write_text(
        "name: g1\nextends: agibot_g1_geniesim\n"
        "cameras: {head: {topic: genie_sim/head_camera_rgb, encoding: compressed}}\n"
    )
    bag = write_bag(tmp_path / "bag", robot_alone(profile, seconds=0.2))
    with pytest.raises(
        BagError, match="expected sensor_msgs/msg/CompressedImage; set `encoding` of the camera"
    ):
        take(tmp_path / "out", bag, str(path), weights)


def test_labels_say_episodes_and_outcomes(tmp_path: Path, weights: Path) -> None:
    robot = "agibot_g1_geniesim"
    bag = write_bag(tmp_path / "bag", robot_alone(load_profile(robot), seconds=3.0))
    labels = tmp_path / "labels.yaml"
    labels.write_text("- {start: 0.2, end: 1.0, critical: 0.4, outcome: success}\n- {start: 1.5, end: 2.5}\n")
    report, found = take(tmp_path / "out", bag, robot, weights, labels=str(labels), acted_by="vla")
    assert (report["episodes"], report["successes"], report["skipped"]) == (2, 1, {})
    assert [row.step for row in found if row.episode == 1] == list(range(10, 40, 2))
    ends = [row.outcome for row in found if row.outcome is not RowOutcome.NONE]
    assert ends == [RowOutcome.SUCCESS, RowOutcome.TRUNCATED]
    assert not any(row.human.any() for row in found)


def test_a_bag_without_commands_is_told_what_it_lacks(tmp_path: Path, weights: Path) -> None:
    robot = "agibot_g1_geniesim"
    messages = [one for one in robot_alone(load_profile(robot), seconds=0.2) if one[0] != "/joint_command"]
    with pytest.raises(BagError, match=r"/joint_command \(sensor_msgs/msg/JointState\) is not in it"):
        take(tmp_path / "out", write_bag(tmp_path / "bag", messages), robot, weights)
    assert not (tmp_path / "out").exists()


# -- what drivers of others do ----------------------------------------------------------------------------------------


def joints_apart(messages: Iterator[tuple[str, int, Any]]) -> Iterator[tuple[str, int, Any]]:
    """Joint states in three messages each, of which one has no joint of the arm."""
    for topic, when, message in messages:
        if not isinstance(message, JointState) or not message.velocity:
            yield topic, when, message
            continue
        for part in (slice(4, None), slice(0, 4)):
            yield (
                topic,
                when,
                JointState(
                    header=message.header,
                    name=message.name[part],
                    position=message.position[part],
                    velocity=message.velocity[part],
                ),
            )
        yield topic, when, JointState(header=message.header, name=["finger"], position=[0.1])


def without_stamps(messages: Iterator[tuple[str, int, Any]]) -> Iterator[tuple[str, int, Any]]:
    for topic, when, message in messages:
        if hasattr(message, "header"):
            message.header = to_header(0)
        yield topic, when, message


@pytest.mark.parametrize("change", [joints_apart, without_stamps])
def test_joints_in_parts_and_missing_stamps_make_the_same_rows(
    tmp_path: Path, weights: Path, other: Path, change: Any
) -> None:
    profile = load_profile(other)
    _, expected = take(
        tmp_path / "whole",
        write_bag(tmp_path / "a", robot_alone(profile)),
        str(other),
        weights,
        outcome="success",
    )
    bag = write_bag(tmp_path / "b", change(robot_alone(profile)))
    report, found = take(tmp_path / "changed", bag, str(other), weights, outcome="success")
    assert report["skipped"] == {} and len(found) == len(expected) == 50
    for one, same in zip(found, expected, strict=True):
        assert (one.step, one.outcome) == (same.step, same.outcome)
        np.testing.assert_array_equal(one.proprio, same.proprio)
        np.testing.assert_array_equal(one.action, same.action)
        np.testing.assert_array_equal(one.z, same.z)
    empty = {topic: one["without_stamp"] for topic, one in report["stamps"][str(bag)].items()}
    stampless = change is without_stamps
    assert empty["/joint_states"] == 200 * stampless and empty["/left/image"] == 50 * stampless
    topics = (1 + len(profile.cameras)) * stampless
    assert [("have no stamp" in text) for text in report["warnings"]] == [True] * topics


def test_a_driver_that_leaves_out_some_stamps_stays_on_its_own_clock(
    tmp_path: Path, weights: Path, other: Path
) -> None:
    def some(messages: Iterator[tuple[str, int, Any]]) -> Iterator[tuple[str, int, Any]]:
        for number, (topic, when, message) in enumerate(messages):
            if hasattr(message, "header") and to_ns(message.header.stamp):
                ahead = to_ns(message.header.stamp) + 100 * 10**9
                message.header = to_header(
                    0 if isinstance(message, JointState) and number % 7 == 6 else ahead
                )
            yield topic, when, message

    bag = write_bag(tmp_path / "bag", some(robot_alone(load_profile(other))))
    report, found = take(tmp_path / "out", bag, str(other), weights, outcome="success")
    assert report["skipped"] == {} and (report["episodes"], len(found)) == (1, 50)
    assert report["stamps"][str(bag)]["/joint_states"]["median_stamp_minus_recording"] == pytest.approx(100)


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "rgba8", "bgra8", "mono8"])
def test_pictures_are_read_in_the_encoding_they_were_recorded_in(
    tmp_path: Path, weights: Path, other: Path, encoding: str
) -> None:
    def grey(messages: Iterator[tuple[str, int, Any]], encoding: str, padding: int) -> Iterator[Any]:
        """The same grey images in any encoding and with padded rows."""
        for topic, when, message in messages:
            if hasattr(message, "encoding"):
                height, width = message.height, message.width
                seed = to_ns(message.header.stamp) % 2**32
                rows = np.random.default_rng(seed).integers(0, 256, (height, width, 1), dtype=np.uint8)
                rgb = np.repeat(rows, 3, axis=2)
                pixels = encode(rgb, encoding).reshape(height, -1)
                pixels = np.pad(pixels, ((0, 0), (0, padding)), constant_values=77)
                message = type(message)(
                    header=message.header,
                    height=height,
                    width=width,
                    encoding=encoding,
                    step=pixels.shape[1],
                    data=pack(pixels),
                )
            yield topic, when, message

    profile = load_profile(other)
    made = []
    for name, padding in ((encoding, 5), ("rgb8", 0)):
        bag = write_bag(tmp_path / f"{name}{padding}", grey(robot_alone(profile, seconds=0.4), name, padding))
        made.append(take(tmp_path / f"out{padding}", bag, str(other), weights, outcome="success"))
    (report, found), (_, expected) = made
    assert report["skipped"] == {} and len(found) == len(expected) > 0
    for one, same in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.z, same.z)
    named = sorted(text.split(": ")[1].split(" ")[0] for text in report["warnings"])
    cameras = profile.cameras.values()
    assert named == sorted(f"/{camera.topic}" for camera in cameras if camera.encoding != encoding)


def test_depth_is_not_read_as_colour(tmp_path: Path, weights: Path, other: Path) -> None:
    def depth(messages: Iterator[tuple[str, int, Any]]) -> Iterator[tuple[str, int, Any]]:
        for topic, when, message in messages:
            if hasattr(message, "encoding"):
                message.encoding = "16UC1"
            yield topic, when, message

    bag = write_bag(tmp_path / "bag", depth(robot_alone(load_profile(other), seconds=0.4)))
    report = imported(tmp_path / "out", bag, str(other), weights)
    assert report["rows"] == 0
    assert "encoding is `16UC1`; it must be one of" in report["skipped"]["unusable Image"]["example"]


@pytest.mark.parametrize("apart", [-0.35, -0.14, 0.35])
def test_clocks_of_two_computers_apart_are_reported_with_medians(
    tmp_path: Path, weights: Path, other: Path, apart: float
) -> None:
    def shifted(messages: Iterator[tuple[str, int, Any]]) -> Iterator[tuple[str, int, Any]]:
        for topic, when, message in messages:
            if hasattr(message, "encoding"):
                message.header = to_header(to_ns(message.header.stamp) + round(apart * 1e9))
            yield topic, when, message

    bag = write_bag(tmp_path / "bag", shifted(robot_alone(load_profile(other))))
    report = imported(tmp_path / "out", bag, str(other), weights, outcome="success")
    medians = {
        topic: one["median_stamp_minus_recording"] for topic, one in report["stamps"][str(bag)].items()
    }
    assert medians["/left/image"] == pytest.approx(apart) and medians["/joint_states"] == pytest.approx(0)
    (warning,) = report["warnings"]
    assert f"{abs(apart):.3f} s behind those of" in warning and "synchronise the clocks" in warning


def test_joints_that_no_message_has_are_named(tmp_path: Path, weights: Path, other: Path) -> None:
    def renamed(messages: Iterator[tuple[str, int, Any]]) -> Iterator[tuple[str, int, Any]]:
        for topic, when, message in messages:
            if isinstance(message, JointState):
                message.name = [name.replace("joint7", "wrist") for name in message.name]
            yield topic, when, message

    bag = write_bag(tmp_path / "bag", renamed(robot_alone(load_profile(other), seconds=0.4)))
    report = imported(tmp_path / "out", bag, str(other), weights)
    assert report["rows"] == 0
    assert report["skipped"]["incomplete joint states"]["example"] == (
        "/joint_states: none has joint7; check names in the profile"
    )

"""Cameras that send JPEG, over real topics: the simulator's, perception, the recorder, and the bag read again."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from rlt_ros.bags.bag_files import Bag
from rlt_ros.bags.stamps import Stamps
from rlt_ros.cli.main import main
from rlt_ros.middleware.messages import (
    CompressedImage,
    DiagnosticArray,
    EpisodeEvent,
    EpisodeState,
    JointState,
    Observation,
)
from rlt_ros.nodes.record_node import _recorded_topics
from rlt_ros.perception.synchroniser import SyncConfig
from rlt_ros.robots.profile import load_profile
from rlt_ros.ros import qos
from rlt_ros.ros.bag_messages import ReadMode, RecordedSensors
from rlt_ros.ros.conversions import read_observation, to_header
from rlt_ros.ros.settings import RecordConfig

MS = 1_000_000
SIZE = (32, 40)
G1 = """\
name: g1
extends: agibot_g1_geniesim
cameras:
  head: {topic: head/compressed, encoding: compressed}
  hand_left: {topic: left/compressed, encoding: compressed}
  hand_right: {topic: right/image, encoding: bgr8}
"""


@pytest.fixture
def profile_file(tmp_path: Path) -> Path:
    path = tmp_path / "g1.yaml"
    path.write_text(G1)
    return path


def file_of(pixels: np.ndarray, kind: str) -> bytes:
    file = io.BytesIO()
    Picture.fromarray(pixels).save(file, kind)
    return file.getvalue()


def test_perception_decodes_to_the_size_wanted_and_counts_what_it_cannot(
    graph: Any, start_node: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "g1.yaml"
    path.write_text(G1.replace("right/image, encoding: bgr8", "right/compressed, encoding: compressed"))
    profile, node = load_profile(path), graph.node("robot")
    observations: list[Any] = []
    counts: dict[str, int] = {}

    def note(message: Any) -> None:
        for status in message.status:
            if status.name == "/perception_node: input":
                counts.update({value.key: int(value.value) for value in status.values})

    node.create_subscription(Observation, "rlt/observation", observations.append, qos.OBSERVATION)
    node.create_subscription(DiagnosticArray, "/diagnostics", note, qos.DIAGNOSTICS)
    joints = node.create_publisher(JointState, profile.joint_states, qos.SENSOR_RELIABLE)
    cameras = {
        name: node.create_publisher(CompressedImage, camera.topic, qos.SENSOR_RELIABLE)
        for name, camera in profile.cameras.items()
    }
    start_node("perception_node", robot=str(path), use_sim_time=True, image_size=list(SIZE))
    everybody = (joints, *cameras.values())
    graph.until(lambda: all(one.get_subscription_count() for one in everybody), what="the node listens")
    graph.until(lambda: node.count_publishers("rlt/observation"), what="the node speaks")
    orange = np.full((48, 64, 3), (250, 120, 10), np.uint8)
    good = {
        "head": ("rgb8; jpeg compressed bgr8", file_of(orange, "JPEG")),
        "hand_left": ("png", file_of(orange, "PNG")),
        "hand_right": ("jpeg", file_of(orange[:, :, 0], "JPEG")),
    }
    bad = {
        "head": ("jpeg", good["head"][1][:300]),
        "hand_left": ("16UC1; compressedDepth png", bytes(12) + good["hand_left"][1]),
        "hand_right": ("h264", b""),
    }
    for stamp, sent in ((20 * MS, bad), (40 * MS, good)):
        for name, (form, data) in sent.items():
            cameras[name].publish(CompressedImage(header=to_header(stamp), format=form, data=data))
        zeros = [0.0] * profile.dim
        joints.publish(
            JointState(header=to_header(stamp), name=list(profile.joints), position=zeros, velocity=zeros)
        )
    graph.until(lambda: observations, what="the good pictures")
    seen = read_observation(observations[0], profile.dim)
    assert seen.stamp == 40 * MS
    assert {picture.shape for picture in seen.images.values()} == {(*SIZE, 3)}
    for name, colour in (("head", [250, 120, 10]), ("hand_left", [250, 120, 10]), ("hand_right", [250] * 3)):
        assert np.abs(seen.images[name].astype(int) - colour).max() <= 4, name
    graph.until(lambda: counts, what="the diagnostics")
    assert counts == {f"unusable picture of {name}": 1 for name in profile.cameras}


def test_the_recorder_takes_each_camera_by_its_type(profile_file: Path) -> None:
    wanted = {
        topic: kind.__name__
        for kind, topic, _ in _recorded_topics(load_profile(profile_file), RecordConfig())
    }
    cameras = {topic: wanted[topic] for topic in ("/head/compressed", "/left/compressed", "/right/image")}
    assert cameras == {
        "/head/compressed": "CompressedImage",
        "/left/compressed": "CompressedImage",
        "/right/image": "Image",
    }


def test_what_was_seen_live_is_what_is_read_from_the_bag(
    graph: Any,
    start_node: Callable[..., Any],
    profile_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    profile, node, robot = load_profile(profile_file), graph.node("others"), str(profile_file)
    joints: list[Any] = []
    events: list[Any] = []
    observations: list[Any] = []
    node.create_subscription(JointState, profile.joint_states, joints.append, qos.SENSOR_RELIABLE)
    node.create_subscription(EpisodeEvent, "rlt/episode_event", events.append, qos.EPISODE_EVENT)
    node.create_subscription(Observation, "rlt/observation", observations.append, qos.OBSERVATION)
    states = node.create_publisher(EpisodeState, "rlt/episode_state", qos.EPISODE_STATE)
    command = node.create_publisher(JointState, profile.command.topic, qos.COMMAND)
    start_node("perception_node", robot=robot, use_sim_time=True, image_size=list(SIZE))
    recorder = start_node("record_node", robot=robot, out=str(tmp_path))
    start_node("sim_node", robot=robot, command_timeout=1000.0, spare_pictures=False)
    others = {"head/compressed": 2, "right/image": 2, "rlt/observation": 2, profile.joint_states: 3}
    graph.until(
        lambda: all(node.count_subscribers(topic) == count for topic, count in others.items()),
        what="perception and the recorder listen",
    )
    graph.until(lambda: node.count_publishers("right/image") and command.get_subscription_count() == 2)
    for phase in (EpisodeState.PHASE_RESETTING, EpisodeState.PHASE_APPROACH):
        states.publish(EpisodeState(header=to_header(0), episode=1, phase=phase, seed=3))
        graph.until(lambda: events, what="the reset is done")
    graph.until(lambda: joints, what="the first joint state")
    place = [list(joints[0].name).index(joint) for joint in profile.joints]
    home = [joints[0].position[index] for index in place]
    for _ in range(8):
        newest = joints[-1]
        command.publish(JointState(header=newest.header, name=list(profile.joints), position=home))
        graph.until(lambda newest=newest: joints[-1] is not newest, what="the next joint state")
    graph.until(lambda: len(observations) >= 4, what="observations")
    assert recorder.end() == 0

    dropped: list[tuple[str, str]] = []
    sensors = RecordedSensors(profile, "", SIZE, SyncConfig(), Stamps(), lambda *why: dropped.append(why))
    bag = Bag(tmp_path / "bag", work=tmp_path)
    assert bag.topics["/head/compressed"].type == "sensor_msgs/msg/CompressedImage"
    read = {one.stamp: one for recorded in bag.messages(sensors.topics) for one in sensors.take(recorded)}
    live = [read_observation(message, profile.dim) for message in observations]
    assert dropped == []
    for seen in live:
        again = read[seen.stamp]
        np.testing.assert_array_equal(again.proprio, seen.proprio)
        for name, picture in seen.images.items():
            assert picture.std() > 5  # something is to be seen
            np.testing.assert_array_equal(again.images[name], picture)

    for name, lacks in (
        (robot, []),
        ("agibot_g1_geniesim", ["/genie_sim/head_camera_rgb (sensor_msgs/msg/Image) is not in it"]),
    ):
        assert main(["bag", "inspect", str(tmp_path / "bag"), "--robot", name, "--json"]) == 0
        (found,) = json.loads(capsys.readouterr().out.splitlines()[-1])["bags"]
        (sampled,) = [way for way in found["robots"][0]["ways"] if way["way"] == ReadMode.SAMPLED.value]
        assert sampled["lacks"][:1] == lacks

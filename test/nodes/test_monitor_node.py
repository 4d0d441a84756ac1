"""Views of the monitor, and their subscriptions on demand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rlt_ros.middleware.arrays import pack
from rlt_ros.middleware.messages import ActionChunk as ActionChunkMessage
from rlt_ros.middleware.messages import (
    DiagnosticArray,
    EpisodeState,
    Float32,
    Image,
    JointState,
    LearnerStatus,
    Marker,
    MarkerArray,
    String,
    TFMessage,
)
from rlt_ros.middleware.messages import ExecutedStep as ExecutedStepMessage
from rlt_ros.replay.stream import ActionChunk, StepRecord
from rlt_ros.rlt.transition import Source
from rlt_ros.robots.body import Body
from rlt_ros.robots.profile import load_profile
from rlt_ros.ros import qos
from rlt_ros.ros.cameras import camera_type, write_camera
from rlt_ros.ros.conversions import named, to_header, write_chunk, write_step
from rlt_ros.ros.markers import COLOURS, ChunkMarkers
from rlt_ros.store.lineage import Lineage

PROFILE = load_profile("agibot_g1_geniesim")
A, C = PROFILE.dim, 4
HOME = np.array([-0.8786, 1.6915, 1.8028, 1.0331, 1.2931, 1.5189, -0.153])
LINEAGE = Lineage(vla="a" * 16, token="b" * 16, stats="c" * 16, actor="d" * 16)


def chunk(source: Source = Source.ACTOR) -> ActionChunk:
    rng = np.random.default_rng(0)
    return ActionChunk(
        stamp=5,
        episode=1,
        chunk=1,
        step=0,
        source=source,
        anchor=HOME.astype(np.float32),
        scale=np.full(A, 0.05, np.float32),
        reference=rng.normal(size=(C, A)).astype(np.float32),
        action=rng.normal(size=(C, A)).astype(np.float32),
        version=3,
        lineage=LINEAGE,
        latency=12_000_000,
    )


def step(index: int, source: Source) -> StepRecord:
    return StepRecord(
        stamp=index,
        episode=1,
        step=index,
        source=source,
        command=(HOME + 0.01 * index).astype(np.float32),
        measured=HOME.astype(np.float32),
    )


CAMERA = next(iter(PROFILE.cameras.values()))


class Viewer:
    """RViz, as far as the monitor sees it, and the rest of the graph."""

    def __init__(self, graph: Any) -> None:
        self.graph, self.node = graph, graph.node("viewer")
        self.markers: dict[str, Any] = {}
        self.ends: dict[str, Any] = {}
        self.seen: dict[str, list[Any]] = {}
        self.chunks = self.node.create_publisher(ActionChunkMessage, "rlt/action_chunk", qos.ACTION_CHUNK)
        self.steps = self.node.create_publisher(ExecutedStepMessage, "rlt/executed_step", qos.EXECUTED_STEP)
        self.joints = self.node.create_publisher(JointState, "joint_states", qos.SENSOR_RELIABLE)
        self.learner = self.node.create_publisher(LearnerStatus, "rlt/learner_status", qos.LEARNER_STATUS)
        self.camera = self.node.create_publisher(camera_type(CAMERA), CAMERA.topic, qos.SENSOR_RELIABLE)
        self.episodes = self.node.create_publisher(EpisodeState, "rlt/episode_state", qos.EPISODE_STATE)

    def watch(self, kind: Any, topic: str, profile: Any = qos.VIEW) -> list[Any]:
        seen = self.seen[topic] = []
        self.node.create_subscription(kind, topic, seen.append, profile)
        return seen

    def watch_markers(self) -> None:
        def note(array: Any) -> None:
            self.markers.update({marker.ns: marker for marker in array.markers if marker.id == 0})
            self.ends.update({marker.ns: marker for marker in array.markers if marker.id == 1})

        self.node.create_subscription(MarkerArray, "rlt/markers", note, qos.VIEW)

    def meet(self, *publishers: Any) -> None:
        self.graph.until(
            lambda: all(p.get_subscription_count() for p in publishers), what="the monitor listens"
        )

    def joint_state(self) -> Any:
        return JointState(header=to_header(7), name=list(PROFILE.joints), position=pack(HOME))


@pytest.fixture
def viewer(graph: Any) -> Viewer:
    return Viewer(graph)


def test_chunks_are_lines_in_the_colour_of_who_chose(viewer: Viewer, start_node: Callable[..., Any]) -> None:
    viewer.watch_markers()
    start_node("monitor_node")
    viewer.meet(viewer.chunks, viewer.steps, viewer.joints)
    for index in range(3):
        viewer.steps.publish(write_step(step(index, Source.VLA if index else Source.HUMAN)))

    def shown() -> bool:
        viewer.chunks.publish(write_chunk(chunk()))
        viewer.joints.publish(viewer.joint_state())
        return viewer.markers.keys() == {"reference", "chosen", "executed"}

    viewer.graph.until(shown)
    viewer.graph.until(lambda: len(viewer.markers["executed"].points) == 3)
    chosen, executed = viewer.markers["chosen"], viewer.markers["executed"]
    assert chosen.header.frame_id == "base_link"
    assert chosen.type == Marker.LINE_STRIP
    tip = PROFILE.kinematics().forward(HOME)[:3, 3]
    first = chosen.points[0]
    np.testing.assert_allclose([first.x, first.y, first.z], tip, atol=1e-5)
    assert len(chosen.points) == len(chosen.colors) == 1 + C
    colours = [(round(255 * c.r), round(255 * c.g), round(255 * c.b)) for c in executed.colors]
    assert colours == [COLOURS[Source.HUMAN], COLOURS[Source.VLA], COLOURS[Source.VLA]]
    assert viewer.ends.keys() == viewer.markers.keys()


def test_frames_and_description_are_those_of_the_urdf(viewer: Viewer, start_node: Callable[..., Any]) -> None:
    frames = viewer.watch(TFMessage, "/tf", qos.TF)
    fixed = viewer.watch(TFMessage, "/tf_static", qos.TF_STATIC)
    described = viewer.watch(String, "left/robot_description", qos.ROBOT_DESCRIPTION)
    joints = viewer.node.create_publisher(JointState, "left/joint_states", qos.SENSOR_RELIABLE)
    start_node("monitor_node", "-r", "__ns:=/left")
    viewer.meet(joints)

    def shown() -> bool:
        joints.publish(viewer.joint_state())
        return bool(frames and fixed and described)

    viewer.graph.until(shown)
    assert described[0].data == PROFILE.urdf_path.read_text()
    transforms = {t.child_frame_id: t for t in (*fixed[0].transforms, *frames[-1].transforms)}
    pose, frame = np.eye(4), f"left/{PROFILE.tip_frame}"
    while frame in transforms:
        transform = transforms[frame]
        pose = matrix(transform.transform) @ pose
        frame = transform.header.frame_id
    assert frame == "left/base_link"
    np.testing.assert_allclose(pose, PROFILE.kinematics().forward(HOME), atol=1e-6)


def matrix(transform: Any) -> np.ndarray[Any, Any]:
    t, q = transform.translation, transform.rotation
    x, y, z, w = q.x, q.y, q.z, q.w
    rotation = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.block([[np.array(rotation), np.array([[t.x], [t.y], [t.z]])], [np.array([[0, 0, 0, 1]])]])


def test_figures_can_be_plotted(viewer: Viewer, start_node: Callable[..., Any]) -> None:
    q, latency = viewer.watch(Float32, "rlt/q"), viewer.watch(Float32, "rlt/latency")
    start_node("monitor_node")
    viewer.meet(viewer.chunks, viewer.learner)

    def shown() -> bool:
        viewer.learner.publish(LearnerStatus(**named({"beta": 0.1, "q": 0.75})))
        viewer.chunks.publish(write_chunk(chunk()))
        return bool(q and latency)

    viewer.graph.until(shown)
    assert q[0].data == 0.75
    assert latency[0].data == pytest.approx(0.012)


def test_the_drivers_picture_is_framed_by_the_source_of_the_commands(
    viewer: Viewer, start_node: Callable[..., Any]
) -> None:
    pictures = viewer.watch(Image, "rlt/annotated_image")
    start_node("monitor_node", "-p", "monitor.rate:=50.0")
    viewer.meet(viewer.camera, viewer.steps)
    seen = write_camera(np.full((480, 640, 3), 40, np.uint8), CAMERA, to_header(9))
    viewer.steps.publish(write_step(step(0, Source.HUMAN)))

    def shown() -> bool:
        viewer.camera.publish(seen)
        return bool(pictures) and tuple(pictures[-1].data[:3]) == COLOURS[Source.HUMAN]

    viewer.graph.until(shown)
    assert (pictures[-1].encoding, pictures[-1].height, pictures[-1].width) == ("rgb8", 480, 640)


def test_nothing_heavy_is_taken_while_nobody_looks(viewer: Viewer, start_node: Callable[..., Any]) -> None:
    latency = viewer.watch(Float32, "rlt/latency")
    start_node("monitor_node")
    viewer.meet(viewer.chunks, viewer.learner, viewer.episodes)

    def alive() -> bool:
        viewer.chunks.publish(write_chunk(chunk()))
        return len(latency) > 1

    viewer.graph.until(alive)
    assert viewer.joints.get_subscription_count() == 0
    assert viewer.camera.get_subscription_count() == 0
    assert viewer.steps.get_subscription_count() == 0


def test_malformed_messages_are_dropped_and_counted(viewer: Viewer, start_node: Callable[..., Any]) -> None:
    diagnostics = viewer.watch(DiagnosticArray, "/diagnostics")
    latency = viewer.watch(Float32, "rlt/latency")
    start_node("monitor_node")
    viewer.meet(viewer.chunks)
    bad = write_chunk(chunk())
    bad.anchor = bad.anchor[:3]
    viewer.chunks.publish(bad)

    def counted() -> bool:
        statuses = [s for array in diagnostics for s in array.status if s.name == "/monitor_node: input"]
        return any(pair.key == "malformed ActionChunk" for s in statuses for pair in s.values)

    viewer.graph.until(counted)

    def alive() -> bool:
        viewer.chunks.publish(write_chunk(chunk()))
        return bool(latency)

    viewer.graph.until(alive)


def test_a_path_of_one_point_is_deleted() -> None:
    markers = ChunkMarkers(lambda q: q[:3], frame_id="base", trail=3)

    def actions() -> list[int]:
        return [marker.action for marker in markers.trail(to_header(0).stamp).markers]

    markers.executed(np.zeros(A), Source.VLA)
    assert actions() == [Marker.DELETE, Marker.DELETE]
    for _ in range(5):
        markers.executed(np.ones(A), Source.VLA)
    assert actions() == [Marker.ADD, Marker.ADD]
    assert len(markers.trail(to_header(0).stamp).markers[0].points) == 3
    markers.clear()
    assert actions() == [Marker.DELETE, Marker.DELETE]


@pytest.mark.parametrize("source", [Source.VLA, Source.ACTOR])
def test_every_path_ends_in_a_sphere_of_its_colour_and_lifetime(source: Source) -> None:
    markers = ChunkMarkers(lambda q: q[:3], frame_id="base", trail=9)
    for index in range(4):
        markers.executed(HOME + index, Source.HOLD if index < 3 else source)
    stamp = to_header(3).stamp
    shown = [*markers.chunk(chunk(source), stamp).markers, *markers.trail(stamp).markers]
    assert len({(marker.ns, marker.id) for marker in shown}) == len(shown) == 6
    for line, end in zip(shown[::2], shown[1::2], strict=True):
        assert (line.type, end.type) == (Marker.LINE_STRIP, Marker.SPHERE)
        assert (line.ns, line.action, line.header) == (end.ns, end.action, end.header)
        assert (line.points[-1], line.colors[-1]) == (end.pose.position, end.color)
        assert line.lifetime == end.lifetime
        assert end.lifetime.sec == (0 if end.ns == "executed" else 1)
        assert end.pose.orientation.w == 1.0
        assert end.scale.x == end.scale.y == end.scale.z > 2 * line.scale.x > 0


def test_every_link_of_the_urdf_has_a_frame() -> None:
    import xml.etree.ElementTree as ElementTree

    body = Body(PROFILE.urdf_path, {})
    links = {str(link.get("name")) for link in ElementTree.parse(PROFILE.urdf_path).getroot().iter("link")}
    frames = {pose.child for pose in (*body.fixed(), *body.moving({"no such joint": 1.0}))}
    assert frames == links - {"base_link"}

"""Genie Sim's protocol against a real server on loopback: whole episodes, and requests that cannot be answered."""

from __future__ import annotations

import pickle
import socket
import threading
from collections.abc import Iterator
from typing import Any

import msgpack
import numpy as np
import pytest
from genie_sim_client import ARMS, Simulator, jpeg
from websockets.exceptions import ConnectionClosed

from rlt_ros.robots.profile import load_profile
from rlt_ros.serving.genie_sim import G1Arms, GenieSimSession, gripper_action
from rlt_ros.serving.policy import ServedPolicy
from rlt_ros.serving.websocket import WebSocketServer
from rlt_ros.store.parameters import ConfigError

CHUNK, RIGHT = 10, slice(7, 14)


@pytest.fixture
def simulator(server: WebSocketServer) -> Iterator[Simulator]:
    simulator = Simulator(f"ws://127.0.0.1:{server.port}")
    yield simulator
    simulator.close()


def _lists(value: object) -> bool:
    """True for plain lists and numbers, which the simulator requires."""
    if isinstance(value, list):
        return all(_lists(item) for item in value)
    return type(value) is float


def test_a_whole_episode(simulator: Simulator, policy: ServedPolicy) -> None:
    limits = policy.profile.limits()
    for step in range(4):
        before = simulator.arms.copy()
        result = simulator.step(0, done=step == 3)
        assert result.keys() == {"left_arm", "right_arm", "left_effector", "right_effector"}
        assert result["left_arm"]["kind"] == result["right_arm"]["kind"] == "JOINT_ABS"
        left, right = np.array(result["left_arm"]["values"]), np.array(result["right_arm"]["values"])
        assert left.shape == right.shape == (CHUNK, 7)
        assert all(_lists(result[arm]["values"]) for arm in ("left_arm", "right_arm"))
        # The policy moves the right arm.
        np.testing.assert_array_equal(left, np.tile(ARMS[:7], (CHUNK, 1)))
        assert (right >= limits.lower).all()
        assert (right <= limits.upper).all()
        steps = np.diff(np.vstack([before[None, RIGHT], right]), axis=0)
        assert (np.abs(steps) <= limits.velocity / policy.profile.control_hz + 1e-9).all()
        # It does move
        assert np.abs(steps).max() > 1e-4
        # Closed stays closed
        assert result["left_effector"] == [[pytest.approx(1.0)]] * CHUNK
        # Open stays open
        assert result["right_effector"] == [[0.0]] * CHUNK


def test_a_new_episode_holds_what_it_begins_with(simulator: Simulator) -> None:
    simulator.step(0)
    simulator.arms = ARMS + 0.05
    simulator.grippers = np.array([0.0, 93.6])
    # The same episode: the left arm goes on standing where it stood.
    held = simulator.step(0)
    np.testing.assert_allclose(held["left_arm"]["values"][0], ARMS[:7])
    assert held["right_effector"][0] == [0.0]
    simulator.arms = ARMS + 0.05
    fresh = simulator.step(1)
    np.testing.assert_allclose(fresh["left_arm"]["values"][0], ARMS[:7] + 0.05)
    assert fresh["right_effector"][0] == [pytest.approx(1.0)]


def test_an_episode_that_is_repeated_under_the_same_number_begins_anew(simulator: Simulator) -> None:
    simulator.step(0, done=True)
    simulator.arms = ARMS + 0.05
    np.testing.assert_allclose(simulator.step(0)["left_arm"]["values"][0], ARMS[:7] + 0.05)


@pytest.mark.parametrize("joint", [0.0, 0.2, 0.4, 0.6])
def test_the_gripper_action_holds_the_joint_where_it_is(joint: float) -> None:
    # The simulator's formula of the state.
    state = float(np.clip(0.78 - joint / 0.78, 0, 1)) * 120
    # And that of the action
    assert (1 - gripper_action(state)) * 0.78 == pytest.approx(joint)


def test_an_open_gripper_stays_open() -> None:
    assert gripper_action(0.0) == 0.0


def _without(simulator: Simulator, *path: str) -> dict[str, Any]:
    request: dict[str, Any] = msgpack.unpackb(msgpack.packb(simulator.request(0)))
    parent = request
    for key in path[:-1]:
        parent = parent[key]
    del parent[path[-1]]
    return request


def _with(simulator: Simulator, value: object, *path: str) -> dict[str, Any]:
    request: dict[str, Any] = msgpack.unpackb(msgpack.packb(simulator.request(0)))
    parent = request
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    return request


BAD = {
    "text": (lambda s: "infer", "text where bytes"),
    "a pickle": (lambda s: pickle.dumps(s.request(0)), "no msgpack"),
    "half a message": (lambda s: msgpack.packb(s.request(0))[:-50], "cut off"),
    "a list": (lambda s: [1, 2], "method is 'list'"),
    "another method": (lambda s: _with(s, "reboot", "method"), "only `infer`"),
    "no params": (lambda s: _without(s, "params"), "`params` is missing"),
    "no states": (lambda s: _without(s, "params", "states"), "`states` is missing"),
    "a camera missing": (lambda s: _without(s, "params", "images", "hand_left"), "`hand_left` is missing"),
    "thirteen joints": (
        lambda s: _with(s, [0.0] * 13, "params", "states", "arm_joint_states"),
        "14 finite numbers",
    ),
    "NaN": (
        lambda s: _with(s, [float("nan")] * 14, "params", "states", "arm_joint_states"),
        "14 finite numbers",
    ),
    "words for numbers": (
        lambda s: _with(s, "open", "params", "states", "gripper_states"),
        "2 finite numbers",
    ),
    "no prompt": (lambda s: _with(s, " ", "params", "prompt"), "`prompt` is empty"),
    "an endless prompt": (lambda s: _with(s, "plug " * 1000, "params", "prompt"), "has 5000 characters"),
    "an unknown prompt": (lambda s: _with(s, "xyzzy", "params", "prompt"), "no known word"),
    "another encoding": (lambda s: _with(s, "PNG", "params", "images", "head", "encoding"), "expected JPEG"),
    "half a picture": (
        lambda s: _with(s, jpeg(64, 64, 0)[:300], "params", "images", "head", "image_data"),
        "damaged JPEG",
    ),
    "no picture": (lambda s: _with(s, b"GIF89a", "params", "images", "head", "image_data"), "is GIF"),
    "text for a picture": (lambda s: _with(s, "x", "params", "images", "head", "image_data"), "is str"),
}


def test_requests_that_cannot_be_answered_say_why_and_the_next_one_is_answered(
    simulator: Simulator, server: WebSocketServer
) -> None:
    for number, (name, (bad, message)) in enumerate(BAD.items(), start=1):
        answer = simulator.ask(bad(simulator))  # type: ignore[no-untyped-call]
        assert "result" not in answer, name
        assert message in answer["error"], name
        assert server.refused == number
    assert "result" in simulator.ask(simulator.request(0))


def test_a_picture_that_claims_to_be_enormous_is_not_decoded(simulator: Simulator) -> None:
    data = bytearray(jpeg(64, 64, 0))
    # The frame header: height and width.
    start = data.index(b"\xff\xc0") + 5
    data[start : start + 4] = b"\xff\xff\xff\xff"
    answer = simulator.ask(_with(simulator, bytes(data), "params", "images", "head", "image_data"))
    assert "it has 65535×65535 pixels" in answer["error"]
    assert "result" in simulator.ask(simulator.request(0))


def test_a_huge_frame_ends_its_connection_alone(simulator: Simulator, server: WebSocketServer) -> None:
    other = Simulator(f"ws://127.0.0.1:{server.port}")
    with pytest.raises(ConnectionClosed) as closed:
        other.ask(b"\0" * (2**20 + 1))
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009
    assert "result" in simulator.ask(simulator.request(0))


def test_a_peer_that_stalls_in_a_frame_is_hung_up_on_and_holds_up_nobody(policy: ServedPolicy) -> None:
    server = WebSocketServer(lambda: GenieSimSession(policy), ping=0.05, ping_timeout=0.2)
    server.start()
    try:
        with socket.create_connection(("127.0.0.1", server.port)) as peer:
            peer.sendall(
                b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            assert peer.recv(1000).startswith(b"HTTP/1.1 101")
            # 64 kB are promised
            peer.sendall(b"\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00abcd" + b"x" * 100)
            peer.settimeout(60)
            while peer.recv(1000):
                # Pings, then the end
                pass
        simulator = Simulator(f"ws://127.0.0.1:{server.port}")
        assert "result" in simulator.ask(simulator.request(0))
        simulator.close()
    finally:
        server.close()


def test_a_peer_that_says_nothing_is_hung_up_on(policy: ServedPolicy) -> None:
    server = WebSocketServer(lambda: GenieSimSession(policy), handshake=0.2)
    server.start()
    try:
        with socket.create_connection(("127.0.0.1", server.port)) as peer:
            peer.sendall(b"GET / HTTP/1.1\r\n")
            peer.settimeout(60)
            while peer.recv(1000):
                pass
    finally:
        server.close()


def test_beyond_its_places_the_server_says_try_later(policy: ServedPolicy) -> None:
    server = WebSocketServer(lambda: GenieSimSession(policy), connections=1)
    server.start()
    try:
        first = Simulator(f"ws://127.0.0.1:{server.port}")
        first.step(0)
        second = Simulator(f"ws://127.0.0.1:{server.port}")
        with pytest.raises(ConnectionClosed) as closed:
            second.ask(second.request(0))
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1013
        assert "result" in first.ask(first.request(0))
        first.close()
    finally:
        server.close()


def test_several_peers_get_whole_answers(server: WebSocketServer) -> None:
    answers: list[int] = []

    def play(episode: int) -> None:
        simulator = Simulator(f"ws://127.0.0.1:{server.port}")
        answers.extend(len(simulator.step(episode)["right_arm"]["values"]) for _ in range(3))
        simulator.close()

    threads = [threading.Thread(target=play, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [CHUNK] * 9


def test_a_robot_that_is_no_g1_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"moves shoulder_pan_joint.*Genie Sim's protocol commands the arms of the G1"
    ):
        G1Arms(load_profile("ur5e"))

"""openpi's protocol: Genie Sim's own layout, a robot's own joints, and errors as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from genie_sim_client import ARMS
from websockets.sync.client import ClientConnection, connect

from rlt_ros.serving.openpi import OpenPIPolicySession
from rlt_ros.serving.policy import ServedPolicy
from rlt_ros.serving.websocket import WebSocketServer
from rlt_ros.vla.wire import pack, unpack

LIMIT = 2**24


@pytest.fixture
def client(policy: ServedPolicy) -> Iterator[ClientConnection]:
    server = WebSocketServer(lambda: OpenPIPolicySession(policy))
    server.start()
    with connect(f"ws://127.0.0.1:{server.port}", compression=None, max_size=None, proxy=None) as connection:
        yield connection
    server.close()


def _ask(client: ClientConnection, message: dict[str, Any]) -> Any:
    client.send(pack(message))
    reply = client.recv(timeout=60)
    return reply if isinstance(reply, str) else unpack(reply, limit=LIMIT)


def _pictures(*names: str) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {name: random.integers(0, 256, (3, 48, 64), dtype=np.uint8) for name in names}


def test_the_greeting_says_what_the_policy_needs(client: ClientConnection, policy: ServedPolicy) -> None:
    data = client.recv(timeout=60)
    assert isinstance(data, bytes)
    greeting = unpack(data, limit=LIMIT)
    assert greeting["joints"] == list(policy.profile.joints)
    assert greeting["cameras"] == list(policy.cameras)
    assert greeting["hz"] == 50


def test_genie_sims_layout_has_both_arms_and_grippers(client: ClientConnection) -> None:
    client.recv(timeout=60)
    state = np.zeros(32, np.float32)
    # 20 is open, 120 is closed
    state[:14], state[14:16] = ARMS, (20, 120)
    observation = {
        "state": state,
        "images": _pictures("top_head", "hand_left", "hand_right"),
        "prompt": "plug the charger in",
        "task_name": "charger",
    }
    actions = _ask(client, observation)["actions"]
    assert actions.shape == (10, 16)
    np.testing.assert_allclose(actions[:, :7], np.tile(ARMS[:7], (10, 1)), atol=1e-6)
    assert np.abs(actions[:, 7:14] - ARMS[7:]).max() > 1e-4
    np.testing.assert_allclose(actions[:, 14], 0.0, atol=1e-6)
    np.testing.assert_allclose(actions[:, 15], 1.0, atol=1e-6)


def test_a_robots_own_layout_has_its_joints(client: ClientConnection) -> None:
    client.recv(timeout=60)
    observation = {
        "state": ARMS[7:],
        "images": {
            name: picture.transpose(1, 2, 0)
            for name, picture in _pictures("head", "hand_left", "hand_right").items()
        },
        "prompt": "plug the charger in",
    }
    first = _ask(client, observation)["actions"]
    assert first.shape == (10, 7)
    assert np.abs(first - ARMS[7:]).max() < 0.5


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"state": np.zeros(5)},
            "`state` has 5 numbers; expected those of 7 joints, or those of the G1's arms",
        ),
        ({"state": np.full(7, np.inf)}, "finite numbers"),
        ({"images": {}}, "picture `head` is missing"),
        ({"images": 3}, "expected a map of pictures"),
        ({"images": {"head": np.zeros((8, 8))}}, "is missing|has shape"),
        ({"prompt": ""}, "`prompt` is empty"),
    ],
)
def test_an_error_is_text_and_the_next_observation_is_answered(
    client: ClientConnection, fields: dict[str, Any], message: str
) -> None:
    client.recv(timeout=60)
    good = {
        "state": ARMS[7:],
        "images": _pictures("head", "hand_left", "hand_right"),
        "prompt": "plug the charger in",
    }
    answer = _ask(client, {**good, **fields})
    assert isinstance(answer, str)
    assert any(part in answer for part in message.split("|"))
    assert _ask(client, good)["actions"].shape == (10, 7)

"""VLAs behind a websocket, against real servers on loopback, well-behaved and not."""

from __future__ import annotations

import contextlib
import dataclasses
import pickle
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import torch
import yaml
from tiny_vla import CAMERAS, HORIZON, INSTRUCTION, JOINTS, SIDE, tiny_observations, write_tiny_vla
from websockets.sync.server import ServerConnection, serve

from rlt_ros.serving.openpi import OpenPIVLASession
from rlt_ros.serving.websocket import WebSocketServer
from rlt_ros.store.parameters import ConfigError
from rlt_ros.vla import VLA
from rlt_ros.vla.adapter import AdapterConfig, ServerConfig
from rlt_ros.vla.backends.openpi_client import OpenPIVLA
from rlt_ros.vla.backends.remote import RemoteVLA
from rlt_ros.vla.errors import VLAUnavailableError
from rlt_ros.vla.frozen import FrozenVLA
from rlt_ros.vla.loading import load_vla
from rlt_ros.vla.wire import pack, unpack

QUICK = ServerConfig(timeout=0.2, connect_timeout=2.0, retry=0.0, max_age=20.0, probe=INSTRUCTION)
PATIENT = dataclasses.replace(QUICK, timeout=20.0)


def _adapter(server: ServerConfig = PATIENT) -> AdapterConfig:
    return AdapterConfig(
        joints=JOINTS,
        cameras={camera: camera for camera in CAMERAS},
        image_size=(SIDE, SIDE),
        action_scale=tuple(torch.linspace(0.01, 0.04, JOINTS).tolist()),
        server=server,
    )


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> FrozenVLA:
    return write_tiny_vla(tmp_path_factory.mktemp("weights"))


@contextlib.contextmanager
def serving(vla: VLA, port: int = 0) -> Iterator[WebSocketServer]:
    server = WebSocketServer(lambda: OpenPIVLASession(vla), port=port)
    server.start()
    try:
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def answering(answer: Callable[[ServerConnection, bytes], None], greeting: Any = b"\x80") -> Iterator[str]:
    """A server of our own making; yields its address."""

    def handle(connection: ServerConnection) -> None:
        if greeting is not None:
            connection.send(greeting)
        for message in connection:
            assert isinstance(message, bytes)
            answer(connection, message)

    with serve(handle, "127.0.0.1", 0, compression=None, close_timeout=0.2) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join()


def _good(**fields: Any) -> dict[str, Any]:
    return {
        "actions": np.zeros((HORIZON, JOINTS), np.float32),
        "hidden_states": np.ones((6, 4), np.float32),
        **fields,
    }


def test_a_vla_behind_a_network_is_the_vla(frozen: FrozenVLA, tmp_path: Path) -> None:
    (tmp_path / "adapter.yaml").write_text(
        yaml.safe_dump(
            {
                "joints": JOINTS,
                "cameras": {camera: camera for camera in CAMERAS},
                "image_size": [SIDE, SIDE],
                "action_scale": frozen.vla.action_scale.tolist(),
                "server": {"timeout": 20.0, "max_age": 20.0, "probe": INSTRUCTION},
            },
            sort_keys=False,
        )
    )
    observations = tiny_observations()
    with serving(frozen.vla) as server:
        remote = load_vla(f"openpi:ws://127.0.0.1:{server.port}@{tmp_path / 'adapter.yaml'}")
        assert isinstance(remote, VLA)
        seen = remote.act(observations, generator=torch.Generator().manual_seed(5))
        embeddings, _ = remote.embed(observations)
    assert remote.spec == frozen.spec
    seed = int(torch.randint(2**31, (1,), generator=torch.Generator().manual_seed(5)))
    local = frozen.vla.act(observations, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(seen.embeddings, local.embeddings)
    torch.testing.assert_close(embeddings, local.embeddings)
    assert torch.equal(seen.mask, local.mask)
    torch.testing.assert_close(seen.chunk, local.chunk, atol=1e-3, rtol=1e-3)


def test_other_weights_behind_the_same_address_are_another_vla(frozen: FrozenVLA, tmp_path: Path) -> None:
    other = write_tiny_vla(tmp_path / "other", seed=1)
    with serving(frozen.vla) as server:
        first = OpenPIVLA.connect(f"ws://127.0.0.1:{server.port}", _adapter())
    with serving(other.vla, port=server.port) as server:
        second = OpenPIVLA.connect(f"ws://127.0.0.1:{server.port}", _adapter())
    assert first.fingerprint != second.fingerprint


def test_it_connects_again_after_the_server_was_away(frozen: FrozenVLA) -> None:
    generator = torch.Generator()
    with serving(frozen.vla) as server:
        vla = OpenPIVLA.connect(f"ws://127.0.0.1:{server.port}", _adapter())
        before = vla.act(tiny_observations(), generator=generator.manual_seed(1))
    with pytest.raises(VLAUnavailableError, match=r"broke|no VLA server answers"):
        vla.act(tiny_observations(), generator=generator)
    with serving(frozen.vla, port=server.port):
        after = vla.act(tiny_observations(), generator=generator.manual_seed(1))
    torch.testing.assert_close(before.embeddings, after.embeddings)


def test_other_weights_of_the_same_shape_are_noticed_after_a_break(frozen: FrozenVLA, tmp_path: Path) -> None:
    other = write_tiny_vla(tmp_path / "other", seed=1)
    generator = torch.Generator()
    with serving(frozen.vla) as server:
        vla = OpenPIVLA.connect(f"ws://127.0.0.1:{server.port}", _adapter())
    with pytest.raises(VLAUnavailableError, match=r"broke|no VLA server answers"):
        vla.act(tiny_observations(), generator=generator)
    with serving(other.vla, port=server.port):
        for _ in range(2):
            with pytest.raises(VLAUnavailableError, match=r"another model is served.*its greeting differs"):
                vla.act(tiny_observations(), generator=generator)
    with pytest.raises(VLAUnavailableError, match=r"broke|no VLA server answers"):
        vla.act(tiny_observations(), generator=generator)
    # The first one again
    with serving(frozen.vla, port=server.port):
        vla.act(tiny_observations(), generator=generator)


@pytest.mark.parametrize(("factor", "same"), [(1.0, True), (1.02, True), (1.2, False)])
def test_a_server_that_says_nothing_of_itself_is_known_by_its_embeddings(factor: float, same: bool) -> None:
    replies: list[Any] = [_good(), VLAUnavailableError("gone")]
    # Noise is another
    again = _good(actions=np.full((HORIZON, JOINTS), 0.1), hidden_states=np.full((6, 4), factor))
    replies += [again, again]

    def ask(*_: object) -> Any:
        reply = replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    vla = RemoteVLA(ask, _adapter(), name="here")
    with pytest.raises(VLAUnavailableError, match="gone"):
        vla.act(tiny_observations(), generator=torch.Generator())
    if same:
        vla.act(tiny_observations(), generator=torch.Generator())
        return
    with pytest.raises(VLAUnavailableError, match="another model is served there now: its embeddings"):
        vla.act(tiny_observations(), generator=torch.Generator())


def test_between_attempts_it_fails_at_once(frozen: FrozenVLA) -> None:
    with serving(frozen.vla) as server:
        vla = OpenPIVLA.connect(
            f"ws://127.0.0.1:{server.port}", _adapter(dataclasses.replace(PATIENT, retry=3600.0))
        )
    for expected in ("broke", "no VLA server answers", "the next attempt is in"):
        with pytest.raises(VLAUnavailableError, match=expected):
            vla.act(tiny_observations(), generator=torch.Generator())


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (pack({"actions": np.zeros((HORIZON, JOINTS))}), "no `hidden_states`.*no RL token.*rlt-ros serve"),
        (pack({"action": 1}), "no `actions`"),
        (pack([1, 2]), "no `actions`"),
        (pack(_good(actions=np.full((2, JOINTS), np.nan))), "NaN or infinite"),
        (pack(_good(actions=np.full((2, JOINTS), 1e30))), "beyond ±10000"),
        (pack(_good(actions="many")), "no numbers"),
        (pack(_good(hidden_states=np.zeros((0, 4)))), "hold nothing"),
        (pack(_good(hidden_states=np.zeros(4))), "do not fit"),
        (pack(_good(hidden_mask=np.ones(3, bool))), "do not fit"),
        (pack(_good(hidden_mask=np.zeros(6, bool))), "not all are padding"),
        (pack(_good(hidden_states=np.full((6, 4), 1e300))), "NaN or infinite"),
        (pickle.dumps(_good()), "cannot be read"),
        (pack(_good())[:-7], "cut off"),
        (
            msgpack.packb(
                {b"actions": {b"__ndarray__": True, b"data": b"x" * 8, b"dtype": "|O", b"shape": [1]}}
            ),
            "nothing is unpickled",
        ),
        (
            "Traceback (most recent call last):\n  File\nKeyError: 'observation/image'",
            "KeyError: 'observation/image'",
        ),
    ],
)
def test_an_answer_that_cannot_be_used_is_refused_at_the_start(reply: bytes | str, message: str) -> None:
    with (
        answering(lambda connection, _: connection.send(reply)) as address,
        pytest.raises(VLAUnavailableError, match=message) as caught,
    ):
        OpenPIVLA.connect(address, _adapter())
    assert address in str(caught.value)


def test_a_server_that_stalls_is_given_up(frozen: FrozenVLA) -> None:
    with (
        answering(lambda *_: None) as address,
        pytest.raises(VLAUnavailableError, match=r"no answer within 0.2 s; the server stalls"),
    ):
        OpenPIVLA.connect(address, _adapter(QUICK))


def test_an_answer_larger_than_allowed_ends_the_connection() -> None:
    small = dataclasses.replace(PATIENT, max_bytes=2048)
    huge = pack(_good(hidden_states=np.zeros((100, 100), np.float32)))
    with (
        answering(lambda connection, _: connection.send(huge)) as address,
        pytest.raises(VLAUnavailableError, match="connection broke"),
    ):
        OpenPIVLA.connect(address, _adapter(small))


def test_a_late_answer_does_not_answer_the_next_question() -> None:
    """After a time-out the connection is closed: its answer would belong to an older observation."""
    connections: list[ServerConnection] = []
    asked = threading.Semaphore(0)

    def answer(connection: ServerConnection, message: bytes) -> None:
        if connection not in connections:
            connections.append(connection)
        state = unpack(message, limit=2**24)["state"]
        # The one that is left without an answer.
        if state[0] < 0:
            asked.release()
            return
        connection.send(pack(_good(actions=np.full((HORIZON, JOINTS), state[0]))))

    with answering(answer) as address:
        vla = OpenPIVLA.connect(address, _adapter(dataclasses.replace(QUICK, timeout=1.0)))
        observations = tiny_observations()
        stalled, fine = observations.proprio.clone(), observations.proprio.clone()
        stalled[0, 0], fine[0, 0] = -1.0, 2.0
        with pytest.raises(VLAUnavailableError, match="stalls"):
            vla.act(dataclasses.replace(observations, proprio=stalled), generator=torch.Generator())
        assert asked.acquire(timeout=10)
        seen = vla.act(dataclasses.replace(observations, proprio=fine), generator=torch.Generator())
    # The target 2.0 is where joint 0 stands.
    assert float(seen.chunk[0, 0, 0]) == pytest.approx(0.0, abs=1e-4)
    assert len(connections) == 2


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 101 Switching", b"\x82\x7f\x00\x00"])
def test_half_a_handshake_is_given_up(sent: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peers: list[socket.socket] = []

        def accept() -> None:
            peer, _ = listener.accept()
            peers.append(peer)
            peer.sendall(sent)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        address = f"ws://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(VLAUnavailableError, match="no VLA server answers"):
            OpenPIVLA.connect(address, _adapter(dataclasses.replace(QUICK, connect_timeout=0.3)))
        thread.join()
        peers[0].close()


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_an_answer_that_is_too_old_is_not_used() -> None:
    clock, delay = Clock(), [0.0]

    def ask(*_: object) -> dict[str, Any]:
        clock.now += delay[0]
        return _good()

    vla = RemoteVLA(ask, _adapter(dataclasses.replace(QUICK, max_age=1.0)), name="here", clock=clock)
    delay[0] = 0.9
    vla.act(tiny_observations(), generator=torch.Generator())
    delay[0] = 1.1
    with pytest.raises(VLAUnavailableError, match=r"came after 1.10 s, older than `server.max_age`"):
        vla.act(tiny_observations(), generator=torch.Generator())


def test_another_model_behind_a_running_connection_is_noticed() -> None:
    replies = [_good(), _good(hidden_states=np.ones((6, 5), np.float32))]
    vla = RemoteVLA(lambda *_: replies.pop(0), _adapter(), name="here")
    with pytest.raises(VLAUnavailableError, match="another model is served"):
        vla.act(tiny_observations(), generator=torch.Generator())


def test_a_card_that_asks_for_more_steps_than_the_server_plans_is_wrong() -> None:
    adapter = dataclasses.replace(_adapter(), horizon=HORIZON + 1)
    with pytest.raises(ConfigError, match=f"`horizon` is {HORIZON + 1}, and the model plans {HORIZON} steps"):
        RemoteVLA(lambda *_: _good(), adapter, name="here")

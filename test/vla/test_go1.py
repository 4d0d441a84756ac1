"""GO-1 over HTTP, against real servers on loopback, well-behaved and not."""

from __future__ import annotations

import base64
import contextlib
import json
import pickle
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from tiny_vla import INSTRUCTION, JOINTS, SIDE, tiny_observations

from rlt_ros.vla.errors import VLAUnavailableError
from rlt_ros.vla.loading import load_vla


def _json_numpy(value: np.ndarray) -> dict[str, Any]:
    """Array in the form of the json_numpy package."""
    return {
        "__numpy__": base64.b64encode(value.tobytes()).decode(),
        "dtype": np.lib.format.dtype_to_descr(value.dtype),
        "shape": list(value.shape),
    }


@contextlib.contextmanager
def go1(answer: Callable[[dict[str, Any]], tuple[int, bytes]]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, data = answer({"path": self.path, **body})
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def adapter(folder: Path) -> Path:
    path = folder / "go1.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "joints": JOINTS,
                "cameras": {"head": "top", "hand_right": "right", "hand_left": "left"},
                "image_size": [SIDE, SIDE],
                "action_scale": [0.02] * JOINTS,
                "state": {"elements": list(range(7, 14)), "size": 16, "fill": {15: 1.0}},
                "actions": {"elements": list(range(7, 14)), "size": 16},
                "server": {"timeout": 20.0, "max_age": 20.0},
            },
            sort_keys=False,
        )
    )
    return path


def test_go1_is_asked_as_its_server_wants_it(tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []

    def answer(body: dict[str, Any]) -> tuple[int, bytes]:
        asked.append(body)
        actions = np.zeros((30, 16), np.float32)
        actions[:, 7:14] = 0.5
        reply = {"actions": _json_numpy(actions), "hidden_states": _json_numpy(np.ones((6, 4), np.float32))}
        return 200, json.dumps(reply).encode()

    with go1(answer) as address:
        vla = load_vla(f"go1:{address}@{adapter(tmp_path)}")
        observations = tiny_observations()
        seen = vla.act(observations, generator=torch.Generator())
    assert vla.spec.horizon == 30
    position = observations.proprio[0, :JOINTS]
    torch.testing.assert_close(seen.chunk[0, 0], (0.5 - position) / 0.02, atol=1e-3, rtol=1e-3)
    body = asked[-1]
    assert body["path"] == "/act"
    assert body["instruction"] == INSTRUCTION
    state = np.frombuffer(base64.b64decode(body["state"]["__numpy__"]), body["state"]["dtype"])
    assert state.shape == (16,)
    np.testing.assert_allclose(state[7:14], position, atol=1e-6)
    assert state[15] == 1.0
    assert body["top"]["shape"] == [SIDE, SIDE, 3]
    assert np.frombuffer(base64.b64decode(body["ctrl_freqs"]["__numpy__"]), np.float32).tolist() == [30.0]


@pytest.mark.parametrize(
    ("status", "data", "message"),
    [
        (200, json.dumps(_json_numpy(np.zeros((30, 16), np.float32))).encode(), "no `hidden_states`"),
        (500, b"out of memory", "answers 500: out of memory"),
        (200, b'{"actions": [[0', "cannot be read"),
        (200, b"[" * 60_000, "cannot be read"),
        (200, pickle.dumps([1]), "cannot be read"),
        (200, json.dumps({"__numpy__": "!!", "dtype": "<f4", "shape": [1]}).encode(), "no base64"),
        (
            200,
            json.dumps({"__numpy__": "AAAA", "dtype": "|O", "shape": [1]}).encode(),
            "nothing is unpickled",
        ),
    ],
)
def test_a_go1_server_that_gives_no_embeddings_is_refused(
    tmp_path: Path, status: int, data: bytes, message: str
) -> None:
    with go1(lambda _: (status, data)) as address, pytest.raises(VLAUnavailableError, match=message):
        load_vla(f"go1:{address}@{adapter(tmp_path)}")


def test_where_nobody_listens_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(VLAUnavailableError, match="start the server, or correct the address"):
        load_vla(f"go1:http://127.0.0.1:{port}@{adapter(tmp_path)}")

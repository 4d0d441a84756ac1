"""Genie Sim's side of its policy protocol, written from the protocol's description: it asks, executes the chunk,
asks again."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import msgpack
import numpy as np
from PIL import Image
from websockets.sync.client import ClientConnection, connect

SIZES = {"head": (800, 1280), "hand_left": (480, 848), "hand_right": (480, 848)}
ARMS = np.array(
    [
        -1.0751,
        0.6109,
        0.2793,
        -1.2846,
        0.7295,
        1.4957,
        -0.1868,
        1.0734,
        -0.6109,
        -0.2793,
        1.2846,
        -0.7313,
        -1.4957,
        0.1868,
    ]
)
"""Genie Sim's default pose of the G1, left 7 then right 7, rad."""


def jpeg(height: int, width: int, seed: int) -> bytes:
    """A smooth picture, as cameras see, compressed."""
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    file = io.BytesIO()
    small.resize((width, height), Image.Resampling.BILINEAR).save(file, "JPEG", quality=90)
    return file.getvalue()


class Simulator:
    """Robot that executes commands exactly."""

    def __init__(self, address: str) -> None:
        # The options of the simulator's own client.
        self._open = contextlib.ExitStack()
        self.connection: ClientConnection = self._open.enter_context(
            connect(address, compression=None, max_size=None, ping_interval=20, ping_timeout=60, proxy=None)
        )
        self.arms, self.grippers = ARMS.copy(), np.array([93.6, 0.0])
        self.time = 0
        self.pictures = {
            name: {"encoding": "JPEG", "image_data": jpeg(height, width, i), "height": height, "width": width}
            for i, (name, (height, width)) in enumerate(SIZES.items())
        }

    def request(self, episode: int, *, done: bool = False, **params: Any) -> dict[str, Any]:
        """Next request."""
        self.time += 33_333_333
        return {
            "method": "infer",
            "params": {
                "timestamps": {"head": self.time, "states": self.time},
                "images": self.pictures,
                "states": {
                    "head_joint_states": [0.0, 0.4363],
                    "arm_joint_states": self.arms.tolist(),
                    "waist_joint_states": [0.8727, 0.42],
                    "gripper_states": self.grippers.tolist(),
                },
                "prompt": "plug the charger in",
                "robot_type": "G1_omnipicker",
                "task_name": "charger",
                "episode_idx": episode,
                "episode_done": done,
                "task_progress": [],
                **params,
            },
        }

    def ask(self, request: Any) -> dict[str, Any]:
        """The answer, plain msgpack without any extension."""
        self.connection.send(request if isinstance(request, bytes | str) else msgpack.packb(request))
        reply = self.connection.recv(timeout=60)
        assert isinstance(reply, bytes)
        answer = msgpack.unpackb(reply)
        assert isinstance(answer, dict)
        return answer

    def step(self, episode: int, *, done: bool = False) -> dict[str, Any]:
        """Ask, and execute the whole chunk."""
        result: dict[str, Any] = self.ask(self.request(episode, done=done))["result"]
        for left, right in zip(result["left_arm"]["values"], result["right_arm"]["values"], strict=True):
            self.arms = np.array([*left, *right])
        return result

    def close(self) -> None:
        """Hang up."""
        self._open.close()

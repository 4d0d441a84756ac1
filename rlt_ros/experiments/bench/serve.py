"""``rlt-ros bench serve``: what the policy server for Genie Sim costs beyond the policy itself.

A client on loopback asks as Genie Sim does, with JPEGs of the G1's cameras in full size. The overhead of a request
is its round trip less the time of VLA, token and actor: reading the message, decoding and resizing three pictures,
the robot's limits, writing the answer, and the socket both ways. The shipped VLA acts with an actor that has learned
nothing, which changes no time.
"""

from __future__ import annotations

import contextlib
import io
import time
from typing import Any

import numpy as np
import torch

from rlt_ros.perception import Observation
from rlt_ros.rlt.checkpoint import export_actor, import_actor
from rlt_ros.rlt.config import RLTConfig, Shapes
from rlt_ros.rlt.learner import Learner
from rlt_ros.robots.profile import load_profile
from rlt_ros.serving.genie_sim import CAMERAS, GenieSimSession
from rlt_ros.serving.policy import DEFAULT_ROBOT, ServedPolicy, Serving
from rlt_ros.serving.websocket import WebSocketServer
from rlt_ros.vla.loading import BUILTIN, load_frozen
from rlt_ros.vla.wire import pack, unpack

SIZES = {"head": (800, 1280), "hand_left": (480, 848), "hand_right": (480, 848)}
"""Height and width of the G1's cameras in Genie Sim, pixels (`G1_omnipicker.json`)."""
TASK, PROMPT = "charger", "plug the charger into the power strip"
_LEFT = (-1.0751, 0.6109, 0.2793, -1.2846, 0.7295, 1.4957, -0.1868)
_RIGHT = (1.0734, -0.6109, -0.2793, 1.2846, -0.7313, -1.4957, 0.1868)
ARMS = (*_LEFT, *_RIGHT)
"""Genie Sim's default pose of the G1's arms, left 7 then right 7, rad."""
_WARM_UP = 10


def run(requests: int = 200, threads: int = 1) -> dict[str, Any]:
    """Measure one episode of many requests.

    Args:
        requests: how many are measured, after ten that do not count.
        threads: of PyTorch.

    Returns:
        ``round_trip_ms``, ``policy_ms`` and ``overhead_ms``, each with ``median`` and ``p99``; ``overhead_cpu_ms``:
        mean processor time of client and server together for a request less that of the same decisions made without a
        network, which other load on the machine changes little.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    policy = _policy()
    server = WebSocketServer(lambda: GenieSimSession(policy))
    server.start()
    try:
        return {**_measure(policy, server.port, requests), "requests": requests, "threads": threads}
    finally:
        server.close()
        torch.set_num_threads(before)


def _policy() -> ServedPolicy:
    frozen, rlt = load_frozen(BUILTIN, TASK), RLTConfig()
    dim = frozen.action_space.dim
    shapes = Shapes(frozen.z_dim, 2 * dim, rlt.chunk, dim)
    actor = import_actor(
        export_actor(Learner(rlt, shapes), lineage=frozen.lineage), shapes=shapes, lineage=frozen.lineage
    )
    return ServedPolicy(frozen, load_profile(DEFAULT_ROBOT), rlt, actor, Serving())


def _measure(policy: ServedPolicy, port: int, requests: int) -> dict[str, Any]:
    from websockets.sync.client import connect

    pictures = {name: _jpeg(*SIZES[name]) for name in CAMERAS.values()}
    round_trips, passes = [], []
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(
            connect(f"ws://127.0.0.1:{port}", compression=None, max_size=None, proxy=None)
        )
        busy = 0.0
        for number in range(_WARM_UP + requests):
            if number == _WARM_UP:
                busy = time.process_time()
            begun = time.perf_counter()
            connection.send(pack(_request(pictures, number)))
            answer = unpack(connection.recv(timeout=60), limit=2**24)
            round_trips.append(1e3 * (time.perf_counter() - begun))
            passes.append(1e3 * policy.pass_seconds)
            if "result" not in answer:
                raise RuntimeError(f"the server refuses: {answer}")
        busy = time.process_time() - busy
    alone = _decisions(policy, requests)
    trips, inside = np.array(round_trips[_WARM_UP:]), np.array(passes[_WARM_UP:])
    figures: dict[str, Any] = {
        name: {"median": float(np.median(values)), "p99": float(np.percentile(values, 99))}
        for name, values in (
            ("round_trip_ms", trips),
            ("policy_ms", inside),
            ("overhead_ms", trips - inside),
        )
    }
    return {**figures, "overhead_cpu_ms": 1e3 * (busy - alone) / requests}


def _decisions(policy: ServedPolicy, count: int) -> float:
    """Processor time of as many decisions, s."""
    position = np.array(_RIGHT)
    height, width = policy.image_size
    images = {camera: np.full((height, width, 3), 100, np.uint8) for camera in policy.cameras}
    observation = Observation(0, images, position, np.zeros_like(position))
    busy = time.process_time()
    for _ in range(count):
        policy.decide(observation, PROMPT)
    return time.process_time() - busy


def _request(pictures: dict[str, dict[str, Any]], number: int) -> dict[str, Any]:
    stamp = number * 33_333_333
    return {
        "method": "infer",
        "params": {
            "timestamps": {"head": stamp, "states": stamp},
            "images": pictures,
            "states": {
                "head_joint_states": [0.0, 0.4363],
                "arm_joint_states": list(ARMS),
                "waist_joint_states": [0.8727, 0.42],
                "gripper_states": [0.0, 0.0],
            },
            "prompt": PROMPT,
            "episode_idx": 0,
            "episode_done": False,
        },
    }


def _jpeg(height: int, width: int) -> dict[str, Any]:
    """A smooth picture with some texture, as a camera's is."""
    from PIL import Image

    random = np.random.default_rng(height)
    picture = Image.fromarray(random.integers(0, 256, (60, 90, 3), dtype=np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=90)
    return {"encoding": "JPEG", "image_data": file.getvalue(), "height": height, "width": width}

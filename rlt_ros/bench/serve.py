"""``rlt-ros bench serve``: overhead of the policy server for Genie Sim over the policy itself.

A client in its own process, like the simulator, replays episodes over loopback: full-size JPEGs of the G1's cameras,
different in each request. Genie Sim sends one request per chunk: an episode of 200 requests is 2,000 control steps,
67 s at 30 Hz. The overhead of a request is its round trip minus the time of VLA, token and actor: the socket both ways,
reading the message, decoding and resizing three images, the robot's limits, writing the answer. The shipped VLA acts
with an untrained actor, without effect on the time.

Two parts of the overhead are measured alone after each episode, for comparison on a busy machine: decoding of the same
images in this process, and immediate answers to the same messages.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rlt_ros.learning.checkpoint import export_actor, import_actor
from rlt_ros.perception import Observation
from rlt_ros.rlt.config import RLTConfig, Shapes
from rlt_ros.rlt.learner import Learner
from rlt_ros.robots.profile import DEFAULT_ROBOT, load_profile
from rlt_ros.serving.genie_sim import CAMERAS, MAX_BYTES, GenieSimSession
from rlt_ros.serving.policy import ServedPolicy, ServingConfig
from rlt_ros.serving.websocket import Message, PeerSession, WebSocketServer
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
# Different images of each camera.
_VIEWS = 8

Times = NDArray[np.float64]


class _Timed(GenieSimSession):
    """PeerSession that records the duration of each request, ms."""

    def __init__(self, policy: ServedPolicy, passes: list[float], decodes: list[float]) -> None:
        super().__init__(policy)
        self._served, self._passes, self._decodes = policy, passes, decodes

    def answer(self, message: Message) -> bytes:
        """Answer a request and record its duration."""
        answer = super().answer(message)
        self._passes.append(1e3 * self._served.pass_seconds)
        self._decodes.append(1e3 * self.decode_seconds)
        return answer


class _ImmediateSession:
    """PeerSession with a constant answer of usual size."""

    def __init__(self) -> None:
        rows = [[0.0] * 7] * 10
        arm = {"kind": "JOINT_ABS", "values": rows}
        self._answer = pack({"result": {"left_arm": arm, "right_arm": arm}})

    def greeting(self) -> None:
        """Send nothing: the simulator sends the first message."""

    def answer(self, message: Message) -> bytes:
        """Read the request; return the constant answer."""
        unpack(message, limit=MAX_BYTES)
        return self._answer

    def refusal(self, reason: str) -> bytes:
        """Error message; never used."""
        return pack({"error": reason})


def run(requests: int = 200, episodes: int = 3, threads: int = 1) -> dict[str, Any]:
    """Measure some episodes.

    Args:
        requests: of an episode, after ten to warm up.
        episodes: number.
        threads: of PyTorch.

    Returns:
        ``round_trip_ms``, ``policy_ms``, ``overhead_ms``, and parts of the overhead: ``decode_ms`` (the images
        within the request), ``decode_alone_ms`` and ``wire_alone_ms``; each with ``median`` over all requests and
        ``p99`` of an episode: the median over the episodes, and in ``best_p99`` the best. ``decode_share``: of the
        overhead. ``overhead_cpu_ms``: mean processor time of the server per request minus that of the same decision
        without a network; other load on the machine has little effect on it.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        policy = _policy()
        taken = [_episode(policy, requests) for _ in range(episodes)]
    finally:
        torch.set_num_threads(before)
    figures: dict[str, Any] = {}
    for name in taken[0]:
        if name.endswith("_ms"):
            p99 = [float(np.percentile(one[name], 99)) for one in taken]
            figures[name] = {
                "median": float(np.median(np.concatenate([one[name] for one in taken]))),
                "p99": float(np.median(p99)),
                "best_p99": min(p99),
            }
    spent = {name: sum(float(one[name].sum()) for one in taken) for name in ("decode_ms", "overhead_ms")}
    return {
        **figures,
        "decode_share": spent["decode_ms"] / spent["overhead_ms"],
        "overhead_cpu_ms": float(np.median([one["cpu"] for one in taken])),
        "requests": requests,
        "episodes": episodes,
        "threads": threads,
    }


def _policy() -> ServedPolicy:
    frozen, rlt = load_frozen(BUILTIN, TASK), RLTConfig()
    dim = frozen.action_space.dim
    shapes = Shapes(frozen.z_dim, 2 * dim, rlt.chunk, dim)
    actor = import_actor(
        export_actor(Learner(rlt, shapes), lineage=frozen.lineage), shapes=shapes, lineage=frozen.lineage
    )
    return ServedPolicy(frozen, load_profile(DEFAULT_ROBOT), rlt, actor, ServingConfig())


def _episode(policy: ServedPolicy, requests: int) -> dict[str, Times]:
    """Times of each request of an episode, ms."""
    passes: list[float] = []
    decodes: list[float] = []
    busy = time.process_time()
    trips = _ask(lambda: _Timed(policy, passes, decodes), requests)
    busy = time.process_time() - busy - _decisions(policy, _WARM_UP + requests)
    inside, decode = np.array(passes[_WARM_UP:]), np.array(decodes[_WARM_UP:])
    return {
        "round_trip_ms": trips,
        "policy_ms": inside,
        "overhead_ms": trips - inside,
        "decode_ms": decode,
        "decode_alone_ms": _decoding(policy, requests),
        "wire_alone_ms": _ask(_ImmediateSession, requests),
        "cpu": np.array(1e3 * busy / (_WARM_UP + requests)),
    }


def _ask(session: Callable[[], PeerSession], requests: int) -> Times:
    """Round trips (requests,) of a client in its own process, ms."""
    server = WebSocketServer(session)
    server.start()
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__, str(server.port), str(requests)],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    finally:
        server.close()
    return np.array(json.loads(done.stdout.splitlines()[-1]))


def _decoding(policy: ServedPolicy, count: int) -> Times:
    """Times (count,) of decoding the three images of a request like a session, without other work, ms."""
    session, views = GenieSimSession(policy), _views()
    times = []
    for number in range(_WARM_UP + count):
        session.pictures(views[number % _VIEWS])
        times.append(1e3 * session.decode_seconds)
    return np.array(times[_WARM_UP:])


def _decisions(policy: ServedPolicy, count: int) -> float:
    """Processor time of `count` decisions, s."""
    position = np.array(_RIGHT)
    height, width = policy.image_size
    images = {camera: np.full((height, width, 3), 100, np.uint8) for camera in policy.cameras}
    observation = Observation(0, images, position, np.zeros_like(position))
    busy = time.process_time()
    for _ in range(count):
        policy.decide(observation, PROMPT)
    return time.process_time() - busy


def _replay(port: int, requests: int) -> list[float]:
    """Send the requests of an episode as a client; return the round trip of each, ms."""
    from websockets.sync.client import connect

    views, trips = _views(), []
    with connect(f"ws://127.0.0.1:{port}", compression=None, max_size=None, proxy=None) as connection:
        for number in range(_WARM_UP + requests):
            message = pack(_request(views[number % _VIEWS], number))
            begun = time.perf_counter()
            connection.send(message)
            reply = connection.recv(timeout=60)
            trips.append(1e3 * (time.perf_counter() - begun))
            answer = unpack(reply, limit=MAX_BYTES)
            if "result" not in answer:
                raise RuntimeError(f"the server refused a request: {answer}")
    return trips[_WARM_UP:]


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


def _views() -> list[dict[str, dict[str, Any]]]:
    """Images of all cameras at `_VIEWS` moments."""
    return [{name: _jpeg(*SIZES[name], seed=seed) for name in CAMERAS.values()} for seed in range(_VIEWS)]


def _jpeg(height: int, width: int, seed: int = 0) -> dict[str, Any]:
    """Smooth image with some texture, like that of a camera."""
    from PIL import Image

    random = np.random.default_rng([height, seed])
    picture = Image.fromarray(random.integers(0, 256, (60, 90, 3), dtype=np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=90)
    return {"encoding": "JPEG", "image_data": file.getvalue(), "height": height, "width": width}


if __name__ == "__main__":
    print(json.dumps(_replay(int(sys.argv[1]), int(sys.argv[2]))))

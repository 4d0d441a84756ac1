"""Genie Sim's policy protocol `corobot`: requests in plain msgpack, answers with absolute joint targets.

Source: AgibotTech/genie_sim, `benchmark/policy/corobotpolicy.py` and its challenge-inference-protocol page. The
simulator executes a whole chunk, waits until the arm has settled and requests the next, so the arm is at rest at each
request. Joints outside the policy hold their position at the start of the episode: the other arm that of its first
request, a gripper its last command.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlt_ros.perception import Observation
from rlt_ros.robots.profile import RobotProfile
from rlt_ros.serving.errors import RequestError
from rlt_ros.serving.instruction import read_prompt
from rlt_ros.serving.pictures import from_file
from rlt_ros.serving.policy import ServedPolicy
from rlt_ros.serving.vectors import read_vector
from rlt_ros.serving.websocket import Message
from rlt_ros.store.parameters import ConfigError
from rlt_ros.vla.wire import WireError, pack, unpack

Array = NDArray[np.float64]

PORT = 8999
ARM = 7
ARM_JOINTS = tuple(
    f"idx{base + joint}_arm_{side}_joint{joint}"
    for side, base in (("l", 20), ("r", 60))
    for joint in range(1, ARM + 1)
)
"""The G1's arms in the protocol's order: left 7, then right 7."""
CAMERAS = {"head": "head", "hand_left": "hand_left", "hand_right": "hand_right"}
"""The VLA's camera → the protocol's camera."""
MAX_BYTES = 32 * 2**20

_STATE_RANGE, _LIMIT = 120.0, 0.78
"""State of a gripper: clip(0.78 - q/0.78, 0, 1)·120 of its joint q, rad; an action a means q = (1 - a)·0.78."""


class G1Arms:
    """Mapping of the policy's joints to the G1's fourteen arm joints; the others hold.

    Args:
        profile: robot profile.

    Raises:
        ConfigError: the profile moves a joint outside the protocol.
    """

    def __init__(self, profile: RobotProfile) -> None:
        foreign = [joint for joint in profile.joints if joint not in ARM_JOINTS]
        if foreign:
            raise ConfigError(
                f"robot `{profile.name}` moves {', '.join(foreign)}; Genie Sim's protocol commands the arms of the G1, "
                f"{ARM_JOINTS[0]} to {ARM_JOINTS[-1]}"
            )
        self.moved = np.array([ARM_JOINTS.index(joint) for joint in profile.joints])
        self._held: Array | None = None
        self._grippers: list[float] | None = None

    def begin(self) -> None:
        """Start an episode; its first request sets the held positions."""
        self._held = self._grippers = None

    def select(self, arms: Array, grippers: Array) -> Array:
        """Positions (A,) of the policy's joints from those of both arms (14,), rad, and the gripper states (2,)."""
        if self._held is None:
            self._held = arms.copy()
            self._grippers = [gripper_action(state) for state in grippers]
        position: Array = arms[self.moved]
        return position

    def expand(self, targets: Array) -> tuple[Array, list[float]]:
        """Targets (N, 14) rad of both arms from the policy's (N, A), and the actions of both grippers."""
        assert self._held is not None
        assert self._grippers is not None
        arms = np.repeat(self._held[None], len(targets), axis=0)
        arms[:, self.moved] = targets
        return arms, self._grippers


def gripper_action(state: float) -> float:
    """Action, 0 open to 1 closed, that holds a gripper in ``state``, 0 open to 93.6 closed."""
    # The state saturates there, so the gripper is open or nearly so.
    if state <= 0.0:
        return 0.0
    joint = _LIMIT * (_LIMIT - state / _STATE_RANGE)
    return float(np.clip(1.0 - joint / _LIMIT, 0.0, 1.0))


class GenieSimSession:
    """PeerSession of one simulator. Implements `rlt_ros.serving.websocket.PeerSession`."""

    def __init__(self, policy: ServedPolicy) -> None:
        self._policy, self._arms = policy, G1Arms(policy.profile)
        missing = [camera for camera in policy.cameras if camera not in CAMERAS]
        if missing:
            raise ConfigError(
                f"the VLA needs the cameras {', '.join(missing)}; Genie Sim sends {', '.join(CAMERAS)}"
            )
        self._episode: Any = None
        self._over = True
        # Decoding dominates a request's cost, and Pillow releases the interpreter lock.
        self._decoders = ThreadPoolExecutor(len(policy.cameras), "decoder")
        self.decode_seconds = 0.0
        """Decoding time of the last request's images."""

    def greeting(self) -> None:
        """Return None: the simulator sends the first message."""

    def answer(self, message: Message) -> bytes:
        """Joint targets for a request `infer`."""
        try:
            request = unpack(message, limit=MAX_BYTES)
        except WireError as error:
            raise RequestError(f"the request cannot be read: {error}") from error
        if not isinstance(request, Mapping) or request.get("method") != "infer":
            method = request.get("method") if isinstance(request, Mapping) else type(request).__name__
            raise RequestError(f"method is {method!r}; only `infer` is answered")
        params = _mapping(request, "params")
        states = _mapping(params, "states")
        arms = read_vector(states.get("arm_joint_states"), "arm_joint_states", len(ARM_JOINTS))
        grippers = read_vector(states.get("gripper_states"), "gripper_states", 2)
        prompt = read_prompt(params.get("prompt"))
        pictures = self.pictures(_mapping(params, "images"))
        if self._over or params.get("episode_idx") != self._episode:
            self._arms.begin()
            self._policy.reset()
        self._episode, self._over = params.get("episode_idx"), params.get("episode_done") is True
        position = self._arms.select(arms, grippers)
        observation = Observation(_stamp(params), pictures, position, np.zeros_like(position))
        targets, held = self._arms.expand(self._policy.decide(observation, prompt))
        return pack({"result": _result(targets, held)})

    def refusal(self, reason: str) -> bytes:
        """Answer with `error` in place of `result`."""
        return pack({"error": reason})

    def pictures(self, images: Mapping[Any, Any]) -> dict[str, NDArray[np.uint8]]:
        """Decode the VLA's camera images (h, w, 3) of a request's ``images`` in parallel.

        Raises:
            RequestError: an image is missing, or no JPEG.
        """

        def decoded(camera: str) -> NDArray[np.uint8]:
            name = CAMERAS[camera]
            image = _mapping(images, name)
            if image.get("encoding") != "JPEG":
                raise RequestError(f"picture `{name}` has encoding {image.get('encoding')!r}; expected JPEG")
            return from_file(image.get("image_data"), self._policy.image_size, name=name)

        cameras = self._policy.cameras
        begun = time.perf_counter()
        pictures = dict(zip(cameras, self._decoders.map(decoded, cameras), strict=True))
        self.decode_seconds = time.perf_counter() - begun
        return pictures


def _result(arms: Array, grippers: list[float]) -> dict[str, Any]:
    left, right = ([[action]] * len(arms) for action in grippers)
    return {
        "left_arm": {"kind": "JOINT_ABS", "values": arms[:, :ARM].tolist()},
        "right_arm": {"kind": "JOINT_ABS", "values": arms[:, ARM:].tolist()},
        "left_effector": left,
        "right_effector": right,
    }


def _stamp(params: Mapping[Any, Any]) -> int:
    stamps = params.get("timestamps")
    stamp = stamps.get("states") if isinstance(stamps, Mapping) else None
    return stamp if isinstance(stamp, int) and not isinstance(stamp, bool) and stamp >= 0 else 0


def _mapping(parent: Mapping[Any, Any], key: str) -> Mapping[Any, Any]:
    value = parent.get(key)
    if not isinstance(value, Mapping):
        raise RequestError(
            f"`{key}` is {'missing' if value is None else type(value).__name__}; expected a map"
        )
    return value

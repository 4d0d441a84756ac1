"""Server of openpi's protocol: for Genie Sim up to 3.0.3, openpi's own client, and VLAs with hidden states.

A greeting with metadata, then an answer with `actions` per observation; errors are text
(Physical-Intelligence/openpi, `websocket_policy_server.py`). Extensions: `rlt_ros.vla.backends.openpi_client`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rlt_ros.perception import Observation
from rlt_ros.robots.action_space import ActionSpace
from rlt_ros.serving.errors import RequestError
from rlt_ros.serving.genie_sim import ARM_JOINTS, G1Arms
from rlt_ros.serving.instruction import read_prompt
from rlt_ros.serving.pictures import from_array
from rlt_ros.serving.policy import ServedPolicy
from rlt_ros.serving.vectors import read_vector
from rlt_ros.serving.websocket import Message
from rlt_ros.vla.backends.remote import HIDDEN_MASK, HIDDEN_STATES
from rlt_ros.vla.protocol import VLA, ObservationBatch
from rlt_ros.vla.wire import WireError, pack, unpack

PORT = 8000
# Three raw images of 1920 × 1080 are 19 MB.
MAX_BYTES = 32 * 2**20

# 14 arm joints, then 2 grippers, then padding.
_G1_STATE = 16
_ALIASES = {"top_head": "head"}
"""Genie Sim's camera name → ours, for differing names."""


class OpenPIPolicySession:
    """PeerSession of a trained policy. Implements `rlt_ros.serving.websocket.PeerSession`.

    A state with one number per policy joint contains those joints, and so do the actions. A state of 16 or more numbers
    is that of the G1 in Genie Sim (both arms, both grippers), and so are the actions.
    """

    def __init__(self, policy: ServedPolicy) -> None:
        self._policy = policy
        # The layout of Genie Sim exists for the G1 only.
        known = all(joint in ARM_JOINTS for joint in policy.profile.joints)
        self._arms = G1Arms(policy.profile) if known else None

    def greeting(self) -> bytes:
        """Robot, joints, cameras and rate of the policy."""
        return pack(
            {
                "policy": "rlt_ros",
                "robot": self._policy.profile.name,
                "joints": list(self._policy.profile.joints),
                "cameras": list(self._policy.cameras),
                "hz": self._policy.hz,
            }
        )

    def answer(self, message: Message) -> bytes:
        """Absolute joint targets."""
        begun = time.perf_counter()
        fields = _read(message)
        state, prompt = _state(fields), read_prompt(fields.get("prompt"))
        pictures = _pictures(fields, self._policy.cameras, self._policy.image_size)
        if fields.get("reset") is True:
            self._policy.reset()
            if self._arms is not None:
                self._arms.begin()
        joints = len(self._policy.profile.joints)
        whole = self._arms is not None and len(state) >= _G1_STATE
        if not whole and len(state) != joints:
            also = f", or those of the G1's arms and grippers ({_G1_STATE} and more)" if self._arms else ""
            raise RequestError(f"`state` has {len(state)} numbers; expected those of {joints} joints{also}")
        position = state
        if whole:
            assert self._arms is not None
            # The protocol's gripper state is 20 open to 120 closed, without the offset of 0.78.
            grippers = np.clip((state[14:16] - 20) / 100, 0, 1) * 0.78 * 120
            position = self._arms.select(state[:14], grippers)
        observation = Observation(0, pictures, position, np.zeros_like(position))
        targets = self._policy.decide(observation, prompt)
        if whole:
            assert self._arms is not None
            arms, held = self._arms.expand(targets)
            targets = np.concatenate([arms, np.repeat([held], len(arms), axis=0)], axis=1)
        spent = 1e3 * (time.perf_counter() - begun)
        return pack({"actions": targets.astype(np.float32), "server_timing": {"infer_ms": spent}})

    def refusal(self, reason: str) -> str:
        """Text, which openpi's client raises as an error."""
        return reason


class OpenPIVLASession:
    """PeerSession of a frozen VLA with hidden states, for a robot without a GPU of its own.

    ``images`` are those of the VLA's cameras by name, ``state`` is the joint positions in rad, ``actions`` are
    absolute joint targets (H, A) in rad.
    """

    def __init__(self, vla: VLA) -> None:
        self._vla, self._space = vla, ActionSpace(vla.action_scale.double().numpy())
        # Back ends store a pass's hidden states on themselves.
        self._lock = threading.Lock()

    def greeting(self) -> bytes:
        """Fingerprint and shapes of the VLA."""
        spec = self._vla.spec
        return pack(
            {
                "policy": "rlt_ros",
                "fingerprint": self._vla.fingerprint,
                "cameras": list(spec.cameras),
                "image_size": list(spec.image_size),
                HIDDEN_STATES: {"tokens": spec.tokens, "embed_dim": spec.embed_dim, "layer": "last"},
            }
        )

    def answer(self, message: Message) -> bytes:
        """Actions and hidden states of one observation."""
        fields, spec = _read(message), self._vla.spec
        state = _state(fields)
        if len(state) != spec.action_dim:
            raise RequestError(
                f"`state` has {len(state)} numbers; expected the positions of {spec.action_dim} joints"
            )
        pictures = _pictures(fields, spec.cameras, spec.image_size)
        seed = fields.get("seed", 0)
        if not isinstance(seed, int) or isinstance(seed, bool):
            raise RequestError(f"`seed` is {seed!r}; expected a whole number")
        proprio = torch.from_numpy(np.concatenate([state, np.zeros_like(state)])).float()[None]
        images = {camera: torch.from_numpy(pixels.copy())[None] for camera, pixels in pictures.items()}
        try:
            with self._lock:
                output = self._vla.act(
                    ObservationBatch(images, proprio, [read_prompt(fields.get("prompt"))]),
                    generator=torch.Generator().manual_seed(seed),
                )
        except ValueError as error:
            raise RequestError(f"the VLA refuses the observation: {error}") from error
        targets = self._space.decode(state[None], output.chunk.double().numpy())[0]
        answer: dict[str, Any] = {"actions": targets.astype(np.float32)}
        if fields.get("return_hidden_states") is True:
            answer[HIDDEN_STATES] = output.embeddings[0].numpy()
            answer[HIDDEN_MASK] = output.mask[0].numpy()
        return pack(answer)

    def refusal(self, reason: str) -> str:
        """Text, which openpi's client raises as an error."""
        return reason


def _read(message: Message) -> Mapping[Any, Any]:
    try:
        fields = unpack(message, limit=MAX_BYTES)
    except WireError as error:
        raise RequestError(f"the observation cannot be read: {error}") from error
    if not isinstance(fields, Mapping):
        raise RequestError(f"the observation is {type(fields).__name__}; expected a map")
    return fields


def _state(fields: Mapping[Any, Any]) -> NDArray[np.float64]:
    return read_vector(fields.get("state", fields.get("observation/state")), "state")


def _pictures(
    fields: Mapping[Any, Any], cameras: tuple[str, ...], size: tuple[int, int]
) -> dict[str, NDArray[np.uint8]]:
    given = fields.get("images", {})
    if not isinstance(given, Mapping):
        raise RequestError(f"`images` is {type(given).__name__}; expected a map of pictures")
    images = {_ALIASES.get(name, name): image for name, image in {**fields, **given}.items()}
    missing = [camera for camera in cameras if camera not in images]
    if missing:
        raise RequestError(
            f"picture `{missing[0]}` is missing (got: {', '.join(map(str, given)) or 'none'}); "
            f"the VLA needs {', '.join(cameras)}"
        )
    return {camera: from_array(images[camera], size, name=camera) for camera in cameras}

"""VLAs behind a network: one request per observation, and answers that are checked before use."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlt_ros.rlt.ranges import LARGEST, LARGEST_EMBEDDING, out_of_range
from rlt_ros.store.lineage import fingerprint
from rlt_ros.vla.adapter import AdapterConfig
from rlt_ros.vla.backends.external import ExternalVLA
from rlt_ros.vla.errors import VLAUnavailableError
from rlt_ros.vla.protocol import ObservationBatch, VLAOutput, check_observations

HIDDEN_STATES, HIDDEN_MASK = "hidden_states", "hidden_mask"
"""Keys of an answer: (M, D) final-layer embeddings of the image tokens, and (M,) mask, False for padding."""

SAME_MODEL_TOLERANCE = 0.05
"""Relative distance of embeddings of the same images up to which they come from the same model. Rounding of half
precision on a GPU, in other batches or kernels, stays below 0.01."""


@dataclass(frozen=True)
class ServerReply:
    """Answer of a server to one observation.

    Attributes:
        actions: (H, N) in the server's units.
        hidden: (M, D) embeddings.
        mask: (M,) False for padding.
    """

    actions: np.ndarray
    hidden: np.ndarray
    mask: np.ndarray

    @classmethod
    def of(cls, reply: Any, *, name: str) -> ServerReply:
        """Check an answer of the server ``name``.

        Raises:
            VLAUnavailableError: actions or hidden states are missing, misshapen, or beyond `rlt_ros.rlt.ranges`.
        """
        if not isinstance(reply, Mapping) or "actions" not in reply:
            raise VLAUnavailableError(f"{name}: its answer holds no `actions`; it is another kind of server")
        if reply.get(HIDDEN_STATES) is None:
            raise VLAUnavailableError(
                f"{name}: its answer holds no `{HIDDEN_STATES}`, and without the VLA's embeddings there is no RL "
                "token; serve the model with `rlt-ros serve`, or add them to the server's answer"
            )
        actions = _numbers(reply["actions"], "actions", name)
        hidden = _numbers(reply[HIDDEN_STATES], HIDDEN_STATES, name, LARGEST_EMBEDDING)
        if hidden.ndim == 3 and len(hidden) == 1:
            hidden = hidden[0]
        if actions.ndim == 3 and len(actions) == 1:
            actions = actions[0]
        mask = _numbers(reply.get(HIDDEN_MASK, np.ones(hidden.shape[:1], bool)), HIDDEN_MASK, name)
        mask = mask.astype(bool).reshape(-1)
        if actions.ndim != 2 or hidden.ndim != 2 or mask.shape != hidden.shape[:1] or not mask.any():
            raise VLAUnavailableError(
                f"{name}: actions {actions.shape}, {HIDDEN_STATES} {hidden.shape} and mask {mask.shape} do not fit; "
                "expected (H, N), (M, D) and (M,), of which not all are padding"
            )
        return cls(actions, hidden, mask)

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Shapes of actions and embeddings."""
        return self.actions.shape, self.hidden.shape

    def resembles(self, other: ServerReply) -> bool:
        """True if both may be one model's answers to one request: noise changes actions, not embeddings."""
        if self.shapes != other.shapes or not np.array_equal(self.mask, other.mask):
            return False
        size = float(np.linalg.norm(other.hidden))
        return float(np.linalg.norm(self.hidden - other.hidden)) <= SAME_MODEL_TOLERANCE * size


class RemoteVLA(ExternalVLA):
    """VLA behind a request function. Implements `rlt_ros.vla.VLA`.

    The first request, at start-up, sends black images and reads the server's shapes. It is repeated after every failure
    before any other request, since a restarted server may serve another model.

    Args:
        request: (observation of one row, instruction, seed) → the server's answer, or VLAUnavailableError.
        adapter: mapping of the model's cameras and vectors to the robot.
        name: name and address, for messages.
        identity: the server's own identity of its weights; empty if it gives none.
        greeting: current metadata of the server, as bytes.
        clock: steady seconds.
    """

    def __init__(
        self,
        request: Callable[[Mapping[str, np.ndarray], np.ndarray, str, int], Any],
        adapter: AdapterConfig,
        *,
        name: str,
        identity: str = "",
        greeting: Callable[[], bytes] = bytes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(adapter)
        self._send, self._name, self._greeting, self._clock = request, name, greeting, clock
        self._first, self._first_greeting = self._first_answer(), greeting()
        # Set when another model may be served since the last answer.
        self._doubtful = False
        steps, width = self._first.actions.shape
        self._adapt(steps=steps, state_size=adapter.size(adapter.state), action_size=width, normalised=False)
        tokens, embed_dim = self._first.hidden.shape
        self._spec = self._shapes(embed_dim=embed_dim, tokens=tokens)
        # Without the server's own identity its address serves: rows of different servers are never mixed.
        numeric = (adapter.cameras, adapter.action_scale, adapter.relative, adapter.state, adapter.actions)
        self._fingerprint = fingerprint(f"{identity or name}{self._spec}{numeric}".encode())

    def act(self, observations: ObservationBatch, *, generator: torch.Generator) -> VLAOutput:
        """See `rlt_ros.vla.VLA.act`; a server without seeds draws its own noise.

        Raises:
            VLAUnavailableError: no answer, a late one, or one with other shapes.
        """
        check_observations(observations, self._spec)
        seeds = torch.randint(2**31, (len(observations),), generator=generator).tolist()
        answers = [self._answer(observations, row, seed) for row, seed in enumerate(seeds)]
        actions = torch.stack([torch.from_numpy(answer.actions) for answer in answers])
        hidden = torch.stack([torch.from_numpy(answer.hidden) for answer in answers])
        mask = torch.stack([torch.from_numpy(answer.mask) for answer in answers])
        return VLAOutput(hidden, mask, self._vectors.chunk(actions, observations.proprio))

    def embed(self, observations: ObservationBatch) -> tuple[Tensor, Tensor]:
        """See `rlt_ros.vla.VLA.embed`; the server computes the chunk as well."""
        output = self.act(observations, generator=torch.Generator())
        return output.embeddings, output.mask

    def _answer(self, observations: ObservationBatch, row: int, seed: int) -> ServerReply:
        images = {camera: observations.images[camera][row].numpy() for camera in self._adapter.cameras}
        state = self._vectors.state(observations.proprio[row : row + 1])[0].numpy()
        if self._doubtful:
            self._verify_model()
        requested_at = self._clock()
        answer = self._request_reply(images, state, observations.instructions[row], seed)
        age = self._clock() - requested_at
        if age > self._adapter.server.max_age:
            raise VLAUnavailableError(
                f"{self._name}: the answer came after {age:.2f} s, older than `server.max_age` "
                f"({self._adapter.server.max_age:g} s), and is not used"
            )
        if answer.shapes != self._first.shapes:
            raise self._changed(f"it gives actions and embeddings {answer.shapes}, not {self._first.shapes}")
        return answer

    def _verify_model(self) -> None:
        """Check after a failure that the server still serves the first model."""
        again = self._first_answer()
        if self._greeting() != self._first_greeting:
            raise self._changed("its greeting differs from that at the start")
        if not again.resembles(self._first):
            raise self._changed("its embeddings of black pictures are not those of the start")
        self._doubtful = False

    def _changed(self, why: str) -> VLAUnavailableError:
        self._doubtful = True
        return VLAUnavailableError(
            f"{self._name}: another model is served there now: {why}; serve the first one again, or restart"
        )

    def _request_reply(
        self, images: Mapping[str, np.ndarray], state: np.ndarray, prompt: str, seed: int
    ) -> ServerReply:
        try:
            reply = self._send(images, state, prompt, seed)
        except VLAUnavailableError:
            self._doubtful = True
            raise
        return ServerReply.of(reply, name=self._name)

    def _first_answer(self) -> ServerReply:
        adapter = self._adapter
        height, width = adapter.image_size
        images = {camera: np.zeros((height, width, 3), np.uint8) for camera in adapter.cameras}
        state = np.zeros(adapter.size(adapter.state), np.float32)
        return self._request_reply(images, state, adapter.server.probe, 0)


def _numbers(value: Any, key: str, name: str, largest: float = LARGEST) -> np.ndarray:
    try:
        given = np.asarray(value)
        if given.dtype.kind not in "biuf":
            raise TypeError(f"their type is {given.dtype}")
        # An overflow becomes infinite, and is refused below.
        with np.errstate(over="ignore"):
            numbers = given.astype(np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise VLAUnavailableError(f"{name}: `{key}` of its answer are no numbers ({error})") from error
    wrong = out_of_range(numbers, largest) if numbers.size else "nothing"
    if wrong:
        raise VLAUnavailableError(f"{name}: `{key}` of its answer hold {wrong}; the answer is not used")
    return numbers

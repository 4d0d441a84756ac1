"""What VLAs behind a network have in common: one question an observation, and answers that are checked before use."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlt_ros.rlt.lineage import fingerprint
from rlt_ros.rlt.ranges import LARGEST, LARGEST_EMBEDDING, out_of_range
from rlt_ros.vla.backends.foreign import ForeignVLA
from rlt_ros.vla.card import VLACard
from rlt_ros.vla.errors import VLAUnavailableError
from rlt_ros.vla.protocol import ObservationBatch, VLAOutput, check_observations

HIDDEN_STATES, HIDDEN_MASK = "hidden_states", "hidden_mask"
"""Keys of an answer: (M, D) final-layer embeddings of the image tokens, and (M,) which of them are no padding."""

_SAME = 0.05
"""Greatest distance of embeddings of the same pictures, relative to their size, that is rounding and not another model.
Half precision on a GPU, in other batches or kernels, stays below 0.01."""


@dataclass(frozen=True)
class Answer:
    """What a server made of one observation.

    Attributes:
        actions: (H, N) in the server's own units.
        hidden: (M, D) embeddings.
        mask: (M,) False for padding.
    """

    actions: np.ndarray
    hidden: np.ndarray
    mask: np.ndarray

    @classmethod
    def of(cls, reply: Any, *, who: str) -> Answer:
        """Check an answer.

        Raises:
            VLAUnavailableError: actions or hidden states are missing, of a wrong form, or beyond `rlt_ros.rlt.ranges`.
        """
        if not isinstance(reply, Mapping) or "actions" not in reply:
            raise VLAUnavailableError(f"{who}: its answer holds no `actions`; it is another kind of server")
        if reply.get(HIDDEN_STATES) is None:
            raise VLAUnavailableError(
                f"{who}: its answer holds no `{HIDDEN_STATES}`, and without the VLA's embeddings there is no RL token; "
                "serve the model with `rlt-ros serve`, or add them to the server's answer"
            )
        actions = _numbers(reply["actions"], "actions", who)
        hidden = _numbers(reply[HIDDEN_STATES], HIDDEN_STATES, who, LARGEST_EMBEDDING)
        if hidden.ndim == 3 and len(hidden) == 1:
            hidden = hidden[0]
        if actions.ndim == 3 and len(actions) == 1:
            actions = actions[0]
        mask = _numbers(reply.get(HIDDEN_MASK, np.ones(hidden.shape[:1], bool)), HIDDEN_MASK, who)
        mask = mask.astype(bool).reshape(-1)
        if actions.ndim != 2 or hidden.ndim != 2 or mask.shape != hidden.shape[:1] or not mask.any():
            raise VLAUnavailableError(
                f"{who}: actions {actions.shape}, {HIDDEN_STATES} {hidden.shape} and mask {mask.shape} do not fit; "
                "expected (H, N), (M, D) and (M,), of which not all are padding"
            )
        return cls(actions, hidden, mask)

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Of actions and embeddings."""
        return self.actions.shape, self.hidden.shape

    def resembles(self, other: Answer) -> bool:
        """Return whether one model may have given both to one question: noise changes actions, not embeddings."""
        if self.shapes != other.shapes or not np.array_equal(self.mask, other.mask):
            return False
        size = float(np.linalg.norm(other.hidden))
        return float(np.linalg.norm(self.hidden - other.hidden)) <= _SAME * size


class RemoteVLA(ForeignVLA):
    """A VLA behind a question-and-answer function. Implements `rlt_ros.vla.VLA`.

    The first question, at start-up, shows black pictures and says what shapes the server speaks in. It is asked again
    after every failure, before anything else: a server that was started anew may serve another model.

    Args:
        ask: (observation of one row, instruction, seed) → the server's answer, or VLAUnavailableError.
        card: how the model belongs to the robot.
        who: name and address, for messages.
        identity: the server's word for which weights it holds; empty where it does not say.
        greeting: what the server says of itself now, as bytes.
        clock: steady seconds.
    """

    def __init__(
        self,
        ask: Callable[[Mapping[str, np.ndarray], np.ndarray, str, int], Any],
        card: VLACard,
        *,
        who: str,
        identity: str = "",
        greeting: Callable[[], bytes] = bytes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(card)
        self._ask, self._who, self._greeting, self._clock = ask, who, greeting, clock
        self._first, self._greeted = self._first_answer(), greeting()
        self._doubtful = False  # whether another model may be served since the last answer
        steps, width = self._first.actions.shape
        self._wire(steps=steps, state_size=card.size(card.state), action_size=width, normalised=False)
        tokens, embed_dim = self._first.hidden.shape
        self._spec = self._shapes(embed_dim=embed_dim, tokens=tokens)
        # Without a word from the server the address has to do: rows of another server are never mixed in.
        said = (card.cameras, card.action_scale, card.relative, card.state, card.actions)
        self._fingerprint = fingerprint(f"{identity or who}{self._spec}{said}".encode())

    def act(self, observations: ObservationBatch, *, generator: torch.Generator) -> VLAOutput:
        """See `rlt_ros.vla.VLA.act`; a server that takes no seed draws noise of its own.

        Raises:
            VLAUnavailableError: no answer, one that came too late, or one of other shapes.
        """
        check_observations(observations, self._spec)
        seeds = torch.randint(2**31, (len(observations),), generator=generator).tolist()
        answers = [self._answer(observations, row, seed) for row, seed in enumerate(seeds)]
        actions = torch.stack([torch.from_numpy(answer.actions) for answer in answers])
        hidden = torch.stack([torch.from_numpy(answer.hidden) for answer in answers])
        mask = torch.stack([torch.from_numpy(answer.mask) for answer in answers])
        return VLAOutput(hidden, mask, self._wiring.chunk(actions, observations.proprio))

    def embed(self, observations: ObservationBatch) -> tuple[Tensor, Tensor]:
        """See `rlt_ros.vla.VLA.embed`; the server computes the chunk all the same."""
        seen = self.act(observations, generator=torch.Generator())
        return seen.embeddings, seen.mask

    def _answer(self, observations: ObservationBatch, row: int, seed: int) -> Answer:
        images = {camera: observations.images[camera][row].numpy() for camera in self._card.cameras}
        state = self._wiring.state(observations.proprio[row : row + 1])[0].numpy()
        if self._doubtful:
            self._recognise()
        asked = self._clock()
        answer = self._asked(images, state, observations.instructions[row], seed)
        age = self._clock() - asked
        if age > self._card.server.max_age:
            raise VLAUnavailableError(
                f"{self._who}: the answer came after {age:.2f} s, older than `server.max_age` "
                f"({self._card.server.max_age:g} s), and is not used"
            )
        if answer.shapes != self._first.shapes:
            raise self._another(f"it gives actions and embeddings {answer.shapes}, not {self._first.shapes}")
        return answer

    def _recognise(self) -> None:
        """After a failure: see that the server is what it was at the start."""
        again = self._first_answer()
        if self._greeting() != self._greeted:
            raise self._another("it greets otherwise than at the start")
        if not again.resembles(self._first):
            raise self._another("its embeddings of black pictures are not those of the start")
        self._doubtful = False

    def _another(self, why: str) -> VLAUnavailableError:
        self._doubtful = True
        return VLAUnavailableError(
            f"{self._who}: another model is served there now: {why}; serve the first one again, or start anew"
        )

    def _asked(self, images: Mapping[str, np.ndarray], state: np.ndarray, prompt: str, seed: int) -> Answer:
        try:
            reply = self._ask(images, state, prompt, seed)
        except VLAUnavailableError:
            self._doubtful = True
            raise
        return Answer.of(reply, who=self._who)

    def _first_answer(self) -> Answer:
        card = self._card
        height, width = card.image_size
        images = {camera: np.zeros((height, width, 3), np.uint8) for camera in card.cameras}
        state = np.zeros(card.size(card.state), np.float32)
        return self._asked(images, state, card.server.probe, 0)


def _numbers(value: Any, name: str, who: str, largest: float = LARGEST) -> np.ndarray:
    try:
        given = np.asarray(value)
        if given.dtype.kind not in "biuf":
            raise TypeError(f"their type is {given.dtype}")
        with np.errstate(over="ignore"):  # a number too large for it becomes infinite, and is found below
            numbers = given.astype(np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise VLAUnavailableError(f"{who}: `{name}` of its answer are no numbers ({error})") from error
    wrong = out_of_range(numbers, largest) if numbers.size else "nothing"
    if wrong:
        raise VLAUnavailableError(f"{who}: `{name}` of its answer hold {wrong}; the answer is not used")
    return numbers

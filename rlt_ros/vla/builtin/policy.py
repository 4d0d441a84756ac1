"""Built-in VLA: network, vocabulary and statistics behind the protocol of `rlt_ros.vla.protocol`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from rlt_ros.store.documents import parse_json
from rlt_ros.store.lineage import fingerprint
from rlt_ros.store.parameters import build
from rlt_ros.store.storage import load_tensors, save_tensors
from rlt_ros.vla.builtin.config import STEM_STRIDE, VLAConfig
from rlt_ros.vla.builtin.head import FlowHead
from rlt_ros.vla.builtin.model import Prefix, standardise
from rlt_ros.vla.builtin.statistics import Statistics
from rlt_ros.vla.builtin.text import Vocabulary
from rlt_ros.vla.protocol import ObservationBatch, VLAOutput, VLASpec, check_observations

KIND = "builtin-vla"
_WEIGHTS, _STATISTICS = "weights.", "statistics."


@dataclasses.dataclass(frozen=True)
class Blueprint:
    """Architecture, shapes and vocabulary: all that is needed to build the network, except its weights."""

    config: VLAConfig
    spec: VLASpec
    vocabulary: Vocabulary

    @classmethod
    def of(
        cls,
        config: VLAConfig,
        *,
        cameras: tuple[str, ...],
        image_size: tuple[int, int],
        action_dim: int,
        vocabulary: Vocabulary,
    ) -> Blueprint:
        """Blueprint for a robot and its cameras; proprioception is position and velocity of ``action_dim`` joints."""
        tokens = len(cameras) * (image_size[0] // STEM_STRIDE) * (image_size[1] // STEM_STRIDE)
        spec = VLASpec(cameras, image_size, 2 * action_dim, action_dim, config.horizon, config.width, tokens)
        return cls(config, spec, vocabulary)

    def to_json(self) -> str:
        """JSON text for a file's metadata."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str, *, origin: str) -> Blueprint:
        """Inverse of `to_json`."""
        return build(cls, parse_json(text, origin=origin), origin=origin)


class Network(nn.Module):
    """All trained parts: prefix, action head, and the goal read-out of training."""

    def __init__(self, blueprint: Blueprint) -> None:
        """Initialise weights from torch's global generator."""
        super().__init__()
        spec, words = blueprint.spec, blueprint.vocabulary
        self.prefix = Prefix(
            blueprint.config,
            cameras=len(spec.cameras),
            image_size=spec.image_size,
            proprio_dim=spec.proprio_dim,
            vocabulary_size=words.size,
            max_words=words.max_words,
        )
        self.head = FlowHead(blueprint.config, spec.action_dim)
        self.goal = nn.Linear(spec.embed_dim, spec.action_dim)


class BuiltinVLA:
    """Small VLA, created by training or by `load`. Implements `rlt_ros.vla.VLA`."""

    def __init__(self, blueprint: Blueprint, statistics: Statistics, weights: Mapping[str, Tensor]) -> None:
        """Freeze ``weights``, rounded to half precision as in the file, so that saving changes nothing."""
        self.blueprint = blueprint
        self.statistics = statistics
        self._stored = {name: value.detach().half().clone() for name, value in weights.items()}
        self.network = Network(blueprint)
        self.network.load_state_dict({name: value.float() for name, value in self._stored.items()})
        self.network.requires_grad_(False).eval()
        self._fingerprint = fingerprint((fingerprint(self._tensors()) + blueprint.to_json()).encode())

    @property
    def spec(self) -> VLASpec:
        """Shapes of inputs and outputs."""
        return self.blueprint.spec

    @property
    def fingerprint(self) -> str:
        """Identity of weights, statistics, vocabulary and architecture."""
        return self._fingerprint

    @property
    def action_scale(self) -> Tensor:
        """(A,) rad per policy unit."""
        return self.statistics.action_scale

    @torch.no_grad()
    def act(self, observations: ObservationBatch, *, generator: torch.Generator) -> VLAOutput:
        """Embeddings and chunk of every observation from one pass; see `rlt_ros.vla.VLA.act`."""
        prefix, mask = self._prefix(observations)
        spec = self.spec
        noise = torch.randn(len(observations), spec.horizon, spec.action_dim, generator=generator)
        chunk = self.statistics.denormalise_chunk(self.network.head.sample(noise, prefix, mask))
        return VLAOutput(prefix[:, : spec.tokens].contiguous(), mask[:, : spec.tokens], chunk)

    @torch.no_grad()
    def embed(self, observations: ObservationBatch) -> tuple[Tensor, Tensor]:
        """Embeddings and mask of `act`: the same prefix, without the action head."""
        prefix, mask = self._prefix(observations)
        return prefix[:, : self.spec.tokens].contiguous(), mask[:, : self.spec.tokens]

    def save(self, path: Path) -> None:
        """Write weights, statistics and blueprint to one safetensors file, atomically."""
        metadata = {"blueprint": self.blueprint.to_json(), "fingerprint": self.fingerprint}
        save_tensors(path, self._tensors(), kind=KIND, metadata=metadata)

    @classmethod
    def load(cls, path: Path) -> BuiltinVLA:
        """Read a file of `save`. Raises `rlt_ros.store.storage.StorageError` for a damaged or foreign file."""
        tensors, metadata = load_tensors(path, kind=KIND)
        blueprint = Blueprint.from_json(metadata["blueprint"], origin=str(path))
        return cls(
            blueprint,
            Statistics.from_tensors(_with_prefix(tensors, _STATISTICS)),
            _with_prefix(tensors, _WEIGHTS),
        )

    def _prefix(self, observations: ObservationBatch) -> tuple[Tensor, Tensor]:
        check_observations(observations, self.spec)
        words, words_mask = self.blueprint.vocabulary.encode(observations.instructions)
        images = stack_images(observations, self.spec.cameras)
        proprio = self.statistics.normalise_proprio(observations.proprio.float())
        result: tuple[Tensor, Tensor] = self.network.prefix(images, words, words_mask, proprio)
        return result

    def _tensors(self) -> dict[str, Tensor]:
        return {_WEIGHTS + name: value for name, value in self._stored.items()} | {
            _STATISTICS + name: value for name, value in self.statistics.tensors().items()
        }


def stack_images(observations: ObservationBatch, cameras: tuple[str, ...]) -> Tensor:
    """Standardised images (B, cameras, 3, h, w) of an observation batch."""
    stacked = torch.stack([observations.images[camera] for camera in cameras], dim=1)
    return standardise(stacked.flatten(0, 1)).unflatten(0, (-1, len(cameras)))


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

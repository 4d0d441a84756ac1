"""pi0 of 🤗 transformers (`PI0ForConditionalGeneration`): embeddings and chunk from one prefill.

The library runs its PaliGemma over pictures and instruction once and keeps keys and values; every step of flow matching
reads those. What is taken here is the output of that same run, of the last layer and after the final norm, at the
positions of the pictures. `PI0Model.embed_prefix`, whose name suggests it, gives what goes *into* the first layer.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rlt_ros.vla.backends.foreign import ForeignVLA
from rlt_ros.vla.backends.weights import check_folder, choose_device, identity, pictures
from rlt_ros.vla.card import VLACard
from rlt_ros.vla.errors import VLALoadError
from rlt_ros.vla.protocol import ObservationBatch, VLAOutput, check_observations


class TransformersPI0(ForeignVLA):
    """Implements `rlt_ros.vla.VLA`.

    Args:
        model: a `PI0ForConditionalGeneration`; it is frozen.
        tokenizer: the text part of its processor.
        card: how it belongs to the robot.
    """

    def __init__(self, model: Any, tokenizer: Any, card: VLACard) -> None:
        super().__init__(card)
        config = model.config
        vision = config.vlm_config.vision_config
        self._size = (vision.image_size, vision.image_size)
        self._image_token = config.vlm_config.image_token_id
        self._noise = (config.chunk_size, config.max_action_dim)
        self._tokenizer = tokenizer
        self._wire(
            steps=config.chunk_size,
            state_size=config.max_state_dim,
            action_size=config.max_action_dim,
            normalised=True,
        )
        weights = {name: value for name, value in model.state_dict().items()}
        architecture = {key: value for key, value in config.to_dict().items() if not key.startswith("_")}
        for of_the_library in ("transformers_version", "dtype"):
            architecture.pop(of_the_library, None)
        self._fingerprint = identity(weights, architecture, card)
        self._spec = self._shapes(
            embed_dim=config.vlm_config.text_config.hidden_size,
            tokens=len(card.cameras) * (vision.image_size // vision.patch_size) ** 2,
        )
        self._device = choose_device(card)
        self.model = model.to(self._device, getattr(torch, card.dtype)).requires_grad_(False).eval()
        self._prefill: Tensor | None = None
        self.model.model.vlm.register_forward_hook(self._keep)

    @classmethod
    def load(cls, where: str, card: VLACard) -> TransformersPI0:
        """Load a checkpoint from a folder or the hub.

        Raises:
            VLALoadError: files are missing, or it is another model's.
            ModuleNotFoundError: transformers is not installed.
        """
        transformers: Any = importlib.import_module("transformers")
        folder = Path(where).expanduser()
        local = folder.is_dir()
        if local:
            check_folder(folder, kind="transformers", needed=("tokenizer_config.json",))
        place = str(folder) if local else where
        try:
            config, _ = transformers.PreTrainedConfig.get_config_dict(place)
            _require_pi0(where, config)
            model, report = transformers.PI0ForConditionalGeneration.from_pretrained(
                place, use_safetensors=True, output_loading_info=True, dtype=getattr(torch, card.dtype)
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(place)
        except (OSError, ValueError, RuntimeError) as error:
            if isinstance(error, VLALoadError):
                raise
            raise VLALoadError(f"{where}: cannot be loaded by transformers: {error}") from error
        # The library fills what a checkpoint lacks with random numbers and only warns.
        lacking = sorted(report["missing_keys"]) + sorted(str(key) for key in report["mismatched_keys"])
        if lacking:
            raise VLALoadError(
                f"{where}: lacks {len(lacking)} of pi0's weights, such as {lacking[0]}; fetch the whole checkpoint"
            )
        return cls(model, tokenizer, card)

    @torch.no_grad()
    def act(self, observations: ObservationBatch, *, generator: torch.Generator) -> VLAOutput:
        """Embeddings and chunk of every observation from one pass; see `rlt_ros.vla.VLA.act`."""
        inputs = self._inputs(observations)
        noise = torch.randn(len(observations), *self._noise, generator=generator)
        state = self._wiring.state(observations.proprio)
        actions = self.model.sample_actions(state=self._there(state), noise=self._there(noise), **inputs)
        embeddings, mask = self._seen(observations)
        return VLAOutput(embeddings, mask, self._wiring.chunk(actions.cpu(), observations.proprio))

    @torch.no_grad()
    def embed(self, observations: ObservationBatch) -> tuple[Tensor, Tensor]:
        """Embeddings and mask of `act` alone: the prefill, without flow matching."""
        inputs = self._inputs(observations)
        attention = inputs["attention_mask"]
        prefix = self.model.model.embed_prefix(
            inputs["input_ids"], inputs["pixel_values"], inputs["pixel_attention_mask"]
        )
        self.model.model.vlm(
            inputs_embeds=prefix,
            attention_mask=attention,
            position_ids=attention.cumsum(-1) - 1,
            token_type_ids=torch.zeros_like(prefix)[:, :, 0],
            use_cache=True,
        )
        return self._seen(observations)

    def _keep(self, module: Any, arguments: Any, output: Any) -> None:
        """Note what the language model made of pictures and instruction."""
        self._prefill = output.last_hidden_state

    def _seen(self, observations: ObservationBatch) -> tuple[Tensor, Tensor]:
        """Embeddings (B, M, D) and mask (B, M) of the pictures, which stand first and are never padding."""
        assert self._prefill is not None
        embeddings = self._prefill[:, : self.spec.tokens].float().cpu().contiguous()
        self._prefill = None
        return embeddings, torch.ones(embeddings.shape[:2], dtype=torch.bool)

    def _inputs(self, observations: ObservationBatch) -> dict[str, Tensor]:
        """What the library's processor would make; it needs torchvision, which this does not."""
        check_observations(observations, self.spec)
        views = pictures(observations, self._card.cameras, self._size) * 2 - 1
        ids, attention = self._prompts(observations.instructions)
        return {
            "input_ids": ids.to(self._device),
            "attention_mask": attention.to(self._device),
            "pixel_values": self._there(views),
            "pixel_attention_mask": torch.ones(views.shape[:2], dtype=torch.bool, device=self._device),
        }

    def _prompts(self, instructions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Token ids (B, L) and mask (B, L): places of the pictures, then ``<bos>instruction\\n``, padded at the end."""
        start = [self._image_token] * self.spec.tokens + [self._tokenizer.bos_token_id]
        rows = [
            start + self._tokenizer(f"{text.strip()}\n", add_special_tokens=False)["input_ids"]
            for text in instructions
        ]
        length = max(map(len, rows))
        ids = torch.zeros(len(rows), length, dtype=torch.long)
        attention = torch.zeros_like(ids)
        for row, tokens in enumerate(rows):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            attention[row, : len(tokens)] = 1
        return ids, attention

    def _there(self, value: Tensor) -> Tensor:
        return value.to(self._device, getattr(torch, self._card.dtype))


def _require_pi0(where: str, config: dict[str, Any]) -> None:
    if config.get("model_type") == "pi0":
        return
    if "type" in config and "model_type" not in config:
        raise VLALoadError(
            f"{where}: is a checkpoint of lerobot (`{config['type']}`); name it `lerobot:{where}`"
        )
    raise VLALoadError(
        f"{where}: its `model_type` is {config.get('model_type')!r}; the transformers back end takes pi0"
    )

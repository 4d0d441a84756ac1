"""pi0 of 🤗 transformers (`PI0ForConditionalGeneration`): embeddings and chunk from one prefill.

The library runs its PaliGemma over images and instruction once and caches keys and values, which every step of flow
matching reads. The embeddings are the output of that same run, of the last layer after the final norm, at the positions
of the images. `PI0Model.embed_prefix`, despite its name, returns the input of the first layer.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rlt_ros.vla.adapter import AdapterConfig
from rlt_ros.vla.backends.external import ExternalVLA
from rlt_ros.vla.backends.weights import check_folder, choose_device, fit_images, identity
from rlt_ros.vla.errors import VLALoadError
from rlt_ros.vla.protocol import ObservationBatch, VLAOutput, check_observations


class TransformersPI0(ExternalVLA):
    """pi0 of transformers. Implements `rlt_ros.vla.VLA`.

    Args:
        model: a `PI0ForConditionalGeneration`; frozen here.
        tokenizer: text part of its processor.
        adapter: mapping of the model's cameras and vectors to the robot.
    """

    def __init__(self, model: Any, tokenizer: Any, adapter: AdapterConfig) -> None:
        super().__init__(adapter)
        config = model.config
        vision = config.vlm_config.vision_config
        self._size = (vision.image_size, vision.image_size)
        self._image_token = config.vlm_config.image_token_id
        self._noise = (config.chunk_size, config.max_action_dim)
        self._tokenizer = tokenizer
        self._adapt(
            steps=config.chunk_size,
            state_size=config.max_state_dim,
            action_size=config.max_action_dim,
            normalised=True,
        )
        weights = {name: value for name, value in model.state_dict().items()}
        architecture = {key: value for key, value in config.to_dict().items() if not key.startswith("_")}
        for library_key in ("transformers_version", "dtype"):
            architecture.pop(library_key, None)
        self._fingerprint = identity(weights, architecture, adapter)
        self._spec = self._shapes(
            embed_dim=config.vlm_config.text_config.hidden_size,
            tokens=len(adapter.cameras) * (vision.image_size // vision.patch_size) ** 2,
        )
        self._device = choose_device(adapter)
        self.model = model.to(self._device, getattr(torch, adapter.dtype)).requires_grad_(False).eval()
        self._prefill: Tensor | None = None
        self.model.model.vlm.register_forward_hook(self._keep_prefill)

    @classmethod
    def load(cls, location: str, adapter: AdapterConfig) -> TransformersPI0:
        """Load a checkpoint from a folder or the hub.

        Raises:
            VLALoadError: files are missing, or belong to another model.
            ModuleNotFoundError: transformers is not installed.
        """
        transformers: Any = importlib.import_module("transformers")
        folder = Path(location).expanduser()
        local = folder.is_dir()
        if local:
            check_folder(folder, kind="transformers", needed=("tokenizer_config.json",))
        place = str(folder) if local else location
        try:
            config, _ = transformers.PreTrainedConfig.get_config_dict(place)
            _require_pi0(location, config)
            model, report = transformers.PI0ForConditionalGeneration.from_pretrained(
                place, use_safetensors=True, output_loading_info=True, dtype=getattr(torch, adapter.dtype)
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(place)
        except (OSError, ValueError, RuntimeError) as error:
            if isinstance(error, VLALoadError):
                raise
            raise VLALoadError(f"{location}: cannot be loaded by transformers: {error}") from error
        # The library fills missing weights with random numbers and only warns.
        missing = sorted(report["missing_keys"]) + sorted(str(key) for key in report["mismatched_keys"])
        if missing:
            raise VLALoadError(
                f"{location}: lacks {len(missing)} of pi0's weights, such as {missing[0]}; fetch the whole checkpoint"
            )
        return cls(model, tokenizer, adapter)

    @torch.no_grad()
    def act(self, observations: ObservationBatch, *, generator: torch.Generator) -> VLAOutput:
        """Embeddings and chunk of every observation from one pass; see `rlt_ros.vla.VLA.act`."""
        inputs = self._inputs(observations)
        noise = torch.randn(len(observations), *self._noise, generator=generator)
        state = self._vectors.state(observations.proprio)
        actions = self.model.sample_actions(
            state=self._to_device(state), noise=self._to_device(noise), **inputs
        )
        embeddings, mask = self._image_embeddings()
        return VLAOutput(embeddings, mask, self._vectors.chunk(actions.cpu(), observations.proprio))

    @torch.no_grad()
    def embed(self, observations: ObservationBatch) -> tuple[Tensor, Tensor]:
        """Embeddings and mask of `act`: the prefill, without flow matching."""
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
        return self._image_embeddings()

    def _keep_prefill(self, module: Any, arguments: Any, output: Any) -> None:
        """Keep the output of the language model for images and instruction."""
        self._prefill = output.last_hidden_state

    def _image_embeddings(self) -> tuple[Tensor, Tensor]:
        """Embeddings (B, M, D) and mask (B, M) of the images, which come first and are never padding."""
        assert self._prefill is not None
        embeddings = self._prefill[:, : self.spec.tokens].float().cpu().contiguous()
        self._prefill = None
        return embeddings, torch.ones(embeddings.shape[:2], dtype=torch.bool)

    def _inputs(self, observations: ObservationBatch) -> dict[str, Tensor]:
        """Inputs as from the library's processor, which would need torchvision."""
        check_observations(observations, self.spec)
        pixels = fit_images(observations, self._adapter.cameras, self._size) * 2 - 1
        ids, attention = self._prompts(observations.instructions)
        return {
            "input_ids": ids.to(self._device),
            "attention_mask": attention.to(self._device),
            "pixel_values": self._to_device(pixels),
            "pixel_attention_mask": torch.ones(pixels.shape[:2], dtype=torch.bool, device=self._device),
        }

    def _prompts(self, instructions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Token ids (B, L) and mask (B, L): image positions, then ``<bos>instruction\\n``, padded at the end."""
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

    def _to_device(self, value: Tensor) -> Tensor:
        return value.to(self._device, getattr(torch, self._adapter.dtype))


def _require_pi0(location: str, config: dict[str, Any]) -> None:
    if config.get("model_type") == "pi0":
        return
    if "type" in config and "model_type" not in config:
        raise VLALoadError(
            f"{location}: is a checkpoint of lerobot (`{config['type']}`); name it `lerobot:{location}`"
        )
    raise VLALoadError(
        f"{location}: its `model_type` is {config.get('model_type')!r}; the transformers back end takes pi0"
    )

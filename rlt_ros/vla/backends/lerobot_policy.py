"""SmolVLA, pi0 and pi0.5 of lerobot: embeddings and chunk from one prefill, with the library's own processing.

The three share a build: `model.embed_prefix` puts pictures first (then words, and for SmolVLA the state), one pass
of the language model over it fills the cache, and every step of flow matching reads that cache. That pass is a
method that the library calls by name, so hooks of PyTorch do not see it; here the method is wrapped, and its output,
of the last layer and after the final norm, kept at the positions of the pictures.

Releases 0.4.4 (Python 3.10, 3.11) and 0.6 (3.12, 3.13) go the same way; what differs between policies and releases is
in `_settle`.

The checkpoint's own statistics normalise state and actions (`policy_preprocessor.json`); those of the card are not
used.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rlt_ros.rlt.parameters import ConfigError
from rlt_ros.vla.backends.foreign import ForeignVLA
from rlt_ros.vla.backends.weights import check_folder, choose_device, identity
from rlt_ros.vla.card import VLACard
from rlt_ros.vla.errors import VLALoadError
from rlt_ros.vla.protocol import ObservationBatch, VLAOutput, check_observations

POLICIES = {"smolvla": "vlm_with_expert", "pi0": "paligemma_with_expert", "pi05": "paligemma_with_expert"}
"""Type of policy → the part of its network that runs the language model."""
PREPROCESSOR = "policy_preprocessor.json"
_PICTURE = "observation.images."


class _PrefillDoneError(Exception):
    """Embeddings are there, and no chunk is wanted."""


class LeRobotVLA(ForeignVLA):
    """Implements `rlt_ros.vla.VLA`.

    Args:
        policy: a `SmolVLAPolicy`, `PI0Policy` or `PI05Policy`; it is frozen.
        before: its preprocessor.
        after: its postprocessor.
        card: how it belongs to the robot.
    """

    def __init__(self, policy: Any, before: Any, after: Any, card: VLACard) -> None:
        super().__init__(card)
        config = policy.config
        self._keys = {
            camera: name if name.startswith("observation.") else _PICTURE + name
            for camera, name in card.cameras.items()
        }
        have = list(config.image_features)
        unknown = [key for key in self._keys.values() if key not in have]
        if unknown:
            raise ConfigError(f"the card's `cameras` names {unknown[0]}; the policy has {', '.join(have)}")
        if card.relative and getattr(config, "use_relative_actions", False):
            raise ConfigError(
                "the card's `relative` is true, and the policy's own processing adds the state to its actions already "
                "(`use_relative_actions`); say false"
            )
        self._wire(
            steps=config.chunk_size,
            state_size=config.robot_state_feature.shape[0],
            action_size=config.action_feature.shape[0],
            normalised=False,
        )
        self._config, self._before, self._after = config, before, after
        self._noise = (config.chunk_size, config.max_action_dim)
        self._fingerprint = identity(_weights(policy, before, after), _architecture(config), card)
        self._device = choose_device(card)
        if not hasattr(config, "dtype"):  # others were built in the card's precision: see `_settle`
            # SmolVLA feeds its projections float32 whatever its language model and expert compute in.
            getattr(policy.float().model, POLICIES[config.type]).to(getattr(torch, card.dtype))
        self.policy = policy.to(self._device).requires_grad_(False).eval()
        self._counts: list[int] = []  # tokens of each picture
        self._padding: Tensor | None = None
        self._prefill: Tensor | None = None
        self._only_prefill = False
        self._wrap(policy.model, getattr(policy.model, POLICIES[config.type]))
        embeddings, _ = self._embedded(self._black())
        self._spec = self._shapes(embed_dim=embeddings.shape[2], tokens=embeddings.shape[1])

    @classmethod
    def load(cls, where: str, card: VLACard) -> LeRobotVLA:
        """Load a checkpoint from a folder or the hub.

        Raises:
            ConfigError: the policy cannot compute in the card's precision.
            VLALoadError: files are missing, or it is another kind of policy.
            ModuleNotFoundError: lerobot is not installed.
        """
        folder = Path(where).expanduser()
        local = folder.is_dir()
        if local:
            _require_known(where, check_folder(folder, kind="lerobot", needed=(PREPROCESSOR,)))
        from lerobot.configs.policies import PreTrainedConfig
        from lerobot.policies.factory import get_policy_class, make_pre_post_processors

        place = str(folder) if local else where
        try:
            config = PreTrainedConfig.from_pretrained(place)
            _require_known(where, {"type": config.type})
            _settle(config, card)
            policy = _with_all_weights(get_policy_class(config.type), where, place, config)
            before, after = make_pre_post_processors(
                config,
                pretrained_path=place,
                preprocessor_overrides={"device_processor": {"device": config.device}},
            )
        except (VLALoadError, ConfigError, ModuleNotFoundError):
            raise
        except (ImportError, OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
            raise VLALoadError(f"{where}: cannot be loaded by lerobot: {error}") from error
        return cls(policy, before, after, card)

    @torch.no_grad()
    def act(self, observations: ObservationBatch, *, generator: torch.Generator) -> VLAOutput:
        """Embeddings and chunk of every observation from one pass; see `rlt_ros.vla.VLA.act`."""
        check_observations(observations, self._spec)
        noise = torch.randn(len(observations), *self._noise, generator=generator)
        actions = self._run(observations, noise)
        embeddings, mask = self._seen()
        return VLAOutput(embeddings, mask, self._wiring.chunk(actions, observations.proprio))

    @torch.no_grad()
    def embed(self, observations: ObservationBatch) -> tuple[Tensor, Tensor]:
        """Embeddings and mask of `act` alone: the prefill, without flow matching."""
        check_observations(observations, self._spec)
        return self._embedded(observations)

    @torch.no_grad()
    def _embedded(self, observations: ObservationBatch) -> tuple[Tensor, Tensor]:
        self._only_prefill = True
        try:
            self._run(observations, torch.zeros(len(observations), *self._noise))
        except _PrefillDoneError:
            pass
        finally:
            self._only_prefill = False
        return self._seen()

    def _run(self, observations: ObservationBatch, noise: Tensor) -> Tensor:
        """Actions (B, H, N) in the units of the training data."""
        self._counts, self._prefill = [], None
        batch: dict[str, Any] = {
            key: observations.images[camera].permute(0, 3, 1, 2).float() / 255
            for camera, key in self._keys.items()
        }
        batch["observation.state"] = self._wiring.state(observations.proprio)
        batch["task"] = list(observations.instructions)
        prepared = self._before(batch)
        there = noise.to(self._device, self.policy.model.action_in_proj.weight.dtype)
        actions: Tensor = self._after(self.policy.predict_action_chunk(prepared, noise=there))
        return actions.float().cpu()

    def _wrap(self, model: Any, language: Any) -> None:
        """Note what passes through three methods of the network, and change nothing."""
        forward, embed_image, embed_prefix = language.forward, language.embed_image, model.embed_prefix

        def noting_forward(*arguments: Any, **named: Any) -> Any:
            result = forward(*arguments, **named)
            outputs = result[0]
            if outputs[0] is not None and outputs[1] is None:
                self._prefill = outputs[0]
                if self._only_prefill:
                    raise _PrefillDoneError
            return result

        def noting_image(image: Tensor) -> Tensor:
            embedded: Tensor = embed_image(image)
            self._counts.append(embedded.shape[1])
            return embedded

        def noting_prefix(*arguments: Any, **named: Any) -> Any:
            result = embed_prefix(*arguments, **named)
            self._padding = result[1]
            return result

        language.forward, language.embed_image = noting_forward, noting_image
        model.embed_prefix = noting_prefix

    def _seen(self) -> tuple[Tensor, Tensor]:
        """Embeddings (B, M, D) and mask (B, M) of the cameras' pictures; black ones that the library adds are left
        out."""
        assert self._prefill is not None
        assert self._padding is not None
        # SmolVLA may put two marks before a picture and one after it.
        before, after = (2, 1) if getattr(self._config, "add_image_special_tokens", False) else (0, 0)
        places: list[int] = []
        start = 0
        for count in self._counts[: len(self._keys)]:
            places += range(start + before, start + before + count)
            start += before + count + after
        embeddings, mask = self._prefill[:, places].float().cpu(), self._padding[:, places].cpu()
        self._prefill = self._padding = None
        return embeddings.contiguous(), mask.bool().contiguous()

    def _black(self) -> ObservationBatch:
        height, width = self._card.image_size
        images = {
            camera: torch.zeros(1, height, width, 3, dtype=torch.uint8) for camera in self._card.cameras
        }
        return ObservationBatch(images, torch.zeros(1, 2 * self._card.joints), ["do nothing"])


def _require_known(where: str, config: Mapping[str, Any]) -> None:
    kind = config.get("type")
    if kind in POLICIES:
        return
    if kind is None and "model_type" in config:
        raise VLALoadError(f"{where}: is a checkpoint of transformers; name it `transformers:{where}`")
    raise VLALoadError(f"{where}: its `type` is {kind!r}; the lerobot back end takes {', '.join(POLICIES)}")


def _settle(config: Any, card: VLACard) -> None:
    """Set what a checkpoint's configuration says of the machine it was trained on, before the network is built."""
    config.device = str(choose_device(card))
    # pi0 and pi0.5 have a precision of their own: with bfloat16, pictures, norms and projections stay in float32, and
    # the network does not run when they do not.
    if hasattr(config, "dtype"):
        if card.dtype == "float16":
            raise ConfigError(f"the card's `dtype` is float16; {config.type} takes float32 or bfloat16")
        config.dtype = card.dtype
    # SmolVLA would fetch its language model's weights first, to overwrite them with the checkpoint's.
    if hasattr(config, "load_vlm_weights"):
        config.load_vlm_weights = False
    # What is compiled cannot be looked into.
    if hasattr(config, "compile_model"):
        config.compile_model = False


def _with_all_weights(policy_class: Any, where: str, place: str, config: Any) -> Any:
    """The policy of a checkpoint. The library prints what it lacks, all weights included, and goes on with random
    numbers; here that is an error."""
    lacking: list[list[str]] = []

    class Noting(policy_class):
        def load_state_dict(self, *arguments: Any, **named: Any) -> Any:
            try:
                result = super().load_state_dict(*arguments, **named)
            except RuntimeError as error:
                lacking.append([str(error)])
                raise
            state = self.state_dict()
            found = {value.data_ptr() for key, value in state.items() if key not in result.missing_keys}
            # A weight that is tied to one that is there is there, too.
            lacking.append([key for key in result.missing_keys if state[key].data_ptr() not in found])
            return result

    policy = Noting.from_pretrained(place, config=config, strict=False)
    if not lacking:
        raise VLALoadError(f"{where}: lerobot read no weights; it wants all of them in `model.safetensors`")
    if lacking[0]:
        raise VLALoadError(
            f"{where}: lacks {len(lacking[0])} of the weights of {config.type}, such as {lacking[0][0]}; fetch the "
            "whole checkpoint"
        )
    return policy


def _weights(policy: Any, before: Any, after: Any) -> dict[str, Tensor]:
    """Everything that numbers come from: weights, and statistics of the processors."""
    tensors = dict(policy.state_dict())
    for name, pipeline in (("before", before), ("after", after)):
        for number, step in enumerate(pipeline.steps):
            for key, value in step.state_dict().items():
                tensors[f"{name}.{number}.{key}"] = value
    return tensors


def _architecture(config: Any) -> dict[str, Any]:
    """What the network does beside its weights; where it lies and how it was trained says nothing about that."""
    names = ("type", "chunk_size", "max_state_dim", "max_action_dim", "num_steps", "num_inference_steps")
    return {name: getattr(config, name, None) for name in names}

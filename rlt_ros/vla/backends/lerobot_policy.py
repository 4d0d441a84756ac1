"""SmolVLA, pi0 and pi0.5 of lerobot: embeddings and chunk from one prefill, with the library's own processing.

The three share a structure: `model.embed_prefix` puts images first (then words, and for SmolVLA the state), one pass
of the language model over it fills the cache, and every step of flow matching reads that cache. The library calls that
pass by method name, which bypasses hooks of PyTorch; the method is therefore wrapped, and its output, of the last layer
after the final norm, is kept at the positions of the images.

Releases 0.4.4 (Python 3.10, 3.11) and 0.6 (3.12, 3.13) work alike; `_configure` covers the differences between policies
and releases.

The checkpoint's statistics normalise state and actions (`policy_preprocessor.json`); those of the adapter are not
used.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rlt_ros.store.parameters import ConfigError
from rlt_ros.vla.adapter import AdapterConfig
from rlt_ros.vla.backends.external import ExternalVLA
from rlt_ros.vla.backends.weights import check_folder, choose_device, identity
from rlt_ros.vla.errors import VLALoadError
from rlt_ros.vla.protocol import ObservationBatch, VLAOutput, check_observations

POLICIES = {"smolvla": "vlm_with_expert", "pi0": "paligemma_with_expert", "pi05": "paligemma_with_expert"}
"""Type of policy → submodule that runs the language model."""
PREPROCESSOR = "policy_preprocessor.json"
_IMAGE_PREFIX = "observation.images."


class _PrefillDoneError(Exception):
    """Prefill is complete and no chunk is needed."""


class LeRobotVLA(ExternalVLA):
    """Policy of lerobot. Implements `rlt_ros.vla.VLA`.

    Args:
        policy: a `SmolVLAPolicy`, `PI0Policy` or `PI05Policy`; frozen here.
        before: preprocessor.
        after: postprocessor.
        adapter: mapping of the model's cameras and vectors to the robot.
    """

    def __init__(self, policy: Any, before: Any, after: Any, adapter: AdapterConfig) -> None:
        super().__init__(adapter)
        config = policy.config
        self._keys = {
            camera: name if name.startswith("observation.") else _IMAGE_PREFIX + name
            for camera, name in adapter.cameras.items()
        }
        have = list(config.image_features)
        unknown = [key for key in self._keys.values() if key not in have]
        if unknown:
            raise ConfigError(f"the adapter's `cameras` names {unknown[0]}; the policy has {', '.join(have)}")
        if adapter.relative and getattr(config, "use_relative_actions", False):
            raise ConfigError(
                "`relative` of the adapter is true, and the policy's processing already adds the state to its actions "
                "(`use_relative_actions`); set it to false"
            )
        self._adapt(
            steps=config.chunk_size,
            state_size=config.robot_state_feature.shape[0],
            action_size=config.action_feature.shape[0],
            normalised=False,
        )
        self._config, self._before, self._after = config, before, after
        self._noise = (config.chunk_size, config.max_action_dim)
        self._fingerprint = identity(_weights(policy, before, after), _architecture(config), adapter)
        self._device = choose_device(adapter)
        # The others are built in the adapter's precision, see `_configure`. SmolVLA feeds its projections float32,
        # independent of the precision of language model and expert.
        if not hasattr(config, "dtype"):
            getattr(policy.float().model, POLICIES[config.type]).to(getattr(torch, adapter.dtype))
        self.policy = policy.to(self._device).requires_grad_(False).eval()
        # Tokens of each image.
        self._counts: list[int] = []
        self._padding: Tensor | None = None
        self._prefill: Tensor | None = None
        self._only_prefill = False
        self._wrap(policy.model, getattr(policy.model, POLICIES[config.type]))
        embeddings, _ = self._prefill_only(self._black())
        self._spec = self._shapes(embed_dim=embeddings.shape[2], tokens=embeddings.shape[1])

    @classmethod
    def load(cls, location: str, adapter: AdapterConfig) -> LeRobotVLA:
        """Load a checkpoint from a folder or the hub.

        Raises:
            ConfigError: the policy cannot compute in the adapter's precision.
            VLALoadError: files are missing, or it is another kind of policy.
            ModuleNotFoundError: lerobot is not installed.
        """
        folder = Path(location).expanduser()
        local = folder.is_dir()
        if local:
            _require_known(location, check_folder(folder, kind="lerobot", needed=(PREPROCESSOR,)))
        from lerobot.configs.policies import PreTrainedConfig
        from lerobot.policies.factory import get_policy_class, make_pre_post_processors

        place = str(folder) if local else location
        try:
            config = PreTrainedConfig.from_pretrained(place)
            _require_known(location, {"type": config.type})
            _configure(config, adapter)
            policy = _with_all_weights(get_policy_class(config.type), location, place, config)
            before, after = make_pre_post_processors(
                config,
                pretrained_path=place,
                preprocessor_overrides={"device_processor": {"device": config.device}},
            )
        except (VLALoadError, ConfigError, ModuleNotFoundError):
            raise
        except (ImportError, OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
            raise VLALoadError(f"{location}: cannot be loaded by lerobot: {error}") from error
        return cls(policy, before, after, adapter)

    @torch.no_grad()
    def act(self, observations: ObservationBatch, *, generator: torch.Generator) -> VLAOutput:
        """Embeddings and chunk of every observation from one pass; see `rlt_ros.vla.VLA.act`."""
        check_observations(observations, self._spec)
        noise = torch.randn(len(observations), *self._noise, generator=generator)
        actions = self._run(observations, noise)
        embeddings, mask = self._image_embeddings()
        return VLAOutput(embeddings, mask, self._vectors.chunk(actions, observations.proprio))

    @torch.no_grad()
    def embed(self, observations: ObservationBatch) -> tuple[Tensor, Tensor]:
        """Embeddings and mask of `act`: the prefill, without flow matching."""
        check_observations(observations, self._spec)
        return self._prefill_only(observations)

    @torch.no_grad()
    def _prefill_only(self, observations: ObservationBatch) -> tuple[Tensor, Tensor]:
        self._only_prefill = True
        try:
            self._run(observations, torch.zeros(len(observations), *self._noise))
        except _PrefillDoneError:
            pass
        finally:
            self._only_prefill = False
        return self._image_embeddings()

    def _run(self, observations: ObservationBatch, noise: Tensor) -> Tensor:
        """Actions (B, H, N) in the units of the training data."""
        self._counts, self._prefill = [], None
        batch: dict[str, Any] = {
            key: observations.images[camera].permute(0, 3, 1, 2).float() / 255
            for camera, key in self._keys.items()
        }
        batch["observation.state"] = self._vectors.state(observations.proprio)
        batch["task"] = list(observations.instructions)
        prepared = self._before(batch)
        noise = noise.to(self._device, self.policy.model.action_in_proj.weight.dtype)
        actions: Tensor = self._after(self.policy.predict_action_chunk(prepared, noise=noise))
        return actions.float().cpu()

    def _wrap(self, model: Any, language: Any) -> None:
        """Record the outputs of three methods of the network, which stay unchanged."""
        forward, embed_image, embed_prefix = language.forward, language.embed_image, model.embed_prefix

        def recording_forward(*arguments: Any, **named: Any) -> Any:
            result = forward(*arguments, **named)
            outputs = result[0]
            if outputs[0] is not None and outputs[1] is None:
                self._prefill = outputs[0]
                if self._only_prefill:
                    raise _PrefillDoneError
            return result

        def recording_image(image: Tensor) -> Tensor:
            embedded: Tensor = embed_image(image)
            self._counts.append(embedded.shape[1])
            return embedded

        def recording_prefix(*arguments: Any, **named: Any) -> Any:
            result = embed_prefix(*arguments, **named)
            self._padding = result[1]
            return result

        language.forward, language.embed_image = recording_forward, recording_image
        model.embed_prefix = recording_prefix

    def _image_embeddings(self) -> tuple[Tensor, Tensor]:
        """Embeddings (B, M, D) and mask (B, M) of the cameras' images, without black ones that the library adds."""
        assert self._prefill is not None
        assert self._padding is not None
        # SmolVLA may put two marker tokens before an image and one after it.
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
        height, width = self._adapter.image_size
        images = {
            camera: torch.zeros(1, height, width, 3, dtype=torch.uint8) for camera in self._adapter.cameras
        }
        return ObservationBatch(images, torch.zeros(1, 2 * self._adapter.joints), ["do nothing"])


def _require_known(location: str, config: Mapping[str, Any]) -> None:
    kind = config.get("type")
    if kind in POLICIES:
        return
    if kind is None and "model_type" in config:
        raise VLALoadError(f"{location}: is a checkpoint of transformers; name it `transformers:{location}`")
    raise VLALoadError(
        f"{location}: its `type` is {kind!r}; the lerobot back end takes {', '.join(POLICIES)}"
    )


def _configure(config: Any, adapter: AdapterConfig) -> None:
    """Adapt a checkpoint's configuration to this machine before the network is built."""
    config.device = str(choose_device(adapter))
    # pi0 and pi0.5 choose precision themselves: with bfloat16, images, norms and projections stay in float32, and the
    # network fails otherwise.
    if hasattr(config, "dtype"):
        if adapter.dtype == "float16":
            raise ConfigError(f"the adapter's `dtype` is float16; {config.type} takes float32 or bfloat16")
        config.dtype = adapter.dtype
    # SmolVLA would fetch its language model's weights first, to overwrite them with the checkpoint's.
    if hasattr(config, "load_vlm_weights"):
        config.load_vlm_weights = False
    # Methods of a compiled model cannot be wrapped.
    if hasattr(config, "compile_model"):
        config.compile_model = False


def _with_all_weights(policy_class: Any, location: str, place: str, config: Any) -> Any:
    """Load a policy, and fail if it lacks weights. The library prints missing weights, even if all are missing, and
    continues with random numbers.
    """
    missing: list[list[str]] = []

    class Checked(policy_class):
        def load_state_dict(self, *arguments: Any, **named: Any) -> Any:
            try:
                result = super().load_state_dict(*arguments, **named)
            except RuntimeError as error:
                missing.append([str(error)])
                raise
            state = self.state_dict()
            found = {value.data_ptr() for key, value in state.items() if key not in result.missing_keys}
            # A weight that is tied to a present one is present.
            missing.append([key for key in result.missing_keys if state[key].data_ptr() not in found])
            return result

    policy = Checked.from_pretrained(place, config=config, strict=False)
    if not missing:
        raise VLALoadError(f"{location}: lerobot read no weights; put all of them into `model.safetensors`")
    if missing[0]:
        raise VLALoadError(
            f"{location}: lacks {len(missing[0])} of the weights of {config.type}, such as {missing[0][0]}; fetch the "
            "whole checkpoint"
        )
    return policy


def _weights(policy: Any, before: Any, after: Any) -> dict[str, Tensor]:
    """All tensors that outputs depend on: weights, and statistics of the processors."""
    tensors = dict(policy.state_dict())
    for name, pipeline in (("before", before), ("after", after)):
        for number, step in enumerate(pipeline.steps):
            for key, value in step.state_dict().items():
                tensors[f"{name}.{number}.{key}"] = value
    return tensors


def _architecture(config: Any) -> dict[str, Any]:
    """Settings that outputs depend on, without those of storage and training."""
    names = ("type", "chunk_size", "max_state_dim", "max_action_dim", "num_steps", "num_inference_steps")
    return {name: getattr(config, name, None) for name in names}

"""pi0 and pi0.5 of random weights in lerobot's own classes, saved as checkpoints that its own loader reads.

The library writes the sizes of PaliGemma and its expert into its code. `small_sizes` replaces these numbers while a
network is built, and nothing else.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tiny_policy import ADAPTER, CHUNK, JOINTS, WORDS, features

KINDS = ("pi0", "pi05")
SIDE, PATCH, WIDTH, LAYERS = 28, 14, 32, 2
PER_IMAGE = (SIDE // PATCH) ** 2
# A camera of the policy that the adapter does not name.
ABSENT = "belly"
# Of the state; its first and last percentiles are MEAN ± STD.
MEAN, STD = 0.1, 0.5
# Standard deviation, and last percentile.
ACTION = 0.05
NAMES = (
    "<pad>",
    "<bos>",
    "<eos>",
    "<unk>",
    "\n",
    "Task",
    "State",
    "Action",
    *WORDS,
    *map(str, range(-1, 256)),
)


def why_not() -> str:
    """Why these policies cannot be made here, or nothing."""
    try:
        version = importlib.metadata.version("lerobot")
    except importlib.metadata.PackageNotFoundError:
        return "lerobot is not installed here; `make test-lerobot` runs this in an environment of its own"
    if tuple(map(int, version.split(".")[:2])) < (0, 6):
        return f"pi0 and pi0.5 of lerobot {version} want a patched transformers; those of 0.6 (Python 3.12) do not"
    return ""


@contextmanager
def small_sizes() -> Iterator[None]:
    """Networks of lerobot's pi0 and pi0.5 are built tiny."""
    with pytest.MonkeyPatch.context() as patch:
        for kind in KINDS:
            module: Any = importlib.import_module(f"lerobot.policies.{kind}.modeling_{kind}")
            patch.setattr(module, "get_gemma_config", _sizes(module.GemmaConfig))
            for name in ("PaliGemmaForConditionalGenerationWithPiGemma", "PiGemmaForCausalLM"):
                patch.setattr(module, name, _shrunk(getattr(module, name)))
        yield


def _sizes(config: Any) -> Any:
    def sizes(variant: str) -> Any:
        width = {"gemma_2b": WIDTH, "gemma_300m": 24}[variant]
        return config(width=width, depth=LAYERS, mlp_dim=48, num_heads=2, num_kv_heads=1, head_dim=16)

    return sizes


def _shrunk(network: Any) -> Any:
    def build(config: Any) -> Any:
        text = getattr(config, "text_config", config)
        text.vocab_size, text.pad_token_id = len(NAMES), 0
        if text is not config:
            vision = config.vision_config
            vision.hidden_size, vision.intermediate_size = 16, 24
            vision.num_hidden_layers, vision.num_attention_heads = 1, 2
            vision.projection_dim = config.projection_dim = WIDTH
        return network(config=config)

    return build


def write_tiny_pi(kind: str, folder: Path, **settings: Any) -> Path:
    """Write tokenizer, checkpoint and adapter; the same weights every time."""
    from lerobot.policies.factory import get_policy_class, make_policy_config, make_pre_post_processors

    config = make_policy_config(
        kind,
        chunk_size=CHUNK,
        n_action_steps=CHUNK,
        num_inference_steps=3,
        max_state_dim=8,
        max_action_dim=8,
        image_resolution=(SIDE, SIDE),
        tokenizer_max_length=40,
        device="cpu",
        **features(ABSENT),
        **settings,
    )
    with small_sizes(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        policy = get_policy_class(kind)(config)
        # The library's own first numbers leave some layers without effect.
        for value in policy.parameters():
            torch.nn.init.normal_(value, std=0.2)
    state = {
        "mean": torch.full((JOINTS,), MEAN),
        "std": torch.full((JOINTS,), STD),
        "q01": torch.full((JOINTS,), MEAN - STD),
        "q99": torch.full((JOINTS,), MEAN + STD),
    }
    action = {
        "mean": torch.zeros(JOINTS),
        "std": torch.full((JOINTS,), ACTION),
        "q01": torch.full((JOINTS,), -ACTION),
        "q99": torch.full((JOINTS,), ACTION),
    }
    with _tokenizer_from(kind, _write_tokenizer(folder / "tokenizer")):
        before, after = make_pre_post_processors(
            config, dataset_stats={"observation.state": state, "action": action}
        )
    for part in (policy, before, after):
        part.save_pretrained(folder)
    (folder / "rlt_vla.yaml").write_text(yaml.safe_dump(ADAPTER, sort_keys=False))
    return folder


@contextmanager
def _tokenizer_from(kind: str, where: Path) -> Iterator[None]:
    """The library names PaliGemma's tokenizer, which is on the hub only."""
    module: Any = importlib.import_module(f"lerobot.policies.{kind}.processor_{kind}")
    step = module.TokenizerProcessorStep
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            module, "TokenizerProcessorStep", lambda **named: step(**{**named, "tokenizer_name": str(where)})
        )
        yield


def _write_tokenizer(folder: Path) -> Path:
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({name: i for i, name in enumerate(NAMES)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Split(Regex(r"-?\w+|\n"), "removed", invert=True)
    words.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>"
    ).save_pretrained(folder)
    return folder

"""A pi0 of random weights in the library's own class, saved as a checkpoint that its own loader reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml

JOINTS, CHUNK, SIDE, PATCH, WIDTH = 7, 12, 28, 14, 32
PER_IMAGE = (SIDE // PATCH) ** 2
CAMERAS = {"head": "base_0_rgb", "hand_right": "right_wrist_0_rgb"}
WORDS = ("plug", "the", "charger", "into", "power", "strip", "lift", "it")

ADAPTER: dict[str, Any] = {
    "joints": JOINTS,
    "cameras": CAMERAS,
    "image_size": [20, 28],
    "action_scale": [0.02] * JOINTS,
    "device": "cpu",
    "state": {"mean": [0.1] * JOINTS, "std": [0.5] * JOINTS},
    "actions": {"mean": [0.0] * JOINTS, "std": [0.05] * JOINTS},
    "relative": True,
}


def write_tiny_pi0(folder: Path, *, adapter: dict[str, Any] | None = None) -> Path:
    """Write the checkpoint and its adapter; the same weights every time."""
    from transformers import PI0Config, PI0ForConditionalGeneration

    text = {
        "model_type": "gemma",
        "hidden_size": WIDTH,
        "num_hidden_layers": 2,
        "intermediate_size": 48,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "vocab_size": 24,
    }
    vision = {
        "model_type": "siglip_vision_model",
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "patch_size": PATCH,
        "image_size": SIDE,
        "vision_use_head": False,
    }
    config = PI0Config(
        vlm_config={
            "model_type": "paligemma",
            "text_config": text,
            "vision_config": vision,
            "projection_dim": WIDTH,
            "image_token_id": 24,
        },
        dit_config={**text, "hidden_size": 24, "intermediate_size": 32},
        chunk_size=CHUNK,
        max_state_dim=16,
        max_action_dim=16,
        num_inference_steps=3,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = PI0ForConditionalGeneration(config)
    model.save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    (folder / "rlt_vla.yaml").write_text(yaml.safe_dump(adapter or ADAPTER, sort_keys=False))
    return folder


def _tokenizer() -> Any:
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    names = ("<pad>", "<bos>", "<eos>", "<unk>", "\n", *WORDS)
    words = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Split(Regex(r"\w+|\n"), "removed", invert=True)
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>"
    )

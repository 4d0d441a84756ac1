"""A SmolVLA of random weights in lerobot's own classes, saved as a checkpoint that its own loader reads."""

from __future__ import annotations

from pathlib import Path

import torch
import yaml
from tiny_policy import ADAPTER, CHUNK, JOINTS, WORDS, features

SIDE, PATCH, WIDTH = 32, 8, 32
# The connector makes one token of 2×2.
PER_IMAGE = (SIDE // PATCH) ** 2 // 4


def write_tiny_smolvla(folder: Path) -> Path:
    """Write the language model's own files, the checkpoint and its adapter; the same weights every time."""
    from lerobot.policies.factory import make_pre_post_processors
    from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
    from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy

    backbone = _write_backbone(folder / "backbone")
    config = SmolVLAConfig(
        vlm_model_name=str(backbone),
        load_vlm_weights=False,
        num_vlm_layers=2,
        expert_width_multiplier=0.5,
        chunk_size=CHUNK,
        n_action_steps=CHUNK,
        num_steps=3,
        max_state_dim=8,
        max_action_dim=8,
        resize_imgs_with_padding=(SIDE, SIDE),
        device="cpu",
        **features(),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        policy = SmolVLAPolicy(config)
    statistics = {
        "observation.state": {"mean": torch.full((JOINTS,), 0.1), "std": torch.full((JOINTS,), 0.5)},
        "action": {"mean": torch.zeros(JOINTS), "std": torch.full((JOINTS,), 0.05)},
    }
    before, after = make_pre_post_processors(config, dataset_stats=statistics)
    # As when it was fine-tuned; the backbone's folder has none.
    config.load_vlm_weights = True
    policy.save_pretrained(folder)
    before.save_pretrained(folder)
    after.save_pretrained(folder)
    (folder / "rlt_vla.yaml").write_text(yaml.safe_dump(ADAPTER, sort_keys=False))
    return folder


def _write_backbone(folder: Path) -> Path:
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import (
        PreTrainedTokenizerFast,
        SmolVLMConfig,
        SmolVLMImageProcessor,
        SmolVLMProcessor,
        SmolVLMVideoProcessor,
    )

    marks = ("<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>")
    names = ("<pad>", "<bos>", "<eos>", "<unk>", "\n", *marks, *WORDS)
    words = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Split(Regex(r"\w+|\n"), "removed", invert=True)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
        extra_special_tokens={
            "fake_image_token": marks[0],
            "image_token": marks[1],
            "end_of_utterance_token": marks[2],
            "global_image_token": marks[3],
        },
    )
    config = SmolVLMConfig(
        text_config={
            "model_type": "llama",
            "hidden_size": WIDTH,
            "num_hidden_layers": 2,
            "intermediate_size": 48,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 16,
            "vocab_size": len(names),
            "pad_token_id": 0,
        },
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": SIDE,
            "patch_size": PATCH,
        },
        image_token_id=6,
        scale_factor=2,
        pad_token_id=0,
    )
    config.save_pretrained(folder)
    SmolVLMProcessor(SmolVLMImageProcessor(), tokenizer, SmolVLMVideoProcessor()).save_pretrained(folder)
    return folder

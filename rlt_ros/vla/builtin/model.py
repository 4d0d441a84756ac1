"""Network of the built-in VLA: images, instruction and proprioception in one transformer.

A camera image passes four overlapping convolutions and becomes a grid of tokens. Convolutions replace one linear map
per patch because a token must change smoothly when an edge moves by a third of a pixel: the sub-millimetre position of
a socket comes from there.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlt_ros.rlt.transformer import Block
from rlt_ros.vla.builtin.config import STEM_STRIDE, VLAConfig


class ConvStem(nn.Module):
    """Image (B, 3, h, w) → tokens (B, h/16 · w/16, width), row by row."""

    def __init__(self, channels: int, width: int) -> None:
        """Create the stem with ``channels`` after the first convolution; they double until the third."""
        super().__init__()
        sizes = (3, channels, 2 * channels, 4 * channels)
        self.down = nn.ModuleList(
            nn.Conv2d(sizes[i], sizes[i + 1], 5 if i == 0 else 3, stride=2, padding=2 if i == 0 else 1)
            for i in range(3)
        )
        self.refine = nn.ModuleList(nn.Conv2d(size, size, 3, padding=1) for size in sizes[2:])
        self.last = nn.Conv2d(sizes[-1], width, 3, stride=2, padding=1)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 1 or name.startswith("refine"):
                nn.init.zeros_(parameter)
            else:
                nn.init.kaiming_normal_(parameter, nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Tokens of a batch of images after `standardise`."""
        features = F.relu_(self.down[0](images))
        for down, refine in zip(self.down[1:], self.refine, strict=True):
            features = F.relu_(down(features))
            features = F.relu_(refine(features) + features)
        return self.last(features).flatten(2).transpose(1, 2)


class Prefix(nn.Module):
    """Tokens of images, words and proprioception, computed once per observation.

    Proprioception, the last token, attends to all others, and only the action head attends to it, as in π0, where the
    state enters after images and text. Image tokens that attend to it memorise demonstrations instead of using the
    image.
    """

    def __init__(
        self,
        config: VLAConfig,
        *,
        cameras: int,
        image_size: tuple[int, int],
        proprio_dim: int,
        vocabulary_size: int,
        max_words: int,
    ) -> None:
        """Raise ``ValueError`` if the image size is not a multiple of the stem's stride."""
        super().__init__()
        if image_size[0] % STEM_STRIDE or image_size[1] % STEM_STRIDE:
            raise ValueError(f"image size {image_size} must be a multiple of {STEM_STRIDE}")
        width = config.width
        self.image_tokens = cameras * (image_size[0] // STEM_STRIDE) * (image_size[1] // STEM_STRIDE)
        self.stem = ConvStem(config.stem_width, width)
        self.place = nn.Parameter(0.2 * torch.randn(self.image_tokens, width))
        self.words = nn.Embedding(vocabulary_size, width)
        self.word_place = nn.Parameter(0.2 * torch.randn(max_words, width))
        self.proprio = nn.Sequential(nn.Linear(proprio_dim, width), nn.ReLU(), nn.Linear(width, width))
        self.no_proprio = nn.Parameter(0.2 * torch.randn(width))
        self.blocks = nn.ModuleList(Block(width, config.heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)

    def forward(
        self,
        images: Tensor,
        words: Tensor,
        words_mask: Tensor,
        proprio: Tensor,
        proprio_known: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Final-layer embeddings of all tokens, image tokens first.

        Args:
            images: (B, cameras, 3, h, w), standardised.
            words: (B, L) int64. words_mask: (B, L) bool.
            proprio: (B, P) normalised.
            proprio_known: (B,) bool; False selects a learned "unknown" token.

        Returns:
            (B, N, width) and the mask (B, N) bool of tokens that are not padding.
        """
        batch = images.shape[0]
        image_tokens = self.stem(images.flatten(0, 1)).reshape(batch, self.image_tokens, -1) + self.place
        word_tokens = self.words(words) + self.word_place[: words.shape[1]]
        proprio_token = self.proprio(proprio)
        if proprio_known is not None:
            unknown = self.no_proprio.to(proprio_token.dtype)
            proprio_token = torch.where(proprio_known[:, None], proprio_token, unknown)
        x = torch.cat([image_tokens, word_tokens, proprio_token[:, None]], dim=1)
        mask = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        mask[:, self.image_tokens : self.image_tokens + words.shape[1]] = words_mask
        attended = mask[:, None, None].repeat(1, 1, x.shape[1], 1)
        attended[:, :, :-1, -1] = False
        for block in self.blocks:
            x = block(x, attended)
        return self.norm(x), mask


def standardise(images: Tensor) -> Tensor:
    """Images (B, h, w, 3) uint8 → (B, 3, h, w) float32, zero mean and unit deviation per image and channel.

    This removes brightness, contrast and tint of the light, so that they need not be learned.
    """
    # Channels stay last in memory, the fastest layout for convolutions.
    x = images.permute(0, 3, 1, 2).float()
    deviation, mean = torch.std_mean(x, dim=(2, 3), keepdim=True)
    # 4 grey levels: a blank image stays blank instead of becoming amplified noise.
    return x.sub_(mean).div_(deviation + 4.0)

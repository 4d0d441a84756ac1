"""Stage 1: the RL token, one vector from which a small decoder reconstructs the VLA's image embeddings.

RLT, arXiv:2604.23073, Eq. 1 and 2. A learnt embedding is appended to the image-token embeddings z̄_1..z̄_M
of the frozen VLA; the encoder's output there is the token. The decoder predicts z̄_i from the token and
z̄_1..z̄_{i-1}. Neither loss nor encoder sends a gradient into the VLA: z̄ is detached.

Teacher forcing lets the decoder copy neighbours and ignore the token. `TokenConfig.context_dropout` hides most of the
context in training, so that predictions depend on the token.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from rlt_ros.rlt.token_readouts import Readout
from rlt_ros.rlt.transformer import Block
from rlt_ros.store.parameters import check, parameter

_PAPER = "arXiv:2604.23073"
_ND = "not disclosed by the paper; measured here"


@dataclasses.dataclass(frozen=True)
class TokenConfig:
    """Stage 1: architecture and training of the RL token."""

    z_dim: int = parameter(128, help="Width of the RL token.", low=1, high=8192, source=_ND)
    width: int = parameter(128, help="Width of encoder and decoder.", low=8, high=8192, source=_ND)
    layers: int = parameter(2, help="Layers of the encoder, and of the decoder.", low=1, high=24, source=_ND)
    heads: int = parameter(4, help="Attention heads.", low=1, high=64, source=_ND)
    context_dropout: float = parameter(
        0.9, help="Share of teacher-forced tokens hidden from the decoder.", low=0.0, high=1.0, source=_ND
    )
    steps: int = parameter(2000, help="Gradient steps.", low=1, source=f"{_PAPER}: 2,000 to 10,000")
    batch: int = parameter(64, help="Observations per step.", low=1, source=_ND)
    learning_rate: float = parameter(
        1e-3, help="Peak learning rate, cosine decay.", low=1e-7, high=1.0, source=_ND
    )
    warmup: int = parameter(100, help="Steps of linear warm-up.", low=0, source=_ND)
    weight_decay: float = parameter(
        0.01, help="AdamW weight decay of matrices.", low=0.0, high=1.0, source=_ND
    )
    gradient_clip: float = parameter(1.0, help="Largest gradient norm.", low=1e-6, source=_ND)
    ema: float = parameter(0.995, help="Decay of the averaged weights that are kept.", low=0.0, high=0.99999)
    vla_weight: float = parameter(
        0.0,
        help="Weight α of the VLA's own loss in joint fine-tuning; 0 leaves the VLA frozen.",
        low=0.0,
    )
    compute: str = parameter(
        "auto",
        help="Type of the matrix products in training; weights stay float32. `auto` uses bfloat16 on processors that "
        "multiply it faster; on others it is twelve times slower.",
        choices=("auto", "float32", "bfloat16"),
    )
    checkpoint_every: int = parameter(100, help="Steps between resumable checkpoints.", low=1)
    seed: int = parameter(0, help="Seed of initial weights, batches and dropout.", low=0)

    def __post_init__(self) -> None:
        """Check every value; heads must divide the width."""
        check(self)
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")


class TokenEncoder(Readout):
    """Transformer over the embeddings and a learnt last embedding; z is the output at the last position."""

    name = "rl-token"

    def __init__(
        self, *, embed_dim: int, tokens: int, z_dim: int, vla: str, width: int, layers: int, heads: int
    ) -> None:
        """See `TokenConfig` for the sizes and `Readout` for the rest."""
        super().__init__(embed_dim=embed_dim, tokens=tokens, z_dim=z_dim, vla=vla)
        self._sizes = {"width": width, "layers": layers, "heads": heads}
        self.read = nn.Linear(embed_dim, width)
        self.place = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.special = nn.Parameter(torch.randn(width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.write = nn.Linear(width, z_dim)

    def raw(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        """Token (B, Z) of detached embeddings (B, M, D), Eq. 1."""
        x = self.read(embeddings.detach()) + self.place
        x = torch.cat([x, self.special.expand(len(x), 1, -1).to(x.dtype)], dim=1)
        seen = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)[:, None, None]
        for block in self.blocks:
            x = block(x, seen)
        return self.write(self.norm(x[:, -1]))

    def details(self) -> dict[str, object]:
        """Sizes of the transformer."""
        return dict(self._sizes)


class TokenDecoder(nn.Module):
    """Causal transformer over the token, followed by the true embeddings shifted by one."""

    def __init__(
        self, *, embed_dim: int, tokens: int, z_dim: int, width: int, layers: int, heads: int
    ) -> None:
        """Counterpart of `TokenEncoder`."""
        super().__init__()
        self.start = nn.Linear(z_dim, width)
        self.read = nn.Linear(embed_dim, width)
        self.place = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.hidden = nn.Parameter(0.02 * torch.randn(width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.write = nn.Linear(width, embed_dim)
        self.register_buffer("causal", torch.ones(tokens, tokens, dtype=torch.bool).tril(), persistent=False)

    def forward(self, z: Tensor, embeddings: Tensor, visible: Tensor) -> Tensor:
        """Predictions (B, M, D): number i from the token (B, Z) and embeddings 1..i-1.

        ``visible`` (B, M) bool selects the embeddings in the decoder's context; a learnt vector replaces the others.
        """
        fed = torch.where(visible[:, :-1, None], self.read(embeddings[:, :-1]), self.hidden)
        x = torch.cat([self.start(z)[:, None], fed], dim=1) + self.place
        for block in self.blocks:
            x = block(x, self.causal)
        return self.write(self.norm(x))


class TokenAutoencoder(nn.Module):
    """Encoder and decoder with the reconstruction loss of Eq. 2; only the encoder is used after training."""

    def __init__(self, config: TokenConfig, *, embed_dim: int, tokens: int, vla: str) -> None:
        """Random weights from torch's global generator; ``vla`` is the fingerprint of the embeddings' VLA."""
        super().__init__()
        sizes = {"width": config.width, "layers": config.layers, "heads": config.heads}
        shapes = {"embed_dim": embed_dim, "tokens": tokens, "z_dim": config.z_dim}
        self.encoder = TokenEncoder(**shapes, **sizes, vla=vla)
        self.decoder = TokenDecoder(**shapes, **sizes)

    def loss(
        self, embeddings: Tensor, mask: Tensor, *, context_dropout: float, generator: torch.Generator
    ) -> Tensor:
        """Eq. 2: squared error, summed over unpadded tokens and dimensions, mean over the batch; ()."""
        targets = embeddings.detach()
        hidden = torch.rand(mask.shape, generator=generator).to(mask.device) < context_dropout
        predicted = self.decoder(self.encoder.raw(targets, mask), targets, mask & ~hidden)
        return summed_error(predicted, targets, mask).mean()


def summed_error(predicted: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Squared error (B,), summed over unpadded tokens and over dimensions."""
    return ((predicted.float() - targets.float()).square().sum(dim=-1) * mask).sum(dim=-1)

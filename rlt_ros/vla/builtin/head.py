"""Flow-matching action head: noise becomes an action chunk in a few Euler steps.

A token represents a few control steps of the chunk. Tokens attend to each other and to those of the prefix, whose keys
and values are computed once and serve every Euler step and every noise sample.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from rlt_ros.rlt.transformer import Block
from rlt_ros.vla.builtin.config import VLAConfig

_FREQUENCIES = 16
Memory = list[tuple[Tensor, Tensor]]


class FlowHead(nn.Module):
    """Velocity field of the straight path ``x_τ = (1 − τ) · noise + τ · chunk``, given the prefix."""

    def __init__(self, config: VLAConfig, action_dim: int) -> None:
        """Create a head for chunks (H, ``action_dim``)."""
        super().__init__()
        self.shape = (config.horizon, action_dim)
        self.steps = config.flow_steps
        self._patch = config.steps_per_token
        tokens, width = config.horizon // self._patch, config.width
        self.read = nn.Linear(self._patch * action_dim, width)
        self.place = nn.Parameter(0.2 * torch.randn(tokens, width))
        self.time = nn.Sequential(nn.Linear(2 * _FREQUENCIES, width), nn.ReLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(
            Block(width, config.heads, context_width=width) for _ in range(config.head_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.write = nn.Linear(width, self._patch * action_dim)
        nn.init.zeros_(self.write.weight)
        nn.init.zeros_(self.write.bias)

    def memorise(self, prefix: Tensor) -> Memory:
        """Compute keys and values of every layer for a prefix (B, N, width)."""
        return [block.memorise(prefix) for block in self.blocks]  # type: ignore[operator]

    def velocity(self, noisy: Tensor, time: Tensor, memory: Memory, mask: Tensor) -> Tensor:
        """Velocity (S·B, H, A) at ``noisy`` (S·B, H, A) and ``time`` (S·B,) in [0, 1]; S samples share a prefix."""
        x = self.read(noisy.unflatten(1, (-1, self._patch)).flatten(2)) + self.place
        x = x + self.time(_waves(time))[:, None]
        attended = None if bool(mask.all()) else mask[:, None, None]
        for block, remembered in zip(self.blocks, memory, strict=True):
            x = block(x, None, remembered, attended)
        return self.write(self.norm(x)).unflatten(2, (self._patch, -1)).flatten(1, 2)

    def loss(
        self, chunk: Tensor, prefix: Tensor, mask: Tensor, samples: int, generator: torch.Generator
    ) -> Tensor:
        """Mean squared error of the velocity over ``samples`` noise levels per chunk (B, H, A, normalised)."""
        chunks = chunk.repeat(samples, 1, 1)
        noise = torch.randn(chunks.shape, generator=generator).to(chunk)
        time = torch.rand(chunks.shape[0], generator=generator).to(chunk)
        noisy = torch.lerp(noise, chunks, time[:, None, None])
        predicted = self.velocity(noisy, time, self.memorise(prefix), mask)
        return (predicted.float() - (chunks - noise)).square().mean()

    def sample(self, noise: Tensor, prefix: Tensor, mask: Tensor) -> Tensor:
        """Chunk (B, H, A, normalised) at the end of the flow from ``noise``, by Euler steps."""
        memory, x = self.memorise(prefix), noise
        for step in range(self.steps):
            time = x.new_full((x.shape[0],), step / self.steps)
            x = x + self.velocity(x, time, memory, mask) / self.steps
        return x


def _waves(time: Tensor) -> Tensor:
    """(n,) → (n, 32): sines and cosines from one to a hundred radians over the unit interval."""
    rates = torch.exp(torch.linspace(0.0, math.log(100.0), _FREQUENCIES, device=time.device))
    phase = time[:, None] * rates
    return torch.cat([phase.sin(), phase.cos()], dim=-1)

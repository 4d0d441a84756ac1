"""Chunk actor and twin chunk critics: small MLPs with LayerNorm, arranged so that one CPU core is enough.

The product with the 2048-wide RL token is almost all of the work. Therefore the first layer is split into a part for
the token, which needs no gradient with respect to its input, and a part for proprioception and actions; both critics
share one product with the token; and products may run in bfloat16 while everything else stays float32.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlt_ros.rlt.batch import Batch, valid_mask
from rlt_ros.rlt.config import Shapes

_OUTPUT_INIT_SCALE = 0.1
"""Factor on the initial output weights: values and actions start near zero in every state."""

_FIRST_BIAS_INIT, _INNER_BIAS_INIT = 2.0, 1.0
"""Bounds of the initial biases, which outweigh the inputs. LayerNorm removes the length of its input, and an actor
without the length cannot distinguish a reference from twice that reference, nor clone it. A dominant bias preserves
the length. In a cloning study with 1,500 rows of 70 values this reduced the error after 250 steps from 31 % to 13 %."""

_ROWS_PER_BLOCK = 128
"""Rows standardised at a time: 1 MB in float32 at a width of 2048, which fits in the cache."""

_MIN_RELATIVE_SPREAD = 0.1
"""Smallest standard deviation used for scaling, relative to the median: less is noise and is not amplified."""


def _inverse_spread(rows: Tensor) -> Tensor:
    """1 / standard deviation over the rows (N, …), limited for columns that hardly vary."""
    spread = rows.std(0, correction=0)
    typical = torch.where(spread.median() > 0, spread.median(), spread.max())
    floored = spread.maximum(_MIN_RELATIVE_SPREAD * typical)
    return 1 / torch.where(floored > 0, floored, torch.ones_like(floored))


class State(NamedTuple):
    """The RL state x, standardised, in the type of the matrix products: z (B, Z) and proprio (B, P)."""

    z: Tensor
    proprio: Tensor

    def rows(self, start: int, stop: int) -> State:
        """Rows ``start`` to ``stop - 1``, as views."""
        return State(self.z[start:stop], self.proprio[start:stop])


class StateScale(nn.Module):
    """Standardisation of each input by the statistics of the critical phase.

    Tokens of one task resemble each other (cosine 0.97 and more has been reported): states differ in a small part next
    to a large common one, which centring removes.
    """

    z_scale: Tensor
    z_shift: Tensor
    proprio_scale: Tensor
    proprio_shift: Tensor

    def __init__(self, shapes: Shapes) -> None:
        super().__init__()
        for name, width in (("z", shapes.z_dim), ("proprio", shapes.proprio_dim)):
            self.register_buffer(f"{name}_scale", torch.ones(width))
            self.register_buffer(f"{name}_shift", torch.zeros(width))
        # Adam moves all weights alike, so the influence of an input group grows with its width, and a wide token soon
        # memorises single rows. This gain lets the token learn exactly as fast as the command.
        self.z_gain = min(1.0, shapes.chunk * shapes.action_dim / shapes.z_dim)

    def fit(self, z: Tensor, proprio: Tensor) -> None:
        """Set mean and spread from rows z (N, Z) and proprio (N, P)."""
        for name, rows, gain in (("z", z.float(), self.z_gain), ("proprio", proprio.float(), 1.0)):
            mean = rows.mean(0)
            scale = gain * _inverse_spread(rows)
            getattr(self, f"{name}_scale").copy_(scale)
            getattr(self, f"{name}_shift").copy_(-mean * scale)

    def forward(self, z: Tensor, proprio: Tensor, dtype: torch.dtype = torch.float32) -> State:
        """Standardise z (B, Z) of any float type and proprio (B, P); both results have ``dtype``."""
        # float32 although both ends may be half precision, because means are subtracted here. Blocks that stay in the
        # cache halve the time.
        scaled = torch.empty(z.shape, dtype=dtype, device=z.device)
        for block, rows in zip(scaled.split(_ROWS_PER_BLOCK), z.split(_ROWS_PER_BLOCK), strict=True):
            torch.addcmul(self.z_shift, rows.float(), self.z_scale, out=block)
        proprio = torch.addcmul(self.proprio_shift, proprio.float(), self.proprio_scale)
        return State(scaled, proprio.to(dtype))


class StackedMLP(nn.Module):
    """``copies`` independent MLPs (linear, LayerNorm, ReLU, …, linear) evaluated as one.

    Args:
        copies: number of networks.
        widths: widths of the input groups: token, proprioception, command (an action or a reference chunk).
        hidden: widths of the hidden layers.
        out_dim: outputs of each network.
        dtype: type of the matrix products; parameters are float32.
        generator: source of the initial weights.
    """

    command_scale: Tensor

    def __init__(
        self,
        copies: int,
        widths: tuple[int, int, int],
        hidden: tuple[int, ...],
        out_dim: int,
        *,
        dtype: torch.dtype,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.copies, self.dtype = copies, dtype
        columns = copies * hidden[0]

        def uniform(*shape: int, fan_in: float) -> Tensor:
            bound = 1 / math.sqrt(fan_in)
            return torch.empty(shape).uniform_(-bound, bound, generator=generator)

        # A fan-in per group of inputs keeps 2048 token values from dominating 70 action values.
        token, *sides = (uniform(n, columns, fan_in=len(widths) * n) for n in widths)
        self.token_weight, self.side_weight = nn.Parameter(token), nn.Parameter(torch.cat(sides))
        self.side_bias = nn.Parameter(uniform(columns, fan_in=_FIRST_BIAS_INIT**-2))
        self.register_buffer("command_scale", torch.ones(widths[2]))
        sizes = (*hidden, out_dim)
        self.weights = nn.ParameterList(uniform(copies, n, m, fan_in=n) for n, m in itertools.pairwise(sizes))
        self.biases = nn.ParameterList(uniform(copies, 1, n, fan_in=_INNER_BIAS_INIT**-2) for n in sizes[1:])
        with torch.no_grad():
            self.weights[-1].mul_(_OUTPUT_INIT_SCALE)
            self.biases[-1].zero_()

    def read_token(self, x: State) -> Tensor:
        """Token's part of the first layer, (B, copies * hidden[0]): most of the work, independent of the command."""
        return x.z @ self.token_weight.to(self.dtype)

    def forward(self, token: Tensor, x: State, command: Tensor) -> Tensor:
        """Outputs (copies, B, out_dim) in float32.

        Args:
            token: result of :meth:`read_token` for ``x``.
            x: the state; only its proprioception is used here.
            command: (B, C * A).
        """
        side = torch.cat([x.proprio, (command * self.command_scale).to(self.dtype)], dim=1)
        first = token + torch.addmm(self.side_bias.to(self.dtype), side, self.side_weight.to(self.dtype))
        h = _activate(first.view(len(first), self.copies, -1).transpose(0, 1))
        *inner, (last_weight, last_bias) = zip(self.weights, self.biases, strict=True)
        for weight, bias in inner:
            h = _activate(self._product(h, weight, bias))
        # A product with a single column is six times slower than the same sum.
        if last_weight.shape[2] == 1:
            weighted = h * last_weight.transpose(1, 2).to(self.dtype)
            return weighted.sum(2, keepdim=True, dtype=torch.float32) + last_bias
        return self._product(h, last_weight, last_bias).float()

    def _product(self, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.baddbmm(bias.to(self.dtype), h, weight.to(self.dtype))


def _activate(x: Tensor) -> Tensor:
    """LayerNorm, then ReLU. Without LayerNorm values collapsed in our insertion study.

    LayerNorm has no gain and shift of its own: the bias before it and the weights after it replace them.
    """
    return F.layer_norm(x, x.shape[-1:]).relu()


class Actor(nn.Module):
    """pi(a | x, reference) = N(mu(x, reference), sigma^2 I) over whole chunks (Eq. 4), within the data's bounds.

    The output is the chunk itself, not a correction of the reference. It is clamped, because a tanh could not reproduce
    references beyond its range. Input statistics and bounds are buffers, so an exported actor is complete.
    """

    low: Tensor
    high: Tensor

    def __init__(
        self, shapes: Shapes, hidden: tuple[int, ...], *, dtype: torch.dtype, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.shapes = shapes
        flat = shapes.chunk * shapes.action_dim
        self.scale = StateScale(shapes)
        widths = (shapes.z_dim, shapes.proprio_dim, flat)
        self.body = StackedMLP(1, widths, hidden, flat, dtype=dtype, generator=generator)
        limits = torch.full((shapes.chunk, shapes.action_dim), torch.inf)
        self.register_buffer("low", -limits)
        self.register_buffer("high", limits)

    def fit(self, rows: Batch, margin: float) -> None:
        """Set input statistics and action bounds from rows of the base policy.

        Args:
            rows: (N,) windows; their valid references and actions give the range of each step and dimension.
            margin: distance beyond that range that the output may reach, as a share of the range.
        """
        self.scale.fit(rows.z, rows.proprio)
        valid = valid_mask(rows.valid, self.shapes.chunk)
        low = torch.minimum(rows.reference, torch.where(valid, rows.action, rows.reference)).amin(0).float()
        high = torch.maximum(rows.reference, torch.where(valid, rows.action, rows.reference)).amax(0).float()
        self.body.command_scale.copy_(_inverse_spread(rows.reference.float()).flatten())
        room = margin * (high - low)
        self.low.copy_(low - room)
        self.high.copy_(high + room)

    def state(self, z: Tensor, proprio: Tensor) -> State:
        """Standardised state x, in the type of the products."""
        return self.scale(z, proprio, self.body.dtype)

    def mean(self, x: State, reference: Tensor) -> Tensor:
        """mu(x, reference) for a standardised state and a reference (B, C, A), before the bounds: (B, C, A)."""
        mean = self.body(self.body.read_token(x), x, reference.flatten(1))[0]
        return mean.view(-1, self.shapes.chunk, self.shapes.action_dim)

    def bounded(self, action: Tensor) -> Tensor:
        """Clamp actions (B, C, A) to the data's range."""
        return torch.clamp(action, self.low, self.high)

    @torch.no_grad()
    def act(
        self,
        z: Tensor,
        proprio: Tensor,
        reference: Tensor,
        *,
        sigma: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Chunk to execute.

        Args:
            z: (B, Z) RL token.
            proprio: (B, P).
            reference: (B, C, A) the VLA's chunk, policy units; never dropped out at run time.
            sigma: exploration noise, policy units; 0 gives the mean action, for evaluation.
            generator: source of the noise.

        Returns:
            (B, C, A) actions within the bounds, policy units.
        """
        action = self.mean(self.state(z, proprio), reference)
        if sigma > 0:
            noise = torch.randn(action.shape, generator=generator, device=action.device)
            action = action + sigma * noise
        return self.bounded(action)


class Critics(nn.Module):
    """Q_1 and Q_2 of (x, a_{1:C}), without the reference as an input."""

    def __init__(
        self, shapes: Shapes, hidden: tuple[int, ...], *, dtype: torch.dtype, generator: torch.Generator
    ) -> None:
        super().__init__()
        widths = (shapes.z_dim, shapes.proprio_dim, shapes.chunk * shapes.action_dim)
        self.body = StackedMLP(2, widths, hidden, 1, dtype=dtype, generator=generator)

    def read_token(self, x: State) -> Tensor:
        """Token's part of the first layer of both critics, for :meth:`forward`; the same for all actions."""
        return self.body.read_token(x)

    def forward(self, x: State, action: Tensor, valid: Tensor, token: Tensor | None = None) -> Tensor:
        """Values (2, B).

        Args:
            x: the standardised state.
            action: (B, C, A), of which only the first ``valid`` (B,) steps count.
            valid: (B,) int.
            token: ``read_token(x)``, where available.
        """
        # Padding is zero for every source of actions, so steps that are never executed have no value.
        action = action * valid_mask(valid, action.shape[1])
        token = self.read_token(x) if token is None else token
        return self.body(token, x, action.flatten(1)).squeeze(2)


@contextlib.contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Exclude the module's parameters from gradients inside the block."""
    parameters = list(module.parameters())
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def autocast(choice: str, device: torch.device) -> torch.autocast:
    """Context with matrix products in the type of a configured ``compute`` and weights in float32."""
    low = product_dtype(choice, device) is torch.bfloat16
    return torch.autocast(device.type, torch.bfloat16, enabled=low)


def product_dtype(choice: str, device: torch.device) -> torch.dtype:
    """Type of the matrix products for a configured ``compute`` (``auto``, ``float32``, ``bfloat16``) on a device.

    ``auto`` is bfloat16 where the processor multiplies it faster: AVX512-BF16 or AMX on a CPU, CUDA 8.0 and later.
    """
    if choice != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[choice]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    fast = device.type == "cpu" and (
        torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    )
    return torch.bfloat16 if fast else torch.float32

"""Measurements of a token: use by the decoder, diversity, and information for linear probes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rlt_ros.rlt.token import TokenAutoencoder, summed_error


@torch.no_grad()
def reconstruction(
    autoencoder: TokenAutoencoder, embeddings: Tensor, mask: Tensor, *, context_dropout: float, seed: int = 0
) -> dict[str, float]:
    """Mean summed error with the true token, another observation's, none, and for a prediction of the mean.

    A decoder that ignores the token has the same error three times. The same part of the context is hidden each time:
    ``context_dropout`` 0 means full teacher forcing, 1 the token alone.
    """
    generator = torch.Generator().manual_seed(seed)
    visible = mask & (torch.rand(mask.shape, generator=generator) >= context_dropout)
    z = autoencoder.encoder.raw(embeddings, mask)
    tokens = {"true": z, "shuffled": z.roll(len(z) // 2, dims=0), "zeroed": torch.zeros_like(z)}
    errors = {
        name: float(summed_error(autoencoder.decoder(token, embeddings, visible), embeddings, mask).mean())
        for name, token in tokens.items()
    }
    weights = mask.unsqueeze(-1).float()
    mean = (embeddings * weights).sum(dim=0) / weights.sum(dim=0).clamp(min=1)
    return {
        **errors,
        "mean_embedding": float(summed_error(mean.expand_as(embeddings), embeddings, mask).mean()),
    }


def pairwise_cosine(z: Tensor) -> float:
    """Mean cosine between tokens (n, Z) of different observations; 1 where all point the same way."""
    directions = torch.nn.functional.normalize(z.double(), dim=1)
    n = len(z)
    return float((directions.sum(dim=0).square().sum() - n) / (n * (n - 1)))


def effective_rank(z: Tensor) -> float:
    """Number of directions that tokens (n, Z) span: exp of the entropy of the covariance's normalised eigenvalues."""
    share = torch.linalg.eigvalsh(torch.cov(z.double().T)).clamp(min=0)
    share = share / share.sum()
    return float(torch.exp(-(share * share.clamp(min=1e-300).log()).sum()))


def linear_probe(
    train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], *, ridges: Sequence[float] = (1e-4, 1e-2, 1.0)
) -> Tensor:
    """Root-mean-square test error (K,) of a ridge regression from features to targets, in the targets' units.

    Args:
        train: features (n, F) and targets (n, K). The last fifth of the rows selects the ridge.
        test: features and targets of other episodes.
        ridges: candidate penalties per sample, for standardised features.
    """
    features, targets = (part.double() for part in train)
    cut = len(features) * 4 // 5
    errors = [
        _ridge_error(features[:cut], targets[:cut], features[cut:], targets[cut:], ridge) for ridge in ridges
    ]
    best = ridges[int(torch.stack([error.mean() for error in errors]).argmin())]
    return _ridge_error(features, targets, test[0].double(), test[1].double(), best).sqrt()


def _ridge_error(x: Tensor, y: Tensor, x_test: Tensor, y_test: Tensor, ridge: float) -> Tensor:
    centre, scale = x.mean(dim=0), x.std(dim=0).clamp(min=1e-9)
    x, x_test = (x - centre) / scale, (x_test - centre) / scale
    offset = y.mean(dim=0)
    gram = x.T @ x + ridge * len(x) * torch.eye(x.shape[1], dtype=x.dtype)
    weights = torch.linalg.solve(gram, x.T @ (y - offset))
    return (x_test @ weights + offset - y_test).square().mean(dim=0)

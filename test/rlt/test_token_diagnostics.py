"""Numbers about tokens against cases with a known answer."""

from __future__ import annotations

import torch

from rlt_ros.rlt.token import TokenAutoencoder, TokenConfig
from rlt_ros.rlt.token_diagnostics import effective_rank, linear_probe, pairwise_cosine, reconstruction


def test_pairwise_cosine_is_one_for_equal_and_zero_for_orthogonal_tokens() -> None:
    assert abs(pairwise_cosine(torch.tensor([[2.0, 1.0]]).repeat(5, 1)) - 1) < 1e-9
    assert abs(pairwise_cosine(torch.eye(4))) < 1e-9
    assert abs(pairwise_cosine(torch.tensor([[1.0, 0.0], [-3.0, 0.0]])) + 1) < 1e-9


def test_effective_rank_counts_the_directions_that_vary() -> None:
    torch.manual_seed(0)
    z = torch.zeros(5000, 8)
    z[:, :3] = torch.randn(5000, 3)
    assert abs(effective_rank(z) - 3) < 0.05


def test_the_probe_finds_a_linear_relation_and_reports_its_noise() -> None:
    torch.manual_seed(0)
    z = torch.randn(4000, 10)
    targets = z @ torch.randn(10, 2) + torch.randn(4000, 2) * torch.tensor([0.0, 0.3])
    error = linear_probe((z[:3000], targets[:3000]), (z[3000:], targets[3000:]))
    assert float(error[0]) < 0.01 and 0.27 < float(error[1]) < 0.33


def test_the_probe_of_unrelated_features_is_as_wide_as_the_targets() -> None:
    torch.manual_seed(0)
    features, targets = torch.randn(4000, 5), torch.randn(4000, 1)
    error = linear_probe((features[:3000], targets[:3000]), (features[3000:], targets[3000:]))
    assert 0.9 < float(error[0]) < 1.1


def test_an_untrained_decoder_does_not_depend_on_which_token_it_gets_as_a_trained_one_would() -> None:
    torch.manual_seed(0)
    model = TokenAutoencoder(TokenConfig(z_dim=4, width=16, heads=2), embed_dim=6, tokens=3, vla="v")
    errors = reconstruction(
        model, torch.randn(64, 3, 6), torch.ones(64, 3, dtype=torch.bool), context_dropout=1.0
    )
    assert errors.keys() == {"true", "shuffled", "zeroed", "mean_embedding"}
    assert abs(errors["true"] - errors["shuffled"]) < 0.1 * errors["true"]
    assert 14 < errors["mean_embedding"] < 22  # 3 tokens of 6 unit variances

"""The RL token: order, causality, masks, gradients, and that it learns to carry what the embeddings carry."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rlt_ros.rlt.token import TokenAutoencoder, TokenConfig, summed_error
from rlt_ros.rlt.token_diagnostics import linear_probe, reconstruction
from rlt_ros.rlt.training import TrainingState
from rlt_ros.store.parameters import ConfigError

CONFIG = TokenConfig(z_dim=6, width=16, layers=2, heads=2)
M, D = 5, 8


def autoencoder(seed: int = 0) -> TokenAutoencoder:
    torch.manual_seed(seed)
    return TokenAutoencoder(CONFIG, embed_dim=D, tokens=M, vla="v")


def batch(count: int = 4, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, M, D, generator=generator), torch.ones(count, M, dtype=torch.bool)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_special_embedding_stands_last_and_its_output_becomes_the_token() -> None:
    encoder = autoencoder().encoder
    seen: list[Tensor] = []
    encoder.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    encoder.norm.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    outputs: list[Tensor] = []
    encoder.blocks[-1].register_forward_hook(lambda _, __, out: outputs.append(out))
    embeddings, mask = batch()
    encoder.raw(embeddings, mask)
    assert seen[0].shape == (4, M + 1, 16)
    assert torch.equal(seen[0][:, -1], encoder.special.expand(4, -1))
    assert torch.equal(seen[1], outputs[0][:, -1])


def test_every_embedding_reaches_the_token() -> None:
    encoder = autoencoder().encoder
    embeddings, mask = batch(1)
    plain = encoder.raw(embeddings, mask)
    for index in range(M):
        changed = embeddings.clone()
        changed[0, index] += 1
        assert (encoder.raw(changed, mask) - plain).abs().max() > 1e-4


def test_the_order_of_the_embeddings_matters() -> None:
    encoder = autoencoder().encoder
    embeddings, mask = batch(1)
    assert (encoder.raw(embeddings.flip(1), mask) - encoder.raw(embeddings, mask)).abs().max() > 1e-4


def test_padding_reaches_neither_token_nor_loss() -> None:
    model = autoencoder()
    embeddings, mask = batch()
    mask[:, 3:] = False
    garbage = embeddings.clone()
    garbage[:, 3:] = 1e3
    assert torch.allclose(model.encoder.raw(embeddings, mask), model.encoder.raw(garbage, mask), atol=1e-5)
    losses = [model.loss(e, mask, context_dropout=0.0, generator=generator()) for e in (embeddings, garbage)]
    assert torch.allclose(*losses, rtol=1e-5)


def test_prediction_i_sees_the_token_and_earlier_embeddings_only() -> None:
    decoder = autoencoder().decoder
    embeddings, mask = batch(1)
    z = torch.randn(1, 6, generator=generator())
    plain = decoder(z, embeddings, mask)
    for index in range(M):
        changed = embeddings.clone()
        changed[0, index] += 1
        moved = (decoder(z, changed, mask) - plain).abs().amax(dim=(0, 2)) > 1e-5
        assert moved.tolist() == [position > index for position in range(M)]
    assert ((decoder(z + 1, embeddings, mask) - plain).abs().amax(dim=(0, 2)) > 1e-5).all()


def test_hidden_context_tells_the_decoder_nothing() -> None:
    decoder = autoencoder().decoder
    (a, mask), (b, _) = batch(seed=1), batch(seed=2)
    z = torch.randn(4, 6, generator=generator())
    assert torch.equal(decoder(z, a, torch.zeros_like(mask)), decoder(z, b, torch.zeros_like(mask)))


def test_the_loss_is_the_squared_error_summed_over_tokens_and_averaged_over_the_batch() -> None:
    predicted, targets = torch.zeros(2, 3, 2), torch.ones(2, 3, 2)
    targets[1, 0] = 2.0
    mask = torch.tensor([[True, True, True], [True, False, True]])
    assert summed_error(predicted, targets, mask).tolist() == [6.0, 8.0 + 2.0]
    model = autoencoder()
    embeddings, everything = batch()
    visible = torch.ones_like(everything)
    by_hand = (
        model.decoder(model.encoder.raw(embeddings, everything), embeddings, visible) - embeddings
    ) ** 2
    loss = model.loss(embeddings, everything, context_dropout=0.0, generator=generator())
    assert torch.allclose(loss, by_hand.sum(dim=(1, 2)).mean())


def test_the_reconstruction_sends_no_gradient_into_the_vla() -> None:
    model = autoencoder()
    embeddings, mask = batch()
    embeddings.requires_grad_()
    vla_output = embeddings * 2
    model.loss(vla_output, mask, context_dropout=0.5, generator=generator()).backward()
    assert embeddings.grad is None
    assert all(parameter.grad is not None for parameter in model.parameters())


def train(model: TokenAutoencoder, data: Tensor, *, context_dropout: float, steps: int) -> None:
    state = TrainingState(model, weight_decay=0.0, average=0.9, seed=0)
    for _ in range(steps):
        rows = data[torch.randint(len(data), (32,), generator=state.generator)]
        mask = torch.ones(rows.shape[:2], dtype=torch.bool)
        model.loss(rows, mask, context_dropout=context_dropout, generator=state.generator).backward()
        state.apply(rate=3e-3, clip=1.0)


def hidden_cause(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Embeddings that are all functions of three hidden numbers; the first token alone determines the
    others.
    """
    cause = torch.randn(count, 3, generator=generator(seed))
    mixing = torch.randn(3, M * D, generator=generator(9))
    return (cause @ mixing).tanh().view(count, M, D), cause


@pytest.mark.parametrize("context_dropout", [0.9])
def test_after_training_the_token_is_needed_and_carries_the_hidden_cause(context_dropout: float) -> None:
    model = autoencoder()
    (data, cause), (test, test_cause) = hidden_cause(400, seed=2), hidden_cause(200, seed=3)
    train(model, data, context_dropout=context_dropout, steps=250)
    mask = torch.ones(200, M, dtype=torch.bool)
    errors = reconstruction(model, test, mask, context_dropout=1.0)
    assert errors["true"] < 0.15 * errors["mean_embedding"]
    assert min(errors["shuffled"], errors["zeroed"]) > 5 * errors["true"]
    with torch.no_grad():
        z = [model.encoder.raw(x, torch.ones(len(x), M, dtype=torch.bool)) for x in (data, test)]
    assert float(linear_probe((z[0], cause), (z[1], test_cause)).max()) < 0.4


@pytest.mark.parametrize(
    "values", [{"z_dim": 0}, {"context_dropout": 1.5}, {"vla_weight": -1.0}, {"learning_rate": 0.0}]
)
def test_impossible_parameters_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        TokenConfig(**values)  # type: ignore[arg-type]


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="multiple of heads"):
        TokenConfig(width=30, heads=4)

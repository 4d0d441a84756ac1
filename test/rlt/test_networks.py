from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from rlt_ros.rlt.batch import Batch
from rlt_ros.rlt.config import Shapes
from rlt_ros.rlt.networks import Actor, Critics, StackedMLP, StateScale, frozen, product_dtype

SHAPES = Shapes(z_dim=24, proprio_dim=6, chunk=4, action_dim=3)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def make_actor(dtype: torch.dtype = torch.float32) -> Actor:
    return Actor(SHAPES, (32, 32), dtype=dtype, generator=generator())


def make_critics(dtype: torch.dtype = torch.float32) -> Critics:
    return Critics(SHAPES, (32, 32), dtype=dtype, generator=generator())


def inputs(rows: int = 8) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = generator()
    return (
        torch.randn(rows, 24, generator=random),
        torch.randn(rows, 6, generator=random),
        torch.randn(rows, 4, 3, generator=random),
    )


def plain_mlp(net: StackedMLP, copy: int, x: torch.Tensor) -> torch.Tensor:
    """One copy of the stack, written as anyone would."""
    width = net.weights[0].shape[1]
    columns = slice(copy * width, (copy + 1) * width)
    first = torch.cat([net.token_weight, net.side_weight])
    h = x @ first[:, columns] + net.side_bias[columns]
    for weight, bias in zip(net.weights, net.biases, strict=True):
        h = F.relu(F.layer_norm(h, h.shape[-1:])) @ weight[copy] + bias[copy, 0]
    return h


@pytest.mark.parametrize("out_dim", [1, 5])
def test_stacked_networks_equal_separate_ones(out_dim: int) -> None:
    net = StackedMLP(3, (24, 6, 12), (16, 8), out_dim, dtype=torch.float32, generator=generator())
    state = StateScale(SHAPES)(*inputs()[:2])
    command = inputs()[2].flatten(1)
    stacked = net(net.read_token(state), state, command)
    for copy in range(3):
        plain = plain_mlp(net, copy, torch.cat([state.z, state.proprio, command], 1))
        torch.testing.assert_close(stacked[copy], plain)


def test_gradients_equal_those_of_plain_networks() -> None:
    net = StackedMLP(2, (24, 6, 12), (16, 16), 1, dtype=torch.float32, generator=generator())
    state = StateScale(SHAPES)(*inputs()[:2])
    command = inputs()[2].flatten(1).requires_grad_()
    wanted = [*net.parameters(), command]
    ours = torch.autograd.grad(net(net.read_token(state), state, command).square().sum(), wanted)
    joined = torch.cat([state.z, state.proprio, command], 1)
    plain = torch.autograd.grad(sum(plain_mlp(net, i, joined).square().sum() for i in range(2)), wanted)
    for mine, theirs in zip(ours, plain, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_the_twin_critics_start_different() -> None:
    critics, actor = make_critics(), make_actor()
    z, proprio, action = inputs()
    q = critics(actor.state(z, proprio), action, torch.full((8,), 4))
    assert (q[0] - q[1]).abs().min() > 0


def test_steps_behind_the_valid_horizon_do_not_matter() -> None:
    critics, actor = make_critics(), make_actor()
    z, proprio, action = inputs()
    valid = torch.tensor([1, 2, 3, 4, 1, 2, 3, 4])
    state = actor.state(z, proprio)
    garbage = torch.where(torch.arange(4)[None, :, None] < valid[:, None, None], action, 99.0)
    torch.testing.assert_close(critics(state, garbage, valid), critics(state, action, valid))
    assert not torch.equal(critics(state, action * 2, valid), critics(state, action, valid))


def test_frozen_critics_pass_gradients_to_the_action_and_keep_none() -> None:
    critics, actor = make_critics(), make_actor()
    z, proprio, action = inputs()
    action.requires_grad_()
    with frozen(critics):
        critics(actor.state(z, proprio), action, torch.full((8,), 4)).sum().backward()
    assert action.grad is not None
    assert action.grad.abs().sum() > 0
    assert all(parameter.grad is None and parameter.requires_grad for parameter in critics.parameters())


def rows_of(z: torch.Tensor, proprio: torch.Tensor, reference: torch.Tensor, action: torch.Tensor) -> Batch:
    n = len(z)
    no, full = torch.zeros(n, dtype=torch.bool), torch.full((n,), 4)
    human = torch.zeros(n, 4, dtype=torch.bool)
    reward = torch.zeros(n)
    return Batch(
        z, proprio, reference, action, reward, reward, z, proprio, reference, full, full, no, no, human
    )


def test_actions_stay_within_the_range_of_the_data_and_its_margin() -> None:
    actor = make_actor()
    z, proprio, reference = inputs(200)
    action = reference.clone()
    action[0, 1, 2] = 7.0
    actor.fit(rows_of(z, proprio, reference, action), margin=0.25)
    low, high = reference.amin(0), torch.maximum(reference, action).amax(0)
    torch.testing.assert_close(actor.low, low - 0.25 * (high - low))
    torch.testing.assert_close(actor.high, high + 0.25 * (high - low))
    wild = actor.act(z, proprio, reference, sigma=50.0, generator=generator())
    assert (wild <= actor.high).all()
    assert (wild >= actor.low).all()
    assert (wild == actor.high).any()


def test_padding_does_not_widen_the_range() -> None:
    actor = make_actor()
    z, proprio, reference = inputs(50)
    reference = reference.abs() + 1
    rows = rows_of(z, proprio, reference, torch.cat([reference[:, :2], torch.zeros(50, 2, 3)], 1))
    rows.valid.fill_(2)
    actor.fit(rows, margin=0.0)
    assert (actor.low >= 1).all()


def test_the_mean_action_is_the_same_every_time_and_noise_has_the_given_size() -> None:
    actor = make_actor()
    z, proprio, reference = inputs(500)
    mean = actor.act(z, proprio, reference)
    assert torch.equal(mean, actor.act(z, proprio, reference))
    noise = actor.act(z, proprio, reference, sigma=0.2, generator=generator()) - mean
    assert noise.std() == pytest.approx(0.2, rel=0.05)


def test_inputs_are_centred_and_scaled_and_quiet_ones_are_not_blown_up() -> None:
    scale = StateScale(SHAPES)
    z = torch.randn(1000, 24, generator=generator()) * 3 + 50
    z[:, 0] = 50 + 1e-6 * torch.randn(1000, generator=generator())
    z[:, 1] = 4.0
    scale.fit(z, torch.randn(1000, 6, generator=generator()) * 0.01)
    state = scale(z, torch.randn(1000, 6, generator=generator()) * 0.01)
    spread, mean = torch.std_mean(state.z, 0)
    torch.testing.assert_close(mean, torch.zeros(24), atol=1e-3, rtol=0)
    torch.testing.assert_close(spread[2:], torch.full((22,), scale.z_gain), atol=1e-2, rtol=0.01)
    assert spread[0] < 1e-3
    assert spread[1] < 1e-3
    assert state.proprio.std() == pytest.approx(1.0, abs=0.05)
    assert torch.isfinite(scale(z + 1, torch.zeros(1000, 6)).z).all()


def test_half_precision_tokens_give_the_same_state() -> None:
    scale = StateScale(SHAPES)
    z, proprio, _ = inputs(300)
    scale.fit(z + 5, proprio)
    torch.testing.assert_close(scale((z + 5).half(), proprio).z, scale(z + 5, proprio).z, atol=5e-3, rtol=0)


def test_bfloat16_products_are_close_to_float32() -> None:
    z, proprio, action = inputs(64)
    valid = torch.full((64,), 4)
    exact, low = make_actor(), make_actor(torch.bfloat16)
    mean, low_mean = exact.act(z, proprio, action), low.act(z, proprio, action)
    assert mean.dtype == low_mean.dtype == torch.float32
    assert (mean - low_mean).square().mean().sqrt() < 0.01 * mean.std()
    q = make_critics()(exact.state(z, proprio), action, valid)
    low_q = make_critics(torch.bfloat16)(low.state(z, proprio), action, valid)
    assert (q - low_q).square().mean().sqrt() < 0.02 * q.std()


def test_precision_can_be_chosen() -> None:
    cpu = torch.device("cpu")
    assert product_dtype("float32", cpu) is torch.float32
    assert product_dtype("bfloat16", cpu) is torch.bfloat16
    assert product_dtype("auto", cpu) in (torch.float32, torch.bfloat16)

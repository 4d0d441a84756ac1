"""One update of the learner, equation by equation."""

from __future__ import annotations

import math

import pytest
import torch
from learner_batches import make_batch, make_learner, take


def test_td_target_is_reward_plus_discounted_smaller_value_of_the_next_action_on_the_next_reference() -> None:
    learner = make_learner(sigma=0.0)
    batch = make_batch(60, discount=torch.rand(60))
    x = learner.actor.state(batch.next_z, batch.next_proprio)
    action = learner.actor.bounded(learner.actor.mean(x, batch.next_reference))
    values = learner.target_critics(x, action, batch.next_valid)
    assert (values[0] < values[1]).any()
    assert (values[0] > values[1]).any()
    torch.testing.assert_close(
        learner.td_target(batch), batch.reward + batch.discount * torch.minimum(values[0], values[1])
    )


def test_a_terminal_window_is_worth_its_reward_alone_and_a_truncated_one_is_bootstrapped() -> None:
    learner = make_learner()
    batch = make_batch(2, discount=torch.tensor([0.0, 0.9]), truncated=torch.tensor([False, True]))
    y = learner.td_target(batch)
    assert y[0] == batch.reward[0]
    assert y[1] != batch.reward[1]


def test_the_target_action_counts_only_up_to_the_next_windows_horizon() -> None:
    learner = make_learner(sigma=0.0)
    full, short = make_batch(6), make_batch(6, next_valid=torch.full((6,), 1))
    x = learner.actor.state(short.next_z, short.next_proprio)
    action = learner.actor.bounded(learner.actor.mean(x, short.next_reference))
    action[:, 1:] = 0
    q = learner.target_critics(x, action, torch.full((6,), 4)).amin(0)
    torch.testing.assert_close(learner.td_target(short), short.reward + 0.9 * q)
    assert not torch.equal(learner.td_target(short), learner.td_target(full))


def test_while_warming_up_the_target_follows_the_base_policy() -> None:
    learner = make_learner(warmup_updates=10)
    batch = make_batch(5)
    x = learner.actor.state(batch.next_z, batch.next_proprio)
    q = learner.target_critics(x, batch.next_reference, batch.next_valid).amin(0)
    torch.testing.assert_close(learner.td_target(batch), batch.reward + 0.9 * q)


def test_the_next_value_is_kept_among_the_returns_that_there_can_be() -> None:
    learner = make_learner(return_low=0.0, return_high=1.0)
    batch = make_batch(4)
    for bias, bound in ((50.0, 1.0), (-50.0, 0.0)):
        learner.target_critics.body.biases[-1].data.fill_(bias)
        torch.testing.assert_close(learner.td_target(batch), batch.reward + 0.9 * bound)


def test_target_noise_is_clipped_when_asked() -> None:
    calm, wild = make_learner(sigma=5.0, target_noise_clip=1e-6), make_learner(sigma=5.0)
    quiet = make_learner(sigma=0.0)
    batch = make_batch(32)
    torch.testing.assert_close(calm.td_target(batch), quiet.td_target(batch), atol=1e-5, rtol=0)
    assert not torch.allclose(wild.td_target(batch), quiet.td_target(batch), atol=1e-3)


def test_critic_loss_sums_both_critics_mean_squared_errors() -> None:
    learner = make_learner()
    batch, y = make_batch(5), torch.arange(5.0)
    x = learner.actor.state(batch.z, batch.proprio)
    q = learner.critics(x, batch.action, batch.valid)
    expected = ((q[0] - y) ** 2).mean() + ((q[1] - y) ** 2).mean()
    torch.testing.assert_close(learner.critic_loss(x, batch, y)[0], expected)


@pytest.mark.parametrize("choice", ["mean", "min", "first"])
def test_actor_loss_is_minus_q_plus_beta_times_the_summed_squares_over_valid_steps(choice: str) -> None:
    learner = make_learner(sigma=0.0, reference_dropout=0.0, beta=0.3, actor_q=choice)
    batch = make_batch(5, valid=torch.tensor([1, 2, 3, 4, 4]))
    x = learner.actor.state(batch.z, batch.proprio)
    mean = learner.actor.mean(x, batch.reference)
    pair = learner.critics(x, mean, batch.valid)
    q = {"mean": pair.mean(0), "min": pair.amin(0), "first": pair[0]}[choice]
    squares = torch.stack([((mean[i] - batch.reference[i])[: batch.valid[i]] ** 2).sum() for i in range(5)])
    torch.testing.assert_close(learner.actor_loss(x, batch)[0], (0.3 * squares - q).mean())


def test_the_pull_to_the_reference_works_beyond_the_bounds() -> None:
    learner = make_learner(sigma=0.0, reference_dropout=0.0)
    learner.actor.low.fill_(-1e-3)
    learner.actor.high.fill_(1e-3)
    batch = make_batch(8)
    loss, _ = learner.actor_loss(learner.actor.state(batch.z, batch.proprio), batch)
    gradient = torch.autograd.grad(loss, learner.actor.body.weights[-1])[0]
    assert gradient.abs().sum() > 0


def test_two_critic_steps_one_actor_step_and_targets_that_move_by_tau_for_each() -> None:
    learner = make_learner(tau=0.1)
    before = [p.clone() for p in learner.target_critics.parameters()]
    learner.update(make_batch(learner.rows_per_update))
    assert (learner.critic_steps, learner.actor_steps) == (2, 1)
    assert int(learner.critic_adam.state()["step.0"]) == 2
    assert int(learner.actor_adam.state()["step.0"]) == 1
    share = 1 - 0.9 * 0.9
    for old, target, now in zip(
        before, learner.target_critics.parameters(), learner.critics.parameters(), strict=True
    ):
        torch.testing.assert_close(target, old + share * (now - old))


def test_each_critic_step_has_a_batch_of_its_own_and_the_actor_takes_the_last() -> None:
    batch = make_batch(32)
    first, last = take(batch, torch.arange(16)), take(batch, torch.arange(16, 32))
    metrics = make_learner(sigma=0.0, reference_dropout=0.0).update(batch)
    learner = make_learner(sigma=0.0, reference_dropout=0.0)
    y = learner.td_target(last)
    x = learner.actor.state(first.z, first.proprio)
    learner.critic_adam.step(learner.critic_loss(x, first, learner.td_target(first))[0])
    x = learner.actor.state(last.z, last.proprio)
    torch.testing.assert_close(metrics["critic_loss"], learner.critic_loss(x, last, y)[0].detach())
    torch.testing.assert_close(metrics["actor_loss"], learner.actor_loss(x, last)[0].detach())


def test_gradients_are_clipped_for_each_optimiser_by_itself() -> None:
    huge = make_batch(32, reward=torch.full((32,), 1e6))
    loose, tight = make_learner(grad_clip=1e12), make_learner(grad_clip=1e-12)
    loose.update(huge)
    tight.update(huge)
    for learner, low, high in ((loose, 1e3, None), (tight, None, 1e-12)):
        moment = torch.cat(
            [
                value.flatten()
                for name, value in learner.critic_adam.state().items()
                if name.startswith("mean.")
            ]
        )
        assert low is None or moment.norm() > low
        assert high is None or moment.norm() <= high


@pytest.mark.parametrize("mode", ["replace", "keep"])
def test_human_actions_are_cloned_and_with_replace_also_shown_to_the_actor(mode: str) -> None:
    learner = make_learner(reference_dropout=0.0, human_reference=mode, warmup_updates=10)
    human = torch.zeros(6, 4, dtype=torch.bool)
    human[:3, 1:3] = True
    batch = make_batch(6, human=human)
    mixed = batch.reference.clone()
    mixed[:3, 1:3] = batch.action[:3, 1:3]
    x = learner.actor.state(batch.z, batch.proprio)
    mean = learner.actor.mean(x, mixed if mode == "replace" else batch.reference)
    expected = (mean - mixed).square().sum((1, 2)).mean()
    torch.testing.assert_close(learner.actor_loss(x, batch)[1]["bc"], expected)


def test_dropout_hides_whole_references_from_the_actors_input_only() -> None:
    learner = make_learner(reference_dropout=1.0, warmup_updates=10)
    batch = make_batch(6)
    x = learner.actor.state(batch.z, batch.proprio)
    mean = learner.actor.mean(x, torch.zeros_like(batch.reference))
    expected = (mean - batch.reference).square().sum((1, 2)).mean()
    torch.testing.assert_close(learner.actor_loss(x, batch)[1]["bc"], expected)


def test_half_of_the_samples_lose_their_reference() -> None:
    learner = make_learner(reference_dropout=0.5)
    kept = learner._dropout(torch.ones(4000, 4, 2)).flatten(1)
    assert ((kept.sum(1) == 0) | (kept.sum(1) == 8)).all()
    assert kept.mean() == pytest.approx(0.5, abs=0.03)


def test_acting_never_drops_the_reference() -> None:
    learner = make_learner(reference_dropout=1.0)
    batch = make_batch(50)
    acted = learner.actor.act(batch.z, batch.proprio, batch.reference)
    assert not torch.equal(
        acted, learner.actor.act(batch.z, batch.proprio, torch.zeros_like(batch.reference))
    )


def test_beta_grows_where_the_critics_disagree_more_than_usual() -> None:
    learner = make_learner(beta_mode="disagreement", beta_span=4.0)
    factor = learner._beta_factor(torch.tensor([[0.0, 0.0, 0.0], [0.01, 1.0, 8.99]]))
    torch.testing.assert_close(factor, torch.tensor([0.25, 0.3, 8.99 / (10 / 3)]))
    assert learner._beta_factor(torch.tensor([[0.0], [1000.0]])) == 4.0


def test_beta_starts_high_at_take_over_and_falls_to_its_value() -> None:
    learner = make_learner(beta=0.1, beta_opening=8.0, beta_ramp=100.0, warmup_updates=50)
    batch = make_batch(5)
    x = learner.actor.state(batch.z, batch.proprio)
    for steps, beta in ((50, 0.8), (150, 0.8 / math.e), (10_000, 0.1)):
        learner.critic_steps = steps
        assert learner.actor_loss(x, batch)[1]["beta"] == pytest.approx(beta, rel=1e-5)


def test_beta_follows_the_success_rate() -> None:
    learner = make_learner(beta=0.1, beta_mode="success", beta_span=4.0)
    batch = make_batch(5)
    x = learner.actor.state(batch.z, batch.proprio)
    for policy, base, beta in (
        (0.4, 0.4, 0.1),
        (0.1, 0.4, 0.4),
        (0.325, 0.4, 0.2),
        (0.9, 0.4, 0.1),
        (0.95, 0.4, 0.05),
        (1.0, 0.4, 0.025),
        (0.95, 0.95, 0.1),  # no more often than the base
        (1.0, 1.0, 0.1),
    ):
        learner.report_success(policy, base)
        assert learner.actor_loss(x, batch)[1]["beta"] == pytest.approx(beta, rel=1e-5)

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path

import pytest
import torch

from rlt_ros.rlt.batch import FIELDS, Batch, BatchError
from rlt_ros.rlt.checkpoint import (
    CheckpointError,
    export_actor,
    import_actor,
    load_learner,
    save_learner,
)
from rlt_ros.rlt.config import RLTConfig, Shapes
from rlt_ros.rlt.learner import Learner, NonFiniteError
from rlt_ros.rlt.lineage import Lineage, LineageError
from rlt_ros.rlt.parameters import ConfigError
from rlt_ros.rlt.storage import ChecksumError, StorageError, TruncatedError

SHAPES = Shapes(z_dim=12, proprio_dim=4, chunk=4, action_dim=2)
CONFIG = RLTConfig(
    chunk=4,
    hidden=(32, 32),
    batch_size=16,
    warmup_updates=0,
    compute="float32",
    beta_opening=1.0,
    return_low=-1e9,
    return_high=1e9,
)
LINEAGE = Lineage("vla", "token", "stats")


def make_batch(rows: int, shapes: Shapes = SHAPES, seed: int = 0, **fields: torch.Tensor) -> Batch:
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(rows, *shape, generator=random)

    chunk = (shapes.chunk, shapes.action_dim)
    values = {
        "z": normal(shapes.z_dim),
        "proprio": normal(shapes.proprio_dim),
        "reference": normal(*chunk),
        "action": normal(*chunk),
        "reward": normal(),
        "discount": torch.full((rows,), 0.9),
        "next_z": normal(shapes.z_dim),
        "next_proprio": normal(shapes.proprio_dim),
        "next_reference": normal(*chunk),
        "valid": torch.full((rows,), shapes.chunk),
        "next_valid": torch.full((rows,), shapes.chunk),
        "terminated": torch.zeros(rows, dtype=torch.bool),
        "truncated": torch.zeros(rows, dtype=torch.bool),
        "human": torch.zeros(rows, shapes.chunk, dtype=torch.bool),
    }
    return Batch(**{**values, **fields})


def take(batch: Batch, rows: torch.Tensor) -> Batch:
    return Batch(*(getattr(batch, name)[rows] for name in FIELDS))


def make_learner(config: RLTConfig = CONFIG, **changes: object) -> Learner:
    return Learner(dataclasses.replace(config, **changes), SHAPES)  # type: ignore[arg-type]


# Equations


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


# Interventions and dropout


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


# Adaptive beta


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
    for policy, beta in ((0.4, 0.1), (0.1, 0.4), (0.9, 0.025), (0.325, 0.2)):
        learner.report_success(policy=policy, base=0.4)
        assert learner.actor_loss(x, batch)[1]["beta"] == pytest.approx(beta, rel=1e-5)


# Learning


def chain_windows() -> tuple[Batch, torch.Tensor]:
    """All windows of a chain of four cells, two steps of -1 or +1 a chunk, reward 1 on reaching the last cell.

    The base policy steps (+1, -1) in cell 0 and (+1, +1) elsewhere. Returns the windows and Q of the base policy.
    """
    gamma, base = 0.9, {0: (1, -1), 1: (1, 1), 2: (1, 1)}

    def roll(cell: int, chunk: tuple[int, ...]) -> tuple[int, float, int, bool]:
        for step, move in enumerate(chunk):
            cell = max(0, cell + move)
            if cell == 3:
                return cell, gamma**step, step + 1, True
        return cell, 0.0, len(chunk), False

    value = [0.0, 0.0, 0.0, 0.0]
    for _ in range(100):
        for cell in range(3):
            after, reward, n, done = roll(cell, base[cell])
            value[cell] = reward + (0.0 if done else gamma**n * value[after])
    rows, q = [], []
    for cell, chunk in itertools.product(range(3), itertools.product((-1, 1), repeat=2)):
        after, reward, n, done = roll(cell, chunk)
        q.append(reward + (0.0 if done else gamma**n * value[after]))
        following = cell if done else after
        horizon = roll(following, base[following])[2]
        rows.append((cell, following, chunk, reward, 0.0 if done else gamma**n, n, done, horizon))
    one_hot = torch.eye(4)
    cells = torch.tensor([row[0] for row in rows])
    after = torch.tensor([row[1] for row in rows])
    valid = torch.tensor([row[5] for row in rows])
    references = torch.tensor([base[cell] for cell in range(3)] + [(0, 0)], dtype=torch.float32).unsqueeze(2)
    action = torch.tensor([row[2] for row in rows], dtype=torch.float32).unsqueeze(2)
    action[valid == 1, 1] = 0.0
    shapes = Shapes(z_dim=4, proprio_dim=1, chunk=2, action_dim=1)
    batch = make_batch(
        len(rows),
        shapes,
        z=one_hot[cells],
        next_z=one_hot[after],
        proprio=torch.zeros(len(rows), 1),
        next_proprio=torch.zeros(len(rows), 1),
        reference=references[cells],
        next_reference=references[after],
        action=action,
        reward=torch.tensor([row[3] for row in rows]),
        discount=torch.tensor([row[4] for row in rows]),
        valid=valid,
        next_valid=torch.tensor([row[7] for row in rows]),
        terminated=torch.tensor([row[6] for row in rows]),
    )
    return batch, torch.tensor(q)


def test_the_critics_converge_to_the_exact_value_of_a_tabular_chunk_process() -> None:
    windows, exact = chain_windows()
    assert len(exact.unique()) >= 4  # the process tells actions and cells apart
    config = RLTConfig(
        chunk=2, hidden=(64, 64), batch_size=24, warmup_updates=10**6, tau=0.05, compute="float32",
        learning_rate=1e-3,
    )  # fmt: skip
    learner = Learner(config, Shapes(z_dim=4, proprio_dim=1, chunk=2, action_dim=1))
    four_times = take(windows, torch.arange(12).repeat(4))
    for _ in range(600):
        learner.update(four_times)
    q = learner.critics(learner.actor.state(windows.z, windows.proprio), windows.action, windows.valid)
    assert (q - exact).abs().max() < 0.03


def bandit(rows: int, seed: int, best: float) -> Batch:
    """One decision an episode; the base policy's reference is off by ``best`` in every dimension.

    What would be right depends on proprioception, and the reward is 1 minus the mean squared distance from it.
    """
    batch = make_batch(rows, seed=seed)
    mix = torch.randn(4, 8, generator=torch.Generator().manual_seed(7)) / 4
    reference = (batch.proprio @ mix).view(rows, 4, 2)
    action = reference + 0.4 * batch.action
    return dataclasses.replace(
        batch,
        reference=reference,
        action=action,
        next_reference=reference,
        reward=1 - (action - reference - best).square().mean((1, 2)),
        discount=torch.zeros(rows),
        terminated=torch.ones(rows, dtype=torch.bool),
    )


@pytest.mark.parametrize(("beta", "compute"), [(0.02, "float32"), (0.02, "bfloat16"), (5.0, "float32")])
def test_the_actor_leaves_the_reference_for_a_better_action_unless_beta_forbids(
    beta: float, compute: str
) -> None:
    best = 0.3
    data = bandit(4000, seed=1, best=best)
    learner = make_learner(beta=beta, batch_size=64, hidden=(64, 64), warmup_updates=400, compute=compute)
    learner.fit_scale(data)
    for _ in range(400):
        rows = torch.randint(len(data), (learner.rows_per_update,), generator=learner.sampling)
        learner.update(take(data, rows))
    fresh = bandit(500, seed=2, best=best)
    moved = learner.actor.act(fresh.z, fresh.proprio, fresh.reference) - fresh.reference
    # The mean squared distance over 8 values pulls with 1/8, the reference with beta: they meet in between.
    between = best / (1 + 8 * beta)
    assert moved.mean() == pytest.approx(between, abs=0.08)
    if beta < 1:
        assert (moved - best).square().mean() < 0.5 * best**2


def test_warming_up_clones_the_reference_for_states_never_seen() -> None:
    data = bandit(4000, seed=1, best=0.5)
    learner = make_learner(batch_size=64, hidden=(64, 64), warmup_updates=10**6)
    learner.fit_scale(data)
    for _ in range(400):
        rows = torch.randint(len(data), (learner.rows_per_update,), generator=learner.sampling)
        learner.update(take(data, rows))
    fresh = bandit(500, seed=2, best=0.5)
    error = learner.actor.act(fresh.z, fresh.proprio, fresh.reference) - fresh.reference
    assert error.square().mean() < 0.1 * fresh.reference.square().mean()


def test_the_diagnostics_tell_actions_apart_once_the_critics_do() -> None:
    learner = make_learner(batch_size=64, hidden=(64, 64), warmup_updates=10**6)
    data = bandit(2000, seed=1, best=0.3)
    learner.fit_scale(data)
    before = learner.diagnose(data)["q_action_sensitivity"]
    for _ in range(200):
        rows = torch.randint(len(data), (learner.rows_per_update,), generator=learner.sampling)
        learner.update(take(data, rows))
    after = learner.diagnose(data)
    assert after["q_action_sensitivity"] > 2 * before
    assert after.keys() == {"q_action_sensitivity", "q_spread", "disagreement", "departure"}


def test_metrics_are_tensors_with_stable_names() -> None:
    learner = make_learner()
    metrics = learner.update(make_batch(32))
    assert metrics.keys() == {
        "critic_loss", "q", "td_target", "td_error", "disagreement", "critic_grad_norm",
        "actor_loss", "actor_q", "bc", "beta", "actor_grad_norm",
    }  # fmt: skip
    assert all(value.shape == () and not value.requires_grad for value in metrics.values())


# Bad input


@pytest.mark.parametrize("field", ["reward", "z", "next_reference", "action"])
def test_nan_changes_no_weight_and_is_named_when_looked_for(field: str) -> None:
    learner = make_learner()
    batch = make_batch(32)
    getattr(batch, field)[3::16] = float("nan")  # one in the rows of each step
    before = {name: value.clone() for name, value in learner.critics.state_dict().items()}
    target = {name: value.clone() for name, value in learner.target_critics.state_dict().items()}
    learner.update(batch)
    assert all(torch.equal(value, before[name]) for name, value in learner.critics.state_dict().items())
    assert all(
        torch.equal(value, target[name]) for name, value in learner.target_critics.state_dict().items()
    )
    assert all(torch.isfinite(value).all() for value in learner.actor.body.parameters())
    with pytest.raises(BatchError, match=f"`{field}` holds NaN or infinity, first in row 3"):
        learner.check(batch)


def test_refused_updates_of_earlier_batches_are_reported() -> None:
    learner = make_learner()
    good = make_batch(32)
    learner.check(good)
    learner.update(make_batch(32, reward=torch.full((32,), float("inf"))))
    with pytest.raises(NonFiniteError, match="2 critic and 0 actor steps were refused"):
        learner.check(good)


def test_learning_goes_on_after_a_refused_update() -> None:
    learner = make_learner()
    learner.update(make_batch(32, reward=torch.full((32,), float("nan"))))
    before = learner.critics.body.token_weight.clone()
    assert torch.isfinite(learner.update(make_batch(32))["critic_loss"])
    assert not torch.equal(before, learner.critics.body.token_weight)


def test_a_field_of_wrong_shape_is_named() -> None:
    learner = make_learner()
    for field in FIELDS:
        wrong = dataclasses.replace(make_batch(32), **{field: torch.zeros(32, 99)})
        with pytest.raises(BatchError, match="has shape"):
            learner.update(wrong)
    with pytest.raises(BatchError, match=r"`action` has shape \(32, 4, 3\), expected \(32, 4, 2\)"):
        learner.update(dataclasses.replace(make_batch(32), action=torch.zeros(32, 4, 3)))
    with pytest.raises(ValueError, match="the batch has 31 rows; an update takes 32"):
        learner.update(make_batch(31))


def test_horizons_out_of_range_are_named() -> None:
    with pytest.raises(BatchError, match="`valid` runs from 0 to 4, expected 1 to 4"):
        make_batch(3, valid=torch.tensor([0, 2, 4])).check_values()
    make_batch(3, next_valid=torch.tensor([0, 2, 4])).check_values()


def test_a_chunk_that_shapes_and_configuration_disagree_on_is_refused() -> None:
    with pytest.raises(ConfigError, match="`chunk` is 10, but the shapes say 4"):
        Learner(RLTConfig(), SHAPES)


# Checkpoints


@pytest.mark.parametrize(
    "changes", [{}, {"target_actor": True, "beta_mode": "disagreement"}, {"compute": "bfloat16"}]
)
def test_a_resumed_learner_makes_the_same_updates_to_the_bit(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    learner = make_learner(**changes)
    learner.fit_scale(make_batch(100, seed=9))
    for seed in range(3):
        learner.update(make_batch(32, seed=seed))
    learner.report_success(0.2, 0.3)
    save_learner(tmp_path / "x", learner, lineage=LINEAGE, extra={"episode": "12"})
    resumed = make_learner(**changes)
    assert load_learner(tmp_path / "x", resumed, lineage=LINEAGE) == {"episode": "12"}
    for seed in range(3, 6):
        mine, theirs = learner.update(make_batch(32, seed=seed)), resumed.update(make_batch(32, seed=seed))
        assert all(torch.equal(value, theirs[name]) for name, value in mine.items())
    assert all(torch.equal(value, resumed.state()[name]) for name, value in learner.state().items())
    assert torch.equal(torch.rand(3, generator=learner.sampling), torch.rand(3, generator=resumed.sampling))


def test_a_checkpoint_that_does_not_fit_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x"
    learner = make_learner()
    learner.update(make_batch(32))
    save_learner(path, learner, lineage=LINEAGE)
    fresh = make_learner()
    before = {name: value.clone() for name, value in fresh.state().items()}
    with pytest.raises(LineageError, match="token is `token` there and `other` here"):
        load_learner(path, fresh, lineage=Lineage("vla", "other", "stats"))
    wide = Learner(CONFIG, dataclasses.replace(SHAPES, z_dim=13))
    with pytest.raises(CheckpointError, match=r"z_dim=12.*need.*z_dim=13"):
        load_learner(path, wide, lineage=LINEAGE)
    with pytest.raises(CheckpointError, match="use the `hidden` that it was made with"):
        load_learner(path, make_learner(hidden=(32, 16)), lineage=LINEAGE)
    with pytest.raises(CheckpointError, match="target_actor"):
        load_learner(path, make_learner(target_actor=True), lineage=LINEAGE)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(TruncatedError):
        load_learner(path, fresh, lineage=LINEAGE)
    assert all(torch.equal(value, before[name]) for name, value in fresh.state().items())


def test_an_exported_actor_acts_like_the_learners() -> None:
    learner = make_learner()
    learner.fit_scale(make_batch(100, seed=9))
    learner.update(make_batch(32))
    update = import_actor(export_actor(learner, lineage=LINEAGE), shapes=SHAPES, lineage=LINEAGE)
    batch = make_batch(7)
    expected = learner.actor.act(batch.z, batch.proprio, batch.reference)
    torch.testing.assert_close(update.actor.act(batch.z, batch.proprio, batch.reference), expected)
    assert update.version == 1
    assert update.lineage.vla == "vla"
    assert len(update.lineage.actor) == 16


def test_a_policy_update_that_does_not_fit_is_refused() -> None:
    data = export_actor(make_learner(), lineage=LINEAGE)
    with pytest.raises(LineageError, match="policy update was made by other parts: stats"):
        import_actor(data, shapes=SHAPES, lineage=Lineage("vla", "token", "others"))
    with pytest.raises(CheckpointError, match=r"action_dim=2.*need.*action_dim=7"):
        import_actor(data, shapes=dataclasses.replace(SHAPES, action_dim=7), lineage=LINEAGE)
    with pytest.raises(StorageError):
        import_actor(data[:-5], shapes=SHAPES, lineage=LINEAGE)
    broken = bytearray(data)
    broken[-1] ^= 255
    with pytest.raises(ChecksumError):
        import_actor(bytes(broken), shapes=SHAPES, lineage=LINEAGE)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_learning_works_on_a_gpu() -> None:
    learner = Learner(CONFIG, SHAPES, device="cuda")
    learner.fit_scale(make_batch(100))
    first = learner.update(make_batch(32).to("cuda"))["critic_loss"]
    for _ in range(50):
        last = learner.update(make_batch(32).to("cuda"))["critic_loss"]
    assert last < first

"""Does it learn: values that are known exactly, and actions that are better than the reference."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from learner_batches import CONFIG, SHAPES, make_batch, make_learner, take

from rlt_ros.rlt.batch import Batch
from rlt_ros.rlt.config import RLTConfig, Shapes
from rlt_ros.rlt.learner import Learner


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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_learning_works_on_a_gpu() -> None:
    learner = Learner(CONFIG, SHAPES, device="cuda")
    learner.fit_scale(make_batch(100))
    first = learner.update(make_batch(32).to("cuda"))["critic_loss"]
    for _ in range(50):
        last = learner.update(make_batch(32).to("cuda"))["critic_loss"]
    assert last < first

"""Normalisation from demonstrations."""

from __future__ import annotations

import numpy as np
import torch
from synthetic import demonstration, demonstrations

from rlt_ros.data.frames import displacements
from rlt_ros.experiments.vla_training import statistics_of


def test_displacements_are_commands_minus_the_position_at_the_observation() -> None:
    demo = demonstration("left", 0)
    got = displacements(demo, np.array([3]), 5)
    assert np.allclose(got[0], demo.command[3:8] - demo.position[3])


def test_beyond_the_end_the_last_command_holds() -> None:
    demo = demonstration("left", 0, steps=10)
    got = displacements(demo, np.array([8]), 5)
    assert np.allclose(got[0, 1:], demo.command[9] - demo.position[8])


def test_the_action_scale_is_the_spread_of_displacements_after_one_chunk() -> None:
    demos = demonstrations(3)
    after_ten = np.concatenate([displacements(d, d.image_steps, 20)[:, 9] for d in demos])
    scale = statistics_of(demos, horizon=20, chunk=10).action_scale
    assert np.allclose(scale, after_ten.std(axis=0), rtol=1e-4)


def test_a_joint_that_never_moves_gets_a_floor_instead_of_a_zero_scale() -> None:
    scale = statistics_of(demonstrations(2, joints=3), horizon=20, chunk=10).action_scale
    assert scale[2] == torch.tensor(1e-3)


def test_chunk_normalisation_round_trips_and_standardises() -> None:
    demos = demonstrations(3)
    statistics = statistics_of(demos, horizon=20, chunk=10)
    chunks = np.concatenate([displacements(d, d.image_steps, 20) for d in demos])
    actions = torch.from_numpy(chunks) / statistics.action_scale
    normalised = statistics.normalise_chunk(actions)
    assert torch.allclose(statistics.denormalise_chunk(normalised), actions, atol=1e-5)
    assert torch.allclose(normalised.mean(dim=0), torch.zeros(20, 2), atol=1e-4)
    assert (normalised.std(dim=0) < 1.01).all()


def test_a_compressed_goal_is_policy_units_when_small_and_keeps_order_when_large() -> None:
    statistics = statistics_of(demonstrations(2), horizon=20, chunk=10)
    small = 0.01 * statistics.action_scale
    assert torch.allclose(statistics.compress_goal(small), torch.full((2,), 0.01), rtol=1e-3)
    far = statistics.compress_goal(torch.stack([10 * statistics.action_scale, 100 * statistics.action_scale]))
    assert (far[1] > far[0]).all() and (far[1] < 6).all()

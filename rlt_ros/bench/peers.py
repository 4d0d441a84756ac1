"""Twin-critic updates of other libraries, set up for the sizes of an RLT learner.

Each has the same batch, widths, optimiser, target rate and two critic updates per actor update, in float32, and samples
from its own in-memory replay within the measured time. None has a cloning term, and their critics get the reference as
part of the observation (6 % more work at the paper's size).
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from rlt_ros.rlt.config import RLTConfig, Shapes

Update = Callable[[], None]
"""``critic_updates`` critic updates and one actor update."""


def stable_baselines3_td3(config: RLTConfig, shapes: Shapes, rows: int) -> Update:
    """Complete ``TD3.train`` of Stable-Baselines3, on its own replay buffer."""
    import gymnasium
    import numpy as np
    from stable_baselines3 import TD3
    from stable_baselines3.common.logger import Logger

    flat = shapes.chunk * shapes.action_dim
    width = shapes.z_dim + shapes.proprio_dim + flat

    class Sizes(gymnasium.Env):
        """Environment without steps: it only gives the agent the sizes of its spaces."""

        observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (width,), np.float32)
        action_space = gymnasium.spaces.Box(-1.0, 1.0, (flat,), np.float32)

    agent = TD3(
        "MlpPolicy",
        Sizes(),
        learning_rate=config.learning_rate,
        buffer_size=rows,
        batch_size=config.batch_size,
        tau=config.tau,
        gamma=config.gamma,
        policy_delay=config.critic_updates,
        policy_kwargs={"net_arch": list(config.hidden)},
        device="cpu",
        seed=0,
    )
    agent.set_logger(Logger(folder=None, output_formats=[]))
    random = np.random.default_rng(0)
    buffer = agent.replay_buffer
    assert buffer is not None
    for array in (buffer.observations, buffer.next_observations, buffer.actions, buffer.rewards):
        array[:] = random.uniform(-1, 1, array.shape)
    buffer.full = True
    return lambda: agent.train(gradient_steps=config.critic_updates, batch_size=config.batch_size)


def torchrl_td3(config: RLTConfig, shapes: Shapes, rows: int) -> Update:
    """torchrl's ``TD3Loss`` and ``SoftUpdate`` in a plain loop, on its in-memory replay buffer."""
    from tensordict import TensorDict
    from tensordict.nn import TensorDictModule
    from torchrl.data import Bounded, LazyTensorStorage, TensorDictReplayBuffer
    from torchrl.modules import MLP, ValueOperator
    from torchrl.objectives import SoftUpdate, TD3Loss

    flat = shapes.chunk * shapes.action_dim
    width = shapes.z_dim + shapes.proprio_dim + flat
    layers = {"num_cells": list(config.hidden), "activation_class": torch.nn.ReLU}
    actor = torch.nn.Sequential(MLP(in_features=width, out_features=flat, **layers), torch.nn.Tanh())
    critic = MLP(in_features=width + flat, out_features=1, **layers)
    loss = TD3Loss(
        TensorDictModule(actor, in_keys=["observation"], out_keys=["action"]),
        ValueOperator(critic, in_keys=["observation", "action"]),
        action_spec=Bounded(-1.0, 1.0, (flat,)),
        num_qvalue_nets=2,
        loss_function="l2",
    )
    loss.make_value_estimator(gamma=config.gamma)
    targets = SoftUpdate(loss, tau=config.tau)
    critic_adam = torch.optim.Adam(
        loss.qvalue_network_params.flatten_keys().values(), lr=config.learning_rate
    )
    actor_adam = torch.optim.Adam(loss.actor_network_params.flatten_keys().values(), lr=config.learning_rate)
    buffer = TensorDictReplayBuffer(storage=LazyTensorStorage(rows), batch_size=config.batch_size)
    part = min(rows, 2000)
    for _ in range(rows // part):
        done = torch.zeros(part, 1, dtype=torch.bool)
        following = {
            "observation": torch.randn(part, width),
            "reward": torch.randn(part, 1),
            "done": done,
            "terminated": done,
        }
        action = torch.rand(part, flat) * 2 - 1
        row = {"observation": torch.randn(part, width), "action": action, "next": following}
        buffer.extend(TensorDict(row, [part]))

    def update() -> None:
        for _ in range(config.critic_updates):
            sample = buffer.sample()
            value, _ = loss.value_loss(sample)
            critic_adam.zero_grad()
            value.backward()
            critic_adam.step()
        policy, _ = loss.actor_loss(sample)
        actor_adam.zero_grad()
        policy.backward()
        actor_adam.step()
        targets.step()

    return update

"""Stage 2 of RLT: one update of the chunk actor-critic, in the order of the paper's algorithm (arXiv:2604.23073).

Notation: x = (z, proprio) is the RL state, a a chunk of C actions, a~ the VLA's reference chunk, x' and a~' state
and reference at the end of the window, n the window's valid steps. No function here logs, reads, writes or waits for a
GPU: metrics stay tensors, and a non-finite gradient is skipped on the device and counted.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rlt_ros.rlt.batch import Batch, valid_mask
from rlt_ros.rlt.config import RLTConfig, Shapes
from rlt_ros.rlt.networks import Actor, Critics, State, frozen, product_dtype
from rlt_ros.rlt.optimizer import ClippedAdam
from rlt_ros.store.parameters import ConfigError

Metrics = dict[str, Tensor]

_DISAGREEMENT_RATE = 0.01
"""Rate of the moving average of the critics' disagreement, about a hundred actor steps."""

_SUCCESS_DEFICIT_AT_MAX_BETA = 0.15
"""Difference of success rates, base minus policy, at which a success-gated beta reaches its maximum."""

_SECURE_SUCCESS_RATE = 0.9
"""Success rate above which a success-gated beta decreases, in favour of speed; its minimum is at a rate of 1."""


class NonFiniteError(ArithmeticError):
    """Updates were skipped because of NaN or infinity in losses or gradients. The weights are intact."""


class Learner:
    """Chunk actor, twin chunk critics, their targets and optimisers.

    Args:
        config: hyper-parameters.
        shapes: sizes of token, proprioception and chunk.
        device: device of all computation.
        seed: seed of initial weights, noise and replay sampling.

    Attributes:
        actor: the policy, with input statistics and action bounds.
        sampling: CPU generator for the replay, here because a checkpoint continues its sequence.
        critic_steps: critic updates made, the unit of the update-to-data ratio.
        actor_steps: actor updates made, the policy's version.
    """

    def __init__(
        self, config: RLTConfig, shapes: Shapes, *, device: torch.device | str = "cpu", seed: int = 0
    ) -> None:
        if config.chunk != shapes.chunk:
            raise ConfigError(
                f"`chunk` is {config.chunk}, but the shapes have {shapes.chunk}; make them equal"
            )
        self.config, self.shapes, self.device = config, shapes, torch.device(device)
        dtype = product_dtype(config.compute, self.device)
        weights = torch.Generator().manual_seed(seed)
        self.actor = Actor(shapes, config.hidden, dtype=dtype, generator=weights).to(self.device)
        self.critics = Critics(shapes, config.hidden, dtype=dtype, generator=weights).to(self.device)
        self.target_critics = copy.deepcopy(self.critics).requires_grad_(False)
        self.target_actor = (
            copy.deepcopy(self.actor).requires_grad_(False) if config.target_actor else self.actor
        )
        self.actor_adam = ClippedAdam(self.actor.parameters(), config.learning_rate, config.grad_clip)
        self.critic_adam = ClippedAdam(self.critics.parameters(), config.learning_rate, config.grad_clip)
        self.noise = torch.Generator(self.device).manual_seed(seed)
        self.sampling = torch.Generator().manual_seed(seed)
        self.critic_steps = self.actor_steps = 0
        self.success_factor = torch.ones((), device=self.device)
        self.usual_disagreement = torch.zeros((), device=self.device)

    @property
    def rows_per_update(self) -> int:
        """Rows of one :meth:`update`: an independent batch for each critic step."""
        return self.config.critic_updates * self.config.batch_size

    @property
    def warming_up(self) -> bool:
        """True while the critics learn the base policy's value and the actor clones the reference."""
        return self.critic_steps < self.config.warmup_updates

    def fit_scale(self, rows: Batch) -> None:
        """Set input statistics and action bounds from rows of the base policy, once, before the first update."""
        self.actor.fit(rows.to(self.device), self.config.bound_margin)
        for critics in (self.critics, self.target_critics):
            critics.body.command_scale.copy_(self.actor.body.command_scale)
        if self.target_actor is not self.actor:
            self.target_actor.load_state_dict(self.actor.state_dict())

    def update(self, batch: Batch) -> Metrics:
        """Make ``critic_updates`` critic steps and one actor step (Algorithm 1, the learner's inner loop).

        As in TD3, targets and actor are constant during the critic steps, so all TD targets are computed in one pass,
        and the actor step uses the rows of the last critic step. These two steps start from the same critics and share
        the token's part of the first layer.

        Args:
            batch: ``rows_per_update`` rows on the learner's device.

        Returns:
            Scalars as tensors: ``critic_loss, q, td_target, td_error, disagreement, critic_grad_norm, actor_loss,
            actor_q, bc, beta, actor_grad_norm``.
        """
        batch.check_shapes(self.shapes)
        if len(batch) != self.rows_per_update:
            raise ValueError(f"the batch has {len(batch)} rows; an update takes {self.rows_per_update}")
        states = self.actor.state(batch.z, batch.proprio)
        y = self.td_target(batch)
        for start in range(0, len(batch), self.config.batch_size):
            stop = start + self.config.batch_size
            rows, x = batch.rows(start, stop), states.rows(start, stop)
            token = self.critics.read_token(x)
            critic_loss, critic = self.critic_loss(x, rows, y[start:stop], token)
            if stop == len(batch):
                with frozen(self.critics):
                    actor_loss, actor = self.actor_loss(x, rows, token.detach())
                actor["actor_grad_norm"] = self.actor_adam.step(actor_loss)
                self.actor_steps += 1
            critic["critic_grad_norm"] = self.critic_adam.step(critic_loss)
            self.critic_steps += 1
        self._move_targets()
        return {**critic, **actor}

    @torch.no_grad()
    def td_target(self, batch: Batch) -> Tensor:
        """Eq. 3: y = sum_k gamma^k r_k + gamma^n min_i Q'_i(x', a'), a' ~ pi(. | x', a~'); (B,).

        ``batch.discount`` is gamma^n already, or 0 after a terminal state. The next reference is always the VLA's.
        During warm-up a' is that reference: the value is the base policy's.
        """
        x = self.actor.state(batch.next_z, batch.next_proprio)
        if self.warming_up:
            action = batch.next_reference
        else:
            action = self._sample(self.target_actor, x, batch.next_reference, self.config.target_noise_clip)
        q = self.target_critics(x, action, batch.next_valid).amin(0)
        # Without these bounds the maximum over the actor's errors amplifies itself.
        q = q.clamp(self.config.return_low, self.config.return_high)
        return batch.reward + batch.discount * q

    def critic_loss(
        self, x: State, batch: Batch, y: Tensor, token: Tensor | None = None
    ) -> tuple[Tensor, Metrics]:
        """Eq. 3: sum_i E (Q_i(x, a) - y)^2, and its metrics."""
        q = self.critics(x, batch.action, batch.valid, token)
        error = q - y
        loss = error.square().mean(1).sum()
        metrics = {"critic_loss": loss, "q": q.mean(), "td_target": y.mean(), "td_error": error.abs().mean()}
        return loss, {**_detached(metrics), "disagreement": (q[0] - q[1]).detach().abs().mean()}

    def actor_loss(self, x: State, batch: Batch, token: Tensor | None = None) -> tuple[Tensor, Metrics]:
        """Eq. 5: E -Q(x, a) + beta ||a - a~||^2 with a ~ pi(. | x, dropout(a~)), and its metrics.

        The squared distance is a sum over valid steps and dimensions. It uses the mean of the Gaussian, with the same
        gradient in expectation, before the bounds, so that it can pull the mean back inside. During warm-up the actor
        only clones.
        """
        shown, cloned = self._references(batch)
        mean = self.actor.mean(x, self._dropout(shown))
        valid = valid_mask(batch.valid, self.shapes.chunk)
        bc = ((mean - cloned).square() * valid).sum((1, 2))
        if self.warming_up:
            loss = bc.mean()
            return loss, _detached({"actor_loss": loss, "bc": loss})
        noise = self.config.sigma * self._gaussian(mean.shape)
        pair = self.critics(x, self.actor.bounded(mean + noise), batch.valid, token)
        q = self._actor_value(pair)
        beta = self.config.beta * self._opening_factor() * self._beta_factor(pair.detach())
        loss = (beta * bc - q).mean()
        return loss, _detached(
            {"actor_loss": loss, "actor_q": q.mean(), "bc": bc.mean(), "beta": beta.mean()}
        )

    @torch.no_grad()
    def diagnose(self, batch: Batch) -> Metrics:
        """Diagnostics of the critics' use to the actor; two more passes, so not part of every update.

        ``q_action_sensitivity``: mean |Q(x, a) - Q(x, a of another row)|, zero when Q has collapsed to V(x);
        ``q_spread``: standard deviation of Q over the rows, its scale; ``disagreement``: mean |Q_1 - Q_2|;
        ``departure``: root mean square distance of the policy's mean from the reference, policy units.
        """
        x = self.actor.state(batch.z, batch.proprio)
        q = self.critics(x, batch.action, batch.valid)
        other = self.critics(x, batch.action.roll(1, 0), batch.valid)
        departure = self.actor.bounded(self.actor.mean(x, batch.reference)) - batch.reference
        return {
            "q_action_sensitivity": (q - other).abs().mean(),
            "q_spread": q.std(),
            "disagreement": (q[0] - q[1]).abs().mean(),
            "departure": departure.square().mean().sqrt(),
        }

    def report_success(self, policy: float, base: float) -> None:
        """Update a success-gated beta with the success rates, 0 to 1, of recent and of base-policy episodes."""
        secure = max(_SECURE_SUCCESS_RATE, base)
        if policy > secure:
            pull = -(policy - secure) / (1.0 - secure)
        else:
            pull = max(0.0, min(1.0, (base - policy) / _SUCCESS_DEFICIT_AT_MAX_BETA))
        self.success_factor.fill_(self.config.beta_span**pull)

    def check(self, batch: Batch) -> None:
        """Raise if updates were skipped; waits for the GPU, so for use with the logging of metrics.

        Raises:
            BatchError: ``batch``, the latest, holds the faulty values.
            NonFiniteError: an earlier batch or the learning rate is the cause.
        """
        critic, actor = int(self.critic_adam.faults), int(self.actor_adam.faults)
        if critic or actor:
            batch.check_values()
            raise NonFiniteError(
                f"{critic} critic and {actor} actor steps were skipped because of NaN or infinity; "
                "an earlier batch held such values, or `learning_rate` is too high. The weights are intact"
            )

    def state(self) -> dict[str, Tensor]:
        """Complete state of the next update, as live tensors; the generators as bytes."""
        parts = {"actor": self.actor.state_dict(), "critics": self.critics.state_dict()}
        parts["target_critics"] = self.target_critics.state_dict()
        if self.target_actor is not self.actor:
            parts["target_actor"] = self.target_actor.state_dict()
        parts["actor_adam"], parts["critic_adam"] = self.actor_adam.state(), self.critic_adam.state()
        parts["beta"] = {"success_factor": self.success_factor, "usual_disagreement": self.usual_disagreement}
        parts["steps"] = {"critic": torch.tensor(self.critic_steps), "actor": torch.tensor(self.actor_steps)}
        parts["generator"] = {"noise": self.noise.get_state(), "sampling": self.sampling.get_state()}
        return {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore the result of :meth:`state`; names and shapes must be the same (see ``checkpoint.py``)."""
        with torch.no_grad():
            for name, value in self.state().items():
                value.copy_(state[name])
        self.critic_steps, self.actor_steps = int(state["steps.critic"]), int(state["steps.actor"])
        self.noise.set_state(state["generator.noise"])
        self.sampling.set_state(state["generator.sampling"])

    @torch.no_grad()
    def _move_targets(self) -> None:
        """Update psi' <- psi' + tau (psi - psi') for all critic steps at once."""
        share = 1 - (1 - self.config.tau) ** self.config.critic_updates
        pairs: list[tuple[nn.Module, nn.Module]] = [(self.target_critics, self.critics)]
        if self.target_actor is not self.actor:
            pairs.append((self.target_actor, self.actor))
        for target, source in pairs:
            torch._foreach_lerp_(list(target.parameters()), list(source.parameters()), share)

    def _references(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Reference in the actor's input and reference to clone, (B, C, A) each.

        On steps that a human commanded the human's action is cloned; with ``replace``, as in the paper, it is also the
        input, with ``keep`` the input is the VLA's chunk, as at run time.
        """
        human = torch.where(batch.human.unsqueeze(2), batch.action, batch.reference)
        return (human if self.config.human_reference == "replace" else batch.reference), human

    def _dropout(self, reference: Tensor) -> Tensor:
        """Hide the whole reference of some samples, so that copying it is not enough."""
        kept = torch.rand(len(reference), 1, 1, generator=self.noise, device=self.device)
        return reference * (kept >= self.config.reference_dropout)

    def _sample(self, actor: Actor, x: State, reference: Tensor, clip: float) -> Tensor:
        """Sample a ~ N(mu(x, a~), sigma^2 I) within the bounds; ``clip`` > 0 limits the noise as in TD3."""
        mean = actor.mean(x, reference)
        noise = self.config.sigma * self._gaussian(mean.shape)
        return actor.bounded(mean + (noise.clamp(-clip, clip) if clip > 0 else noise))

    def _gaussian(self, shape: torch.Size) -> Tensor:
        return torch.randn(shape, generator=self.noise, device=self.device)

    def _actor_value(self, pair: Tensor) -> Tensor:
        """Value (B,) that the actor maximises, from both critics' (2, B)."""
        if self.config.actor_q == "first":
            return pair[0]
        return pair.amin(0) if self.config.actor_q == "min" else pair.mean(0)

    def _opening_factor(self) -> float:
        """Factor on beta, decaying from ``beta_opening`` at take-over to 1."""
        acted = self.critic_steps - self.config.warmup_updates
        return max(1.0, self.config.beta_opening * math.exp(-acted / self.config.beta_ramp))

    def _beta_factor(self, pair: Tensor) -> Tensor:
        """Factor on beta, () or (B,), between 1 / ``beta_span`` and ``beta_span``."""
        if self.config.beta_mode == "fixed":
            return torch.ones_like(self.success_factor)
        if self.config.beta_mode == "success":
            return self.success_factor
        disagreement = (pair[0] - pair[1]).abs()
        now, usual = disagreement.mean(), self.usual_disagreement
        usual.copy_(torch.where(usual > 0, usual.lerp(now, _DISAGREEMENT_RATE), now))
        span = self.config.beta_span
        return (disagreement / usual.clamp(min=1e-12)).clamp(1 / span, span)


def _detached(metrics: Metrics) -> Metrics:
    return {name: value.detach() for name, value in metrics.items()}

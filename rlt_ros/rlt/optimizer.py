"""Adam with gradient clipping that neither waits for the GPU nor takes a step on a gradient that is not finite."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor


class ClippedAdam:
    """Fused Adam over its own parameters, with its own gradient norm and its own count of refused steps.

    The fused kernel can divide gradients by a tensor and skip a step because of a tensor (it does so for mixed
    precision). Clipping and the guard against NaN use exactly that: no value ever travels to the host.

    Attributes:
        faults: () number of steps refused because the gradient held NaN or infinity.
    """

    def __init__(self, parameters: Iterable[Tensor], learning_rate: float, clip: float) -> None:
        self.parameters = list(parameters)
        self.clip = clip
        self._adam = torch.optim.Adam(self.parameters, lr=learning_rate, fused=True)
        device = self.parameters[0].device
        self.faults = torch.zeros((), device=device)
        for (
            parameter
        ) in self.parameters:  # made now rather than at the first step, so that a resume can fill them
            self._adam.state[parameter] = {
                "step": torch.zeros((), device=device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }

    def step(self, loss: Tensor) -> Tensor:
        """One step down the gradient of ``loss`` (); returns the gradient's norm () before clipping."""
        gradients = torch.autograd.grad(loss, self.parameters)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        norms = torch._foreach_norm(gradients)
        norm = torch.linalg.vector_norm(torch.stack(norms))
        broken = (~torch.isfinite(norm)).float()
        self._adam.grad_scale = (norm / self.clip).clamp(min=1.0)
        self._adam.found_inf = broken
        self._adam.step()
        self.faults += broken
        for parameter in self.parameters:
            parameter.grad = None
        return norm

    def state(self) -> dict[str, Tensor]:
        """Moments and step counts by ``<index>.<name>``, and the faults."""
        moments = {
            f"{index}.{name}": value
            for index, parameter in enumerate(self.parameters)
            for name, value in self._adam.state[parameter].items()
        }
        return {**moments, "faults": self.faults}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what :meth:`state` gave."""
        for name, value in self.state().items():
            value.copy_(state[name])

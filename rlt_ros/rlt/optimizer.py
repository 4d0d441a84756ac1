"""Adam with gradient clipping that neither waits for the GPU nor takes a step on a gradient that is not finite."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from torch.optim.adam import adam

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8
"""Adam's own defaults (arXiv:1412.6980)."""


class ClippedAdam:
    """Fused Adam over its own parameters, with its own gradient norm and its own count of refused steps.

    The fused kernel can divide gradients by a tensor and skip a step because of a tensor (it does so for mixed
    precision). Clipping and the guard against NaN use exactly that: no value ever travels to the host.

    Attributes:
        faults: () number of steps refused because the gradient held NaN or infinity.
    """

    def __init__(self, parameters: Iterable[Tensor], learning_rate: float, clip: float) -> None:
        self.parameters = list(parameters)
        self.learning_rate, self.clip = learning_rate, clip
        device = self.parameters[0].device
        self.faults = torch.zeros((), device=device)
        self._steps = [torch.zeros((), device=device) for _ in self.parameters]
        self._means = [torch.zeros_like(parameter) for parameter in self.parameters]
        self._squares = [torch.zeros_like(parameter) for parameter in self.parameters]

    def step(self, loss: Tensor) -> Tensor:
        """One step down the gradient of ``loss`` (); returns the gradient's norm () before clipping."""
        gradients = list(torch.autograd.grad(loss, self.parameters))
        with torch.no_grad():
            norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
            refused = (~torch.isfinite(norm)).float()
            self.faults += refused
            adam(
                self.parameters,
                gradients,
                self._means,
                self._squares,
                [],
                self._steps,
                fused=True,
                grad_scale=(norm / self.clip).clamp(min=1.0),
                found_inf=refused,
                amsgrad=False,
                beta1=_BETA1,
                beta2=_BETA2,
                lr=self.learning_rate,
                weight_decay=0.0,
                eps=_EPSILON,
                maximize=False,
            )
        return norm

    def state(self) -> dict[str, Tensor]:
        """Moments and step counts by ``<name>.<index>``, and the faults, as live tensors."""
        lists = {"step": self._steps, "mean": self._means, "square": self._squares}
        named = {f"{name}.{i}": value for name, values in lists.items() for i, value in enumerate(values)}
        return {**named, "faults": self.faults}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what :meth:`state` gave."""
        for name, value in self.state().items():
            value.copy_(state[name])

"""Adam with gradient clipping that skips non-finite gradients without waiting for the GPU."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from torch.optim.adam import adam

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8
"""Adam's own defaults (arXiv:1412.6980)."""


class ClippedAdam:
    """Fused Adam over one group of parameters, with a gradient norm and a count of skipped steps per group.

    For mixed precision, the fused kernel divides gradients by a tensor and skips a step on a tensor's value. Clipping
    and the guard against NaN use the same arguments: no value is copied to the host.

    Attributes:
        faults: () number of steps skipped because the gradient held NaN or infinity.
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
        """Make one step down the gradient of ``loss`` (); returns the gradient's norm () before clipping."""
        gradients = list(torch.autograd.grad(loss, self.parameters))
        with torch.no_grad():
            norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
            skipped = (~torch.isfinite(norm)).float()
            self.faults += skipped
            adam(
                self.parameters,
                gradients,
                self._means,
                self._squares,
                [],
                self._steps,
                fused=True,
                grad_scale=(norm / self.clip).clamp(min=1.0),
                found_inf=skipped,
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
        """Restore the result of :meth:`state`."""
        for name, value in self.state().items():
            value.copy_(state[name])

"""Muon: the momentum of a matrix is made orthogonal before it is added (arXiv 2502.16982).

All directions of a matrix then move alike, also those that few samples speak of. On the embedded
model a step teaches about what one and a half of AdamW's do (docs/log.md, 2026-11-23). Vectors,
embeddings, routers and output layers learn with AdamW; updates are scaled so that one learning
rate serves both.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch

from vl2.train.moments import AdamWWithMoments

_MOMENTUM = 0.95
_LIKE_ADAMW = 0.2
"""Root mean square of AdamW's updates, which orthogonal ones are scaled to."""

_POLYNOMIAL = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5


class Muon(AdamWWithMoments):
    """Muon for groups whose `matrices` is not 0, AdamW for the others.

    `matrices` says how many matrices each parameter of the group stacks in its rows, as queries,
    keys and values in one; each is made orthogonal by itself, and so is each expert's. Matrices of
    one shape are worked on together.
    """

    def _update_group(self, group: dict[str, Any]) -> None:
        if not group["matrices"]:
            super()._update_group(group)
            return
        alike: dict[torch.Size, list[torch.Tensor]] = defaultdict(list)
        for parameter in group["params"]:
            if parameter.grad is not None:
                alike[parameter.shape].append(parameter)
        for shape, parameters in alike.items():
            rows, columns = shape[-2] // group["matrices"], shape[-1]
            wanted = torch.stack([self._momentum(parameter) for parameter in parameters])
            turned = orthogonal(wanted.view(-1, rows, columns)).view_as(wanted)
            size = group["lr"] * _LIKE_ADAMW * max(rows, columns) ** 0.5
            for parameter, update in zip(parameters, turned, strict=True):
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(update, alpha=-size)

    def _momentum(self, parameter: torch.Tensor) -> torch.Tensor:
        """The gradient, averaged over steps, one step ahead (Nesterov), in float32."""
        state = self.state[parameter]
        if not state:
            state["exp_avg"] = torch.zeros_like(parameter, dtype=self._moments)
        gradient = parameter.grad.to(torch.float32)  # pyrefly: ignore[missing-attribute]
        mean = state["exp_avg"].to(torch.float32).lerp(gradient, 1 - _MOMENTUM)
        state["exp_avg"].copy_(mean)
        return gradient.lerp(mean, _MOMENTUM)


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """Matrices near the orthogonal ones nearest to `matrices`, by Newton-Schulz iterations.

    Singular values come out between about 0.7 and 1.2, which is near enough, in bfloat16.

    Args:
        matrices: `[n, rows, columns]`.

    Returns:
        float32 of the same shape; zeros stay zeros.
    """
    a, b, c = _POLYNOMIAL
    is_tall = matrices.shape[1] > matrices.shape[2]
    x = (matrices.transpose(1, 2) if is_tall else matrices).to(torch.bfloat16)
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.transpose(1, 2) if is_tall else x).to(torch.float32)

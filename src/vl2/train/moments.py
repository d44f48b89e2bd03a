"""AdamW whose two moments are kept in another precision than the weights.

The released base model was trained with an optimizer in bfloat16 (paper, Table 2). The moments are
half of what AdamW adds to the memory of a run; in bfloat16 they take half of that, and each update
is still computed in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer

_MOMENTS = ("exp_avg", "exp_avg_sq")


class AdamWWithMoments(Optimizer):
    """AdamW (arXiv 1711.05101) with moments of a chosen precision; equals torch's in float32.

    Args:
        groups: parameter groups with `params`, `lr` and `weight_decay`.
        lr: learning rate of groups that name none.
        betas: decay of the first and of the second moment.
        moments: precision in which they are kept.
        eps: added to the root of the second moment.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        lr: float,
        betas: tuple[float, float],
        moments: torch.dtype,
        eps: float = 1e-8,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0}
        super().__init__(groups, defaults)
        self._moments = moments

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # pyrefly: ignore[bad-override]
        """Update all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._update_group(group)
        return loss

    def _update_group(self, group: dict[str, Any]) -> None:
        for parameter in group["params"]:
            if parameter.grad is not None:
                self._update(parameter, group)

    def _update(self, parameter: torch.Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["exp_avg"] = torch.zeros_like(parameter, dtype=self._moments)
            state["exp_avg_sq"] = torch.zeros_like(parameter, dtype=self._moments)
        state["step"] += 1
        step, (beta1, beta2) = int(state["step"]), group["betas"]
        gradient = parameter.grad.to(torch.float32)  # pyrefly: ignore[missing-attribute]
        first = state["exp_avg"].to(torch.float32).lerp(gradient, 1 - beta1)
        second = state["exp_avg_sq"].to(torch.float32).mul(beta2).add(gradient**2, alpha=1 - beta2)
        state["exp_avg"].copy_(first)
        state["exp_avg_sq"].copy_(second)
        scale = (second / (1 - beta2**step)).sqrt() + group["eps"]
        moved = parameter.to(torch.float32) * (1 - group["lr"] * group["weight_decay"])
        moved = moved - group["lr"] / (1 - beta1**step) * first / scale
        parameter.copy_(moved)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch's, and keeps the precision of the moments.

        torch has rounded them to that of the weights by then, so they are taken from what is given.
        As torch does, parameters are matched by their places in the groups.
        """
        super().load_state_dict(state_dict)
        keys = (key for group in state_dict["param_groups"] for key in group["params"])
        own = (parameter for group in self.param_groups for parameter in group["params"])
        for key, parameter in zip(keys, own, strict=True):
            given = state_dict["state"].get(key, {})
            for name in (name for name in _MOMENTS if name in given):
                moment = given[name].to(device=parameter.device, dtype=self._moments)
                self.state[parameter][name] = moment

"""Which experts a token goes to, and with what weight (DeepSeekMoE, arXiv 2401.06066).

Scores are a softmax (tiny, small) or a sigmoid (base) of the router's logits. Three ways to choose
the k experts of a token:

* `greedy`: the k highest scores.
* `group_limited_greedy`: experts lie in groups; only the groups with the highest best score count.
* `noaux_tc` (arXiv 2412.19437, section 2.1.2): a correction bias is added to the scores for the
  choice only, and a group counts by the sum of its two highest. The weights stay without the bias.

Experts outside the chosen groups compete with the score 0, not minus infinity: that is how the
released models were run, and with negative biased scores the two differ.
"""

from dataclasses import dataclass
from typing import Literal

import torch

ScoringFunction = Literal["softmax", "sigmoid"]
TopkMethod = Literal["greedy", "group_limited_greedy", "noaux_tc"]


@dataclass(frozen=True, slots=True)
class Routing:
    """How the scores of a token become k experts and their weights."""

    top_k: int
    scoring: ScoringFunction = "softmax"
    method: TopkMethod = "greedy"
    groups: int = 1
    kept_groups: int = 1
    normalise: bool = False
    scale: float = 1.0


def router_logits(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """`x @ weight.T` in float32, also under autocast: rounded logits pick other experts.

    Args:
        x: tokens `[n, d]`.
        weight: one row per expert `[e, d]`.

    Returns:
        float32 `[n, e]`.
    """
    with torch.autocast(device_type=x.device.type, enabled=False):
        return torch.nn.functional.linear(x.to(torch.float32), weight.to(torch.float32))


def expert_scores(logits: torch.Tensor, scoring: ScoringFunction) -> torch.Tensor:
    """Scores `[n, e]` of the logits `[n, e]`."""
    return logits.softmax(dim=-1) if scoring == "softmax" else logits.sigmoid()


def choose_experts(
    logits: torch.Tensor, routing: Routing, bias: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Chooses k experts for every token.

    Args:
        logits: float32 `[n, e]`.
        routing: how to choose.
        bias: correction bias `[e]`, for `noaux_tc`.

    Returns:
        Indices int64 `[n, k]` and weights float32 `[n, k]`.
    """
    scores = expert_scores(logits, routing.scoring)
    choice = scores if bias is None else scores + bias
    if routing.method != "greedy" and routing.groups > 1:
        choice = _keep_best_groups(choice, routing)
    indices = choice.topk(routing.top_k, dim=-1, sorted=False).indices
    weights = scores.gather(-1, indices)
    if routing.normalise and routing.top_k > 1:
        weights = weights / (weights.sum(dim=-1, keepdim=True) + 1e-20)
    return indices, weights * routing.scale


def _keep_best_groups(scores: torch.Tensor, routing: Routing) -> torch.Tensor:
    grouped = scores.unflatten(-1, (routing.groups, -1))
    if routing.method == "noaux_tc":
        worth = grouped.topk(2, dim=-1).values.sum(dim=-1)
    else:
        worth = grouped.amax(dim=-1)
    kept = worth.topk(routing.kept_groups, dim=-1, sorted=False).indices
    outside = torch.ones_like(worth, dtype=torch.bool).scatter(-1, kept, False)
    return grouped.masked_fill(outside[..., None], 0.0).flatten(-2)

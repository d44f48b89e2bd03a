"""Keeping the experts evenly used while training.

Two means, as in DeepSeek-VL2 (table 2) and DeepSeek-V3 (arXiv 2412.19437, section 2.1.2):

* the sequence-wise balance loss, a small term of the training loss;
* the correction bias of `noaux_tc`, moved after every step against the load, without a gradient.

Padding is left out of both. (The original counts padding and routes it like text.)
"""

import torch

from vl2.ops.router import ScoringFunction, expert_scores


def sequence_balance_loss(
    logits: torch.Tensor,
    indices: torch.Tensor,
    mask: torch.Tensor | None = None,
    scoring: ScoringFunction = "softmax",
) -> torch.Tensor:
    """Sequence-wise balance loss of one mixture-of-experts layer, `mean_b sum_i f_i P_i`.

    `f_i` is how often expert `i` was chosen in a sequence, relative to an even share, and `P_i` its
    mean normalised score there (DeepSeek-V3, equations 17 to 20). Perfect balance gives 1.

    Args:
        logits: router logits, float32 `[b, t, e]`.
        indices: chosen experts `[b, t, k]`.
        mask: true at real tokens, `[b, t]`; None if all are.
        scoring: what makes scores of the logits. Sigmoid scores are normalised to sum 1.

    Returns:
        A scalar, not yet multiplied with its weight. A sequence without tokens counts as 0.
    """
    experts = logits.shape[-1]
    probabilities = expert_scores(logits, scoring)
    if scoring == "sigmoid":
        probabilities = probabilities / (probabilities.sum(dim=-1, keepdim=True) + 1e-20)
    weight = _token_weights(mask, logits)
    tokens = weight.sum(dim=1).clamp(min=1.0)
    share = expert_load(indices, experts, mask)
    share = share * experts / (tokens * indices.shape[-1])[:, None]
    mean_score = (probabilities * weight[..., None]).sum(dim=1) / tokens[:, None]
    return (share * mean_score).sum(dim=-1).mean()


def expert_load(
    indices: torch.Tensor, experts: int, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """How many real tokens of each sequence every expert got.

    Args:
        indices: chosen experts `[b, t, k]`.
        experts: number `e` of experts.
        mask: true at real tokens, `[b, t]`; None if all are.

    Returns:
        float32 `[b, e]`, without gradient.
    """
    batch, _, top_k = indices.shape
    weight = _token_weights(mask, indices)
    load = torch.zeros(batch, experts, dtype=torch.float32, device=indices.device)
    return load.scatter_add(1, indices.flatten(1), weight.repeat_interleave(top_k, dim=1))


def corrected_bias(bias: torch.Tensor, load: torch.Tensor, step: float) -> torch.Tensor:
    """The correction bias after one step against the load (arXiv 2408.15664).

    Experts with less than the mean load become more attractive by `step`, those with more less.

    Args:
        bias: float32 `[e]`.
        load: tokens per expert since the last step `[e]`, summed over all devices.
        step: size of the step; the released base model was pre-trained with 0.001.
    """
    load = load.to(bias.dtype)
    return bias + step * torch.sign(load.mean() - load)


def _token_weights(mask: torch.Tensor | None, like: torch.Tensor) -> torch.Tensor:
    if mask is None:
        return torch.ones(like.shape[:2], dtype=torch.float32, device=like.device)
    return mask.to(device=like.device, dtype=torch.float32)


def plain_sequence_balance_loss(
    logits: torch.Tensor,
    indices: torch.Tensor,
    mask: torch.Tensor | None = None,
    scoring: ScoringFunction = "softmax",
) -> torch.Tensor:
    """Twin of `sequence_balance_loss`: one sequence and one expert after the other."""
    experts, losses = logits.shape[-1], []
    for row in range(logits.shape[0]):
        real = slice(None) if mask is None else mask[row].bool()
        scores = expert_scores(logits[row, real], scoring)
        probabilities = scores / scores.sum(dim=-1, keepdim=True)
        chosen = indices[row, real]
        loss = logits.new_zeros(())
        if chosen.numel() > 0:
            for expert in range(experts):
                share = (chosen == expert).sum() * experts / chosen.numel()
                loss = loss + share * probabilities[:, expert].mean()
        losses.append(loss)
    return torch.stack(losses).mean()

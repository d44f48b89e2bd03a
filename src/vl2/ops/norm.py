"""Root-mean-square norm (arXiv 1910.07467)."""

import torch


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """Divides `x` by its root mean square and scales it.

    Args:
        x: `[..., d]`.
        weight: `[d]`.
        eps: added to the mean square.

    Returns:
        `[..., d]` in the type of `weight`; the statistics are float32.
    """
    wide = x.to(torch.float32)
    normed = wide * torch.rsqrt(wide.pow(2).mean(dim=-1, keepdim=True) + eps)
    return weight * normed.to(weight.dtype)

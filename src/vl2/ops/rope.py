"""Rotary position embedding (arXiv 2104.09864) in the two layouts of the DeepSeek-VL2 family.

The multi-head attention of the tiny model rotates element `i` with element `i + d/2` (half-split);
the latent attention of the small and base models rotates neighbours `2i` and `2i + 1`
(interleaved). Mixing the two up runs without an error and gives wrong answers.

Positions, frequencies and tables are float32 here whatever the precision of the model: bfloat16
holds only 8 bits of a position, so from 257 on neighbouring tokens would share one.
"""

import torch


def inverse_frequencies(dim: int, theta: float, device: torch.device | None = None) -> torch.Tensor:
    """Angular step per position of each rotated pair, `theta ** (-2i / dim)`.

    Args:
        dim: number of rotated dimensions `d`, even.
        theta: base of the geometric series.
        device: where to build it.

    Returns:
        float32 `[d / 2]`.
    """
    exponents = torch.arange(0, dim, 2, dtype=torch.float32, device=device) / dim
    return 1.0 / (theta**exponents)


def rotary_tables(
    position_ids: torch.Tensor, dim: int, theta: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and sine of every position and pair.

    Args:
        position_ids: integer `[b, t]`.
        dim: number of rotated dimensions `d`.
        theta: base of the frequencies.

    Returns:
        Cosine and sine, each float32 `[b, t, d / 2]`.
    """
    frequencies = inverse_frequencies(dim, theta, position_ids.device)
    angles = position_ids[..., None].to(torch.float32) * frequencies
    return angles.cos(), angles.sin()


def rotate_half_split(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotates the pairs `(i, i + d/2)` of the last dimension.

    Args:
        x: `[b, h, t, d]`, any floating type.
        cos: float32 `[b, t, d / 2]`.
        sin: float32 `[b, t, d / 2]`.

    Returns:
        `[b, h, t, d]` in the type of `x`; the arithmetic is float32.
    """
    cos, sin = cos[:, None], sin[:, None]
    first, second = x.to(torch.float32).chunk(2, dim=-1)
    rotated = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return rotated.to(x.dtype)


def rotate_interleaved(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotates the pairs `(2i, 2i + 1)` of the last dimension, each in its place.

    The original moves the even elements to the front first. Queries and keys are moved alike, so
    their products are the same.

    Args:
        x: `[b, h, t, d]`, any floating type.
        cos: float32 `[b, t, d / 2]`.
        sin: float32 `[b, t, d / 2]`.

    Returns:
        `[b, h, t, d]` in the type of `x`; the arithmetic is float32.
    """
    cos, sin = cos[:, None], sin[:, None]
    even, odd = x.to(torch.float32).unflatten(-1, (-1, 2)).unbind(dim=-1)
    rotated = torch.stack((even * cos - odd * sin, odd * cos + even * sin), dim=-1)
    return rotated.flatten(-2).to(x.dtype)


def plain_rotate_interleaved(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Twin of `rotate_interleaved`: the pairs as complex numbers, turned by `exp(i * angle)`."""
    pairs = torch.view_as_complex(x.to(torch.float32).unflatten(-1, (-1, 2)).contiguous())
    turned = pairs * torch.complex(cos, sin)[:, None]
    return torch.view_as_real(turned).flatten(-2).to(x.dtype)


def plain_rotate_half_split(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Twin of `rotate_half_split`: `x * cos + swapped(x) * sin` over the whole width."""
    wide_cos = torch.cat((cos, cos), dim=-1)[:, None]
    wide_sin = torch.cat((sin, sin), dim=-1)[:, None]
    first, second = x.to(torch.float32).chunk(2, dim=-1)
    swapped = torch.cat((-second, first), dim=-1)
    return (x.to(torch.float32) * wide_cos + swapped * wide_sin).to(x.dtype)

"""Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1).

Per token the cache holds one latent `c_kv` of `r` numbers and one rotated key part `k_pe` of `p`
numbers, shared by all heads. `kv_b_proj` expands the latent into every head's position-free key
(`n` numbers) and value (`v` numbers). Two forms compute the same thing:

* expanded: expand all cached latents, then attend as usual. Right when many queries share the
  expansion (prefill, training).
* absorbed: fold the expansion into the query and into the output, and attend over the latents
  themselves. Right for few queries over a long cache (decoding), where expanding the whole context
  at each step would cost 30 to 100 times the rest of the attention.

Shapes: b batch, h heads, t queries, s cached tokens.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class LatentDims:
    """The widths of one latent attention layer."""

    heads: int
    rank: int  # r, of the latent
    nope: int  # n, position-free part of a head's query and key
    rope: int  # p, rotated part
    value: int  # v, of a head's value


def split_expanded(
    expanded: torch.Tensor, k_pe: torch.Tensor, dims: LatentDims
) -> tuple[torch.Tensor, torch.Tensor]:
    """Lays out the expanded latents as keys and values of every head.

    Args:
        expanded: `kv_b_proj(c_kv)`, `[b, 1, s, h * (n + v)]`.
        k_pe: rotated key part, shared by the heads, `[b, 1, s, p]`.
        dims: widths of the layer.

    Returns:
        Keys `[b, h, s, n + p]` and values `[b, h, s, v]`.
    """
    # -1 for the heads: under tensor parallelism a rank holds only some of them.
    per_head = expanded.squeeze(1).unflatten(-1, (-1, dims.nope + dims.value)).transpose(1, 2)
    k_nope, value = per_head.split([dims.nope, dims.value], dim=-1)
    key = torch.cat((k_nope, k_pe.expand(-1, k_nope.shape[1], -1, -1)), dim=-1)
    return key, value


def absorption_pays(queries: int, cached: int, dims: LatentDims) -> bool:
    """Whether the absorbed form needs fewer multiplications than the expanded one.

    Args:
        queries: number `t` of new tokens in a row.
        cached: number `s` of tokens attended to, new ones included.
        dims: widths of the layer.
    """
    per_token = dims.rank * (dims.nope + dims.value)
    expanded = cached * per_token + queries * cached * (dims.nope + dims.rope + dims.value)
    absorbed = queries * per_token + queries * cached * (2 * dims.rank + dims.rope)
    return absorbed < expanded


def absorbed_attention(
    q_nope: torch.Tensor,
    q_pe: torch.Tensor,
    latents: torch.Tensor,
    kv_weight: torch.Tensor,
    mask: torch.Tensor | None,
    scale: float,
) -> torch.Tensor:
    """Attends over the latents, with `kv_b_proj` folded into query and output.

    `q_nope . (W_UK c) = (W_UK^T q_nope) . c`, and a weighted sum of `W_UV c` is `W_UV` of the
    weighted sum of `c`. All heads share the cached latents, so the heads of a row are attended
    together as if they were more queries, with one matrix product per row of the batch.

    The two halves of `kv_weight` are never cut out, nor is `c_kv` out of `latents`: multiplying
    with zeros, or too much and dropping it, is cheaper than the copies that the CPU's bfloat16
    products make of anything that is not contiguous.

    Args:
        q_nope: position-free query part `[b, h, t, n]`.
        q_pe: rotated query part `[b, h, t, p]`.
        latents: `[c_kv | k_pe]` of the cached tokens, `[b, s, r + p]`.
        kv_weight: weight of `kv_b_proj`, `[h * (n + v), r]`.
        mask: None to attend to all, or `[b, 1, t, s]`: boolean (true where a query may look) or
            floating (added to the scores).
        scale: factor of the scores.

    Returns:
        `[b, t, h, v]` in the type of the query. The softmax is float32.
    """
    heads, queries = q_nope.shape[1:3]
    joint = absorbed_query(q_nope, q_pe, kv_weight, scale).flatten(1, 2)
    scores = torch.bmm(latents, joint.transpose(1, 2)).transpose(1, 2)
    weights = masked_softmax(scores.unflatten(1, (heads, queries)), mask).to(latents.dtype)
    mixed = torch.bmm(weights.flatten(1, 2), latents)[..., : kv_weight.shape[1]]
    return expanded_values(mixed.unflatten(1, (heads, queries)), kv_weight, q_nope.shape[3])


def absorbed_query(
    q_nope: torch.Tensor, q_pe: torch.Tensor, kv_weight: torch.Tensor, scale: float
) -> torch.Tensor:
    """Folds the expansion into the query and scales it; arguments as in `absorbed_attention`.

    Returns:
        What is multiplied with the latents for the scores, `[b, h, t, r + p]`.
    """
    batch, heads, queries, nope = q_nope.shape
    per_head = kv_weight.to(q_nope.dtype).view(heads, -1, kv_weight.shape[1])
    widened = F.pad(q_nope, (0, per_head.shape[1] - nope)).transpose(0, 1).flatten(1, 2)
    q_latent = torch.bmm(widened, per_head).unflatten(1, (batch, queries)).transpose(0, 1)
    # The scale goes onto the query: in float16 the products could pass 65504 otherwise.
    return torch.cat((q_latent, q_pe), dim=-1) * scale


def expanded_values(mixed: torch.Tensor, kv_weight: torch.Tensor, nope: int) -> torch.Tensor:
    """Expands weighted sums of latents to values.

    Args:
        mixed: `[b, h, t, r]`.
        kv_weight: weight of `kv_b_proj`, `[h * (n + v), r]`.
        nope: `n`.

    Returns:
        `[b, t, h, v]`.
    """
    batch, heads, queries, rank = mixed.shape
    per_head = kv_weight.to(mixed.dtype).view(heads, -1, rank)
    columns = mixed.permute(1, 3, 0, 2).flatten(2)
    values = torch.bmm(per_head, columns)[:, nope:]
    return values.unflatten(2, (batch, queries)).permute(2, 3, 0, 1)


def masked_softmax(scores: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Softmax of `[b, h, t, s]` over the last dimension under a boolean or an additive mask.

    A query that may look nowhere (padding) gets equal weights rather than NaN.

    Returns:
        `[b, h, t, s]`, at least float32.
    """
    wide = torch.promote_types(scores.dtype, torch.float32)
    if mask is not None and mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    elif mask is not None:
        scores = scores.to(wide) + mask
    return scores.softmax(dim=-1, dtype=wide)


def plain_latent_attention(
    q_nope: torch.Tensor,
    q_pe: torch.Tensor,
    latents: torch.Tensor,
    kv_weight: torch.Tensor,
    mask: torch.Tensor | None,
    scale: float,
) -> torch.Tensor:
    """Twin of `absorbed_attention`: every head's keys and values are written out."""
    heads, nope = q_nope.shape[1], q_nope.shape[3]
    c_kv, k_pe = latents[..., : kv_weight.shape[1]], latents[..., kv_weight.shape[1] :]
    per_head = kv_weight.unflatten(0, (heads, -1))
    k_nope = torch.einsum("bsr,hnr->bhsn", c_kv, per_head[:, :nope])
    value = torch.einsum("bsr,hvr->bhsv", c_kv, per_head[:, nope:])
    scores = torch.einsum("bhtn,bhsn->bhts", q_nope, k_nope)
    scores = (scores + torch.einsum("bhtp,bsp->bhts", q_pe, k_pe)) * scale
    return torch.einsum("bhts,bhsv->bthv", masked_softmax(scores, mask), value)

"""Attention over a cache that lies in pages.

A pool `[pages, block, w]` holds the rows of all conversations, one layer's worth; a page holds
`block` consecutive tokens of one of them. Page 0 is never written and stays zero, so that a table
may be filled up with it: a masked row still is multiplied with its weight of zero, and zero times
a number that is not finite would not be zero.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from vl2.ops.attention import compiled_suits, kernel_width
from vl2.ops.kernels import products
from vl2.ops.kernels.library import TYPES, fast_library, library
from vl2.ops.mla import absorbed_attention, absorbed_query, expanded_values, masked_softmax


@dataclass(frozen=True, slots=True)
class PagedRows:
    """Where the tokens of some conversations lie in a pool.

    Attributes:
        table: pages of each conversation in order, filled up with 0, int64 `[b, m]`.
        lengths: number of rows of each conversation, int64 `[b]`.
        run: first row of a lone conversation whose pages are neighbours, else None.
        length: number of rows of a lone conversation; 0 for several, which `read` gives all
            `m * block`.
    """

    table: torch.Tensor
    lengths: torch.Tensor
    run: int | None = None
    length: int = 0

    def read(self, pool: torch.Tensor) -> torch.Tensor:
        """The rows `[b, s, w]` out of a pool `[pages, block, w]`, if possible without a copy."""
        if self.run is not None:
            return pool.view(1, -1, pool.shape[2]).narrow(1, self.run, self.length)
        batch = self.table.shape[0]
        rows = pool.index_select(0, self.table.view(-1)).view(batch, -1, pool.shape[2])
        return rows[:, : self.length] if self.length else rows


def write_rows(pool: torch.Tensor, slots: torch.Tensor, rows: torch.Tensor) -> None:
    """Writes rows `[n, w]` to the places `slots` `[n]` (page * block + offset) of a pool."""
    pool.view(-1, pool.shape[2]).index_copy_(0, slots, rows)


def seen_rows(rows: PagedRows, block: int) -> torch.Tensor | None:
    """What one query of each conversation may see of `rows.read`, `[b, 1, 1, s]`; None for all."""
    if rows.length:
        return None
    places = torch.arange(rows.table.shape[1] * block, device=rows.table.device)
    return (places < rows.lengths[:, None])[:, None, None]


def paged_latent_attention(
    q_nope: torch.Tensor,
    q_pe: torch.Tensor,
    pool: torch.Tensor,
    rows: PagedRows,
    kv_weight: torch.Tensor,
    scale: float,
) -> torch.Tensor:
    """Absorbed attention of one new token each of some conversations over their pages.

    Where the compiled kernels run, they walk the pages and copy nothing.

    Args:
        q_nope: position-free query part `[b, h, 1, n]`.
        q_pe: rotated query part `[b, h, 1, p]`.
        pool: latents `[c_kv | k_pe]` of all conversations, `[pages, block, r + p]`.
        rows: where those of these conversations lie.
        kv_weight: weight of `kv_b_proj`, `[h * (n + v), r]`.
        scale: factor of the scores.

    Returns:
        `[b, 1, h, v]` in the type of the query.
    """
    loaded = library() if pool.device.type == "cpu" and pool.dtype in TYPES else None
    if loaded is None:
        mask = seen_rows(rows, pool.shape[1])
        return absorbed_attention(q_nope, q_pe, rows.read(pool), kv_weight, mask, scale)
    query = absorbed_query(q_nope, q_pe, kv_weight, scale).squeeze(2)
    mixed = products.latent_attention(
        loaded, query, pool, rows.table, rows.lengths, kv_weight.shape[1]
    )
    return expanded_values(mixed[:, :, None].to(q_nope.dtype), kv_weight, q_nope.shape[3])


def plain_read(pool: torch.Tensor, pages: list[int], length: int) -> torch.Tensor:
    """Twin of `PagedRows.read` for one conversation: row after row, `[length, w]`."""
    block = pool.shape[1]
    return torch.stack([pool[pages[i // block], i % block] for i in range(length)])


def paged_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    scale: float,
) -> torch.Tensor:
    """Softmax attention whose queries are the last of the keys' tokens.

    Args:
        query: `[b, h, t, d]`.
        key: `[b, g, s, d]`; each of the `g` heads serves `h / g` query heads.
        value: `[b, g, s, v]`.
        mask: true where a query may look, `[b, 1, t, s]`; None for as far as its own token.
        scale: factor of the scores.

    Returns:
        `[b, t, h, v]`.
    """
    queries, keys, width = query.shape[2], key.shape[2], value.shape[3]
    loaded = fast_library() if compiled_suits(query) else None
    if loaded is not None:
        return products.attention(loaded, query, key, value, scale, causal=True)
    causal = mask is None and queries == keys and queries > 1
    if mask is None and not causal:
        mask = last_tokens_mask(queries, keys, query.device)
    padded = kernel_width(F.scaled_dot_product_attention, "sdpa", query, value)
    mixed = F.scaled_dot_product_attention(
        query,
        key,
        F.pad(value, (0, padded - width)) if padded > width else value,
        attn_mask=mask,
        is_causal=causal,
        scale=scale,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return mixed.transpose(1, 2)[..., :width]


def last_tokens_mask(queries: int, keys: int, device: torch.device) -> torch.Tensor | None:
    """What the last `queries` of `keys` tokens may see, `[1, 1, t, s]`; None for all of it."""
    if queries == 1:
        return None
    allowed = torch.ones(queries, keys, dtype=torch.bool, device=device)
    return allowed.tril(keys - queries)[None, None]


def plain_paged_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    scale: float,
) -> torch.Tensor:
    """Twin of `paged_attention`, written out."""
    if mask is None:
        mask = last_tokens_mask(query.shape[2], key.shape[2], query.device)
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    scores = torch.einsum("bhtd,bhsd->bhts", query, key) * scale
    weights = masked_softmax(scores, mask).to(value.dtype)
    return torch.einsum("bhts,bhsv->bthv", weights, value)

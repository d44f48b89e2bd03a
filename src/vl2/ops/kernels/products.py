"""Calling the kernels with tensors.

Their twins are in `vl2.ops.groupwise`, `vl2.ops.attention`, `vl2.ops.mla` and `vl2.ops.paged`.
"""

import ctypes
from dataclasses import dataclass

import torch

from vl2.ops.groupwise import ROWS, Scheme
from vl2.ops.kernels.library import (
    TYPES,
    Ending,
    ExpertWeights,
    ManyQueries,
    PackedWeight,
    PagedCache,
    check,
)


@dataclass(frozen=True, slots=True)
class Weight:
    """A packed weight as the kernels see it; keeps its tensors alive.

    Attributes:
        codes: uint8 `[.., blocks, bytes]`, on the CPU and without gaps.
        scales: bfloat16 `[.., blocks, groups * 16]`.
        rows: rows of one matrix.
        packed: what the kernels are handed.
    """

    codes: torch.Tensor
    scales: torch.Tensor
    rows: int
    packed: PackedWeight

    @classmethod
    def of(cls, codes: torch.Tensor, scales: torch.Tensor, scheme: Scheme, rows: int) -> "Weight":
        """Describes codes and scales; several matrices (experts) lie one after the other."""
        groups = codes.shape[-1] // (scheme.group * 2 * scheme.bits)
        assert codes.device.type == scales.device.type == "cpu"
        assert (codes.dtype, scales.dtype) == (torch.uint8, torch.bfloat16)
        assert all(tensor.is_contiguous() for tensor in (codes, scales))
        assert scales.shape[-1] == (0 if scheme.bits == 16 else groups * ROWS)
        assert codes.shape[:-1] == scales.shape[:-1]
        blocks = codes.shape[:-1].numel()
        packed = PackedWeight(
            codes.data_ptr(), scales.data_ptr(), blocks, groups, scheme.group, scheme.bits
        )
        return cls(codes, scales, rows, packed)


@dataclass(frozen=True, slots=True)
class Experts:
    """The experts of a layer as the kernels see them.

    Attributes:
        parts: gate and up merged, down, and of the shared experts gate, up and down.
        described: what the kernels are handed.
    """

    parts: tuple[Weight | None, ...]
    described: ExpertWeights

    @classmethod
    def of(
        cls,
        routed: tuple[Weight, Weight] | None,
        inner: int,
        shared: tuple[Weight, Weight, Weight] | None = None,
    ) -> "Experts":
        """Describes routed experts, shared ones, or both.

        Args:
            routed: `[e, 2 * i, d]` and `[e, d, i]`.
            inner: `i`.
            shared: gate, up and down, `[j, d]`, `[j, d]` and `[d, j]`.
        """
        gate_up, down = routed or (None, None)
        gate, up, back = shared or (None, None, None)
        parts = (gate_up, down, gate, up, back)
        pointers = [None if part is None else ctypes.pointer(part.packed) for part in parts]
        described = ExpertWeights(
            pointers[0],
            pointers[1],
            0 if gate_up is None else gate_up.codes.shape[0],
            inner,
            *pointers[2:],
            0 if gate is None else gate.rows,
        )
        return cls(parts, described)


def linear(
    loaded: ctypes.CDLL,
    x: torch.Tensor,
    weight: Weight,
    bias: torch.Tensor | None = None,
    *,
    gelu: bool = False,
) -> torch.Tensor:
    """`x W^T + bias`: `[.., k]` to `[.., n]`, in the type of `x` (float32 or bfloat16).

    Args:
        loaded: the kernels.
        x: `[.., k]`.
        weight: `[n, k]`.
        bias: float32 `[n]`, or None.
        gelu: whether the result goes through GELU, in its approximation by tanh.
    """
    x = x.contiguous()
    assert bias is None or (bias.dtype == torch.float32 and bias.is_contiguous())
    y = x.new_empty((*x.shape[:-1], weight.rows))
    width = x.shape[-1]
    ending = Ending(
        y.data_ptr(), weight.rows, TYPES[x.dtype], None if bias is None else bias.data_ptr(), gelu
    )
    status = loaded.vl2_linear(
        weight.packed, width, x.data_ptr(), x.numel() // width, ending, torch.get_num_threads()
    )
    check(status)
    return y


def experts(
    loaded: ctypes.CDLL,
    x: torch.Tensor,
    indices: torch.Tensor,
    weights: torch.Tensor,
    layer: Experts,
) -> torch.Tensor:
    """Sends every token through its experts and the shared ones.

    Args:
        loaded: the kernels.
        x: tokens `[m, d]`, float32 or bfloat16.
        indices: experts of each token `[m, k]`, int64; a number of `e` or more stands for none.
        weights: their weights `[m, k]`.
        layer: the experts, whose gate is SiLU.

    Returns:
        `[m, d]` in the type of `x`.
    """
    x, indices = x.contiguous(), indices.contiguous()
    factors = weights.to(torch.float32).contiguous()
    y = torch.empty_like(x)
    status = loaded.vl2_experts(
        layer.described,
        x.data_ptr(),
        x.shape[0],
        x.shape[1],
        indices.data_ptr(),
        factors.data_ptr(),
        indices.shape[1],
        y.data_ptr(),
        x.shape[1],
        TYPES[x.dtype],
        torch.get_num_threads(),
    )
    check(status)
    return y


def latent_attention(
    loaded: ctypes.CDLL,
    query: torch.Tensor,
    pages: torch.Tensor,
    table: torch.Tensor,
    lengths: torch.Tensor,
    rank: int,
) -> torch.Tensor:
    """Attention of one new token a row over latents in pages.

    Args:
        loaded: the kernels.
        query: absorbed queries `[b, h, r + p]`, already scaled.
        pages: `[pages, page size, r + p]`, float32 or bfloat16.
        table: pages of each row in order, int64 `[b, most pages]`.
        lengths: cached tokens of each row, the new one included, int64 `[b]`.
        rank: `r`.

    Returns:
        float32 `[b, h, r]`: for each head the weighted sum of the latents.
    """
    return _attend(loaded, query, pages, table, lengths, (1, query.shape[1], rank, 0))


def heads_attention(
    loaded: ctypes.CDLL,
    query: torch.Tensor,
    pages: torch.Tensor,
    table: torch.Tensor,
    lengths: torch.Tensor,
) -> torch.Tensor:
    """Attention of one new token a row over keys and values in pages.

    Args:
        loaded: the kernels.
        query: `[b, h, d]`, already scaled.
        pages: the keys of all `g` heads, then their values, `[pages, page size, 2 * g * d]`,
            float32 or bfloat16.
        table: pages of each row in order, int64 `[b, most pages]`.
        lengths: cached tokens of each row, the new one included, int64 `[b]`.

    Returns:
        float32 `[b, h, d]`.
    """
    half, width = pages.shape[2] // 2, query.shape[2]
    groups = half // width
    layout = (groups, query.shape[1] // groups, width, half)
    return _attend(loaded, query, pages, table, lengths, layout)


def attention(
    loaded: ctypes.CDLL,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float,
    causal: bool,
) -> torch.Tensor:
    """Attention of many queries in bfloat16.

    Args:
        loaded: the kernels.
        query: `[b, h, t, d]`; the queries are the last of the keys' tokens.
        key: `[b, g, s, d]`; each of the `g` heads serves `h / g` query heads.
        value: `[b, g, s, v]`.
        scale: factor of the scores.
        causal: whether a query sees only the keys up to its own token.

    Returns:
        `[b, t, h, v]`.
    """
    query, key, value = (x if x.stride(3) == 1 else x.contiguous() for x in (query, key, value))
    assert query.dtype == key.dtype == value.dtype == torch.bfloat16
    batch, heads, queries, width = query.shape
    out = query.new_empty((batch, queries, heads, value.shape[3]))
    for row in range(batch):
        given = (query[row], key[row], value[row])
        described = ManyQueries(
            *(x.data_ptr() for x in given),
            *(stride for x in given for stride in (x.stride(1), x.stride(0))),
            out[row].data_ptr(),
            heads,
            key.shape[1],
            queries,
            key.shape[2],
            width,
            value.shape[3],
            scale,
            causal,
        )
        check(loaded.vl2_attention(described, torch.get_num_threads()))
    return out


def _attend(
    loaded: ctypes.CDLL,
    query: torch.Tensor,
    pages: torch.Tensor,
    table: torch.Tensor,
    lengths: torch.Tensor,
    layout: tuple[int, int, int, int],
) -> torch.Tensor:
    """Layout: heads of keys, heads of queries for each, width of a value, the first value."""
    assert pages.stride(2) == 1
    assert table.dtype == lengths.dtype == torch.int64
    assert int(lengths.min()) >= 1, "a row without tokens has nothing to attend to"
    query = query.to(torch.float32).contiguous()
    table, lengths = table.contiguous(), lengths.contiguous()
    groups, heads, width, start = layout
    cache = PagedCache(
        pages.data_ptr(),
        TYPES[pages.dtype],
        pages.stride(0),
        pages.stride(1),
        pages.shape[1],
        table.data_ptr(),
        table.stride(0),
        lengths.data_ptr(),
        groups,
        heads,
        query.shape[2],
        width,
        start,
    )
    out = query.new_empty((*query.shape[:2], width))
    threads = torch.get_num_threads()
    status = loaded.vl2_paged_attention(
        cache, query.data_ptr(), len(query), out.data_ptr(), threads
    )
    check(status)
    return out

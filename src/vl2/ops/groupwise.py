"""Packed weights: blocks of 16 rows lie together; in 8 or 4 bits groups of columns share a scale.

A weight `[n, k]` is stored as unsigned codes and bfloat16 scales, and is `(code - zero) * scale`
with the zero in the middle of the codes (128 or 8). `group` columns of a row share a scale. The
layout is the one that the compiled kernels read (`vl2/ops/kernels/native/packed.h`): in memory, on
disk, for prompts and for single tokens alike there is one copy. `n` is filled up to a multiple of
16 and `k` to a multiple of the group, with zeros.

* codes, uint8 `[.., blocks, bytes]`: 16 rows of four columns lie together; with 4 bits a byte holds
  a column (low half) and the one four columns on (high half).
* scales, bfloat16 `[.., blocks, groups * 16]`: 16 rows of a group lie together.

With 16 bits nothing is rounded: the bytes are bfloat16 weights, 16 rows of two columns together,
and there are no scales. Plain bfloat16 weights are packed so for the sake of the kernels alone.

Two products are written out here. `quantised_linear` restores the weights and multiplies, on any
device. `plain_linear` is the readable twin of the kernels, which quantise the activations as well,
to 8 bits in groups of the same size.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from vl2.errors import InputError

ROWS = 16
"""Rows of a block."""

_PORTION = 2**19
"""Weights that are quantised at a time, so that the float32 copies stay in the cache."""

_SEARCHED = tuple(factor / 100 for factor in (76, 80, 84, 88, 92, 96, 104, 108, 112, 116))
"""Scales to try beside the one that just spans a group, as shares of it."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """How weights are stored.

    Attributes:
        bits: of a code, 4 or 8; or 16 for bfloat16 weights that are only packed.
        group: columns that share a scale; a multiple of 16, at most 256.

    Raises:
        InputError: a value outside its range.
    """

    bits: int
    group: int = 64

    def __post_init__(self) -> None:
        if self.bits not in (4, 8, 16):
            raise InputError(f"Weights are quantised to 4 or 8 bits, not {self.bits}.")
        if self.group % ROWS or not 0 < self.group <= 256:
            raise InputError(
                f"A group must be a multiple of {ROWS} columns from {ROWS} to 256, "
                f"not {self.group}."
            )

    @property
    def zero(self) -> int:
        """The code that stands for 0."""
        return 2 ** (self.bits - 1)

    def blocks(self, n: int) -> int:
        """Blocks that `n` rows take."""
        return -(-n // ROWS)

    def groups(self, k: int) -> int:
        """Groups that `k` columns take."""
        return -(-k // self.group)

    def block_bytes(self, k: int) -> int:
        """Bytes of the codes of a block of `k` columns."""
        return self.groups(k) * self.group * ROWS * self.bits // 8

    def shapes(self, n: int, k: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Shapes of codes and scales of a weight `[n, k]`."""
        blocks, scales = self.blocks(n), 0 if self.bits == 16 else self.groups(k) * ROWS
        return (blocks, self.block_bytes(k)), (blocks, scales)


def quantise(
    weight: torch.Tensor, scheme: Scheme, importance: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rounds a weight to codes and scales; with 16 bits, packs it as bfloat16.

    With 4 bits, each group takes the best of several scales: that with the least squared error of
    the weights, each column counted by its importance.

    Args:
        weight: `[.., n, k]`, of any floating type.
        scheme: how to store it.
        importance: `[k]` or as many dimensions as broadcast with `[.., n, k]`: what an error in a
            column costs, as a mean square of the activations. None counts all alike.

    Returns:
        Codes `[.., blocks, bytes]` and scales `[.., blocks, groups * 16]`.

    Raises:
        InputError: the weight holds a number that is not finite.
    """
    *outer, n, k = weight.shape
    matrices = weight.reshape(-1, n, k)
    (blocks, size), groups = scheme.shapes(n, k)[0], scheme.groups(k)
    if scheme.bits == 16:
        halves = torch.stack([_packed_halves(matrix, scheme) for matrix in matrices])
        nothing = torch.empty((*outer, blocks, 0), dtype=torch.bfloat16, device=weight.device)
        return halves.view(*outer, blocks, size), nothing
    codes = torch.empty(len(matrices), blocks, size, dtype=torch.uint8, device=weight.device)
    scales = torch.empty(
        (len(matrices), blocks, groups, ROWS), dtype=torch.bfloat16, device=weight.device
    )
    columns = _columns(importance, scheme, k)
    portion = max(1, _PORTION // (ROWS * groups * scheme.group))
    for index, matrix in enumerate(matrices):
        for block in range(0, blocks, portion):
            rows = matrix[block * ROWS : (block + portion) * ROWS].to(torch.float32)
            if not torch.isfinite(rows).all():
                raise InputError("A weight holds NaN or infinity and cannot be quantised.")
            grouped = _grouped(rows, scheme)
            scale = _chosen_scales(grouped, scheme, columns)
            whole = (_round(grouped, scale, scheme) + scheme.zero).to(torch.uint8).flatten(1)
            codes[index, block : block + portion] = _pack(whole, scheme)
            by_block = scale.view(-1, ROWS, groups).transpose(1, 2)
            scales[index, block : block + portion] = by_block
    return codes.view(*outer, blocks, size), scales.view(*outer, blocks, groups * ROWS)


def dequantise(
    codes: torch.Tensor, scales: torch.Tensor, scheme: Scheme, n: int, k: int, dtype: torch.dtype
) -> torch.Tensor:
    """Restores weights.

    Args:
        codes: `[.., blocks, bytes]`.
        scales: `[.., blocks, groups * 16]`.
        scheme: how they are stored.
        n: rows of the weight.
        k: columns of the weight.
        dtype: of the result.

    Returns:
        `[.., n, k]`.
    """
    if scheme.bits == 16:
        return _unpack_halves(codes)[..., :n, :k].to(dtype)
    values = unpack(codes, scheme).to(torch.float32) - scheme.zero
    by_row = _by_row(scales)
    weight = (values.unflatten(-1, (-1, scheme.group)) * by_row[..., None]).flatten(-2)
    return weight[..., :n, :k].to(dtype)


def quantised_linear(
    x: torch.Tensor, codes: torch.Tensor, scales: torch.Tensor, scheme: Scheme, n: int
) -> torch.Tensor:
    """`x W^T` with restored weights: `[.., k]` to `[.., n]`, in the type of `x`."""
    return F.linear(x, dequantise(codes, scales, scheme, n, x.shape[-1], x.dtype))


def quantise_rows(x: torch.Tensor, group: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rounds activations to whole numbers of -127 to 127, a scale for each group of columns.

    Args:
        x: `[.., k]`; `k` is filled up to a multiple of the group.
        group: columns that share a scale.

    Returns:
        float32 `[.., groups, group]` and scales `[.., groups, 1]`.
    """
    padded = F.pad(x.to(torch.float32), (0, -x.shape[-1] % group))
    grouped = padded.unflatten(-1, (-1, group))
    largest = grouped.abs().amax(dim=-1, keepdim=True)
    factor = torch.where(largest >= 1e-35, 127.0 / largest, torch.zeros_like(largest))
    return (grouped * factor).round(), largest / 127.0


def plain_linear(
    x: torch.Tensor, codes: torch.Tensor, scales: torch.Tensor, scheme: Scheme, n: int
) -> torch.Tensor:
    """Twin of the kernels: `[m, k]` to `[m, n]`, products of whole numbers group by group."""
    if scheme.bits == 16:
        weight = dequantise(codes, scales, scheme, n, x.shape[1], torch.float32)
        return (x.to(torch.bfloat16).to(torch.float32) @ weight.t()).to(x.dtype)
    rows, factors = quantise_rows(x, scheme.group)
    weights = unpack(codes, scheme).to(torch.float32) - scheme.zero
    grouped = weights.unflatten(-1, (-1, scheme.group))
    dots = torch.einsum("mgk,ngk->mgn", rows, grouped)
    return (dots * factors * _by_row(scales).t()).sum(dim=1)[:, :n].to(x.dtype)


def plain_experts(
    x: torch.Tensor,
    indices: torch.Tensor,
    weights: torch.Tensor,
    gate_up: tuple[torch.Tensor, torch.Tensor],
    down: tuple[torch.Tensor, torch.Tensor],
    scheme: Scheme,
    inner: int,
) -> torch.Tensor:
    """Twin of the experts' kernel: one token and one of its experts after the other.

    Args:
        x: tokens `[m, d]`.
        indices: experts of each token `[m, k]`; a number of `e` or more stands for none.
        weights: their weights `[m, k]`.
        gate_up: codes and scales of `[e, 2 * i, d]`, gate and up filled up each for itself.
        down: codes and scales of `[e, d, i]`.
        scheme: how they are stored.
        inner: `i`.

    Returns:
        `[m, d]` in the type of `x`.
    """
    width = x.shape[-1]
    rows = []
    for token in range(x.shape[0]):
        total = torch.zeros(width)
        for expert, factor in zip(indices[token].tolist(), weights[token].tolist(), strict=True):
            if not 0 <= expert < len(gate_up[0]):
                continue
            one = x[token : token + 1].to(torch.float32)
            halves = zip(gate_up[0][expert].chunk(2), gate_up[1][expert].chunk(2), strict=True)
            gate, up = (plain_linear(one, *half, scheme, inner) for half in halves)
            hidden = F.silu(gate) * up
            total += (
                factor * plain_linear(hidden, down[0][expert], down[1][expert], scheme, width)[0]
            )
        rows.append(total)
    return torch.stack(rows).to(x.dtype)


def unpack(codes: torch.Tensor, scheme: Scheme) -> torch.Tensor:
    """Codes row by row: `[.., blocks, bytes]` to uint8 `[.., blocks * 16, columns]`."""
    quads = codes.unflatten(-1, (-1, ROWS, 4)).transpose(-2, -3)
    if scheme.bits == 4:
        quads = torch.stack((quads & 15, quads >> 4), dim=-2)
        return quads.flatten(-3).flatten(-3, -2)
    return quads.flatten(-2).flatten(-3, -2)


def _by_row(scales: torch.Tensor) -> torch.Tensor:
    """Scales row by row: `[.., blocks, groups * 16]` to float32 `[.., blocks * 16, groups]`."""
    blocks = scales.to(torch.float32).unflatten(-1, (-1, ROWS))
    return blocks.transpose(-1, -2).flatten(-3, -2)


def _pack(codes: torch.Tensor, scheme: Scheme) -> torch.Tensor:
    rows = codes.unflatten(0, (-1, ROWS))
    if scheme.bits == 4:
        halves = rows.unflatten(-1, (-1, 2, 4))
        quads = halves[..., 0, :] | (halves[..., 1, :] << 4)
    else:
        quads = rows.unflatten(-1, (-1, 4))
    return quads.transpose(1, 2).flatten(1)


def _packed_halves(weight: torch.Tensor, scheme: Scheme) -> torch.Tensor:
    """Codes of 16 bits `[blocks, bytes]` of a weight `[n, k]`."""
    padded = F.pad(
        weight.to(torch.bfloat16), (0, -weight.shape[1] % scheme.group, 0, -weight.shape[0] % ROWS)
    )
    pairs = padded.view(torch.int32).unflatten(0, (-1, ROWS)).transpose(1, 2)
    return pairs.contiguous().view(torch.uint8).flatten(1)


def _unpack_halves(codes: torch.Tensor) -> torch.Tensor:
    """Weights row by row: `[.., blocks, bytes]` to bfloat16 `[.., blocks * 16, columns]`."""
    pairs = codes.view(torch.bfloat16).unflatten(-1, (-1, ROWS, 2)).transpose(-2, -3)
    return pairs.flatten(-2).flatten(-3, -2)


def _grouped(rows: torch.Tensor, scheme: Scheme) -> torch.Tensor:
    n, k = rows.shape
    padded = F.pad(rows, (0, -k % scheme.group, 0, -n % ROWS))
    return padded.unflatten(-1, (-1, scheme.group))


def _columns(importance: torch.Tensor | None, scheme: Scheme, k: int) -> torch.Tensor | None:
    if importance is None:
        return None
    padded = F.pad(importance.to(torch.float32), (0, -k % scheme.group))
    return padded.unflatten(-1, (-1, scheme.group))


def _round(grouped: torch.Tensor, scale: torch.Tensor, scheme: Scheme) -> torch.Tensor:
    """Codes less their zero, float32, of weights `[n, groups, group]` by scales `[n, groups]`."""
    zero = scheme.zero
    # 8 bits use 255 codes: then no product of bytes passes what AVX2 adds in 16 bits.
    lowest = -zero if scheme.bits == 4 else 1 - zero
    divisor = torch.where(scale == 0, torch.ones_like(scale), scale)[..., None]
    return (grouped / divisor).round_().clamp_(lowest, zero - 1)


def _chosen_scales(
    grouped: torch.Tensor, scheme: Scheme, columns: torch.Tensor | None
) -> torch.Tensor:
    """float32 scales `[n, groups]` that bfloat16 holds exactly."""
    if scheme.bits == 8:
        return _stored(grouped.abs().amax(dim=-1) / 127)
    # The number of largest size gets the code 0, whatever its sign: there is no code 16.
    low, high = grouped.amin(dim=-1), grouped.amax(dim=-1)
    spanning = torch.where(-low > high, low, high) / -scheme.zero
    best = _stored(spanning)
    least = _error(grouped, best, scheme, columns)
    for share in _SEARCHED:
        scale = _stored(spanning * share)
        error = _error(grouped, scale, scheme, columns)
        better = error < least
        best, least = torch.where(better, scale, best), torch.where(better, error, least)
    return best


def _error(
    grouped: torch.Tensor, scale: torch.Tensor, scheme: Scheme, columns: torch.Tensor | None
) -> torch.Tensor:
    squares = _round(grouped, scale, scheme).mul_(-scale[..., None]).add_(grouped).square_()
    return (squares if columns is None else squares.mul_(columns)).sum(dim=-1)


def _stored(scale: torch.Tensor) -> torch.Tensor:
    return scale.to(torch.bfloat16).to(torch.float32)

"""Attention over pages against attention written out."""

import pytest
import torch
from torch.testing import assert_close

from vl2.ops.mla import plain_latent_attention
from vl2.ops.paged import (
    PagedRows,
    paged_attention,
    paged_latent_attention,
    plain_paged_attention,
    plain_read,
    write_rows,
)

BLOCK = 4


def pool(width: int = 6) -> torch.Tensor:
    filled = torch.randn(12, BLOCK, width)
    filled[0] = 0
    return filled


def test_several_conversations_are_read_up_to_the_longest() -> None:
    rows = pool()
    table, lengths = torch.tensor([[3, 7, 1], [5, 0, 0]]), torch.tensor([10, 3])
    read = PagedRows(table, lengths).read(rows)
    assert torch.equal(read[0, :10], plain_read(rows, [3, 7, 1], 10))
    assert torch.equal(read[1, :3], plain_read(rows, [5], 3))
    assert not read[1, BLOCK:].any()


def test_a_lone_conversation_is_read_to_its_end() -> None:
    rows = pool()
    lengths = torch.tensor([10])
    scattered = PagedRows(torch.tensor([[3, 7, 1]]), lengths, None, 10).read(rows)
    assert torch.equal(scattered[0], plain_read(rows, [3, 7, 1], 10))
    run = PagedRows(torch.tensor([[3, 4, 5]]), lengths, 3 * BLOCK, 10).read(rows)
    assert torch.equal(run[0], plain_read(rows, [3, 4, 5], 10))
    assert run.data_ptr() == rows[3].data_ptr()


def test_rows_are_written_to_their_places() -> None:
    rows, new = pool(), torch.randn(3, 6)
    before = rows.clone()
    write_rows(rows, torch.tensor([4 * BLOCK + 3, 2 * BLOCK, 9 * BLOCK + 1]), new)
    assert torch.equal(rows[4, 3], new[0])
    assert torch.equal(rows[2, 0], new[1])
    assert torch.equal(rows[9, 1], new[2])
    assert (rows != before).any(-1).sum() == 3


@pytest.mark.parametrize(("queries", "keys"), [(1, 9), (9, 9), (4, 9), (2, 3), (1, 1)])
@pytest.mark.parametrize(("heads", "groups", "value"), [(4, 4, 8), (4, 2, 8), (4, 4, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_last_tokens_attend_as_written_out(queries, keys, heads, groups, value, dtype) -> None:
    query = torch.randn(1, heads, queries, 8, dtype=dtype)
    key = torch.randn(1, groups, keys, 8, dtype=dtype)
    values = torch.randn(1, groups, keys, value, dtype=dtype)
    expected = plain_paged_attention(query, key, values, None, 0.3)
    # bfloat16 keeps 8 bits; the fused kernel rounds at other places.
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    actual = paged_attention(query, key, values, None, 0.3)
    assert_close(actual, expected, atol=tolerance, rtol=tolerance)


def test_masked_rows_are_not_seen() -> None:
    query, key, value = torch.randn(2, 3, 1, 8), torch.randn(2, 3, 6, 8), torch.randn(2, 3, 6, 8)
    mask = (torch.arange(6) < torch.tensor([[6], [2]]))[:, None, None]
    actual = paged_attention(query, key, value, mask, 0.3)
    assert_close(actual, plain_paged_attention(query, key, value, mask, 0.3))
    alone = paged_attention(query[1:], key[1:, :, :2], value[1:, :, :2], None, 0.3)
    assert_close(actual[1:], alone)


@pytest.mark.parametrize("kernels", ["compiled", "torch"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("pages", [[[3, 7, 1], [5]], [[3, 4, 5]], [[7, 2]]])
def test_latents_in_pages_are_attended_as_written_out(monkeypatch, pages, dtype, kernels) -> None:
    if kernels == "torch":
        monkeypatch.setattr("vl2.ops.paged.library", lambda: None)
    heads, rank, nope, rope, value = 3, 16, 8, 4, 8
    rows = pool(rank + rope).to(dtype)
    weight = torch.randn(heads * (nope + value), rank, dtype=dtype) * 0.3
    q_nope = torch.randn(len(pages), heads, 1, nope, dtype=dtype)
    q_pe = torch.randn(len(pages), heads, 1, rope, dtype=dtype)
    lengths = [4 * len(own) - 2 for own in pages]
    width = max(map(len, pages))
    table = torch.tensor([[*own, *[0] * (width - len(own))] for own in pages])
    neighbours = pages == [[3, 4, 5]]
    where = PagedRows(
        table,
        torch.tensor(lengths),
        3 * BLOCK if neighbours else None,
        lengths[0] if len(pages) == 1 else 0,
    )
    actual = paged_latent_attention(q_nope, q_pe, rows, where, weight, 0.3)
    for row, (own, length) in enumerate(zip(pages, lengths, strict=True)):
        latents = plain_read(rows, own, length)[None]
        expected = plain_latent_attention(
            *(part[row : row + 1].float() for part in (q_nope, q_pe)),
            latents.float(),
            weight.float(),
            None,
            0.3,
        )
        # bfloat16 keeps 8 bits, and rounds the query, the weights and the sums.
        tolerance = 1e-5 if dtype == torch.float32 else 5e-2
        assert_close(actual[row : row + 1].float(), expected, atol=tolerance, rtol=tolerance)

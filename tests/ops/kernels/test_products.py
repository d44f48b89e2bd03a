"""Every kernel with every instruction set against its twin in torch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from vl2.ops.groupwise import Scheme, plain_experts, plain_linear, quantise
from vl2.ops.kernels import library, products
from vl2.ops.kernels.products import Experts, Weight

SCHEMES = [Scheme(8), Scheme(4), Scheme(4, 32), Scheme(8, 128), Scheme(4, 16), Scheme(16)]

# The dot products of a group are exact; what differs is the rounding of the sums over groups, and
# now and then an activation that lies just between two codes: 1/254 of the largest of its group.
TOLERANCE = 2e-3


def random(*shape, seed=0, std=0.3):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * std


def assert_close(actual, expected, tolerance=TOLERANCE):
    assert actual.shape == expected.shape
    assert (actual - expected).norm() <= tolerance * expected.norm()


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
@pytest.mark.parametrize(("m", "n", "k"), [(1, 37, 100), (3, 16, 64), (13, 200, 130), (70, 48, 7)])
def test_linear(kernels, scheme, m, n, k):
    codes, scales = quantise(random(n, k), scheme)
    x = random(m, k, seed=1, std=2.0)
    given = products.linear(kernels, x, Weight.of(codes, scales, scheme, n))
    assert_close(given, plain_linear(x, codes, scales, scheme, n))


@settings(max_examples=40)
@given(st.data())
def test_linear_of_any_shape(compiled, data):
    name = data.draw(st.sampled_from(library.INSTRUCTION_SETS))
    if compiled.vl2_select(name.encode()).decode() != name:
        return
    m, n, k = (data.draw(st.integers(1, top)) for top in (30, 80, 200))
    scheme = data.draw(st.sampled_from(SCHEMES))
    codes, scales = quantise(random(n, k, seed=m), scheme)
    x = random(m, k, seed=n)
    given = products.linear(compiled, x, Weight.of(codes, scales, scheme, n))
    assert_close(given, plain_linear(x, codes, scales, scheme, n))


def test_a_product_of_several_passes(kernels):
    """More rows than stay in the cache at a time."""
    scheme = Scheme(4)
    codes, scales = quantise(random(16, 4096), scheme)
    x = random(250, 4096, seed=1)
    given = products.linear(kernels, x, Weight.of(codes, scales, scheme, 16))
    assert_close(given, plain_linear(x, codes, scales, scheme, 16))


@pytest.mark.parametrize("scheme", [Scheme(8), Scheme(16)], ids=str)
def test_a_bias_and_an_activation_after_the_product(kernels, scheme):
    codes, scales = quantise(random(37, 64), scheme)
    weight, x, bias = (
        Weight.of(codes, scales, scheme, 37),
        random(11, 64, seed=1, std=1.0),
        random(37),
    )
    plain = products.linear(kernels, x, weight)
    assert torch.equal(products.linear(kernels, x, weight, bias), plain + bias)
    given = products.linear(kernels, 20 * x, weight, bias, gelu=True)
    expected = F.gelu(products.linear(kernels, 20 * x, weight, bias), approximate="tanh")
    torch.testing.assert_close(given, expected, rtol=1e-5, atol=1e-6)


def test_bfloat16_goes_in_and_out_rounded_once(kernels):
    scheme = Scheme(8)
    codes, scales = quantise(random(40, 96), scheme)
    weight = Weight.of(codes, scales, scheme, 40)
    x = random(5, 96, seed=1).to(torch.bfloat16)
    given = products.linear(kernels, x, weight)
    assert given.dtype == torch.bfloat16
    assert torch.equal(given, products.linear(kernels, x.float(), weight).to(torch.bfloat16))


@pytest.mark.parametrize("scheme", [Scheme(4), Scheme(16)], ids=str)
def test_a_row_is_the_same_beside_others_and_on_any_threads(kernels, scheme, monkeypatch):
    """Bit for bit: a request's answer must not depend on who shares its batch."""
    codes, scales = quantise(random(64, 128), scheme)
    weight = Weight.of(codes, scales, scheme, 64)
    x = random(21, 128, seed=1)
    together = products.linear(kernels, x, weight)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    for row in (0, 7, 20):
        assert torch.equal(products.linear(kernels, x[row : row + 1], weight)[0], together[row])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_gives_nan_and_harms_no_other_row(kernels, bad):
    scheme = Scheme(8)
    codes, scales = quantise(random(16, 64), scheme)
    x = random(3, 64)
    x[1, 5] = bad
    given = products.linear(kernels, x, Weight.of(codes, scales, scheme, 16))
    assert given[1].isnan().all()
    assert given[[0, 2]].isfinite().all()


def test_numbers_too_small_or_all_zero_are_no_trouble(kernels):
    scheme = Scheme(8)
    codes, scales = quantise(random(16, 64), scheme)
    x = torch.stack((torch.zeros(64), torch.full((64,), 1e-39), torch.full((64,), 3e38)))
    given = products.linear(kernels, x, Weight.of(codes, scales, scheme, 16))
    assert not given[0].any()
    assert given[1].abs().max() < 1e-30
    assert not given[2].isnan().any()


def layer(scheme, experts, inner, width, shared=0):
    """A layer of experts: arguments of the twin, and as the kernels see it."""
    gate, up = (random(experts, inner, width, seed=seed) for seed in (1, 2))
    down = quantise(random(experts, width, inner, seed=3), scheme)
    halves = [quantise(half, scheme) for half in (gate, up)]
    gate_up = tuple(torch.cat(parts, dim=1) for parts in zip(*halves, strict=True))
    routed = (Weight.of(*gate_up, scheme, inner), Weight.of(*down, scheme, width))
    shapes = ((shared, width), (shared, width), (width, shared))
    third = [quantise(random(*s, seed=4 + i), scheme) for i, s in enumerate(shapes) if shared]
    seen = tuple(Weight.of(*q, scheme, s[0]) for q, s in zip(third, shapes, strict=False))
    return gate_up, down, third, Experts.of(routed, inner, seen or None)


def expected(x, indices, weights, built, scheme, inner, shared):
    gate_up, down, third, _ = built
    mixed = plain_experts(x, indices, weights, gate_up, down, scheme, inner)
    if shared:
        gate, up = (plain_linear(x, *part, scheme, shared) for part in third[:2])
        mixed = mixed + plain_linear(F.silu(gate) * up, *third[2], scheme, x.shape[1])
    return mixed


@pytest.mark.parametrize("scheme", [Scheme(8), Scheme(4), Scheme(4, 32), Scheme(16)], ids=str)
@pytest.mark.parametrize("shared", [0, 70])
@pytest.mark.parametrize("tokens", [1, 5, 90])
def test_experts(kernels, scheme, shared, tokens):
    experts, inner, width = 5, 40, 48
    built = layer(scheme, experts, inner, width, shared)
    x = random(tokens, width, seed=9, std=1.0)
    # One number more than there are experts: it stands for none.
    indices = torch.stack([torch.randperm(experts + 1)[:2] for _ in range(tokens)])
    weights = torch.rand(tokens, 2)
    given = products.experts(kernels, x, indices, weights, built[3])
    assert_close(given, expected(x, indices, weights, built, scheme, inner, shared))


@pytest.mark.parametrize("scheme", [Scheme(4), Scheme(16)], ids=str)
def test_a_tokens_experts_are_the_same_beside_other_tokens(kernels, scheme):
    built = layer(scheme, 4, 64, 64, 32)
    x = random(30, 64, std=1.0)
    indices = torch.stack([torch.randperm(4)[:2] for _ in range(30)])
    weights = torch.rand(30, 2)
    together = products.experts(kernels, x, indices, weights, built[3])
    for token in (0, 13, 29):
        one = slice(token, token + 1)
        alone = products.experts(kernels, x[one], indices[one], weights[one], built[3])
        assert torch.equal(alone[0], together[token])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("heads", "rank", "rotary"), [(4, 24, 8), (3, 64, 16), (16, 512, 64)])
def test_latent_attention(kernels, dtype, heads, rank, rotary):
    pages = random(60, 16, rank + rotary, std=1.0).to(dtype)
    lengths = torch.tensor([1, 16, 37, 300, 130])
    table = torch.stack([torch.randperm(60)[:20] for _ in lengths])
    query = random(len(lengths), heads, rank + rotary, std=0.5)
    given = products.latent_attention(kernels, query, pages, table, lengths, rank)
    for row, length in enumerate(lengths.tolist()):
        latents = pages[table[row]].flatten(0, 1)[:length].float()
        shares = (query[row] @ latents.t()).softmax(dim=-1)
        # Sums in another order, and an exponential function of 2e-7.
        assert_close(given[row], shares @ latents[:, :rank], tolerance=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("groups", "heads", "width"), [(10, 1, 128), (3, 2, 24), (1, 4, 40)])
def test_attention_of_heads(kernels, dtype, groups, heads, width):
    pages = random(60, 16, 2 * groups * width, std=1.0).to(dtype)
    lengths = torch.tensor([1, 16, 37, 300, 130])
    table = torch.stack([torch.randperm(60)[:20] for _ in lengths])
    query = random(len(lengths), groups * heads, width, std=0.5)
    given = products.heads_attention(kernels, query, pages, table, lengths)
    for row, length in enumerate(lengths.tolist()):
        cached = pages[table[row]].flatten(0, 1)[:length].float().unflatten(1, (2, groups, width))
        key, value = cached.repeat_interleave(heads, dim=2).unbind(1)
        shares = torch.einsum("hd,shd->hs", query[row], key).softmax(dim=-1)
        assert_close(given[row], torch.einsum("hs,shd->hd", shares, value), tolerance=1e-5)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(
    ("heads", "groups", "queries", "keys", "width", "value"),
    [
        (2, 2, 70, 70, 72, 72),
        (4, 2, 9, 1100, 48, 33),
        (3, 1, 1, 17, 16, 8),
        (1, 1, 600, 601, 20, 16),
        (10, 5, 3, 4100, 128, 128),  # more than is packed at once
    ],
)
def test_attention_of_many(kernels, causal, heads, groups, queries, keys, width, value):
    shapes = ((2, heads, queries, width), (2, groups, keys, width), (2, groups, keys, value))
    query, key, values = (
        random(*shape, seed=seed, std=1.0).to(torch.bfloat16) for seed, shape in enumerate(shapes)
    )
    given = products.attention(kernels, query, key, values, 0.3, causal)
    mask = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries) if causal else None
    expected = F.scaled_dot_product_attention(
        query.float(), key.float(), values.float(), mask, scale=0.3, enable_gqa=heads != groups
    )
    # Weights and result are rounded to 8 bits.
    assert_close(given.float(), expected.transpose(1, 2), tolerance=6e-3)


def test_queries_are_attended_alike_beside_others(kernels):
    query, key, value = (
        random(1, 2, 90, 24, seed=seed, std=1.0).to(torch.bfloat16) for seed in range(3)
    )
    together = products.attention(kernels, query, key, value, 0.3, True)
    late = products.attention(kernels, query[:, :, 77:], key, value, 0.3, True)
    assert torch.equal(late, together[:, 77:])


def test_latent_attention_of_a_row_is_the_same_beside_others(kernels):
    pages = random(40, 8, 24, std=1.0)
    lengths = torch.tensor([200, 9, 77])
    table = torch.stack([torch.randperm(40)[:25] for _ in lengths])
    query = random(3, 2, 24)
    together = products.latent_attention(kernels, query, pages, table, lengths, 16)
    for row in range(3):
        one = slice(row, row + 1)
        alone = products.latent_attention(kernels, query[one], pages, table[one], lengths[one], 16)
        assert torch.equal(alone[0], together[row])


def test_a_weight_that_does_not_fit_its_activations_is_noticed(kernels):
    scheme = Scheme(8)
    codes, scales = quantise(random(16, 64), scheme)
    with pytest.raises(AssertionError, match="does not fit"):
        products.linear(kernels, random(2, 65), Weight.of(codes, scales, scheme, 16))

"""Weights in 8 or 4 bits: layout, rounding, products."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from vl2.errors import InputError
from vl2.ops import groupwise
from vl2.ops.groupwise import Scheme, dequantise, plain_linear, quantise, quantised_linear

SCHEMES = st.builds(Scheme, st.sampled_from((4, 8)), st.sampled_from((16, 32, 64, 128)))
SIZES = st.integers(1, 150)


def random(*shape, seed=0, std=0.02):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * std


def columns_of(weight, group):
    """Largest size of each group, spread over its columns: `[n, k]` like the weight."""
    k = weight.shape[1]
    grouped = F.pad(weight, (0, -k % group)).unflatten(1, (-1, group))
    return grouped.abs().amax(2, keepdim=True).expand(grouped.shape).flatten(1)[:, :k]


@settings(max_examples=40)
@given(SCHEMES, SIZES, SIZES, st.integers(0, 99))
def test_no_weight_moves_by_more_than_its_scale_allows(scheme, n, k, seed):
    weight = random(n, k, seed=seed)
    codes, scales = quantise(weight, scheme)
    (code_shape, scale_shape) = scheme.shapes(n, k)
    assert (tuple(codes.shape), tuple(scales.shape)) == (code_shape, scale_shape)
    restored = dequantise(codes, scales, scheme, n, k, torch.float32)
    # Half a step, plus the rounding of the scale to bfloat16's 8 bits. With 4 bits a smaller scale
    # may be better for the group as a whole, and then cuts its largest weight.
    step = columns_of(weight, scheme.group) / (127 if scheme.bits == 8 else 8)
    allowed = step * (0.5 + 127 / 256 if scheme.bits == 8 else 2.5)
    assert ((restored - weight).abs() <= allowed + 1e-9).all()


@settings(max_examples=20)
@given(SCHEMES, SIZES, SIZES)
def test_what_the_codes_can_say_is_kept_exactly(scheme, n, k):
    """Weights that are whole multiples of a scale come back bit for bit."""
    top = scheme.zero - 1
    generator = torch.Generator().manual_seed(n * 1000 + k)
    whole = torch.randint(-top, top + 1, (n, k), generator=generator).float()
    whole[:, :: scheme.group] = -(top + (scheme.bits == 4))
    codes, scales = quantise(whole * 2.0**-5, scheme)
    assert torch.equal(dequantise(codes, scales, scheme, n, k, torch.float32), whole * 2.0**-5)


@pytest.mark.parametrize("bits", [4, 8])
def test_the_layout_is_the_documented_one(bits):
    scheme = Scheme(bits, 16)
    codes, _ = quantise(random(32, 32), scheme)
    by_row = groupwise.unpack(codes, scheme)
    for row, column in ((0, 0), (17, 5), (31, 31), (3, 14)):
        block, inside = divmod(row, 16)
        if bits == 8:
            byte = codes[block, column // 4 * 64 + inside * 4 + column % 4]
        else:
            byte = codes[block, column // 8 * 64 + inside * 4 + column % 4]
            byte = byte >> 4 if column % 8 >= 4 else byte & 15
        assert byte == by_row[row, column]


def test_several_matrices_are_quantised_each_for_itself():
    scheme = Scheme(4)
    weight = random(3, 20, 70)
    codes, scales = quantise(weight, scheme)
    for index in range(3):
        alone = quantise(weight[index], scheme)
        assert torch.equal(codes[index], alone[0])
        assert torch.equal(scales[index], alone[1])


def test_a_weight_of_many_portions_is_as_one_of_few(monkeypatch):
    weight = random(200, 90)
    whole = quantise(weight, Scheme(4))
    monkeypatch.setattr(groupwise, "_PORTION", 1)
    parts = quantise(weight, Scheme(4))
    assert torch.equal(whole[0], parts[0])
    assert torch.equal(whole[1], parts[1])


def test_zeros_stay_zeros():
    for bits in (4, 8):
        codes, scales = quantise(torch.zeros(16, 64), Scheme(bits))
        assert not dequantise(codes, scales, Scheme(bits), 16, 64, torch.float32).any()


def test_the_search_for_a_scale_pays(monkeypatch):
    weight = random(64, 256)
    scheme = Scheme(4)

    def error():
        restored = dequantise(*quantise(weight, scheme), scheme, 64, 256, torch.float32)
        return (restored - weight).square().mean()

    searched = error()
    monkeypatch.setattr(groupwise, "_SEARCHED", ())
    assert searched < 0.9 * error()


def test_important_columns_are_kept_better():
    weight = random(64, 256)
    scheme = Scheme(4)
    importance = torch.ones(256)
    importance[::8] = 100.0

    def error(given):
        restored = dequantise(*quantise(weight, scheme, given), scheme, 64, 256, torch.float32)
        return ((restored - weight).square() * importance).mean()

    assert error(importance) < 0.8 * error(None)


@settings(max_examples=20)
@given(SCHEMES, SIZES, SIZES, st.integers(1, 9))
def test_the_product_is_that_of_the_restored_weight(scheme, n, k, m):
    weight, x = random(n, k), random(m, k, seed=1, std=1.0)
    codes, scales = quantise(weight, scheme)
    exact = F.linear(x, dequantise(codes, scales, scheme, n, k, torch.float32))
    assert torch.equal(quantised_linear(x, codes, scales, scheme, n), exact)
    rounded = plain_linear(x, codes, scales, scheme, n)
    # Rounding the activations to 1/127 of the largest of a group: an error of at most 0.4 % of it.
    spread = (x.abs().amax() / 254) * weight.abs().sum(1).max() * 1.2
    assert (rounded - exact).abs().max() <= spread


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite_is_refused(bad):
    weight = random(16, 64)
    weight[3, 5] = bad
    with pytest.raises(InputError, match="NaN or infinity"):
        quantise(weight, Scheme(8))


@pytest.mark.parametrize(("bits", "group"), [(3, 64), (8, 24), (4, 0), (4, 512)])
def test_other_schemes_are_refused(bits, group):
    with pytest.raises(InputError, match=str(bits if bits == 3 else group)):
        Scheme(bits, group)

import pytest
import torch
from torch.nn import functional as F

from vl2.ops.experts import one_token_experts, plain_experts, sorted_experts


def gate(x):
    left, right = x.chunk(2, dim=-1)
    return F.silu(left) * right


def operands(experts=5, tokens=20, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        "x": torch.randn(tokens, 8, generator=generator),
        "indices": torch.rand(tokens, experts, generator=generator).topk(2).indices,
        "weights": torch.rand(tokens, 2, generator=generator),
        "gate_up": torch.randn(experts, 12, 8, generator=generator),
        "down": torch.randn(experts, 8, 6, generator=generator),
    }


def test_equals_its_twin():
    given = operands()
    torch.testing.assert_close(
        sorted_experts(**given, gate=gate), plain_experts(**given, gate=gate)
    )


def test_pairs_without_an_expert_contribute_nothing():
    given = operands()
    given["indices"][3] = torch.tensor([5, 1])
    given["indices"][4] = torch.tensor([5, 5])
    mixed = sorted_experts(**given, gate=gate)
    torch.testing.assert_close(mixed, plain_experts(**given, gate=gate))
    assert (mixed[4] == 0).all()


@pytest.mark.parametrize("chosen", [(0, 3), (4, 4), (2, 5), (5, 1), (5, 5)])
def test_a_single_token_without_sorting(chosen):
    given = operands(tokens=1)
    given["indices"] = torch.tensor([chosen])
    alone = one_token_experts(**given, gate=gate)
    torch.testing.assert_close(alone, plain_experts(**given, gate=gate))
    assert alone.shape == (1, 8)
    half = {k: v if k == "indices" else v.bfloat16() for k, v in given.items()}
    assert one_token_experts(**half, gate=gate).dtype == torch.bfloat16


def test_all_tokens_at_one_expert():
    given = operands()
    given["indices"][:] = torch.tensor([2, 2])
    torch.testing.assert_close(
        sorted_experts(**given, gate=gate), plain_experts(**given, gate=gate)
    )


def test_gradients_equal_those_of_the_twin():
    gradients = []
    for function in (sorted_experts, plain_experts):
        given = operands()
        leaves = [given[name].requires_grad_() for name in ("x", "weights", "gate_up", "down")]
        function(**given, gate=gate).square().sum().backward()
        gradients.append([leaf.grad for leaf in leaves])
    for fast, plain in zip(*gradients, strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-4)


def test_autocast_reaches_the_products():
    given = operands()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = sorted_experts(**given, gate=gate)
    exact = sorted_experts(**given, gate=gate)
    assert mixed.dtype == torch.float32
    error = (mixed - exact).abs().max() / exact.abs().max()
    assert 1e-4 < error < 3e-2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_sum_over_experts_is_float32(dtype):
    """Ten equal experts of weight 0.1: summed in 16 bits they would drift."""
    given = {
        "x": torch.randn(4, 8, dtype=dtype),
        "indices": torch.arange(10).expand(4, 10),
        "weights": torch.full((4, 10), 0.1),
        "gate_up": torch.randn(1, 12, 8, dtype=dtype).expand(10, -1, -1),
        "down": torch.randn(1, 8, 6, dtype=dtype).expand(10, -1, -1),
    }
    one = F.linear(gate(F.linear(given["x"], given["gate_up"][0])), given["down"][0])
    torch.testing.assert_close(sorted_experts(**given, gate=gate), one, rtol=1e-6, atol=1e-6)

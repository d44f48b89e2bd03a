import types

import pytest
import torch
from quantised import compiled_or_none
from torch.nn import functional as F

from vl2.ops import attention
from vl2.ops.attention import compiled_attention, eager_attention, faster_kernel, kernel_width
from vl2.ops.norm import rms_norm


def layer(causal):
    return types.SimpleNamespace(training=False, is_causal=causal)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("groups", [1, 2])
def test_equals_the_fused_kernel(causal, groups):
    query = torch.randn(2, 4, 6, 8)
    key, value = torch.randn(2, 4 // groups, 6, 8), torch.randn(2, 4 // groups, 6, 8)
    mixed, weights = eager_attention(layer(causal), query, key, value, None, scaling=0.2)
    wide = [x.repeat_interleave(groups, dim=1) for x in (key, value)]
    fused = F.scaled_dot_product_attention(query, *wide, is_causal=causal, scale=0.2)
    torch.testing.assert_close(mixed, fused.transpose(1, 2))
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 4, 6))


def test_boolean_and_additive_masks_agree():
    query, key, value = torch.randn(3, 2, 4, 6, 8)
    mask = torch.rand(2, 1, 6, 6) > 0.3
    additive = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
    by_mask = [
        eager_attention(layer(True), query, key, value, m, scaling=0.2)[0] for m in (mask, additive)
    ]
    torch.testing.assert_close(*by_mask)


def test_only_training_in_bfloat16_on_the_cpu_is_written_out():
    def fused():
        pass

    half = torch.zeros(1, 1, 1, 1, dtype=torch.bfloat16, requires_grad=True)
    assert faster_kernel(fused, "sdpa", half) is eager_attention
    assert faster_kernel(fused, "vllm", half) is fused
    assert faster_kernel(fused, "sdpa", half.detach()) is fused
    assert faster_kernel(fused, "sdpa", torch.zeros(1, requires_grad=True)) is fused


def test_prompts_in_bfloat16_are_attended_by_the_compiled_kernel(monkeypatch):
    loaded = compiled_or_none()
    if loaded is None:
        pytest.skip("the kernels cannot be compiled here")
    monkeypatch.setattr(attention, "fast_library", lambda: loaded)
    query, key, value = torch.randn(3, 1, 2, 20, 8).to(torch.bfloat16)

    def fused():
        pass

    assert faster_kernel(fused, "sdpa", query) is compiled_attention
    assert faster_kernel(fused, "sdpa", query[:, :, :15]) is fused
    assert faster_kernel(fused, "sdpa", query, torch.ones(20, 20)) is fused
    assert faster_kernel(fused, "flex_attention", query) is fused
    assert kernel_width(compiled_attention, "sdpa", query, value[..., :4]) == 4
    for causal in (True, False):
        given, _ = compiled_attention(layer(causal), query, key, value, None, scaling=0.2)
        wide = [x.float() for x in (query, key, value)]
        expected, _ = eager_attention(layer(causal), *wide, None, scaling=0.2)
        torch.testing.assert_close(given.float(), expected, rtol=2e-2, atol=2e-2)


def test_norm_has_float32_statistics():
    x, weight = torch.randn(4, 32) * 300, torch.rand(32)
    exact = x / x.square().mean(dim=-1, keepdim=True).add(1e-6).sqrt() * weight
    torch.testing.assert_close(rms_norm(x, weight, 1e-6), exact)
    half = rms_norm(x.half(), weight.half(), 1e-6)
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), exact, rtol=3e-3, atol=1e-3)


def test_values_are_widened_for_the_fused_kernel_only():
    query, value = torch.zeros(1, 1, 1, 24), torch.zeros(1, 1, 1, 16)
    fused = F.scaled_dot_product_attention
    assert kernel_width(fused, "sdpa", query, value) == 24
    assert kernel_width(fused, "sdpa", value, query) == 24
    assert kernel_width(fused, "vllm", query, value) == 16
    assert kernel_width(eager_attention, "sdpa", query, value) == 16
    assert kernel_width(fused, "sdpa", query.to("meta"), value) == 16

import torch
from torch import nn

from vl2.ops.attention import eager_attention
from vl2.train.attention import bfloat16_attention


def test_training_attention_equals_the_reference_to_bfloat16():
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, 4, 9, 8, generator=generator)
    key, value = (torch.randn(2, 2, 9, 8, generator=generator) for _ in range(2))
    visible = torch.ones(9, 9).tril().bool()[None, None].expand(2, 1, 9, 9).clone()
    visible[1, :, :, 7:] = False  # padding on the right
    additive = torch.where(visible, 0.0, torch.finfo(torch.float32).min)
    module = nn.Module().eval()
    exact, _ = eager_attention(module, query, key, value, additive, scaling=8**-0.5)
    fast, _ = bfloat16_attention(module, query, key, value, additive, scaling=8**-0.5)
    assert fast.dtype == torch.bfloat16
    assert float((exact - fast.float()).abs().max()) < 0.03

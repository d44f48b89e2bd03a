import torch
from torch.nn import functional as F

from vl2.ops.gate import gated, product_type, restored


def test_float16_survives_what_passes_its_range():
    gate, up = torch.full((1, 64), 600.0), torch.full((1, 64), 700.0)
    weight = torch.full((4, 64), 0.05)
    exact = F.linear(F.silu(gate) * up, weight)
    assert exact.max() > 65504
    halves = F.linear(gated(gate.half(), up.half(), F.silu), weight.half())
    assert halves.isfinite().all()
    torch.testing.assert_close(restored(halves, torch.float16), exact, rtol=2e-3, atol=0)


def test_float16_stays_as_precise_as_before():
    generator = torch.Generator().manual_seed(0)
    gate, up = torch.randn(2, 64, 256, generator=generator)
    weight = torch.randn(32, 256, generator=generator) * 0.05
    exact = F.linear(F.silu(gate) * up, weight)
    gate, up, weight = gate.half(), up.half(), weight.half()
    divided = restored(F.linear(gated(gate, up, F.silu), weight), torch.float16)
    plain = F.linear(F.silu(gate) * up, weight).float()
    assert (divided - exact).abs().max() <= 1.5 * (plain - exact).abs().max()


def test_other_types_are_left_alone():
    gate, up = torch.randn(2, 3, 8, dtype=torch.bfloat16)
    product = gated(gate, up, F.silu)
    assert torch.equal(product, F.silu(gate) * up)
    assert restored(product, torch.bfloat16) is product


def test_product_type_follows_autocast():
    x = torch.zeros(1)
    assert product_type(x) == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert product_type(x) == torch.bfloat16

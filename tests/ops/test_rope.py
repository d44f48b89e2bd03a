import pytest
import torch

from vl2.ops import rope

LAYOUTS = {
    "half_split": (rope.rotate_half_split, rope.plain_rotate_half_split),
    "interleaved": (rope.rotate_interleaved, rope.plain_rotate_interleaved),
}
layouts = pytest.mark.parametrize("layout", LAYOUTS)


def tables(length=7, dim=16, start=0):
    return rope.rotary_tables(torch.arange(start, start + length)[None], dim, 10000.0)


@layouts
def test_equals_its_twin(layout):
    fast, plain = LAYOUTS[layout]
    x = torch.randn(2, 3, 7, 16)
    torch.testing.assert_close(fast(x, *tables()), plain(x, *tables()))


@layouts
def test_products_depend_on_the_distance_only(layout):
    rotate, _ = LAYOUTS[layout]
    query, key = torch.randn(1, 1, 1, 16), torch.randn(1, 1, 1, 16)

    def product(at, distance):
        turned = rotate(query, *tables(1, start=at + distance))
        return (turned * rotate(key, *tables(1, start=at))).sum()

    torch.testing.assert_close(product(0, 5), product(900, 5), atol=2e-3, rtol=1e-3)
    assert abs(product(0, 5) - product(0, 6)) > 1e-3


def test_interleaved_products_equal_those_of_the_original_order():
    """The original moves even elements to the front and then rotates the halves."""
    query, key = torch.randn(1, 2, 7, 16), torch.randn(1, 2, 7, 16)

    def original(x):
        moved = x.unflatten(-1, (-1, 2)).transpose(-1, -2).flatten(-2)
        return rope.rotate_half_split(moved, *tables())

    ours = rope.rotate_interleaved(query, *tables()) @ rope.rotate_interleaved(key, *tables()).mT
    torch.testing.assert_close(ours, original(query) @ original(key).mT)


def test_layouts_differ():
    x = torch.randn(1, 1, 7, 16)
    difference = rope.rotate_half_split(x, *tables()) - rope.rotate_interleaved(x, *tables())
    assert difference[..., 1:, :].abs().max() > 0.1


def test_tables_are_exact_far_out():
    positions = torch.tensor([[255, 256, 257, 4095]])
    cos, sin = rope.rotary_tables(positions, 64, 10000.0)
    steps = 10000.0 ** -(torch.arange(0, 64, 2, dtype=torch.float64) / 64)
    angles = positions[..., None] * steps
    assert cos.dtype == sin.dtype == torch.float32
    # A float32 angle of up to 4095 is known to 2e-4.
    torch.testing.assert_close(cos, angles.cos().float(), atol=5e-4, rtol=0)
    torch.testing.assert_close(sin, angles.sin().float(), atol=5e-4, rtol=0)


@layouts
def test_rotation_of_bfloat16_rounds_once(layout):
    rotate, _ = LAYOUTS[layout]
    x = torch.randn(1, 2, 7, 16, dtype=torch.bfloat16)
    far = tables(start=4000)
    assert torch.equal(rotate(x, *far), rotate(x.float(), *far).to(torch.bfloat16))

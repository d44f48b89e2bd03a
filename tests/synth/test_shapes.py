import numpy as np
import pytest

from vl2.synth import shapes
from vl2.synth.names import SHAPES


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_fills_its_box_and_a_turn_keeps_it_inside(shape):
    for degrees in (0, shapes.most_turn(shape)):
        corners, width, height = shapes.turned(shape, 60, degrees)
        assert max(width, height) == pytest.approx(60)
        assert min(x for x, _ in corners) == pytest.approx(0)
        assert max(y for _, y in corners) == pytest.approx(height)
        ink = np.asarray(shapes.mask(shape, corners, None))
        assert ink.shape == (np.ceil(height), np.ceil(width))
        for edge in (ink[:2], ink[-2:], ink[:, :2], ink[:, -2:]):
            assert edge.max() > 0
        filled = (ink > 127).mean()
        assert filled > 0.25
        assert filled < 0.99 or shape == "square"


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shapes.may_be_hollow(shape)])
def test_a_hollow_shape_is_an_outline_without_breaks(shape):
    corners, width, height = shapes.turned(shape, 80, 0)
    full = np.asarray(shapes.mask(shape, corners, None)) > 127
    ring = np.asarray(shapes.mask(shape, corners, 7)) > 127
    assert not (ring & ~full).any()
    assert 0.15 < ring.sum() / full.sum() < 0.85
    assert not ring[round(height * 0.48), round(width / 2)]
    # Every row that the shape reaches meets the outline, from the first inked pixel on.
    for whole, outline in zip(full, ring, strict=True):
        if whole.any():
            assert outline[whole.argmax()]


def test_shapes_differ_at_twenty_pixels():
    masks = {}
    for shape in SHAPES:
        corners, _, _ = shapes.turned(shape, 20, 0)
        ink = np.asarray(shapes.mask(shape, corners, None)) > 127
        canvas = np.zeros((20, 20), bool)
        y, x = (20 - ink.shape[0]) // 2, (20 - ink.shape[1]) // 2
        canvas[y : y + ink.shape[0], x : x + ink.shape[1]] = ink
        masks[shape] = canvas
    for i, a in enumerate(SHAPES):
        for b in SHAPES[:i]:
            shared = (masks[a] & masks[b]).sum() / (masks[a] | masks[b]).sum()
            assert shared < 0.82, (a, b, shared)

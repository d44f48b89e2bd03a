import numpy as np
import pytest
from PIL import Image, ImageOps

from vl2.processing.tiling import Grid, Tiling, candidate_resolutions
from vl2.synth import TILING, Scene, Thing, dense_labels, sample
from vl2.synth.dense import frame
from vl2.synth.names import CHARACTER_CLASS, COLOUR_CLASS, SHAPE_CLASS, TEXT_CLASS


@pytest.mark.parametrize("size", [(96, 96), (300, 100), (101, 333), (384, 216), (97, 131)])
@pytest.mark.parametrize("canvas", [(96, 96), (192, 192), (288, 96), (96, 192)])
def test_the_frame_is_where_the_letterbox_puts_the_picture(size, canvas):
    padded = np.asarray(ImageOps.pad(Image.new("L", size, 255), canvas, color=0))
    ys, xs = np.nonzero(padded)
    at = frame(size, canvas)
    assert (at.offset_x, at.offset_y) == (xs.min(), ys.min())
    assert round(at.offset_x + size[0] * at.scale_x) == xs.max() + 1
    assert round(at.offset_y + size[1] * at.scale_y) == ys.max() + 1


def scene_of(size, things, characters=()):
    return Scene(Image.new("RGB", size), tuple(things), tuple(characters))


def test_shapes_dtypes_and_classes():
    for seed in range(30):
        (s,) = sample(seed).scenes
        grid = TILING.grid(*s.image.size)
        labels = dense_labels(s, grid, TILING)
        tiles = grid.n_tiles
        assert labels.characters.shape == (tiles, 64, 4)
        assert labels.shape.shape == labels.colour.shape == (tiles, 64)
        assert labels.box.shape == (tiles, 64, 4)
        assert labels.characters.dtype == np.int16
        assert (labels.shape.dtype, labels.colour.dtype) == (np.int8, np.int8)
        assert labels.box.dtype == np.float32
        inside = labels.shape > 0
        assert (inside == (labels.colour > 0)).all()
        assert (inside == ~np.isnan(labels.box).any(-1)).all()
        boxes = labels.box[inside]
        assert ((boxes >= 0) & (boxes <= 1)).all()
        assert (boxes[:, :2] < boxes[:, 2:]).all()


def test_a_known_picture_on_one_local_tile():
    red_star = Thing("shape", "red", "star", 0, 0, 48, 24)
    s = scene_of((96, 96), [red_star])
    labels = dense_labels(s, TILING.grid(96, 96), TILING)
    expected = np.zeros((8, 8), np.int8)
    expected[:2, :4] = SHAPE_CLASS["star"]
    for tile in range(2):
        assert (labels.shape[tile].reshape(8, 8) == expected).all()
        assert (labels.box[tile, 0] == [0, 0, 0.5, 0.25]).all()
    assert labels.colour[0, 0] == COLOUR_CLASS["red"]
    assert (labels.characters == 0).all()


def test_local_tiles_come_by_rows_and_boxes_are_cut_at_their_edges():
    # 192x192 is cut into 2x2 tiles; the thing lies across the border of the two lower ones.
    thing = Thing("shape", "blue", "circle", 72, 120, 144, 168)
    s = scene_of((192, 192), [thing])
    grid = TILING.grid(192, 192)
    assert (grid.columns, grid.rows) == (2, 2)
    labels = dense_labels(s, grid, TILING)
    assert [int((labels.shape[tile] > 0).any()) for tile in range(5)] == [1, 0, 0, 1, 1]
    left, right = labels.box[3], labels.box[4]
    patch = 4 * 8 + 7  # the patch of the fifth row at the right edge
    np.testing.assert_allclose(left[patch], [0.75, 0.25, 1.0, 0.75], atol=1e-6)
    np.testing.assert_allclose(right[4 * 8], [0.0, 0.25, 0.5, 0.75], atol=1e-6)
    seen = labels.shape[0] > 0
    whole = np.array([[72, 120, 144, 168]], np.float32) / 192
    np.testing.assert_allclose(labels.box[0][seen], np.repeat(whole, seen.sum(), 0), atol=1e-6)


def test_the_same_pixels_have_the_same_labels():
    # One local tile shows what the global view shows, margins included.
    labels = dense_labels(
        scene_of((96, 48), [Thing("shape", "blue", "circle", 24, 12, 72, 36)]), Grid(1, 1), TILING
    )
    np.testing.assert_allclose(labels.box[0], labels.box[1], atol=1e-6)
    seen = labels.box[1][labels.shape[1] > 0]
    np.testing.assert_allclose(seen, np.tile([[0.25, 0.25, 0.75, 0.75]], (len(seen), 1)), atol=1e-6)


def test_characters_are_told_in_quarters_of_a_patch():
    word = Thing("text", "black", "ab", 0, 0, 12, 12)
    cells = [("a", 0, 0, 6, 12), ("b", 6, 0, 12, 12)]
    labels = dense_labels(scene_of((96, 96), [word], cells), TILING.grid(96, 96), TILING)
    a, b = CHARACTER_CLASS["a"], CHARACTER_CLASS["b"]
    assert labels.characters[0, 0].tolist() == [a, b, a, b]
    assert (labels.characters[0, 1:] == 0).all()
    assert labels.shape[0, 0] == TEXT_CLASS


def test_margins_hold_nothing():
    thing = Thing("shape", "red", "square", 0, 0, 300, 100)
    labels = dense_labels(scene_of((300, 100), [thing]), TILING.grid(300, 100), TILING)
    rows = (labels.shape[0] > 0).reshape(8, 8).any(1)
    assert rows.tolist() == [False, False, False, True, True, False, False, False]


def test_other_tilings_work_too():
    tiling = Tiling(candidate_resolutions(64, 6), tile_size=64, patch_size=8, downsample=2)
    (s,) = sample(3).scenes
    grid = tiling.grid(*s.image.size)
    assert dense_labels(s, grid, tiling).shape.shape == (grid.n_tiles, 64)

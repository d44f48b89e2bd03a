"""Dense labels: what each patch of each tile shows, to pretrain the vision encoder on."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vl2.processing.images import fitted_size
from vl2.processing.tiling import Grid, Tiling
from vl2.synth.names import CHARACTER_CLASS, COLOUR_CLASS, SHAPE_CLASS, TEXT_CLASS
from vl2.synth.things import Scene

CELLS = 2
"""Each patch is looked at in this many by this many cells to tell its characters."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class DenseLabels:
    """Labels of every patch of every tile: the global view first, then the local tiles by rows.

    Attributes:
        characters: int16 `[tiles, patches, 4]`, the class (`CHARACTER_CLASS`) of the character in
            whose cell the centre of each quarter of the patch lies, by rows; 0 for none.
        shape: int8 `[tiles, patches]`, the class (`SHAPE_CLASS`, `TEXT_CLASS`) of the thing in
            whose box the centre of the patch lies; 0 for none.
        colour: int8 `[tiles, patches]`, its colour (`COLOUR_CLASS`); 0 for none.
        box: float32 `[tiles, patches, 4]`, the edges x1, y1, x2, y2 of its box, cut to the tile,
            as fractions of the part of the tile that the picture covers (of the whole picture in
            the global view): what an encoder sees of a tile decides them. NaN where there is no
            thing.
    """

    characters: NDArray[np.int16]
    shape: NDArray[np.int8]
    colour: NDArray[np.int8]
    box: Floats


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a picture lies on a letterboxed canvas: canvas = picture * scale + offset."""

    scale_x: float
    scale_y: float
    offset_x: int
    offset_y: int


def frame(picture: tuple[int, int], canvas: tuple[int, int]) -> Frame:
    """The place of a picture on a canvas, as `processing.images.letterbox` puts it."""
    inner = fitted_size(picture, canvas)
    return Frame(
        inner[0] / picture[0],
        inner[1] / picture[1],
        round((canvas[0] - inner[0]) / 2),
        round((canvas[1] - inner[1]) / 2),
    )


@functools.lru_cache(maxsize=4096)
def _centres(
    picture: tuple[int, int], canvas: tuple[int, int], step: float
) -> tuple[Floats, Floats]:
    """The centres of steps along both sides of the canvas, in pixels of the picture."""
    at = frame(picture, canvas)
    xs = (np.arange(step / 2, canvas[0], step) - at.offset_x) / at.scale_x
    ys = (np.arange(step / 2, canvas[1], step) - at.offset_y) / at.scale_y
    return xs.astype(np.float32), ys.astype(np.float32)


def _covering(boxes: Floats, xs: Floats, ys: Floats) -> NDArray[np.intp]:
    """`[rows, columns]`: 1 + the index of the box [n, 4] that holds each point, 0 for none."""
    across = (boxes[:, 0, None] <= xs) & (xs < boxes[:, 2, None])
    down = (boxes[:, 1, None] <= ys) & (ys < boxes[:, 3, None])
    held = down[:, :, None] & across[:, None, :]
    index = held.argmax(0)
    return np.where(held.any(0), index + 1, 0)


def _by_tile(canvas: NDArray[Any], grid: Grid, side: int) -> NDArray[Any]:
    """`[rows * side, columns * side, ...]` to `[rows * columns, side * side, ...]`."""
    rest = canvas.shape[2:]
    tiles = canvas.reshape(grid.rows, side, grid.columns, side, *rest).swapaxes(1, 2)
    return tiles.reshape(grid.rows * grid.columns, side * side, *rest)


def _view(
    tables: tuple[NDArray[Any], ...],
    picture: tuple[int, int],
    tiling: Tiling,
    grid: Grid,
) -> tuple[NDArray[np.int16], NDArray[np.intp]]:
    """The characters `[tiles, patches, 4]` and the things (index + 1) of one letterboxed view."""
    letter_boxes, letter_classes, thing_boxes = tables
    side, canvas = tiling.tile_size // tiling.patch_size, tiling.canvas(grid)
    xs, ys = _centres(picture, canvas, tiling.patch_size / CELLS)
    letters = letter_classes[_covering(letter_boxes, xs, ys)]
    rows, columns = grid.rows * side, grid.columns * side
    letters = letters.reshape(rows, CELLS, columns, CELLS).swapaxes(1, 2)
    letters = letters.reshape(rows, columns, CELLS * CELLS)
    xs, ys = _centres(picture, canvas, float(tiling.patch_size))
    return _by_tile(letters, grid, side), _by_tile(_covering(thing_boxes, xs, ys), grid, side)


def _local_boxes(
    boxes: Floats, things: NDArray[np.intp], at: Frame, grid: Grid, tile: int
) -> Floats:
    """The boxes `[tiles, patches, 4]` of things `[tiles, patches]`.

    They are fractions of the part of each tile that the picture covers.
    """
    scale = np.array([at.scale_x, at.scale_y] * 2, np.float32)
    offset = np.array([at.offset_x, at.offset_y] * 2, np.float32)
    index = np.arange(grid.rows * grid.columns)
    corner = np.stack([index % grid.columns, index // grid.columns] * 2, 1).astype(np.float32)
    canvas = np.array([grid.columns, grid.rows] * 2, np.float32) * tile
    margin = np.concatenate([offset[:2], (canvas - offset)[2:]])
    covered = (margin - corner * tile).clip(0, tile)
    start = np.concatenate([covered[:, :2]] * 2, 1)[:, None]
    length = (np.concatenate([covered[:, 2:]] * 2, 1)[:, None] - start).clip(min=1)
    on_tile = (boxes * scale + offset)[None] - (corner * tile)[:, None]
    inside = ((on_tile - start) / length).clip(0, 1)
    return inside[index[:, None], things]


def dense_labels(scene: Scene, grid: Grid, tiling: Tiling) -> DenseLabels:
    """Labels the patches of the tiles that `processing.images.cut` makes of a picture.

    Args:
        scene: The picture.
        grid: Its grid of local tiles.
        tiling: The rule that gave the grid; its patches must fill its tiles.
    """
    nowhere = (np.nan,) * 4
    things, letters, picture = scene.things, scene.characters, scene.image.size
    boxes = np.array([nowhere, *((t.x1, t.y1, t.x2, t.y2) for t in things)], np.float32)
    letter_boxes = np.array([letter[1:] for letter in letters], np.float32).reshape(-1, 4)
    letter_classes = np.array([0, *(CHARACTER_CLASS[letter[0]] for letter in letters)], np.int16)
    if not letters:
        letter_boxes = np.array([nowhere], np.float32)
    tables = (letter_boxes, letter_classes, boxes[1:])
    whole_letters, whole = _view(tables, picture, tiling, Grid(1, 1))
    local_letters, local = _view(tables, picture, tiling, grid)
    size = np.array(picture * 2, np.float32)
    at = frame(picture, tiling.canvas(grid))
    index = np.concatenate([whole, local])
    shapes = [SHAPE_CLASS[t.name] if t.kind == "shape" else TEXT_CLASS for t in things]
    return DenseLabels(
        np.concatenate([whole_letters, local_letters]),
        np.array([0, *shapes], np.int8)[index],
        np.array([0, *(COLOUR_CLASS[t.colour] for t in things)], np.int8)[index],
        np.concatenate(
            [
                (boxes / size)[whole],
                _local_boxes(boxes, local, at, grid, tiling.tile_size),
            ]
        ),
    )

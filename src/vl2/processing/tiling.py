"""Which grid of tiles a picture gets, and how many tokens that makes: pure arithmetic.

A picture is seen once as a whole (the global view, one tile) and once cut into a grid of local
tiles (paper section 3.1). The grid is the one whose resolution loses the least of the picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from vl2.errors import InputError

MAX_TILED_IMAGES = 2
"""A conversation with more pictures than this shows each of them as a single local tile."""


def candidate_resolutions(tile_size: int, max_tiles: int) -> tuple[tuple[int, int], ...]:
    """All resolutions of at most `max_tiles` tiles, in the order of the released configurations.

    The order matters, because the first of equally good candidates is taken: by area, then by the
    shorter side, then by width. `candidate_resolutions(384, 9)` are the 23 of the paper,
    `candidate_resolutions(384, 18)` the 58 that it uses for InfoVQA.

    Args:
        tile_size: side of a tile in pixels.
        max_tiles: largest number of local tiles.

    Returns:
        Pairs `(width, height)` in pixels.
    """
    if tile_size < 1 or max_tiles < 1:
        raise InputError(
            f"Tiles need a positive side and number, got side {tile_size} and number {max_tiles}."
        )
    grids = [
        (columns, rows)
        for columns in range(1, max_tiles + 1)
        for rows in range(1, max_tiles // columns + 1)
    ]
    grids.sort(key=lambda grid: (grid[0] * grid[1], min(grid), grid[0]))
    return tuple((columns * tile_size, rows * tile_size) for columns, rows in grids)


CANDIDATE_RESOLUTIONS = candidate_resolutions(384, 9)
"""The 23 candidates of the released checkpoints, as `(width, height)` in pixels."""


def tiles_conversation(n_images: int) -> bool:
    """Whether the pictures of a conversation are cut into more than one local tile.

    The rule counts the pictures of the whole conversation, later turns included: with a third
    picture the earlier ones lose their tiles too (paper section 3.1).
    """
    return n_images <= MAX_TILED_IMAGES


@dataclass(frozen=True, slots=True)
class Grid:
    """How many local tiles a picture is cut into. `images_spatial_crop` is `[columns, rows]`."""

    columns: int
    rows: int

    @property
    def n_tiles(self) -> int:
        """Tiles of the picture: the global view and the local ones."""
        return 1 + self.columns * self.rows


@dataclass(frozen=True, slots=True)
class Tiling:
    """The tiling rule of a model.

    Attributes:
        candidates: resolutions to choose from, `(width, height)` in pixels; the order matters.
        tile_size: side of a tile in pixels.
        patch_size: side of a patch of the vision encoder in pixels.
        downsample: how many patches a side the projector joins into one token.
    """

    candidates: tuple[tuple[int, int], ...] = CANDIDATE_RESOLUTIONS
    tile_size: int = 384
    patch_size: int = 14
    downsample: int = 2

    def __post_init__(self) -> None:
        if min(self.tile_size, self.patch_size, self.downsample) < 1:
            raise InputError(
                "Tile size, patch size and downsample ratio must be positive, got "
                f"{self.tile_size}, {self.patch_size} and {self.downsample}."
            )
        if self.patch_size > self.tile_size:
            raise InputError(
                f"A patch of {self.patch_size} pixels does not fit a tile of {self.tile_size}."
            )
        if not self.candidates:
            raise InputError("A tiling needs at least one candidate resolution, got none.")
        for width, height in self.candidates:
            if min(width, height) < 1 or width % self.tile_size or height % self.tile_size:
                raise InputError(
                    f"The candidate resolution {width}x{height} is not made of whole tiles of "
                    f"{self.tile_size} pixels."
                )

    @classmethod
    def from_candidates(
        cls, candidates: Iterable[Sequence[int]], patch_size: int, downsample: int
    ) -> Tiling:
        """The rule that a configuration states; the first candidate is a single tile.

        Args:
            candidates: pairs `(width, height)` in pixels.
            patch_size: side of a patch in pixels.
            downsample: patches a side that become one token.
        """
        pairs = tuple((int(width), int(height)) for width, height in candidates)
        tile_size = pairs[0][0] if pairs else 0
        return cls(pairs, tile_size, patch_size, downsample)

    @property
    def side(self) -> int:
        """Tokens along one side of a tile; an odd grid of patches is padded (27 becomes 28)."""
        return math.ceil(self.tile_size // self.patch_size / self.downsample)

    @property
    def max_tokens(self) -> int:
        """Tokens of the picture that needs the most of them."""
        return max(self.tokens(self._as_grid(size)) for size in self.candidates)

    @property
    def max_tiles(self) -> int:
        """Local tiles of the largest candidate."""
        return max(self._as_grid(size).n_tiles - 1 for size in self.candidates)

    def limited(self, max_tiles: int | None) -> Tiling:
        """The same rule with at most `max_tiles` local tiles; `None` leaves it as it is.

        Raises:
            InputError: that is no number, or too few for any candidate.
        """
        if max_tiles is None:
            return self
        if not isinstance(max_tiles, int):
            raise InputError(f"max_tiles must be a whole number, got {max_tiles!r}.")
        kept = tuple(s for s in self.candidates if self._as_grid(s).n_tiles - 1 <= max_tiles)
        if not kept:
            raise InputError(
                f"max_tiles is {max_tiles}, but every candidate has more local tiles: "
                "use at least 1."
            )
        return replace(self, candidates=kept)

    def grid(self, width: int, height: int, *, tiled: bool = True) -> Grid:
        """Choose the grid for a picture.

        The candidate that keeps the most of the picture's pixels wins, then the one that wastes
        the fewest of its own, then the first. Lengths are truncated, not rounded.

        Args:
            width: width of the picture in pixels.
            height: height of the picture in pixels.
            tiled: `False` gives the single local tile of conversations with many pictures.

        Raises:
            InputError: the picture has no pixels.
        """
        if width < 1 or height < 1:
            raise InputError(f"A picture must have at least one pixel, got {width}x{height}.")
        if not tiled:
            return Grid(1, 1)
        return self._as_grid(max(self.candidates, key=lambda size: _merit(size, width, height)))

    def tokens(self, grid: Grid) -> int:
        """Positions that a picture takes in the token sequence.

        Rows of the global view, each closed by a newline, one separator, and the rows of the
        stitched local tiles, each closed by a newline.
        """
        side = self.side
        return side * (side + 1) + 1 + grid.rows * side * (grid.columns * side + 1)

    def canvas(self, grid: Grid) -> tuple[int, int]:
        """Size `(width, height)` in pixels of the letterboxed picture that is cut into a grid."""
        return grid.columns * self.tile_size, grid.rows * self.tile_size

    def _as_grid(self, size: tuple[int, int]) -> Grid:
        return Grid(size[0] // self.tile_size, size[1] // self.tile_size)


def _merit(candidate: tuple[int, int], width: int, height: int) -> tuple[int, int]:
    """How good a candidate is for a picture: pixels of the picture kept, pixels not wasted."""
    scale = min(candidate[0] / width, candidate[1] / height)
    kept = min(int(width * scale) * int(height * scale), width * height)
    return kept, kept - candidate[0] * candidate[1]

"""What the model reads: token ids and the pictures that fill some of their places."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vl2.processing.tiling import Grid


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """One conversation, ready for the model. Letters: `t` tokens, `n` tiles, `s` tile side.

    Attributes:
        token_ids: int64 `[t]`; every place of a picture holds the id of `<image>`.
        image_mask: bool `[t]`; true where a picture's features go.
        supervised: bool `[t]`; true where a training loss is taken on the token itself.
        pixel_values: float32 `[n, 3, s, s]`, all pictures in order, each global view first and
            then its local tiles row by row; `n` is 0 without pictures.
        grids: grid of each picture.
    """

    token_ids: NDArray[np.int64]
    image_mask: NDArray[np.bool_]
    supervised: NDArray[np.bool_]
    pixel_values: NDArray[np.float32]
    grids: tuple[Grid, ...]

    def __len__(self) -> int:
        """Number of tokens, places of pictures included."""
        return len(self.token_ids)

    @property
    def images_spatial_crop(self) -> NDArray[np.int64]:
        """Int64 `[n_images, 2]`: columns and rows of each picture's local tiles."""
        crops = [(grid.columns, grid.rows) for grid in self.grids]
        return np.array(crops, dtype=np.int64).reshape(-1, 2)

    def labels(self, ignore_id: int = -100) -> NDArray[np.int64]:
        """Int64 `[t]`: the token ids where they are supervised, `ignore_id` elsewhere."""
        return np.where(self.supervised, self.token_ids, ignore_id)

    @property
    def answers(self) -> NDArray[np.int64]:
        """Int64 `[t]`: 1 on supervised tokens, but 0 on the first, which answers nothing."""
        mask = self.supervised.astype(np.int64)
        mask[:1] = 0
        return mask

"""Pictures of prompts, encoded once and kept as long as there is room."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vl2.errors import EngineError
from vl2.model.images import encode_tiles, rows_per_image
from vl2.model.modeling import DeepseekVLV2Model
from vl2.processing.prompt import Prompt
from vl2.processing.tiling import Grid
from vl2.quantization.modules import describe


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A picture of a prompt.

    Attributes:
        content: digest of its tiles and their grid. The same file makes different tiles beside two
            other pictures, where none is cut, so the content tells these apart.
        tiles: float32 `[n, 3, s, s]`.
        grid: how they lie.
        first: position of its first place in the prompt.
        places: number of its places.
    """

    content: bytes
    tiles: NDArray[np.float32]
    grid: Grid
    first: int
    places: int

    @property
    def end(self) -> int:
        """Position after its last place."""
        return self.first + self.places


def pictures_of(prompt: Prompt, places: list[int]) -> tuple[Picture, ...]:
    """The pictures of a prompt.

    Args:
        prompt: the prompt.
        places: how many places each of them has.

    Raises:
        ValueError: the prompt marks another number of places.
    """
    if not prompt.grids:
        return ()
    starts = np.flatnonzero(prompt.image_mask)
    if len(starts) != sum(places):
        raise ValueError(f"The prompt has {len(starts)} places of pictures, not {sum(places)}.")
    found, tile, place = [], 0, 0
    for grid, count in zip(prompt.grids, places, strict=True):
        tiles = prompt.pixel_values[tile : tile + grid.n_tiles]
        digest = hashlib.blake2b(np.ascontiguousarray(tiles).data, digest_size=16)
        digest.update(f"{grid.columns}x{grid.rows}".encode())
        found.append(Picture(digest.digest(), tiles, grid, int(starts[place]), count))
        tile, place = tile + grid.n_tiles, place + count
    return tuple(found)


class PictureEncoder:
    """Encodes pictures a few tiles at a time and keeps the results.

    Args:
        model: vision tower, projector and the learnt rows.
        limit: bytes that kept results may take; the longest unused go first.
    """

    def __init__(self, model: DeepseekVLV2Model, limit: int) -> None:
        self._model = model
        describe(model.vision_tower)
        describe(model.projector)
        self._limit = limit
        self._kept: OrderedDict[bytes, torch.Tensor] = OrderedDict()
        self._bytes = 0
        self._begun: dict[bytes, list[torch.Tensor]] = {}
        self.encoded = self.reused = 0

    def find(self, picture: Picture) -> torch.Tensor | None:
        """Rows `[r, d]` of a picture that is kept."""
        rows = self._kept.get(picture.content)
        if rows is not None:
            self._kept.move_to_end(picture.content)
            self.reused += 1
        return rows

    @torch.inference_mode()
    def encode(self, picture: Picture, at_most: int) -> torch.Tensor | None:
        """Encode some more tiles of a picture; returns its rows `[r, d]` when all are done.

        Raises:
            EngineError: the rows are not finite.
        """
        parts = self._begun.setdefault(picture.content, [])
        done = sum(len(part) for part in parts)
        tiles = torch.from_numpy(picture.tiles[done : done + at_most]).to(self._model.device)
        parts.append(encode_tiles(self._model.vision_tower, self._model.projector, tiles))
        if done + len(tiles) < picture.grid.n_tiles:
            return None
        del self._begun[picture.content]
        crop = torch.tensor([[picture.grid.columns, picture.grid.rows]])
        newline, separator = self._model.image_newline, self._model.view_seperator
        (rows,) = rows_per_image(torch.cat(parts), crop, newline, separator)
        if not rows.isfinite().all():
            raise EngineError(
                "The vision encoder gave numbers that are not finite for a picture of this "
                "conversation: use another dtype, such as float32, or check the checkpoint."
            )
        self.encoded += 1
        self._keep(picture.content, rows)
        return rows

    def forget(self, picture: Picture) -> None:
        """Drop what has been begun for a picture that is no longer wanted."""
        self._begun.pop(picture.content, None)

    def _keep(self, content: bytes, rows: torch.Tensor) -> None:
        self._kept[content] = rows
        self._bytes += rows.nbytes
        while self._bytes > self._limit:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.nbytes

"""From pixels to the rows that stand for images among the token embeddings."""

import torch
from torch import nn

from vl2.errors import InputError
from vl2.ops.tiles import image_rows

# The tower's activations of one released tile take about 60 MB in float32.
_TILES_AT_ONCE = 16

# On the CPU two released tiles keep the units as busy as more of them would.
_NUMBERS_AT_ONCE = 2**20


def encode_tiles(
    tower: nn.Module, projector: nn.Module, pixel_values: torch.Tensor
) -> torch.Tensor:
    """Runs tower and projector over tiles of any number of images.

    Without gradients a fixed number of tiles goes at once, so that memory does not grow with the
    batch; with gradients all activations must be kept anyway.

    Args:
        tower: maps `[n, 3, s, s]` to `[n, p, c]`.
        projector: maps `[n, p, c]` to `[n, q * q, d]`.
        pixel_values: `[n, 3, s, s]`.

    Returns:
        `[n, q * q, d]`.
    """
    at_once = len(pixel_values) if torch.is_grad_enabled() else _tiles_at_once(pixel_values)
    return torch.cat([projector(tower(tiles)) for tiles in pixel_values.split(at_once)])


def _tiles_at_once(pixel_values: torch.Tensor) -> int:
    if pixel_values.device.type != "cpu":
        return _TILES_AT_ONCE
    numbers = pixel_values.shape[1:].numel()
    return min(max(_NUMBERS_AT_ONCE // numbers, 1), _TILES_AT_ONCE)


def rows_per_image(
    tiles: torch.Tensor,
    images_spatial_crop: torch.Tensor,
    newline: torch.Tensor,
    separator: torch.Tensor,
) -> list[torch.Tensor]:
    """Distributes encoded tiles to their images and lays each image out.

    Args:
        tiles: `[n, q * q, d]`, image after image, each its global view and its local tiles.
        images_spatial_crop: columns and rows of local tiles of every image, `[images, 2]`.
        newline: `[d]`.
        separator: `[d]`.

    Returns:
        Per image its rows `[r, d]`.

    Raises:
        InputError: the grids do not add up to the number of tiles.
    """
    grids = [(int(columns), int(rows)) for columns, rows in images_spatial_crop.tolist()]
    counts = [1 + columns * rows for columns, rows in grids]
    if sum(counts) != tiles.shape[0]:
        raise InputError(
            f"images_spatial_crop {grids} asks for {sum(counts)} tiles, but pixel_values holds "
            f"{tiles.shape[0]}; give one global view and columns x rows local tiles per image."
        )
    newline, separator = newline.to(tiles.dtype), separator.to(tiles.dtype)
    return [
        image_rows(part, columns, rows, newline, separator)
        for part, (columns, rows) in zip(tiles.split(counts), grids, strict=True)
    ]


def place_rows(
    embeddings: torch.Tensor, is_image: torch.Tensor, rows: torch.Tensor
) -> torch.Tensor:
    """Writes image rows over the embeddings of the `<image>` tokens.

    Args:
        embeddings: `[b, t, d]`.
        is_image: true at `<image>` tokens, `[b, t]`.
        rows: rows of all images in order, `[r, d]`.

    Returns:
        `[b, t, d]`.

    Raises:
        InputError: there are not as many rows as `<image>` tokens. (`masked_scatter` alone would
            drop surplus rows without a word.)
    """
    slots = int(is_image.sum())
    if slots != rows.shape[0]:
        raise InputError(
            f"The prompt has {slots} <image> tokens, but its images make {rows.shape[0]} rows; "
            "build input_ids, pixel_values and images_spatial_crop with the same processor."
        )
    rows = rows.to(device=embeddings.device, dtype=embeddings.dtype)
    return embeddings.masked_scatter(is_image[..., None], rows)


def rows_by_position(is_image: torch.Tensor, rows: torch.Tensor, before: int) -> torch.Tensor:
    """Puts image rows where their tokens are in the sequence, and zeros elsewhere.

    Args:
        is_image: true at `<image>` tokens, `[b, t]`.
        rows: rows of all images in order, `[r, d]`.
        before: number of tokens that precede these in the sequence.

    Returns:
        `[b, before + t, d]`.

    Raises:
        InputError: there are not as many rows as `<image>` tokens.
    """
    batch, length = is_image.shape
    placed = place_rows(rows.new_zeros((batch, length, rows.shape[-1])), is_image, rows)
    return torch.nn.functional.pad(placed, (0, 0, before, 0))


def refuse_slots(is_image: torch.Tensor) -> None:
    """Checks that a prompt without images has no `<image>` tokens, `is_image` `[b, t]`.

    Raises:
        InputError: it has some, which would be read as a word of no meaning.
    """
    slots = int(is_image.sum())
    if slots:
        raise InputError(
            f"The prompt has {slots} <image> tokens, but no images came with it; give pixel_values "
            "and images_spatial_crop."
        )


def others_may_have_pictures() -> bool:
    """Whether other ranks train beside this one.

    Sharded weights are gathered by all ranks together, layer by layer: a rank whose batch has no
    picture must run the encoder all the same, or the others wait for it for ever.
    """
    distributed = torch.distributed
    return (
        distributed.is_available()
        and distributed.is_initialized()
        and distributed.get_world_size() > 1
    )

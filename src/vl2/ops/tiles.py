"""From the patches of a tile to the rows of an image in the language model (paper, section 2).

A tile's `g x g` patches are folded 2x2 into `ceil(g / 2)` squared tokens. An image is its global
view, row by row with a newline vector after each row; one separator; then its local tiles, put
together as one large grid, again with a newline after each row. Newline and separator are learned
vectors of the language model's width.
"""

import torch
from torch.nn import functional as F


def fold_patches(patches: torch.Tensor, factor: int) -> torch.Tensor:
    """Joins each `factor x factor` block of patches into one token.

    An odd grid is first padded with zeros at the bottom and on the right (27 patches become 28).
    The channels of a token are ordered as `F.unfold` orders them: channel first, then row and
    column within the block.

    Args:
        patches: `[n, g * g, c]`, row by row.
        factor: side of a block.

    Returns:
        `[n, q * q, c * factor ** 2]` with `q = ceil(g / factor)`.
    """
    n, count, channels = patches.shape
    side = _square_side(count)
    padding = -side % factor
    grid = patches.view(n, side, side, channels)
    if padding:
        grid = F.pad(grid, (0, 0, 0, padding, 0, padding))
    folded = (side + padding) // factor
    blocks = grid.view(n, folded, factor, folded, factor, channels)
    return blocks.permute(0, 1, 3, 5, 2, 4).reshape(n, folded * folded, channels * factor**2)


def plain_fold_patches(patches: torch.Tensor, factor: int) -> torch.Tensor:
    """Twin of `fold_patches` through `F.unfold`."""
    n, count, channels = patches.shape
    side = _square_side(count)
    image = patches.transpose(1, 2).reshape(n, channels, side, side)
    padding = -side % factor
    image = F.pad(image, (0, padding, 0, padding))
    return F.unfold(image, kernel_size=factor, stride=factor).transpose(1, 2)


def image_rows(
    tiles: torch.Tensor, columns: int, rows: int, newline: torch.Tensor, separator: torch.Tensor
) -> torch.Tensor:
    """Lays the tiles of one image out as the rows that stand for it in the language model.

    Args:
        tiles: `[1 + columns * rows, q * q, d]`: the global view, then the local tiles row by row.
        columns: local tiles side by side.
        rows: local tiles on top of each other.
        newline: `[d]`, after each row of tokens.
        separator: `[d]`, between the global view and the local tiles.

    Returns:
        `[q * (q + 1) + 1 + rows * q * (columns * q + 1), d]`.
    """
    side, width = _square_side(tiles.shape[1]), tiles.shape[2]
    grid = tiles[1:].view(rows, columns, side, side, width)
    local = grid.transpose(1, 2).reshape(rows * side, columns * side, width)
    whole = tiles[0].view(side, side, width)
    return torch.cat(
        (_with_newlines(whole, newline), separator[None], _with_newlines(local, newline))
    )


def plain_image_rows(
    tiles: torch.Tensor, columns: int, rows: int, newline: torch.Tensor, separator: torch.Tensor
) -> torch.Tensor:
    """Twin of `image_rows`: one token after the other."""
    side = _square_side(tiles.shape[1])
    out = []
    for y in range(side):
        out += [tiles[0, y * side + x] for x in range(side)] + [newline]
    out.append(separator)
    for y in range(rows * side):
        for x in range(columns * side):
            tile = 1 + (y // side) * columns + x // side
            out.append(tiles[tile, (y % side) * side + x % side])
        out.append(newline)
    return torch.stack(out)


def _with_newlines(grid: torch.Tensor, newline: torch.Tensor) -> torch.Tensor:
    height, _, width = grid.shape
    return torch.cat((grid, newline.expand(height, 1, width)), dim=1).flatten(0, 1)


def _square_side(count: int) -> int:
    side = round(count**0.5)
    if side * side != count:
        raise ValueError(f"{count} patches do not form a square grid")
    return side

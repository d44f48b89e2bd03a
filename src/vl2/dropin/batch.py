"""What the original's processor returns: one sample, and samples padded to one batch.

Letters: `b` rows, `t` tokens, `n` tiles of a row, `m` pictures of a row, `s` side of a tile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch.nn.utils.rnn import pad_sequence

from vl2.errors import InputError


class DictOutput:
    """Attributes that can be read as keys too, so that `**output` works."""

    def keys(self) -> list[str]:
        """Names of the attributes."""
        return list(vars(self))

    def items(self) -> list[tuple[str, Any]]:
        """Names of the attributes with their values."""
        return list(vars(self).items())

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, name: object) -> bool:
        return name in vars(self)

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - attributes are of any type
        return vars(self)[name]

    def __setitem__(self, name: str, value: Any) -> None:  # noqa: ANN401
        vars(self)[name] = value


@dataclass
class VLChatProcessorOutput(DictOutput):
    """One conversation.

    Attributes:
        sft_format: the conversation as text.
        input_ids: int64 `[t]`.
        target_ids: int64 `[t]`, labels for training.
        images: float32 `[n, 3, s, s]`; a single black tile if there is no picture.
        images_seq_mask: bool `[t]`, the places of pictures.
        images_spatial_crop: int64 `[m, 2]`, columns and rows of local tiles; zeros if there is
            no picture.
        num_image_tokens: how many places each picture takes.
    """

    sft_format: str | None
    input_ids: torch.Tensor
    target_ids: torch.Tensor
    images: torch.Tensor
    images_seq_mask: torch.Tensor
    images_spatial_crop: torch.Tensor
    num_image_tokens: list[int]

    def __len__(self) -> int:
        return len(self.input_ids)


@dataclass
class BatchCollateOutput(DictOutput):
    """A batch.

    Attributes:
        sft_format: the conversations as text.
        input_ids: int64 `[b, t]`.
        labels: int64 `[b, t]`.
        images: `[b, n, 3, s, s]`, filled up with black tiles.
        attention_mask: bool `[b, t]`.
        images_seq_mask: bool `[b, t]`.
        images_spatial_crop: int64 `[b, m, 2]`, filled up with zeros.
        seq_lens: tokens of each row.
    """

    sft_format: list[str | None]
    input_ids: torch.Tensor
    labels: torch.Tensor
    images: torch.Tensor
    attention_mask: torch.Tensor
    images_seq_mask: torch.Tensor
    images_spatial_crop: torch.Tensor
    seq_lens: list[int]

    def to(
        self, device: torch.device | str, dtype: torch.dtype | None = None
    ) -> BatchCollateOutput:
        """Moves the tensors, in place.

        Args:
            device: where to.
            dtype: of the pictures. The model converts them to the type of its weights, so it need
                not be given; the original's default would round the pictures of a float32 model.
        """
        for name, value in vars(self).items():
            if isinstance(value, torch.Tensor):
                self[name] = value.to(device)
        self.images = self.images.to(dtype=dtype)
        return self


def batchify(
    samples: Sequence[VLChatProcessorOutput],
    pad_id: int,
    ignore_id: int,
    padding: Literal["left", "right"] = "left",
) -> BatchCollateOutput:
    """Pads samples of any lengths, with and without pictures, to one batch.

    Args:
        samples: at least one.
        pad_id: fills up token ids.
        ignore_id: fills up labels.
        padding: on which side; left for generation.

    Raises:
        InputError: no samples, or another side.
    """
    if not samples or padding not in ("left", "right"):
        raise InputError(
            f"A batch needs samples and padding 'left' or 'right', got {len(samples)} samples "
            f"and {padding!r}."
        )

    def padded(name: str, fill: float) -> torch.Tensor:
        rows = [sample[name] for sample in samples]
        return pad_sequence(rows, batch_first=True, padding_value=fill, padding_side=padding)

    lengths = [len(sample) for sample in samples]
    ones = [torch.ones(length, dtype=torch.bool) for length in lengths]
    return BatchCollateOutput(
        sft_format=[sample.sft_format for sample in samples],
        input_ids=padded("input_ids", pad_id),
        labels=padded("target_ids", ignore_id),
        images=_filled(samples, lambda sample: sample.images),
        attention_mask=pad_sequence(ones, batch_first=True, padding_side=padding),
        images_seq_mask=padded("images_seq_mask", 0).bool(),
        images_spatial_crop=_filled(samples, lambda sample: sample.images_spatial_crop),
        seq_lens=lengths,
    )


def _filled(
    samples: Sequence[VLChatProcessorOutput],
    part: Callable[[VLChatProcessorOutput], torch.Tensor],
) -> torch.Tensor:
    """Parts of all samples, filled up with zeros behind to one length."""
    return pad_sequence([part(sample) for sample in samples], batch_first=True)


def tiles_of_all(
    images: torch.Tensor | None, crops: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Takes the fillings out of a batch.

    Args:
        images: `[b, n, 3, s, s]`.
        crops: `[b, m, 2]`.

    Returns:
        The tiles of all pictures in order, `[N, 3, s, s]`, and their grids `[M, 2]`; None if
        there is no picture.
    """
    if images is None or crops is None or not crops.any():
        return None
    real = crops.prod(dim=-1) > 0
    counts = ((crops.prod(dim=-1) + 1) * real).sum(dim=-1)
    tiles = [row[:count] for row, count in zip(images, counts.tolist(), strict=True)]
    return torch.cat(tiles), crops[real]

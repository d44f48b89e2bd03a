"""Stage `vision`: teach the encoder to see, before there is a language model behind it.

The released models start from SigLIP, trained on billions of pictures. The embedded model starts
from nothing, and learns fastest when the renderer tells for every patch what it shows: which
characters, which shape, which colour, and where the edges of the thing are that covers it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from vl2.model.vision import DeepseekVLV2VisionModel

EDGE_BINS = 48
"""Places along a tile's side between which the position of an edge is told."""

CELLS = 4
"""Quarters of a patch, each of which may hold another character."""

LETTER_WEIGHT = 3.0
"""Weight of the characters' loss: they are learnt last and matter most for reading."""

_EMPTY_WEIGHT = 0.2
"""How much a patch with nothing in it counts; most patches are empty, and they are easy."""


@dataclass(frozen=True, slots=True, eq=False)
class DenseTargets:
    """What every one of the `p` patches of a picture's `n` tiles shows.

    Attributes:
        characters: `[n, p, 4]`, class of the character at each quarter of a patch, 0 for none,
            -1 where it does not count.
        shape: `[n, p]`, class of the thing at the patch's centre, 0 for none.
        colour: `[n, p]`, class of that thing's colour, 0 for none.
        box: float32 `[n, p, 4]`, edges of that thing in fractions 0..1, NaN without one.
    """

    characters: NDArray[np.int16]
    shape: NDArray[np.int8]
    colour: NDArray[np.int8]
    box: NDArray[np.float32]

    def of_tiles(self, tiles: Sequence[int]) -> DenseTargets:
        """The targets of some of the tiles, in the given order."""
        return DenseTargets(*(getattr(self, name)[tiles] for name in TARGETS))

    @classmethod
    def joined(cls, targets: Sequence[DenseTargets]) -> DenseTargets:
        """The targets of the tiles of several pictures, at least one, in their order."""
        parts = ([getattr(target, name) for target in targets] for name in TARGETS)
        return cls(*map(np.concatenate, parts))


TARGETS = ("characters", "shape", "colour", "box")


@dataclass(frozen=True, slots=True, eq=False)
class DensePicture:
    """Tiles `[n, 3, s, s]` in float32 with what their patches show."""

    pixel_values: NDArray[np.float32]
    targets: DenseTargets


@dataclass(frozen=True, slots=True)
class DenseNames:
    """The words of the classes of the dense labels, from class 1 on; class 0 is "nothing".

    Attributes:
        characters: one string of all characters.
        shapes: words of the shapes; the class after the last of them is text.
        colours: words of the colours.
    """

    characters: str
    shapes: tuple[str, ...]
    colours: tuple[str, ...]


class DenseHeads(nn.Module):
    """One linear head on the patches' features for each kind of dense label."""

    def __init__(self, width: int, names: DenseNames) -> None:
        super().__init__()
        self.character_classes = 1 + len(names.characters)
        self.characters = nn.Linear(width, CELLS * self.character_classes)
        self.shape = nn.Linear(width, 2 + len(names.shapes))
        self.colour = nn.Linear(width, 1 + len(names.colours))
        self.box = nn.Linear(width, 4 * EDGE_BINS)

    def forward(
        self,
        features: torch.Tensor,
        characters: torch.Tensor,
        shape: torch.Tensor,
        colour: torch.Tensor,
        box: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """Weighted sum of the four losses, and how right each kind is where something is.

        Args:
            features: `[n, p, c]`, of the tiles of all pictures of the batch.
            characters: `[n, p, 4]`.
            shape: `[n, p]`.
            colour: `[n, p]`.
            box: `[n, p, 4]`, NaN where there is nothing.
        """
        patches = features.flatten(0, 1)
        letters = self.characters(patches).view(-1, self.character_classes)
        letter_loss, letter_accuracy = class_loss(letters, characters.reshape(-1))
        shape_loss, shape_accuracy = class_loss(self.shape(patches), shape.reshape(-1))
        colour_loss, colour_accuracy = class_loss(self.colour(patches), colour.reshape(-1))
        box_loss, box_error = edge_loss(self.box(patches).view(-1, 4, EDGE_BINS), box)
        return {
            "loss": LETTER_WEIGHT * letter_loss + shape_loss + colour_loss + box_loss,
            "characters_loss": letter_loss,
            "edges_loss": box_loss,
            "characters_right": letter_accuracy,
            "shapes_right": shape_accuracy,
            "colours_right": colour_accuracy,
            "edge_error": box_error,
        }


class VisionPretraining(nn.Module):
    """The vision encoder alone, with dense labels."""

    def __init__(self, encoder: DeepseekVLV2VisionModel, width: int, names: DenseNames) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = DenseHeads(width, names)

    def forward(
        self, pixel_values: torch.Tensor, dense: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """The loss on tiles `[n, 3, s, s]` with their targets."""
        return self.heads(self.encoder(pixel_values), **dense)


def class_loss(logits: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy with empty places weighted down, and accuracy where something is."""
    target = target.long()
    something = target > 0
    loss = F.cross_entropy(logits.float(), target, reduction="none", ignore_index=-1)
    weight = torch.where(something, 1.0, _EMPTY_WEIGHT) * (target >= 0)
    right = (logits.argmax(dim=-1) == target) & something
    return (loss * weight).sum() / weight.sum().clamp(min=1), right.sum() / something.sum().clamp(
        min=1
    )


def edge_loss(logits: torch.Tensor, box: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy between the two bins next to each edge, and the mean error of the edges.

    Args:
        logits: `[n * p, 4, bins]`.
        box: `[n, p, 4]` in fractions, NaN where there is nothing.
    """
    box = box.reshape(-1, 4)
    there = ~box.isnan().any(dim=-1)
    place = box[there].clamp(0, 1) * (EDGE_BINS - 1)
    low = place.floor().long().clamp(max=EDGE_BINS - 2)
    upper_share = place - low
    scores = logits[there].float().log_softmax(dim=-1)
    at_low = scores.gather(-1, low[..., None]).squeeze(-1)
    at_high = scores.gather(-1, low[..., None] + 1).squeeze(-1)
    loss = -(at_low * (1 - upper_share) + at_high * upper_share)
    bins = torch.arange(EDGE_BINS, device=logits.device, dtype=torch.float32)
    error = ((scores.exp() * bins).sum(dim=-1) - place).abs() / (EDGE_BINS - 1)
    count = max(1, loss.numel())
    return loss.sum() / count, error.sum() / count


def stack_targets(targets: Sequence[DenseTargets]) -> dict[str, torch.Tensor]:
    """The targets of several pictures as one batch of tensors."""
    return {
        name: torch.from_numpy(np.concatenate([getattr(target, name) for target in targets]))
        for name in TARGETS
    }


def collate_dense(pictures: Sequence[DensePicture]) -> dict[str, Any]:
    """The tiles of several pictures and their targets as one batch."""
    tiles = np.concatenate([picture.pixel_values for picture in pictures])
    return {
        "pixel_values": torch.from_numpy(tiles),
        "dense": stack_targets([picture.targets for picture in pictures]),
    }

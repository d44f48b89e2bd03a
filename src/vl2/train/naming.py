"""Image rows that speak the language model's words, for a start from nothing.

A language model that meets an encoder for the first time does not look at its pictures for many
thousands of them: what the rows mean and which of them a question is about must be found together.
Where the renderer tells what a row shows, each row also learns to lie near the embeddings of those
words; with queries that begin equal to keys (`vl2.train.initial`) the word "star" in a question
then finds the rows that show one. This is alignment (paper section 4, stage 1) with labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from vl2.model.modeling import DeepseekVLV2ForCausalLM
from vl2.train.vision import CELLS, EDGE_BINS, class_loss, edge_loss

_ROW_SIZE = 0.7
_SHARPNESS = 12.0
_SIZE_WEIGHT = 0.02
"""Rows much larger than word embeddings would drown what the layers add to them."""


@dataclass(frozen=True, slots=True)
class NameTokens:
    """Token of each class's word, in the order of the dense labels from class 1 on."""

    shape: tuple[int, ...]
    colour: tuple[int, ...]


class NamingRows(nn.Module):
    """The whole model, whose image rows also learn to tell what they show.

    Shape and colour are told in words: a row lies near their embeddings. The characters and the
    edges of boxes have no words yet; linear heads, dropped after training, ask the rows for them,
    so that the adaptor keeps what reading and pointing need.

    Args:
        model: the model.
        names: tokens of the words of shapes and colours.
        characters: how many kinds of characters there are.
        weight: of the rows' losses beside the answers'.
        parts: forward passes of a step on all devices together. The answers' loss comes divided by
            the tokens of all of them, the rows' losses by those of one.
    """

    def __init__(
        self,
        model: DeepseekVLV2ForCausalLM,
        names: NameTokens,
        characters: int,
        weight: float,
        parts: int = 1,
    ) -> None:
        super().__init__()
        self.model = model
        self.names = names
        self.weight = weight / parts
        self.parts = parts
        self.character_classes = 1 + characters
        width = model.model.projector.config.n_embed
        self.patches = model.model.projector.config.downsample_ratio**2
        self.heads = nn.ModuleDict(
            {
                "characters": nn.Linear(width, self.patches * CELLS * self.character_classes),
                "box": nn.Linear(width, self.patches * 4 * EDGE_BINS),
            }
        )

    def forward(
        self,
        dense: dict[str, torch.Tensor] | None = None,
        **inputs: Any,  # noqa: ANN401 - of the model
    ) -> dict[str, torch.Tensor]:
        """The loss of the answers plus the weighted losses of the rows; the parts are told apart.

        Args:
            dense: labels of the patches of all tiles, as `DenseHeads.forward` takes them; None
                for a batch without a picture, where only the answers' loss is left.
            inputs: of the model.
        """
        seen: list[torch.Tensor] = []
        projector = self.model.model.projector
        watch = projector.register_forward_hook(lambda _, __, rows: seen.append(rows))
        try:
            answers = self.model(**inputs)
        finally:
            watch.remove()
        learnt = {
            "answer_loss": self.parts * answers.loss.detach(),
            "expert_load": answers.expert_load,
            "aux_loss": answers.aux_loss,
        }
        if dense is None:
            return {"loss": answers.loss, **learnt}
        rows = torch.cat(seen)
        told = self._tell(rows, dense)
        size = rows.float().pow(2).mean().sqrt()
        too_large = (size - _ROW_SIZE).clamp(min=0) ** 2 / self.parts
        return {
            "loss": answers.loss + self.weight * told.pop("loss") + _SIZE_WEIGHT * too_large,
            **learnt,
            "row_size": size.detach(),
            **told,
        }

    def _tell(self, rows: torch.Tensor, dense: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The losses of what rows `[n, r, d]` tell, summed, and how right they are."""
        shape_loss, shapes = self._name(rows.float(), dense["shape"], self.names.shape)
        colour_loss, colours = self._name(rows.float(), dense["colour"], self.names.colour)
        letters = self.heads["characters"](rows).view(-1, self.character_classes)
        wanted = self._by_row(dense["characters"], rows.shape[1]).reshape(-1)
        letter_loss, letters_right = class_loss(letters, wanted)
        edges = self.heads["box"](rows).view(-1, 4, EDGE_BINS)
        edges_loss, edge_error = edge_loss(edges, self._by_row(dense["box"], rows.shape[1]))
        return {
            "loss": shape_loss + colour_loss + letter_loss + edges_loss,
            "shapes_named": shapes,
            "colours_named": colours,
            "characters_right": letters_right,
            "edge_error": edge_error,
        }

    def _by_row(self, labels: torch.Tensor, rows: int) -> torch.Tensor:
        """Labels of patches `[n, p, 4]`, sorted by the row that each patch is folded into.

        Patches beyond the tile's edge, which the last rows of an odd side hold, cannot occur:
        the embedded model's side is even.
        """
        side, fold = round(rows**0.5), round(self.patches**0.5)
        grid = labels.view(-1, side, fold, side, fold, 4).transpose(2, 3)
        return grid.reshape(-1, rows, self.patches, 4)

    def _name(
        self, rows: torch.Tensor, classes: torch.Tensor, tokens: tuple[int, ...]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss and accuracy of the nearest word among `tokens`, where a row shows one of them.

        Nearest by angle: what decides how much a word attends to a row is not how far the row lies
        from other words, but how large a share of it points towards this one.
        """
        target = classes_of_rows(classes, rows.shape[1]).flatten()
        known = (target > 0) & (target <= len(tokens))
        words = self.model.model.language_model.embed_tokens.weight[list(tokens)].float()
        cosines = F.normalize(rows.flatten(0, 1)[known], dim=-1) @ F.normalize(words, dim=-1).t()
        wanted = target[known] - 1
        count = max(1, int(known.sum()))
        loss = F.cross_entropy(_SHARPNESS * cosines, wanted, reduction="sum") / count
        return loss, (cosines.argmax(dim=-1) == wanted).sum() / count

    def correct_router_biases(self, expert_load: torch.Tensor, step: float) -> None:
        """As the model's own."""
        self.model.correct_router_biases(expert_load, step)


def classes_of_rows(classes: torch.Tensor, rows: int) -> torch.Tensor:
    """The highest class among the patches that the projector joins into each row.

    Args:
        classes: of the patches of each tile, row by row, `[n, p]`.
        rows: image rows of a tile.

    Returns:
        `[n, rows]`, int64.
    """
    side = round(rows**0.5)
    patches = round(classes.shape[1] ** 0.5)
    grid = classes.long().view(-1, 1, patches, patches).float()
    return F.adaptive_max_pool2d(grid, side).flatten(1).long()

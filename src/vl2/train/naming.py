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

_ROW_SIZE = 0.7
_SIZE_WEIGHT = 0.02
"""Rows much larger than word embeddings would drown what the layers add to them."""


@dataclass(frozen=True, slots=True)
class NameTokens:
    """Token of each class's word, in the order of the dense labels from class 1 on."""

    shape: tuple[int, ...]
    colour: tuple[int, ...]


class NamingRows(nn.Module):
    """The whole model, whose image rows also learn to name the shape and colour they show."""

    def __init__(self, model: DeepseekVLV2ForCausalLM, names: NameTokens, weight: float) -> None:
        super().__init__()
        self.model = model
        self.names = names
        self.weight = weight

    def forward(self, dense: dict[str, torch.Tensor], **inputs: Any) -> dict[str, torch.Tensor]:  # noqa: ANN401
        """The loss of the answers plus the weighted losses of the names; the parts are told apart.

        Args:
            dense: `shape` and `colour` classes `[n, p]` of the patches of all tiles.
            inputs: of the model.
        """
        seen: list[torch.Tensor] = []
        projector = self.model.model.projector
        watch = projector.register_forward_hook(lambda _, __, rows: seen.append(rows))
        try:
            answers = self.model(**inputs)
        finally:
            watch.remove()
        rows = torch.cat(seen).float()
        size = rows.pow(2).mean().sqrt()
        shape_loss, shapes_named = self._name(rows, dense["shape"], self.names.shape)
        colour_loss, colours_named = self._name(rows, dense["colour"], self.names.colour)
        too_large = (size - _ROW_SIZE).clamp(min=0) ** 2
        return {
            "loss": answers.loss
            + self.weight * (shape_loss + colour_loss)
            + _SIZE_WEIGHT * too_large,
            "answer_loss": answers.loss.detach(),
            "expert_load": answers.expert_load,
            "aux_loss": answers.aux_loss,
            "row_size": size.detach(),
            "shapes_named": shapes_named,
            "colours_named": colours_named,
        }

    def _name(
        self, rows: torch.Tensor, classes: torch.Tensor, tokens: tuple[int, ...]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss and accuracy of the nearest word among `tokens`, where a row shows one of them."""
        target = classes_of_rows(classes, rows.shape[1]).flatten()
        known = (target > 0) & (target <= len(tokens))
        words = self.model.model.language_model.embed_tokens.weight[list(tokens)].float()
        logits = rows.flatten(0, 1)[known] @ words.t()
        wanted = target[known] - 1
        count = max(1, int(known.sum()))
        loss = F.cross_entropy(logits, wanted, reduction="sum") / count
        return loss, (logits.argmax(dim=-1) == wanted).sum() / count

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

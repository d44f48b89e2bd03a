"""What training adds to the forward pass: which positions count, and the balance of the experts."""

import torch

from vl2.model.configuration import DeepseekVLV2LanguageConfig
from vl2.ops.balance import expert_load, sequence_balance_loss

IGNORED = -100


def next_labels(labels: torch.Tensor) -> torch.Tensor:
    """The label that each position predicts: `labels` `[b, t]` moved one to the left."""
    return torch.nn.functional.pad(labels[:, 1:], (0, 1), value=IGNORED)


def supervised_positions(labels: torch.Tensor) -> torch.Tensor:
    """True where a position predicts a label that counts, `[b, t]`.

    As `logits_to_keep` this spares the logits of all other positions without changing the loss.
    """
    return next_labels(labels) != IGNORED


def keep_positions(hidden: torch.Tensor, keep: int | torch.Tensor) -> torch.Tensor:
    """Selects the positions of `[b, t, d]` whose logits are wanted.

    Args:
        hidden: `[b, t, d]`.
        keep: the last `keep` positions (0 for all); or positions `[n]` or `[b, n]`; or a boolean
            mask `[b, t]`, which gives `[n, d]`.
    """
    if isinstance(keep, int):
        return hidden[:, -keep:] if keep else hidden
    if keep.dtype == torch.bool or keep.ndim == 1:
        return hidden[keep] if keep.ndim == 2 else hidden[:, keep]
    return hidden.gather(1, keep[..., None].expand(-1, -1, hidden.shape[-1]))


def router_balance(
    logits: tuple[torch.Tensor, ...],
    indices: tuple[torch.Tensor, ...],
    mask: torch.Tensor | None,
    shape: tuple[int, int],
    config: DeepseekVLV2LanguageConfig,
    documents: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Balance loss and load of all mixture layers.

    Args:
        logits: per layer `[b * t, e]`.
        indices: per layer `[b * t, k]`.
        mask: true at real tokens, `[b, t]`; None if all are.
        shape: `(b, t)`.
        config: of the language model; `seq_aux` false balances over the whole batch.
        documents: of packed rows, `[b, t]`, as `document_places` reads them; each is a sequence
            of its own. Stands in for the mask.

    Returns:
        The mean loss over the layers (a scalar) and the load `[layers, e]`.
    """
    if documents is not None:
        places, mask = document_places(documents)
        shape = (places.shape[0], places.shape[1])
        logits = tuple(layer[places.flatten()] for layer in logits)
        indices = tuple(layer[places.flatten()] for layer in indices)
    if not config.seq_aux:  # balance over the batch as if it were one sequence
        shape = (1, shape[0] * shape[1])
        mask = None if mask is None else mask.reshape(shape)
    losses, loads = [], []
    for layer_logits, layer_indices in zip(logits, indices, strict=True):
        chosen = layer_indices.view(*shape, -1)
        scores = layer_logits.view(*shape, -1)
        losses.append(sequence_balance_loss(scores, chosen, mask, config.scoring_func))
        loads.append(expert_load(chosen, scores.shape[-1], mask).sum(dim=0))
    return torch.stack(losses).mean(), torch.stack(loads)


def document_places(documents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Where the tokens of each packed document lie in the flattened batch.

    Args:
        documents: number of each token's document, `[b, t]`: 1, 2, ... through all rows in reading
            order, 0 at padding.

    Returns:
        Places in `b * t`, one row per document, `[documents, longest]`, and which of them are real.
    """
    flat = documents.flatten()
    lengths = torch.bincount(flat, minlength=2)[1:]
    longest = max(1, int(lengths.max()))
    real = torch.arange(longest, device=flat.device) < lengths[:, None]
    places = torch.zeros(real.shape, dtype=torch.long, device=flat.device)
    places[real] = flat.nonzero().flatten()
    return places, real


def document_positions(documents: torch.Tensor) -> torch.Tensor:
    """Positions `[b, t]` that begin anew with every document, and with the padding, of `[b, t]`."""
    place = torch.arange(documents.shape[1], device=documents.device).expand_as(documents)
    begins = torch.ones_like(documents, dtype=torch.bool)
    begins[:, 1:] = documents[:, 1:] != documents[:, :-1]
    return place - torch.where(begins, place, 0).cummax(dim=1).values

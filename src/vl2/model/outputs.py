"""What the models return."""

from dataclasses import dataclass

import torch
from transformers import Cache
from transformers.utils import ModelOutput


@dataclass
class DeepseekVLV2ModelOutput(ModelOutput):
    """Output of the language model and of the model without a head.

    Attributes:
        last_hidden_state: `[b, t, d]`.
        past_key_values: the cache.
        hidden_states: input and output of every layer, on request.
        attentions: weights `[b, h, t, s]` of every layer's attention, on request.
        router_logits: per mixture layer float32 `[b * t, e]`, on request.
        router_indices: per mixture layer the chosen experts `[b * t, k]`, with the logits.
        image_hidden_states: rows of all images, `[rows, d]`.
    """

    last_hidden_state: torch.Tensor | None = None
    past_key_values: Cache | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
    router_logits: tuple[torch.Tensor, ...] | None = None
    router_indices: tuple[torch.Tensor, ...] | None = None
    image_hidden_states: torch.Tensor | None = None


@dataclass
class DeepseekVLV2CausalLMOutput(ModelOutput):
    """Output of the model with its language head.

    Attributes:
        loss: cross-entropy, with the weighted balance loss if router logits were asked for.
        aux_loss: the balance loss alone, before its weight, mean over the mixture layers.
        expert_load: tokens per expert `[mixture layers, e]`, padding left out; with router logits.
        logits: `[b, t, v]`, or what `logits_to_keep` asked for.
        past_key_values: the cache.
        hidden_states: as in `DeepseekVLV2ModelOutput`.
        attentions: as in `DeepseekVLV2ModelOutput`.
        router_logits: as in `DeepseekVLV2ModelOutput`.
        image_hidden_states: rows of all images, `[rows, d]`.
    """

    loss: torch.Tensor | None = None
    aux_loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    past_key_values: Cache | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
    router_logits: tuple[torch.Tensor, ...] | None = None
    expert_load: torch.Tensor | None = None
    image_hidden_states: torch.Tensor | None = None

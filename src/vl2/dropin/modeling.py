"""`deepseek_vl2.models.modeling_deepseek_vl_v2`: the model with the original's calls."""

from __future__ import annotations

import copy
import functools
import warnings
from typing import Any

import torch
from torch import nn
from transformers import Cache, GenerationConfig

from vl2.dropin.batch import tiles_of_all
from vl2.errors import InputError
from vl2.model import modeling
from vl2.model.cache import make_cache
from vl2.model.configuration import DeepseekVLV2Config
from vl2.model.images import place_rows

__all__ = ["DeepseekVLV2Config", "DeepseekVLV2ForCausalLM"]


class NoGpuWarning(UserWarning):
    """A script asked for a GPU on a machine that has none."""


class DeepseekVLV2ForCausalLM(modeling.DeepseekVLV2ForCausalLM):
    """The model as scripts for the original call it. Letters as in `vl2.dropin.batch`."""

    def __init__(self, config: DeepseekVLV2Config) -> None:
        super().__init__(config)
        self.register_forward_pre_hook(_with_new_names, with_kwargs=True)

    @property
    def language(self) -> LanguageModel:
        """The language model by itself."""
        return LanguageModel(self)

    @property
    def language_model(self) -> LanguageModel:
        """The same by the name that the model card uses."""
        return LanguageModel(self)

    @property
    def vision(self) -> nn.Module:
        """The vision encoder."""
        return self.model.vision_tower

    @property
    def projector(self) -> nn.Module:
        """The projector."""
        return self.model.projector

    def get_decoder(self) -> nn.Module:  # transformers would take `language_model` for a module
        """The stack of layers."""
        return self.model.language_model

    def set_decoder(self, decoder: nn.Module) -> None:
        """Replaces the stack of layers."""
        self.model.language_model = decoder

    def get_input_embeddings(self) -> nn.Module:
        """The token embedding."""
        return self.model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replaces the token embedding."""
        self.model.set_input_embeddings(value)

    def cuda(self, device: Any = None) -> DeepseekVLV2ForCausalLM:  # noqa: ANN401 - as torch's
        """Moves the model to a GPU; where there is none, it stays, and a warning says so."""
        if torch.cuda.is_available():
            return super().cuda(device)
        warnings.warn(
            f"There is no CUDA GPU on this machine: the model stays on {self.device}.",
            NoGpuWarning,
            stacklevel=2,
        )
        return self

    def prepare_inputs_embeds(
        self,
        input_ids: torch.Tensor,
        images: torch.Tensor | None = None,
        images_seq_mask: torch.Tensor | None = None,
        images_spatial_crop: torch.Tensor | None = None,
        **_: Any,  # noqa: ANN401 - scripts hand in the whole batch
    ) -> torch.Tensor:
        """Embeds tokens and pictures.

        Args:
            input_ids: `[b, t]`.
            images: `[b, n, 3, s, s]`.
            images_seq_mask: the places of pictures, `[b, t]`, of any type.
            images_spatial_crop: `[b, m, 2]`.

        Returns:
            `[b, t, d]`.

        Raises:
            InputError: pictures and their places differ in number.
        """
        embeddings = self.get_input_embeddings()(input_ids)
        found = tiles_of_all(images, images_spatial_crop)
        if found is None:
            return embeddings
        encoded = self.model.encode_images(*found)
        slots = self.model.image_slots(input_ids) if images_seq_mask is None else images_seq_mask
        return place_rows(embeddings, slots.bool(), torch.cat(list(encoded["pooler_output"])))

    @torch.no_grad()
    def incremental_prefilling(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        images: torch.Tensor | None = None,
        images_seq_mask: torch.Tensor | None = None,
        images_spatial_crop: torch.Tensor | None = None,
        chunk_size: int = 1024,
    ) -> tuple[torch.Tensor, Cache]:
        """Runs all tokens but the last through the language model, some at a time.

        Args:
            input_ids: `[b, t]`.
            attention_mask: `[b, t]`.
            inputs_embeds: `[b, t, d]` instead of tokens and pictures.
            images: `[b, n, 3, s, s]`.
            images_seq_mask: `[b, t]`.
            images_spatial_crop: `[b, m, 2]`.
            chunk_size: tokens at a time.

        Returns:
            The embeddings `[b, t, d]`, and the cache of `t - 1` tokens for `generate`.

        Raises:
            InputError: no tokens, or a chunk of none.
        """
        if chunk_size < 1:
            raise InputError(f"chunk_size must be at least 1, got {chunk_size}.")
        if inputs_embeds is None:
            if input_ids is None:
                raise InputError("Give input_ids or inputs_embeds.")
            inputs_embeds = self.prepare_inputs_embeds(
                input_ids, images, images_seq_mask, images_spatial_crop
            )
        if attention_mask is None:
            attention_mask = torch.ones_like(inputs_embeds[..., 0], dtype=torch.bool)
        attention_mask = attention_mask.to(inputs_embeds.device)
        cache = make_cache(self.config.language_config)
        last = inputs_embeds.shape[1] - 1
        for start in range(0, last, chunk_size):
            end = min(start + chunk_size, last)
            self.model.language_model(
                inputs_embeds=inputs_embeds[:, start:end],
                attention_mask=attention_mask[:, :end],
                past_key_values=cache,
                use_cache=True,
            )
        return inputs_embeds, cache

    def generate(  # pyrefly: ignore[bad-override]
        self,
        inputs: torch.Tensor | None = None,
        generation_config: GenerationConfig | None = None,
        *,
        inputs_embeds: torch.Tensor | None = None,
        images: torch.Tensor | None = None,
        images_seq_mask: torch.Tensor | None = None,
        images_spatial_crop: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Generates as `vl2`'s model does, from whatever has been prepared.

        A cache (which stays as it is and can be used again) goes before embeddings, embeddings go
        before pictures. Given token ids stand before the answer in what is returned.

        Args:
            inputs: token ids `[b, t]`; or as `input_ids`.
            generation_config: settings.
            inputs_embeds: `[b, t, d]`, from `prepare_inputs_embeds`.
            images: `[b, n, 3, s, s]`.
            images_seq_mask: not needed.
            images_spatial_crop: `[b, m, 2]`.
            past_key_values: from `incremental_prefilling`.
            **kwargs: what transformers' `generate` takes.
        """
        if past_key_values is not None:
            kwargs["past_key_values"] = copy.deepcopy(past_key_values)
        elif inputs_embeds is not None:
            kwargs["inputs_embeds"] = inputs_embeds
        else:
            _name_anew(kwargs, images, images_spatial_crop)
        return super().generate(inputs, generation_config, **kwargs)


class LanguageModel:
    """What scripts use of `model.language`; the weights stay where they are."""

    def __init__(self, whole: DeepseekVLV2ForCausalLM) -> None:
        self._whole = whole
        self.model = whole.model.language_model
        self.lm_head = whole.lm_head
        self.config = whole.config.language_config
        self.generation_config = whole.generation_config

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._whole.device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights."""
        return self._whole.dtype

    def get_input_embeddings(self) -> nn.Module:
        """The token embedding."""
        return self.model.embed_tokens

    # Trainers put these functions in the place of the whole model's, so they must not look them up
    # there.
    @functools.wraps(DeepseekVLV2ForCausalLM.generate)
    def generate(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """As `DeepseekVLV2ForCausalLM.generate`; from embeddings it returns only what is new."""
        return type(self._whole).generate(self._whole, *args, **kwargs)

    @functools.wraps(DeepseekVLV2ForCausalLM.forward)
    def forward(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Tokens or embeddings in, logits and loss out."""
        return type(self._whole).forward(self._whole, *args, **kwargs)

    __call__ = forward

    def gradient_checkpointing_enable(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """As the whole model's."""
        type(self._whole).gradient_checkpointing_enable(self._whole, *args, **kwargs)


def _name_anew(
    kwargs: dict[str, Any], images: torch.Tensor | None, crops: torch.Tensor | None
) -> None:
    """Hands pictures in the original's shapes to our model, by its names."""
    found = tiles_of_all(images, crops)
    if found is not None:
        kwargs["pixel_values"], kwargs["images_spatial_crop"] = found


def _with_new_names(
    module: nn.Module,  # noqa: ARG001 - torch's signature
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Reads a forward pass in the original's names, before it is run."""
    if "images" not in kwargs:
        return None
    modern = dict(kwargs)
    modern.pop("images_seq_mask", None)
    _name_anew(modern, modern.pop("images"), modern.pop("images_spatial_crop", None))
    return args, modern

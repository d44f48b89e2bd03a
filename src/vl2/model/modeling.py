"""DeepSeek-VL2 as a whole: images and tokens in, hidden states or logits out."""

import os
from typing import Any

import torch
from torch import nn
from transformers import (
    Cache,
    GenerationConfig,
    GenerationMixin,
    LogitsProcessor,
    LogitsProcessorList,
)
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils.generic import can_return_tuple

from vl2.errors import InputError
from vl2.model.configuration import DeepseekVLV2Config
from vl2.model.image_token import find_image_token_id
from vl2.model.images import (
    encode_tiles,
    others_may_have_pictures,
    place_rows,
    refuse_slots,
    rows_by_position,
    rows_per_image,
)
from vl2.model.language import DeepseekVLV2LanguageModel, DeepseekVLV2PreTrainedModel
from vl2.model.loss import (
    IGNORED,
    document_positions,
    keep_positions,
    next_labels,
    router_balance,
    supervised_positions,
)
from vl2.model.outputs import DeepseekVLV2CausalLMOutput, DeepseekVLV2ModelOutput
from vl2.model.projector import DeepseekVLV2Projector
from vl2.model.vision import DeepseekVLV2VisionModel
from vl2.ops.balance import corrected_bias

_HUB_KEYS = ("cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token")


class DeepseekVLV2Model(DeepseekVLV2PreTrainedModel):
    """Vision tower, projector and language model, without a head."""

    def __init__(self, config: DeepseekVLV2Config) -> None:
        super().__init__(config)
        self.vision_tower = DeepseekVLV2VisionModel(config.vision_config)
        self.projector = DeepseekVLV2Projector(config.projector_config)
        self.language_model = DeepseekVLV2LanguageModel(config.language_config)
        width = config.language_config.hidden_size
        self.image_newline = nn.Parameter(torch.empty(width))
        self.view_seperator = nn.Parameter(torch.empty(width))  # [sic], as in the checkpoints
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """The token embedding."""
        return self.language_model.embed_tokens

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replaces the token embedding."""
        self.language_model.embed_tokens = value

    @can_return_tuple
    def get_image_features(
        self,
        pixel_values: torch.Tensor,
        images_spatial_crop: torch.Tensor,
        **kwargs: Any,  # noqa: ANN401
    ) -> BaseModelOutputWithPooling:
        """Encodes images.

        Args:
            pixel_values: tiles of all images `[n, 3, s, s]`.
            images_spatial_crop: columns and rows of local tiles per image `[images, 2]`.
            **kwargs: ignored; generation passes all that it has.

        Returns:
            `pooler_output` holds per image its rows `[r, d]`; `last_hidden_state` the projected
            tiles `[n, q * q, d]`.
        """
        tiles = encode_tiles(self.vision_tower, self.projector, pixel_values)
        rows = rows_per_image(tiles, images_spatial_crop, self.image_newline, self.view_seperator)
        return BaseModelOutputWithPooling(
            last_hidden_state=tiles,
            pooler_output=rows,  # pyrefly: ignore[bad-argument-type]
        )

    def encode_images(
        self, pixel_values: torch.Tensor, images_spatial_crop: torch.Tensor | None
    ) -> BaseModelOutputWithPooling:
        """As `get_image_features`, with a clear error where the grids are missing."""
        if images_spatial_crop is None:
            raise InputError("pixel_values needs images_spatial_crop, the grid of each image.")
        return self.get_image_features(pixel_values, images_spatial_crop, return_dict=True)

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        images_spatial_crop: torch.Tensor | None = None,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> DeepseekVLV2ModelOutput:
        """Runs tokens and images; arguments as in `DeepseekVLV2ForCausalLM.forward`."""
        if (input_ids is None) == (inputs_embeds is None):
            raise InputError("Give either input_ids or inputs_embeds, not both and not none.")
        encoded = (mm_encoder_outputs or {}).get("image")
        if encoded is None and pixel_values is not None and pixel_values.shape[0] > 0:
            encoded = self.encode_images(pixel_values, images_spatial_crop)
        blank = None
        if encoded is None and self.training and others_may_have_pictures():
            blank = self._blank_picture()
        if inputs_embeds is None:
            inputs_embeds = self.get_input_embeddings()(input_ids)
        rows = None
        if encoded is not None:
            rows = torch.cat(list(encoded["pooler_output"]))
            inputs_embeds = place_rows(inputs_embeds, self.image_slots(input_ids), rows)
        elif input_ids is not None and self._starts(input_ids, past_key_values):
            refuse_slots(self.image_slots(input_ids))
        for name in ("output_attentions", "output_hidden_states"):
            if getattr(self.config, name):
                kwargs.setdefault(name, getattr(self.config, name))
        if blank is not None:
            inputs_embeds = inputs_embeds + 0.0 * blank.sum().to(inputs_embeds.dtype)
        outputs = self.language_model(
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **kwargs,
        )
        outputs.image_hidden_states = rows
        return outputs

    def image_slots(self, input_ids: torch.Tensor | None) -> torch.Tensor:
        """True at `<image>` tokens of `[b, t]`."""
        if input_ids is None:
            raise InputError("Images need input_ids, to know where they belong.")
        if self.config.image_token_id is None:
            raise InputError(
                "config.image_token_id is not set: set it to the id of <image> in the tokenizer."
            )
        return input_ids == self.config.image_token_id

    def _blank_picture(self) -> torch.Tensor:
        """Rows of one blank picture, so that this rank runs the encoder when the others do."""
        size = self.config.vision_config.image_size
        pixels = self.image_newline.new_zeros(2, 3, size, size)
        encoded = self.encode_images(pixels, torch.ones(1, 2, dtype=torch.long))
        return torch.cat(list(encoded.pooler_output))  # pyrefly: ignore[bad-argument-type]

    def _starts(self, input_ids: torch.Tensor, cache: Cache | None) -> bool:
        # Later steps may hold <image> tokens without images: speculative decoding proposes them. A
        # compiled forward pass cannot look.
        if torch.compiler.is_compiling() or input_ids.shape[1] == 1:
            return False
        new = cache is None or cache.get_seq_length() == 0
        return new and self.config.image_token_id is not None

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, DeepseekVLV2Model):
            std = module.image_newline.shape[-1] ** -0.5
            init.normal_(module.image_newline, std=std)
            init.normal_(module.view_seperator, std=std)


class DeepseekVLV2ForCausalLM(DeepseekVLV2PreTrainedModel, GenerationMixin):
    """The model with its language head; what checkpoints hold."""

    _tied_weights_keys = {"lm_head.weight": "model.language_model.embed_tokens.weight"}
    _tp_plan = {"lm_head": "colwise_gather_output"}
    _fsdp_plan = {"lm_head": "keep_full_weight"}
    _pp_plan = {"lm_head": (["hidden_states"], ["logits"])}  # pyrefly: ignore[bad-assignment]

    def __init__(self, config: DeepseekVLV2Config) -> None:
        super().__init__(config)
        language = config.language_config
        self.model = DeepseekVLV2Model(config)
        self.lm_head = nn.Linear(language.hidden_size, language.vocab_size, bias=False)
        self.post_init()

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str] | None,
        *args: Any,  # noqa: ANN401
        **kwargs: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """As `PreTrainedModel.from_pretrained`, and supplies what the released files leave out.

        The id of `<image>` comes from the tokenizer; where generation ends from `language_config`.
        """
        loaded = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        config, generation = model.config, model.generation_config
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
            if getattr(generation, name) is None:
                setattr(generation, name, getattr(config.language_config, name))
        if config.image_token_id is None and pretrained_model_name_or_path is not None:
            hub = {key: kwargs[key] for key in _HUB_KEYS if key in kwargs}
            config.image_token_id = find_image_token_id(pretrained_model_name_or_path, **hub)
        return loaded

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        images_spatial_crop: torch.Tensor | None = None,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        labels: torch.Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        output_router_logits: bool | None = None,
        document_ids: torch.Tensor | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> DeepseekVLV2CausalLMOutput:
        """Runs a batch.

        Args:
            input_ids: `[b, t]`; every row of an image is one `<image>` token.
            attention_mask: 1 at tokens, 0 at padding, `[b, t + cached]`; on either side.
            position_ids: `[b, t]`; None to count tokens. Starting anew within a row (and no
                attention mask) marks packed documents, which do not see each other.
            past_key_values: a cache to read and extend.
            inputs_embeds: `[b, t, d]` instead of `input_ids`, for prompts without images.
            pixel_values: tiles of all images of the batch in order, `[n, 3, s, s]`.
            images_spatial_crop: columns and rows of local tiles of each image, `[images, 2]`.
            mm_encoder_outputs: `{"image": get_image_features(...)}` instead of the pixels.
            labels: `[b, t]`, -100 where nothing is learnt. Adds the loss to the output.
            use_cache: whether to return a cache; not while training.
            logits_to_keep: see `vl2.model.loss.keep_positions`. With labels a boolean mask must
                cover the supervised positions; `supervised_positions(labels)` is that mask.
            output_router_logits: whether to record the router, for the balance loss and the load.
            document_ids: for packed rows, the number of each token's document `[b, t]`: 1, 2, ...
                through all rows in reading order, 0 at padding. Documents do not see each other;
                it stands for the attention mask and the positions, and no cache is made.
            **kwargs: passed on to the attention kernels and the loss.

        Raises:
            InputError: images and `<image>` tokens do not fit together.
        """
        language = self.config.language_config
        if output_router_logits is None:
            output_router_logits = language.output_router_logits
        if document_ids is not None:
            attention_mask, use_cache = None, False
            position_ids = document_positions(document_ids)
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            pixel_values=pixel_values,
            images_spatial_crop=images_spatial_crop,
            mm_encoder_outputs=mm_encoder_outputs,
            use_cache=use_cache,
            output_router_logits=output_router_logits,
            output_router_indices=output_router_logits,
            **{**kwargs, "return_dict": True},
        )
        hidden = outputs.last_hidden_state
        logits = self.lm_head(keep_positions(hidden, logits_to_keep))
        loss = aux_loss = expert_load = None
        if labels is not None:
            loss = self._cross_entropy(logits, labels, logits_to_keep, **kwargs)
        if outputs.router_logits:
            mask = None if attention_mask is None else attention_mask[:, -hidden.shape[1] :].bool()
            aux_loss, expert_load = router_balance(
                outputs.router_logits,
                outputs.router_indices,
                mask,
                hidden.shape[:2],
                language,
                document_ids,
            )
            if labels is not None:
                loss = loss + language.aux_loss_alpha * _batch_share(labels, **kwargs) * aux_loss
        return DeepseekVLV2CausalLMOutput(
            loss=loss,
            aux_loss=aux_loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            router_logits=outputs.router_logits,
            expert_load=expert_load,
            image_hidden_states=outputs.image_hidden_states,
        )

    def _cross_entropy(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        kept: int | torch.Tensor,
        **kwargs: Any,  # noqa: ANN401
    ) -> torch.Tensor:
        targets = keep_positions(next_labels(labels), kept).to(logits.device)
        if not (targets != IGNORED).any():
            # A mean over nothing is NaN; such a batch teaches nothing.
            return logits.sum() * 0.0
        return self.loss_function(
            logits=logits,
            labels=None,
            shift_labels=targets,
            vocab_size=self.config.language_config.vocab_size,
            **kwargs,
        )

    @torch.no_grad()
    def correct_router_biases(self, expert_load: torch.Tensor, step: float) -> None:
        """Moves the correction biases (noaux_tc) one step against the load.

        Args:
            expert_load: tokens per expert `[mixture layers, e]` since the last call, as forward
                returns it, summed over batches and devices.
            step: size of the step, 0.001 in the pre-training of the released base model.
        """
        routers = [
            layer.mlp.gate
            for layer in self.model.language_model.layers
            if hasattr(layer.mlp, "gate") and layer.mlp.gate.e_score_correction_bias is not None
        ]
        for gate, load in zip(routers, expert_load, strict=True):
            bias = gate.e_score_correction_bias
            bias.copy_(corrected_bias(bias, load.to(bias.device), step))

    def generate(  # pyrefly: ignore[bad-override]
        self,
        inputs: torch.Tensor | None = None,
        generation_config: GenerationConfig | None = None,
        logits_processor: LogitsProcessorList | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Generates as `GenerationMixin.generate` does, but never the `<image>` token.

        Images (`pixel_values` and `images_spatial_crop`, or `mm_encoder_outputs`) are encoded once,
        whatever the number of beams, sequences or chunks of the prompt.
        """
        processors = LogitsProcessorList(logits_processor or [])
        if self.config.image_token_id is not None:
            processors.append(_NeverToken(self.config.image_token_id))
        rows = self._encode_prompt_images(kwargs)
        if rows is not None:
            ids = kwargs.get("input_ids") if inputs is None else inputs
            kwargs["prompt_image_rows"] = self._rows_by_position(ids, rows, kwargs)
        return super().generate(  # pyrefly: ignore[bad-argument-type]
            inputs, generation_config, processors, **kwargs
        )

    @torch.no_grad()
    def _encode_prompt_images(self, kwargs: dict[str, Any]) -> torch.Tensor | None:
        encoded = (kwargs.pop("mm_encoder_outputs", None) or {}).get("image")
        pixel_values = kwargs.pop("pixel_values", None)
        grids = kwargs.pop("images_spatial_crop", None)
        if encoded is None and pixel_values is not None and pixel_values.shape[0] > 0:
            encoded = self.model.encode_images(pixel_values, grids)
        return None if encoded is None else torch.cat(list(encoded["pooler_output"]))

    def _rows_by_position(
        self, ids: torch.Tensor | None, rows: torch.Tensor, kwargs: dict[str, Any]
    ) -> torch.Tensor:
        slots = self.model.image_slots(ids)
        cache, mask = kwargs.get("past_key_values"), kwargs.get("attention_mask")
        cached = int(cache.get_seq_length()) if cache is not None else 0
        # With a filled cache `ids` are either the whole conversation or only what is new.
        whole = mask is None or mask.shape[1] == slots.shape[1]
        return rows_by_position(slots[:, cached:] if whole else slots, rows, cached)

    def prepare_inputs_for_generation(  # pyrefly: ignore[bad-override]
        self,
        input_ids: torch.Tensor,
        *args: Any,  # noqa: ANN401
        inputs_embeds: torch.Tensor | None = None,
        prompt_image_rows: torch.Tensor | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> dict[str, Any]:
        """As `GenerationMixin`, and picks the image rows of the tokens that come next.

        Args:
            input_ids: `[b, t]`.
            *args: passed on.
            inputs_embeds: `[b, t, d]` of a prompt without images; `generate` looks for the name.
            prompt_image_rows: `[b, prompt, d]`, image rows at the positions of their tokens.
            **kwargs: passed on.
        """
        given = super().prepare_inputs_for_generation(  # pyrefly: ignore[bad-argument-type]
            input_ids,  # pyrefly: ignore[bad-argument-type]
            *args,
            inputs_embeds=inputs_embeds,
            **kwargs,
        )
        ids, cache = given.get("input_ids"), given.get("past_key_values")
        if prompt_image_rows is not None and ids is not None:
            start = int(cache.get_seq_length()) if cache is not None else 0
            rows = prompt_image_rows[:, start : start + ids.shape[1]]
            slots = self.model.image_slots(ids[:, : rows.shape[1]])
            if slots.any():
                given["mm_encoder_outputs"] = {"image": {"pooler_output": [rows[slots]]}}
        return given


class _NeverToken(LogitsProcessor):
    """Takes one token out of the choice: a sampled `<image>` would stand for no picture."""

    def __init__(self, token_id: int) -> None:
        self.token_id = token_id

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        banned = torch.zeros_like(scores, dtype=torch.bool)
        banned[:, self.token_id] = True
        return scores.masked_fill(banned, -torch.inf)


def _batch_share(
    labels: torch.Tensor,
    num_items_in_batch: torch.Tensor | int | None = None,
    balance_share: torch.Tensor | float | None = None,
    **_: Any,  # noqa: ANN401
) -> torch.Tensor | float:
    # Under gradient accumulation the cross-entropy of a part is divided by the items of the whole;
    # the balance loss must be weighted alike, or it would count once per part. Who knows the share
    # of all sequences that a part holds, says so; otherwise that of the supervised tokens serves.
    if balance_share is not None:
        return balance_share
    if num_items_in_batch is None:
        return 1.0
    return supervised_positions(labels).sum() / num_items_in_batch

"""The processor: conversations and pictures in, tensors out, with the face of transformers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerFast
from transformers.feature_extraction_utils import BatchFeature
from transformers.processing_utils import MultiModalData, ProcessorMixin

from vl2.chat import IMAGE_TOKEN, ConversationLike, Picture, as_conversation
from vl2.errors import CheckpointError, InputError
from vl2.processing.batching import BatchOptions, collate
from vl2.processing.building import Recipe, build_prompt, choose_grids, truncated
from vl2.processing.calls import conversations_of, distributed, stand_ins, texts_of
from vl2.processing.chat_template import CHAT_TEMPLATE
from vl2.processing.prompt import Prompt
from vl2.processing.template import Piece, lay_out, left_open, read_markup, render
from vl2.processing.tiling import CANDIDATE_RESOLUTIONS, Tiling
from vl2.processing.tokens import PAD_TOKEN, Vocabulary, add_special_tokens, load_tokenizer

DEFAULT_CONTEXT = 4096
"""Tokens that the released models were trained with (paper table 2)."""


class DeepseekVLV2Processor(ProcessorMixin):
    """Turns conversations with pictures into what a DeepSeek-VL2 reads.

    `encode` and `collate` are the plain way: a conversation becomes a `Prompt`, prompts become a
    batch. `__call__` and `apply_chat_template` do the same in the manner of transformers, for
    Trainer, TRL, pipelines and servers.

    The arguments are the keys of the released `processor_config.json`, which is read and written
    as it is. `mask_prompt` is kept but not used: the released files say `false`, while the models
    were tuned with masked prompts (paper section 4), so `encode` takes it as an argument.

    Args:
        tokenizer: a fast tokenizer; special tokens that it lacks are added.
        candidate_resolutions: pairs `(width, height)` in pixels; the first is a single tile.
        patch_size: side of a patch of the vision encoder in pixels.
        downsample_ratio: how many patches a side become one token.
        image_mean: mean of each channel for values in 0..1.
        image_std: standard deviation of each channel.
        normalize: whether mean and deviation are applied.
        image_token: placeholder of a picture; only `<image>` is known.
        pad_token: given to a tokenizer that has none.
        add_special_token: kept for the file.
        sft_format: name of the chat layout; only `deepseek` is known.
        mask_prompt: kept for the file.
        ignore_id: label of positions without a loss.
        max_position_embeddings: tokens that the model's context holds.
        chat_template: a Jinja template that takes the place of the built-in layout.

    Raises:
        CheckpointError: the tokenizer or the configuration is not one of a DeepSeek-VL2.
        InputError: a value that no picture could be cut with.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        candidate_resolutions: Sequence[Sequence[int]] = CANDIDATE_RESOLUTIONS,
        patch_size: int = 14,
        downsample_ratio: int = 2,
        image_mean: Sequence[float] = (0.5, 0.5, 0.5),
        image_std: Sequence[float] = (0.5, 0.5, 0.5),
        normalize: bool = True,
        image_token: str = IMAGE_TOKEN,
        pad_token: str = PAD_TOKEN,
        add_special_token: bool = False,
        sft_format: str = "deepseek",
        mask_prompt: bool = False,
        ignore_id: int = -100,
        max_position_embeddings: int = DEFAULT_CONTEXT,
        chat_template: str | None = None,
    ) -> None:
        if image_token != IMAGE_TOKEN or sft_format != "deepseek":
            raise CheckpointError(
                f"The processor has image_token {image_token!r} and sft_format {sft_format!r}: "
                f"only {IMAGE_TOKEN!r} and 'deepseek' are known."
            )
        self.candidate_resolutions = [list(size) for size in candidate_resolutions]
        self.patch_size = patch_size
        self.downsample_ratio = downsample_ratio
        self.image_mean = list(image_mean)
        self.image_std = list(image_std)
        self.normalize = normalize
        self.image_token = image_token
        self.pad_token = pad_token
        self.add_special_token = add_special_token
        self.sft_format = sft_format
        self.mask_prompt = mask_prompt
        self.ignore_id = ignore_id
        self.max_position_embeddings = max_position_embeddings
        add_special_tokens(tokenizer, pad_token)
        tokenizer.padding_side = "left"
        self.vocabulary = Vocabulary.of(tokenizer)
        self.image_token_id = self.vocabulary.ids.image
        self._recipe(None, None)  # what cannot be used is told now, not at the first picture
        super().__init__(tokenizer, chat_template=chat_template or CHAT_TEMPLATE)

    @property
    def tiling(self) -> Tiling:
        """The rule by which pictures are cut into tiles."""
        return Tiling.from_candidates(
            self.candidate_resolutions, self.patch_size, self.downsample_ratio
        )

    @property
    def model_input_names(self) -> list[str]:
        """Names of what the model takes."""
        return ["input_ids", "attention_mask", "pixel_values", "images_spatial_crop"]

    def encode(
        self,
        conversation: ConversationLike,
        images: Sequence[Picture] = (),
        *,
        max_tiles: int | None = None,
        generate: bool = True,
        mask_prompt: bool = True,
        max_tokens: int | None = None,
    ) -> Prompt:
        """Turn one conversation into a `Prompt`.

        Args:
            conversation: any spelling that `vl2.chat.as_conversation` takes.
            images: pictures that the conversation refers to but does not hold.
            max_tiles: at most so many local tiles a picture, to save tokens.
            generate: end with `<|Assistant|>:`; otherwise the conversation is laid out as it is,
                for training.
            mask_prompt: supervise answers only; otherwise everything but pictures.
            max_tokens: tokens that fit, if not `max_position_embeddings`.

        Raises:
            ConversationError: the conversation is malformed.
            ContextError: it has too many tokens.
            ImageError: a picture cannot be opened.
        """
        spoken = as_conversation(conversation, images)
        pieces = lay_out(spoken, self.vocabulary, generate=generate)
        return build_prompt(
            pieces,
            [image.source for image in spoken.images],
            self.vocabulary,
            self._recipe(max_tiles, max_tokens),
            mask_prompt=mask_prompt,
        )

    def collate(
        self,
        prompts: Sequence[Prompt],
        padding_side: str = "left",
        *,
        labels: bool = False,
        pad_to_multiple_of: int | None = None,
        return_tensors: str | None = "pt",
    ) -> BatchFeature:
        """Put prompts of any lengths, with or without pictures, into one batch.

        Args:
            prompts: at least one.
            padding_side: `left` for generation, `right` for training.
            labels: add the labels of the supervised tokens.
            pad_to_multiple_of: round the length up.
            return_tensors: `pt`, `np`, or `None` for lists.

        Returns:
            `input_ids` and `attention_mask` int64 `[b, t]`, `labels` int64 `[b, t]` on request
            and, if any row has a picture, `pixel_values` float32 `[N, 3, s, s]` and
            `images_spatial_crop` int64 `[n_images, 2]` of all rows in order.
        """
        options = BatchOptions(
            padding=True,
            padding_side=padding_side,
            pad_to_multiple_of=pad_to_multiple_of,
            return_tensors=return_tensors,
        )
        return self._batch(prompts, options, labels=labels)

    def __call__(
        self,
        images: Any = None,  # noqa: ANN401 - transformers allows any nesting of pictures
        text: str | Sequence[str] | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> BatchFeature:
        """Tokenise text that already is in the chat layout, as transformers' processors do.

        Special tokens in the text keep their meaning, so it must come from a template; what users
        write goes through `encode` or `apply_chat_template`.

        Args:
            images: the pictures, one list of them a row, or one list for all rows in order.
            text: one string a row, `<image>` once for each picture. `<bos>` is put before it
                unless it is there, or `add_special_tokens` is false.
            kwargs: the fields of `vl2.processing.batching.BatchOptions`.

        Raises:
            InputError: an unknown option, or no text.
        """
        options = BatchOptions.parse(kwargs)
        rows = texts_of(text)
        pieces = [read_markup(self._begun(row, options)) for row in rows]
        pictures = distributed(images, [row.count(IMAGE_TOKEN) for row in rows])
        return self._batch(self._build_rows(pieces, pictures, options), options)

    def apply_chat_template(  # pyrefly: ignore[bad-override]
        self,
        conversation: Any,  # noqa: ANN401 - one conversation or a list, in any accepted spelling
        chat_template: str | None = None,
        tools: Any = None,  # noqa: ANN401 - refused unless it is None
        documents: Any = None,  # noqa: ANN401 - refused unless it is None
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
        return_assistant_tokens_mask: bool = False,
        tokenize: bool = False,
        return_tensors: str | None = None,
        return_dict: bool = False,
        processor_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401 - strings, ids or a batch, as in transformers
        """Lay out conversations; with `tokenize`, the same tokens as `encode` gives.

        Args:
            conversation: one conversation, or a list of them.
            chat_template: a Jinja template to use instead of the built-in layout.
            tools: the models know none.
            documents: the models know none.
            add_generation_prompt: end with `<|Assistant|>:`.
            continue_final_message: leave the last answer open, without `<eos>`.
            return_assistant_tokens_mask: add `assistant_masks`, 1 on the tokens of answers.
            tokenize: return tokens and pictures, always as a batch, instead of strings.
            return_tensors: `pt`, `np`, or `None` for lists.
            return_dict: return the whole batch, not only `input_ids`.
            processor_kwargs: the fields of `vl2.processing.batching.BatchOptions`, and `images`
                that the conversations refer to but do not hold.
            kwargs: the same.
        """
        if tools or documents:
            raise InputError("DeepSeek-VL2 has no layout for tools or documents: leave them out.")
        options = {**(processor_kwargs or {}), **kwargs}
        if (chat_template or self.chat_template) != CHAT_TEMPLATE:
            return super().apply_chat_template(
                conversation,
                chat_template=chat_template,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=continue_final_message,
                return_assistant_tokens_mask=return_assistant_tokens_mask,
                tokenize=tokenize,
                return_tensors=return_tensors,
                return_dict=return_dict,
                processor_kwargs=options,
            )
        single, rows = conversations_of(conversation)
        needed = [stand_ins(row) for row in rows]
        given = distributed(options.pop("images", None), [len(row) for row in needed])
        spoken = [
            as_conversation(row, pictures if tokenize else absent)
            for row, pictures, absent in zip(rows, given, needed, strict=True)
        ]
        pieces = [lay_out(row, self.vocabulary, generate=add_generation_prompt) for row in spoken]
        if continue_final_message:
            pieces = [left_open(row) for row in pieces]
        if not tokenize:
            texts = [render(row) for row in pieces]
            return texts[0] if single else texts
        batch_options = BatchOptions.parse({"return_tensors": return_tensors, **options})
        sources = [[image.source for image in row.images] for row in spoken]
        prompts = self._build_rows(pieces, sources, batch_options)
        batch = self._batch(prompts, batch_options, answers=return_assistant_tokens_mask)
        return batch if return_dict else batch["input_ids"]

    def to_dict(self) -> dict[str, Any]:
        """The content of `processor_config.json`: the keys of the released files."""
        kept = {name: getattr(self, name) for name in _FILE_KEYS}
        if self.max_position_embeddings != DEFAULT_CONTEXT:
            kept["max_position_embeddings"] = self.max_position_embeddings
        return {**kept, "processor_class": type(self).__name__}

    @classmethod
    def _get_arguments_from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        processor_dict: dict[str, Any] | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> list[PreTrainedTokenizerFast]:
        """Load the only part that is not in `processor_config.json`.

        Replaces transformers' own way, which would ask the Auto classes for the tokenizer and
        build another one than the file states.
        """
        own = {*_FILE_KEYS, "max_position_embeddings", "chat_template"}
        rest = {key: value for key, value in kwargs.items() if key not in own}
        return [load_tokenizer(pretrained_model_name_or_path, **rest)]

    def _get_num_multimodal_tokens(
        self,
        image_sizes: Sequence[Sequence[int]] | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> MultiModalData:
        """What pictures of one conversation will take, for engines that plan ahead.

        Args:
            image_sizes: height and width of each picture.
            kwargs: `max_tiles`.
        """
        if image_sizes is None:
            return MultiModalData()
        tiling = self.tiling.limited(kwargs.get("max_tiles"))
        grids = choose_grids([(width, height) for height, width in image_sizes], tiling)
        return MultiModalData(
            num_image_tokens=[tiling.tokens(grid) for grid in grids],
            num_image_patches=[grid.n_tiles for grid in grids],
        )

    def _recipe(self, max_tiles: int | None, max_tokens: int | None) -> Recipe:
        return Recipe(
            tiling=self.tiling.limited(max_tiles),
            mean=tuple(self.image_mean),
            std=tuple(self.image_std),
            normalize=self.normalize,
            max_tokens=max_tokens or self.max_position_embeddings,
        )

    def _begun(self, text: str, options: BatchOptions) -> str:
        bos = self.vocabulary.tokenizer.bos_token
        return bos + text if options.add_special_tokens and not text.startswith(bos) else text

    def _build_rows(
        self,
        pieces: Sequence[Sequence[Piece]],
        pictures: Sequence[Sequence[Picture]],
        options: BatchOptions,
    ) -> list[Prompt]:
        recipe = self._recipe(options.max_tiles, None)
        prompts = [
            build_prompt(row, images, self.vocabulary, recipe)
            for row, images in zip(pieces, pictures, strict=True)
        ]
        if options.truncation and options.max_length is not None:
            return [truncated(prompt, options.max_length) for prompt in prompts]
        return prompts

    def _batch(
        self,
        prompts: Sequence[Prompt],
        options: BatchOptions,
        *,
        labels: bool = False,
        answers: bool = False,
    ) -> BatchFeature:
        ids = [prompt.token_ids for prompt in prompts]
        columns = {
            "input_ids": (ids, self.vocabulary.ids.pad),
            "attention_mask": ([np.ones_like(row) for row in ids], 0),
        }
        if labels:
            columns["labels"] = ([row.labels(self.ignore_id) for row in prompts], self.ignore_id)
        if answers:
            columns["assistant_masks"] = ([prompt.answers for prompt in prompts], 0)
        if options.return_mm_token_type_ids:
            masks = [prompt.image_mask.astype(np.int64) for prompt in prompts]
            columns["mm_token_type_ids"] = (masks, 0)
        batch = collate(prompts, columns, options)
        return BatchFeature(batch, tensor_type=options.return_tensors)


_FILE_KEYS = (
    "candidate_resolutions",
    "patch_size",
    "downsample_ratio",
    "image_mean",
    "image_std",
    "normalize",
    "image_token",
    "pad_token",
    "add_special_token",
    "sft_format",
    "mask_prompt",
    "ignore_id",
)

"""`deepseek_vl2.models.processing_deepseek_vl_v2`: the processor with the original's calls.

Tokens, tiles and counts come from `vl2.processing`; here are only the old names and shapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch

from vl2.chat import IMAGE_TOKEN, Conversation, Message, Picture, Text, as_conversation
from vl2.dropin import batch, conversation
from vl2.dropin.batch import BatchCollateOutput, DictOutput, VLChatProcessorOutput
from vl2.errors import InputError
from vl2.processing import processor
from vl2.processing.building import build_prompt
from vl2.processing.prompt import Prompt
from vl2.processing.template import Piece, lay_out, left_open, read_markup

__all__ = [
    "BatchCollateOutput",
    "DeepseekVLV2Processor",
    "DictOutput",
    "VLChatProcessorOutput",
]

_FIRST_PLACEHOLDER = "<image_placeholder>"
_ROLES = {"User": "user", "Assistant": "assistant", "deepseekapi-sys": "system"}
_PRINTED = {"user": 0, "<|User|>": 0, "assistant": 1, "<|Assistant|>": 1}

Said = Sequence[Mapping[str, Any]]
"""Messages as scripts write them: `role`, `content` and perhaps `images`."""


class DeepseekVLV2Processor(processor.DeepseekVLV2Processor):
    """The processor as scripts for the original call it."""

    @property
    def image_size(self) -> int:
        """Side of a tile in pixels."""
        return self.tiling.tile_size

    @property
    def bos_id(self) -> int:
        """Token that begins a conversation."""
        return self.vocabulary.ids.bos

    @property
    def eos_id(self) -> int:
        """Token that ends an answer."""
        return self.vocabulary.ids.eos

    @property
    def pad_id(self) -> int:
        """Token that fills up a batch."""
        return self.vocabulary.ids.pad

    def encode(  # pyrefly: ignore[bad-override]
        self, text: str, bos: bool = True, eos: bool = False
    ) -> list[int]:
        """Token ids of a text in which special tokens keep their meaning."""
        ids = self.vocabulary.encode_markup(text)
        return [self.bos_id] * bos + ids + [self.eos_id] * eos

    def decode(self, t: Any, **kwargs: Any) -> str:  # noqa: ANN401 - as the tokenizer's
        """Text of token ids."""
        return self.tokenizer.decode(t, **kwargs)

    def new_chat_template(self) -> conversation.Conversation:
        """An empty conversation in the layout of the model."""
        return conversation.get_conv_template(self.sft_format)

    def format_messages(
        self, conversations: Said, sft_format: str = "deepseek", system_prompt: str = ""
    ) -> str:
        """Messages as one string, for people to read."""
        written = conversation.get_conv_template(sft_format)
        written.set_system_message(system_prompt)
        for message in _modern(conversations):
            text = str(message["content"] or "").strip()
            if message["role"] == "system":
                written.set_system_message(text)
            else:
                written.append_message(written.roles[_PRINTED[message["role"]]], text)
        return written.get_prompt().strip()

    def format_prompts(
        self, prompts: str, sft_format: str = "deepseek", system_prompt: str = ""
    ) -> str:
        """A question in the layout of the model, ready for the answer."""
        return self.format_messages(
            [{"role": "user", "content": prompts}, {"role": "assistant", "content": ""}],
            sft_format,
            system_prompt,
        )

    def __call__(  # pyrefly: ignore[bad-override]
        self,
        *,
        prompt: str | None = None,
        conversations: Said | None = None,
        images: Sequence[Picture] | None = None,
        apply_sft_format: bool = False,
        force_batchify: bool = True,
        inference_mode: bool = True,
        system_prompt: str = "",
    ) -> BatchCollateOutput | VLChatProcessorOutput:
        """Turns a conversation, or a text that is laid out already, into what the model reads.

        Args:
            prompt: a text with `<image>` where the pictures go.
            conversations: the messages of one conversation, instead of `prompt`.
            images: the pictures, opened or not; those that the messages name if None.
            apply_sft_format: lay `prompt` out as a question.
            force_batchify: return a batch of one row.
            inference_mode: leave the end open for an answer.
            system_prompt: what the model is told before the conversation.

        Raises:
            InputError: not exactly one of `prompt` and `conversations`; or a malformed one.
        """
        sample = self.process_one(
            prompt, conversations, images, apply_sft_format, inference_mode, system_prompt
        )
        return self.batchify([sample]) if force_batchify else sample

    def process_one(
        self,
        prompt: str | None = None,
        conversations: Said | None = None,
        images: Sequence[Picture] | None = None,
        apply_sft_format: bool = False,
        inference_mode: bool = True,
        system_prompt: str = "",
    ) -> VLChatProcessorOutput:
        """As a call with `force_batchify=False`."""
        if (prompt is None) == (conversations is None):
            raise InputError("Give either prompt or conversations, not both and not none.")
        if conversations is not None:
            spoken = _spoken(conversations, images, system_prompt)
            text = self.format_messages(conversations, self.sft_format, system_prompt)
            pieces = self._lay_out(spoken, inference_mode)
            sources = [image.source for image in spoken.images]
            made = self._build(pieces, sources, mask_prompt=self.mask_prompt)
        else:
            text = str(prompt)
            if apply_sft_format:
                text = self.format_prompts(text, self.sft_format, system_prompt)
            pieces = self._marked(text, bos=True, eos=not inference_mode)
            made = self._build(pieces, images or (), mask_prompt=False)
        return self._sample(text, made)

    def batchify(
        self,
        sample_list: Sequence[VLChatProcessorOutput],
        padding: Literal["left", "right"] = "left",
    ) -> BatchCollateOutput:
        """Pads samples of any lengths, with and without pictures, to one batch."""
        return batch.batchify(sample_list, self.pad_id, self.ignore_id, padding)

    def tokenize_with_images(
        self,
        conversation: str,
        images: Sequence[Picture],
        bos: bool = True,
        eos: bool = True,
        cropping: bool = True,
    ) -> tuple[list[int], list[torch.Tensor], list[bool], list[list[int]], list[int]]:
        """Tokenises a text with `<image>` in it and cuts the pictures.

        Args:
            conversation: the text; special tokens keep their meaning.
            images: one picture for each `<image>`.
            bos: begin with `<bos>`.
            eos: end with `<eos>`.
            cropping: whether pictures are cut into local tiles. More than two never are.

        Returns:
            Token ids; tiles `[3, s, s]`; the places of pictures; columns and rows of each
            picture; tokens of each picture.
        """
        pieces = self._marked(conversation, bos=bos, eos=eos)
        made = self._build(pieces, images, max_tiles=None if cropping else 1)
        return (
            made.token_ids.tolist(),
            list(torch.from_numpy(made.pixel_values)),
            made.image_mask.tolist(),
            made.images_spatial_crop.tolist(),
            [self.tiling.tokens(grid) for grid in made.grids],
        )

    def _lay_out(self, spoken: Conversation, inference_mode: bool) -> list[Piece]:
        answered = bool(spoken.messages) and spoken.messages[-1].role == "assistant"
        if inference_mode and not answered:
            return lay_out(spoken, self.vocabulary, generate=True)
        pieces = lay_out(spoken, self.vocabulary, generate=False)
        return left_open(pieces) if inference_mode else pieces

    def _marked(self, text: str, *, bos: bool, eos: bool) -> list[Piece]:
        first = [Piece("markup", self.vocabulary.tokenizer.bos_token)] * bos
        last = [Piece("markup", self.vocabulary.tokenizer.eos_token)] * eos
        return [*first, *read_markup(text), *last]

    def _build(
        self,
        pieces: Sequence[Piece],
        pictures: Sequence[Picture],
        *,
        mask_prompt: bool = False,
        max_tiles: int | None = None,
    ) -> Prompt:
        recipe = self._recipe(max_tiles, None)
        return build_prompt(pieces, pictures, self.vocabulary, recipe, mask_prompt=mask_prompt)

    def _sample(self, text: str, made: Prompt) -> VLChatProcessorOutput:
        side = self.image_size
        tiles, crops = made.pixel_values, torch.from_numpy(made.images_spatial_crop)
        images = torch.from_numpy(tiles) if made.grids else torch.zeros(1, 3, side, side)
        return VLChatProcessorOutput(
            sft_format=text,
            input_ids=torch.from_numpy(made.token_ids),
            target_ids=torch.from_numpy(made.labels(self.ignore_id)),
            images=images,
            images_seq_mask=torch.from_numpy(made.image_mask),
            images_spatial_crop=crops if made.grids else torch.zeros(1, 2, dtype=torch.long),
            num_image_tokens=[self.tiling.tokens(grid) for grid in made.grids],
        )


def _modern(messages: Said) -> list[dict[str, Any]]:
    """Messages with the roles and the placeholder that `vl2.chat` knows."""
    modern = []
    for message in messages:
        content = message.get("content")
        if isinstance(content, str):
            content = content.replace(_FIRST_PLACEHOLDER, IMAGE_TOKEN)
        role = message.get("role")
        modern.append({**message, "role": _ROLES.get(str(role), role), "content": content})
    return modern


def _spoken(messages: Said, images: Sequence[Picture] | None, system_prompt: str) -> Conversation:
    """The conversation that messages and a system prompt make.

    An empty last answer stays: it stands for one to be written, or (in training) one that is
    empty.
    """
    modern = _modern(messages)
    if images is not None:
        modern = [{key: part[key] for key in part if key != "images"} for part in modern]
    spoken = as_conversation(modern, images or ())
    last = modern[-1]
    if last["role"] in ("assistant", "<|Assistant|>") and not str(last["content"] or "").strip():
        spoken = spoken.add(Message("assistant", ()))
    if system_prompt and spoken.messages[0].role != "system":
        told = Message("system", (Text(system_prompt),))
        return replace(spoken, messages=(told, *spoken.messages))
    return spoken

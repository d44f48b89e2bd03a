"""The tokenizer and the chat format: conversations become the tokens that models were trained with.

A template that renders one string cannot do so: turns are tokenised apart, and a control token that
somebody wrote in a question must stay a word.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast
from vllm.config import VllmConfig
from vllm.inputs import TextPrompt, TokensPrompt
from vllm.renderers.chat_utils import (
    ChatCompletionMessageParam,
    ConversationMessage,
    parse_chat_messages,
    parse_chat_messages_async,
)
from vllm.renderers.hf import HfRenderer
from vllm.renderers.inputs import DictPrompt
from vllm.renderers.inputs.preprocess import parse_dec_only_prompt
from vllm.renderers.params import ChatParams, TokenizeParams
from vllm.tokenizers.hf import get_cached_tokenizer

from vl2.chat import as_conversation
from vl2.errors import InputError
from vl2.grounding.boxes import TAGS
from vl2.processing.calls import stand_ins
from vl2.processing.template import Piece, encode, lay_out, left_open, read_markup
from vl2.processing.tokens import Vocabulary, add_special_tokens, load_tokenizer


class VL2Tokenizer:
    """Where vLLM gets the tokenizer from."""

    @classmethod
    def from_pretrained(
        cls,
        path: str | os.PathLike[str],
        *args: object,
        revision: str | None = None,
        download_dir: str | None = None,
        **kwargs: object,
    ) -> PreTrainedTokenizerFast:
        """The tokenizer of a checkpoint as its file states it, with all special tokens.

        vLLM leaves special tokens out of answers, unless a request says otherwise. The markup of
        boxes is no longer one of them here.
        """
        tokenizer = load_tokenizer(path, revision=revision, cache_dir=download_dir)
        add_special_tokens(tokenizer)
        return get_cached_tokenizer(_with_boxes_shown(tokenizer))


class VL2Renderer(HfRenderer):
    """Lays conversations out as `vl2` does, unless a request brings a template of its own."""

    def __init__(self, config: VllmConfig, tokenizer: PreTrainedTokenizerFast | None) -> None:
        super().__init__(config, tokenizer)
        self._vocabulary = Vocabulary.of(self.get_tokenizer())

    def render_messages(
        self, messages: list[ChatCompletionMessageParam], params: ChatParams
    ) -> tuple[list[ConversationMessage], DictPrompt]:
        """Tokens and pictures of a conversation."""
        if params.chat_template is not None:
            return super().render_messages(messages, params)
        parsed = parse_chat_messages(messages, self.model_config, **_parsing(params))
        return self._rendered(params, *parsed)

    async def render_messages_async(
        self, messages: list[ChatCompletionMessageParam], params: ChatParams
    ) -> tuple[list[ConversationMessage], DictPrompt]:
        """Tokens and pictures of a conversation; pictures are fetched meanwhile."""
        if params.chat_template is not None:
            return await super().render_messages_async(messages, params)
        parsed = await parse_chat_messages_async(messages, self.model_config, **_parsing(params))
        return self._rendered(params, *parsed)

    def _rendered(
        self,
        params: ChatParams,
        conversation: list[ConversationMessage],
        pictures: Any,  # noqa: ANN401 - vLLM's tables of media
        names: Any,  # noqa: ANN401
    ) -> tuple[list[ConversationMessage], DictPrompt]:
        options = params.chat_template_kwargs
        if options.get("tools"):
            raise InputError("DeepSeek-VL2 has no layout for tools: leave them out.")
        continued = options.get("continue_final_message", False)
        generate = options.get("add_generation_prompt", True) and not continued
        spoken = as_conversation(conversation, stand_ins(conversation))
        pieces = lay_out(spoken, self._vocabulary, generate=generate)
        prompt = parse_dec_only_prompt(self._ids(left_open(pieces) if continued else pieces))
        if pictures is not None:
            prompt["multi_modal_data"] = pictures
        if names is not None:
            prompt["multi_modal_uuids"] = names
        return conversation, prompt

    def _tokenize_prompt(self, prompt: TextPrompt, params: TokenizeParams) -> TokensPrompt:
        text, bos = prompt["prompt"], self._vocabulary.tokenizer.bos_token
        if params.add_special_tokens and not text.startswith(bos):
            text = bos + text
        return self._build_tokens_prompt(self._ids(read_markup(text)), prompt)

    def _ids(self, pieces: Iterable[Piece]) -> list[int]:
        """Token ids with one `<image>` for each picture; its others follow when it is cut."""
        pieces = list(pieces)
        places = [1 for piece in pieces if piece.kind == "picture"]
        return encode(pieces, self._vocabulary, places).token_ids.tolist()


def _with_boxes_shown(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    for token in state["added_tokens"]:
        token["special"] = token["special"] and token["content"] not in TAGS
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)),
        bos_token=tokenizer.bos_token,
        eos_token=tokenizer.eos_token,
        pad_token=tokenizer.pad_token,
    )


def _parsing(params: ChatParams) -> dict[str, Any]:
    return {
        "content_format": "openai",
        "media_io_kwargs": params.media_io_kwargs,
        "mm_processor_kwargs": params.mm_processor_kwargs,
    }

"""Prompts without the layout of a conversation: a text, or token ids, as they stand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vl2.engine import Assistant
from vl2.errors import ContextError, InputError
from vl2.processing.prompt import Prompt


def raw_prompt(text: str | Sequence[int], assistant: Assistant) -> Prompt:
    """The prompt that begins with `<bos>` and goes on with a text.

    Args:
        text: in which special tokens keep their meaning; or token ids, before which nothing is put.
        assistant: the model that will read it.

    Raises:
        ContextError: it is longer than the context.
        InputError: ids that are none, or a place of a picture.
    """
    vocabulary = assistant.processor.vocabulary
    if isinstance(text, str):
        ids = vocabulary.encode_markup(vocabulary.tokenizer.bos_token + text)
    else:
        ids = list(text)
    size = len(vocabulary.tokenizer)
    wrong = next((token for token in ids if not 0 <= token < size), None)
    if wrong is not None:
        raise InputError(f"The prompt holds {wrong}, and token ids go from 0 to {size - 1}.")
    if vocabulary.ids.image in ids:
        raise InputError(
            "The prompt holds a place of a picture, but no picture comes with it: use "
            "/v1/chat/completions."
        )
    if len(ids) > assistant.engine.context:
        raise ContextError(
            f"The prompt has {len(ids)} tokens, but the context holds {assistant.engine.context}: "
            "shorten it."
        )
    side = assistant.processor.tiling.tile_size
    empty = np.zeros(len(ids), dtype=np.bool_)
    pixels = np.empty((0, 3, side, side), dtype=np.float32)
    return Prompt(np.array(ids, dtype=np.int64), empty, empty, pixels, ())

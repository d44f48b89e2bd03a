"""Which token stands for a row of an image, where the configuration does not say."""

import os
from typing import Any

from vl2.chat import IMAGE_TOKEN
from vl2.errors import CheckpointError
from vl2.processing.tokens import add_special_tokens, load_tokenizer


def find_image_token_id(path: str | os.PathLike[str], **hub: Any) -> int | None:  # noqa: ANN401
    """Id of `<image>` in the tokenizer beside a checkpoint, or None if there is no tokenizer.

    A tokenizer that lacks the token (the released tiny one) gets it as the processor adds it.

    Args:
        path: a folder, or the name of a repository.
        **hub: where and how to download, as in `from_pretrained`.
    """
    try:
        tokenizer = load_tokenizer(path, **hub)
    except CheckpointError:
        return None
    add_special_tokens(tokenizer)
    return tokenizer.get_vocab()[IMAGE_TOKEN]

"""`deepseek_vl2.utils.io`: pictures and models from files."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import PIL.Image
import torch
from transformers import PreTrainedTokenizerFast

from vl2.dropin.modeling import DeepseekVLV2ForCausalLM
from vl2.dropin.processing import DeepseekVLV2Processor
from vl2.processing.images import open_image


def load_pretrained_model(
    model_path: str | os.PathLike[str],
) -> tuple[PreTrainedTokenizerFast, DeepseekVLV2Processor, DeepseekVLV2ForCausalLM]:
    """Loads the tokenizer, the processor and the model in bfloat16, on a GPU if there is one."""
    processor = DeepseekVLV2Processor.from_pretrained(model_path)
    model = DeepseekVLV2ForCausalLM.from_pretrained(model_path, dtype=torch.bfloat16)
    return processor.tokenizer, processor, model.cuda().eval()


def load_pil_images(conversations: Sequence[Mapping[str, Any]]) -> list[PIL.Image.Image]:
    """Opens the pictures that messages name, upright and in RGB, in order.

    Args:
        conversations: messages; a path, bytes, a `data:` URL or a PIL image stands in `images`.

    Raises:
        ImageError: one of them cannot be opened.
    """
    return [
        open_image(picture) for message in conversations for picture in message.get("images") or ()
    ]


def load_json(filepath: str | os.PathLike[str]) -> Any:  # noqa: ANN401 - whatever the file holds
    """Reads a JSON file."""
    return json.loads(Path(filepath).read_text(encoding="utf-8"))

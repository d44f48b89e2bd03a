"""`deepseek_vl2.serve.app_modules.utils`: boxes of an answer, drawn."""

from __future__ import annotations

from collections.abc import Sequence

import PIL.Image

from vl2.grounding import draw, parse


def parse_ref_bbox(response: str, image: PIL.Image.Image) -> PIL.Image.Image | None:
    """Draws the boxes of an answer into a copy of a picture.

    Nothing of the answer is evaluated, and broken boxes do not hide whole ones.

    Args:
        response: what the model wrote.
        image: the picture that it points at.

    Returns:
        The picture with boxes; None if the answer has none.
    """
    boxes = parse(response, *image.size)
    return draw(image, boxes) if boxes else None


def strip_stop_words(x: str, stop_words: Sequence[str]) -> str:
    """The text before the first of the stop words that it holds, in their order."""
    for word in stop_words:
        if word in x:
            return x[: x.index(word)].strip()
    return x.strip()

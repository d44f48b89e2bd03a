"""What the evaluation kits ask, in the words that the model was trained with."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from PIL.Image import Resampling

from vl2 import grounding
from vl2.chat import IMAGE_TOKEN, Picture
from vl2.errors import InputError
from vl2.evals.benchmarks.options import LETTER_ONLY, SELECT
from vl2.processing.images import open_image

MAX_TOKENS = 2048
"""Length limit of an answer where a kit names none, as in the authors' own runs."""

MMMU = "MMMU_DEV_VAL"
"""The data set that the authors ask in a way of its own."""

_DESCRIBES = re.compile(r"(?:sentence|expression|phrase)[^:]*:(.*)$", re.DOTALL | re.IGNORECASE)
_MARKED = re.compile(r"<ref>(.*?)</ref>", re.DOTALL)

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Asked:
    """One question: its text with `<image>` where the pictures go, and the pictures."""

    prompt: str
    pictures: tuple[Picture, ...]


def pointing_question(context: str) -> str:
    """A kit's request for a box, as the model is asked to point.

    Args:
        context: ends with the expression after a colon, or holds it between `<ref>` tags.
    """
    marked = _MARKED.search(context)
    described = _DESCRIBES.search(context)
    phrase = marked[1] if marked else described[1] if described else context
    return grounding.locate_question(phrase.strip().strip("\"'").rstrip("."))


def as_fractions(answer: str) -> str:
    """The first box of an answer as `[x1, y1, x2, y2]` in fractions of the picture.

    An answer without a box stays as it is.
    """
    boxes = grounding.parse_normalised(answer)
    if not boxes:
        return answer
    return f"[{', '.join(f'{value / grounding.GRID:.4f}' for value in boxes[0].corners)}]"


def cut_at(answer: str, stops: str | Iterable[str] | None) -> str:
    """The text before the first of several stops, which kits call `until`."""
    for stop in [stops] if isinstance(stops, str) else stops or ():
        if stop:
            answer = answer.partition(stop)[0]
    return answer


def interleaved(message: Sequence[Mapping[str, Any]], dataset: str | None) -> Asked:
    """A message of VLMEvalKit, which is a list of texts and pictures, as the authors lay it out.

    Each picture is followed by a line break; for MMMU all pictures come first, marks tell which is
    meant, the request for an answer is another, and the first picture is doubled in size.

    Raises:
        InputError: a part that is neither text nor a picture.
    """
    strange = [part.get("type") for part in message if part.get("type") not in ("text", "image")]
    if strange:
        raise InputError(f"The model reads texts and pictures, not {strange[0]!r}.")
    pictures = [part["value"] for part in message if part["type"] == "image"]
    if dataset != MMMU:
        return Asked("".join(map(_on_a_line, message)), tuple(pictures))
    places = iter(range(1, len(pictures) + 1))
    text = "".join(
        f"<image {next(places)}>" if part["type"] == "image" else part["value"] for part in message
    )
    text = text.replace(SELECT.strip(), LETTER_ONLY)
    text = text.replace("Question:", "").replace("Options:\n", "")
    if pictures:
        first = open_image(pictures[0])
        pictures[0] = first.resize((2 * first.width, 2 * first.height), Resampling.BILINEAR)
    return Asked(f"{IMAGE_TOKEN * len(pictures)}\n{text}", tuple(pictures))


def unless_unaskable(ask: Callable[[], str]) -> str:
    """An answer; an empty one, with a warning, to a question that cannot be asked.

    As for `vl2 eval`, a broken picture or more than the context holds is a wrong answer, not the
    end of an evaluation of thousands.
    """
    try:
        return ask()
    except InputError as problem:
        warnings.warn(f"A question is left without an answer: {problem}", stacklevel=2)
        return ""


def in_parallel(
    work: Callable[[_Item], _Result], items: Iterable[_Item], parallel: int
) -> list[_Result]:
    """Results in the order of the items, several at work at once."""
    with ThreadPoolExecutor(parallel) as pool:
        return list(pool.map(work, items))


def _on_a_line(part: Mapping[str, Any]) -> str:
    return f"{IMAGE_TOKEN}\n" if part["type"] == "image" else part["value"]

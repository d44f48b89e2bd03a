"""MME (yes or no) and RefCOCO (boxes)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import partial

from vl2 import grounding
from vl2.chat import Picture
from vl2.errors import ImageError, InputError
from vl2.evals.benchmarks.files import JOINED
from vl2.evals.benchmarks.questions import (
    Judgement,
    Question,
    Record,
    Scores,
    Task,
    mean_scores,
)
from vl2.evals.benchmarks.rows import Row, as_list
from vl2.evals.benchmarks.texts import id_of, plain
from vl2.evals.metrics import boxes
from vl2.evals.metrics.mme import Outcome, mme_scores, yes_or_no
from vl2.processing.images import open_image

YES_OR_NO = "Please answer yes or no."

_PHRASES = ("expression", "sent", "sentence", "caption", "phrase", "refexp", "sentences")
_WHOSE = re.compile(r"refcoco[+g]?", re.IGNORECASE)
_BOX = re.compile(r"\[([-+\d.,\s]{7,80})\]")
_LARGEST_SHARE = 1.5
_INSIDE = re.compile(r"<ref>(.*?)</ref>|<\|ref\|>(.*?)<\|/ref\|>", re.DOTALL)


def ask_mme(row: Row) -> list[Question]:
    """The question, which ends by asking for yes or no."""
    question = row.question("question")
    if YES_OR_NO not in question:
        question = f"{question} {YES_OR_NO}"
    category = row.text("category")
    shared = row.find("image_path", "question_id") or _fingerprint(row.pictures)
    name = f"{category}/{shared}/{row.number}"
    right = (row.text("answer").strip().lower().rstrip("."),)
    return [Question(name, question, row.pictures, right, category, group=f"{category}/{shared}")]


def _fingerprint(pictures: Sequence[Picture]) -> str:
    """What tells a row's picture from others, where the file has no name for it."""
    first = pictures[0] if pictures else b""
    data = first if isinstance(first, bytes) else str(first).encode()
    return hashlib.sha256(data).hexdigest()[:16]


def _judge_mme(question: Question, prediction: str) -> Judgement:
    said = yes_or_no(plain(prediction))
    return Judgement(float(said == question.answers[0]), said)


def _total_mme(records: Sequence[Record]) -> Scores:
    outcomes = (Outcome(r.category, r.group, r.score == 1) for r in records)
    scores = mme_scores(outcomes)
    return {"score": scores.pop("total"), **scores}


def ask_refcoco(benchmark: str, row: Row) -> list[Question]:
    """Each expression that refers to the row's box, in the model's own words for pointing.

    Args:
        benchmark: `refcoco`, `refcoco+` or `refcocog`; a file of all three (VLMEvalKit's) says of
            each row whose it is.
        row: of the file.
    """
    category = str(row.find("split", "category", "dataset_name") or "")
    whose = _WHOSE.match(category)
    if whose and whose[0].lower() != benchmark:
        return []
    picture, (width, height) = _sized(_only(row))
    phrases = _phrases(row)
    corners = _corners(row, (width, height))
    facts = {"box": list(corners), "width": width, "height": height}
    asked = []
    for index, phrase in enumerate(phrases):
        name = f"{row.number}-{id_of(row)}/{index}"
        prompt = grounding.locate_question(phrase)
        right = (grounding.format_boxes(phrase, [corners], width, height),)
        asked.append(Question(name, prompt, (picture,), right, category, facts=facts))
    return asked


def _only(row: Row) -> Picture:
    if len(row.pictures) != 1:
        raise InputError(f"Row {row.number} must have one picture, it has {len(row.pictures)}.")
    return row.pictures[0]


def _sized(picture: Picture) -> tuple[Picture, tuple[int, int]]:
    """The opened picture and its size; a broken one is told when the question is asked."""
    try:
        image = open_image(picture)
    except ImageError:
        return picture, (1, 1)
    return image, image.size


def _phrases(row: Row) -> list[str]:
    found = row.find(*_PHRASES)
    if found is None and isinstance(row.find("answer"), (list, tuple)):
        found = row.find("answer")
    if found is not None:
        parts = [
            part.get("sent", part) if isinstance(part, dict) else part for part in as_list(found)
        ]
        return [str(part) for part in parts]
    if row.find("question") is None:
        raise InputError(
            f"Row {row.number} has a box but no expression that refers to it: {JOINED}"
        )
    question = row.question("question")
    inside = _INSIDE.search(question)
    if inside:
        return [inside[1] or inside[2]]
    return [question.rpartition(":")[2].strip(" \"'.")]


def _corners(row: Row, size: tuple[int, int]) -> boxes.Corners:
    """The right box in pixels, from whichever columns the file has, for a picture of a size."""
    apart = [row.find(f"bbox_{side}", side) for side in ("x1", "y1", "x2", "y2")]
    values = apart if None not in apart else as_list(row.find("bbox", "box"))
    written = _BOX.search(str(row.find("answer"))) if values == [None] else None
    try:
        if written:
            return _written_box(written[1], size)
        a, b, c, d = (float(value) for value in values)
    except (TypeError, ValueError) as error:
        told = f"Row {row.number} has no box of four numbers: {values!r}"
        if values == [None]:
            told = f"Row {row.number} has an expression but no box: {JOINED.removesuffix('.')}"
        raise InputError(f"{told}.") from error
    # Files with one sentence a row, in the manner of Qwen-VL and Shikra, give corners; those of
    # the hub and COCO's give the size.
    as_given = None not in apart or row.find("sent", "expression") is not None
    if row.find("box_format") == "xywh":
        as_given = False
    return (a, b, c, d) if as_given else (a, b, a + c, b + d)


def _written_box(text: str, size: tuple[int, int]) -> boxes.Corners:
    """A box that is written as the answer: shares of the picture, or pixels if larger than those.

    Raises:
        ValueError: it is not four numbers.
    """
    a, b, c, d = (float(number) for number in text.replace(",", " ").split())
    wide, tall = size if max(map(abs, (a, b, c, d))) <= _LARGEST_SHARE else (1, 1)
    return a * wide, b * tall, c * wide, d * tall


def _judge_refcoco(question: Question, prediction: str) -> Judgement:
    facts = question.facts
    found = boxes.first_box(prediction, facts["width"], facts["height"])
    if found is None:
        return Judgement(0.0, None)
    a, b, c, d = facts["box"]
    overlap = boxes.intersection_over_union(found, (a, b, c, d))
    said = f"{', '.join(f'{value:.0f}' for value in found)} (IoU {overlap:.2f})"
    return Judgement(float(overlap >= boxes.THRESHOLD), said)


TASKS = (
    Task("mme", "MME", ask_mme, _judge_mme, _total_mme, 2800.0, "sum of 2800"),
    *(
        Task(
            name, title, partial(ask_refcoco, name), _judge_refcoco, mean_scores, unit="Acc@0.5, %"
        )
        for name, title in (
            ("refcoco", "RefCOCO"),
            ("refcoco+", "RefCOCO+"),
            ("refcocog", "RefCOCOg"),
        )
    ),
)

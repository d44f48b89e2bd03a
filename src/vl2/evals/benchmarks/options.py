"""Benchmarks with options: MMBench, MMStar, AI2D, RealWorldQA, MMMU."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import PIL.Image

from vl2.chat import IMAGE_TOKEN, Picture
from vl2.errors import ImageError
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
from vl2.evals.metrics import mmmu
from vl2.evals.metrics.choice import LETTERS, named_option, rotations
from vl2.processing.images import open_image

SELECT = "Please select the correct answer from the options above. \n"
LETTER_ONLY = (
    "Answer with the option's letter from the given choices directly. "
    "Answer the question using a single word or phrase.\n"
)

_ROTATION = 1_000_000
_PLACE = re.compile(r"<image (\d+)>")
_OPTION_LINE = re.compile(r"^\(?([A-Z])[.):] *(.+)$", re.MULTILINE)
_MMSTAR = re.compile(r"^(.*?)\s*\nOptions: *(A: .*)$", re.DOTALL)


def prompt_of(question: str, options: Mapping[str, str], hint: str | None = None) -> str:
    """A question with options as the authors asked it."""
    told = f"Hint: {hint}\n" if hint else ""
    listed = "".join(f"{letter}. {text}\n" for letter, text in options.items())
    asked = f"Options:\n{listed}{SELECT}" if options else ""
    return f"{told}Question: {question}\n{asked}"


def _written(row: Row, name: str) -> str | None:
    """What a cell says; the hub's copy of MMBench writes `nan` into empty ones."""
    value = row.find(name)
    return None if value is None or value == "nan" else str(value)


def options_of(row: Row) -> dict[str, str]:
    """Options in columns of their own (`A`, `B`, ...) or in a list; none if in neither."""
    columns = {letter: _written(row, letter) for letter in LETTERS}
    found = {letter: text for letter, text in columns.items() if text is not None}
    listed = row.find("options", "choices")
    if found or listed is None:
        return found
    return dict(zip(LETTERS, map(str, as_list(listed)), strict=False))


def _letter(answer: str, options: Mapping[str, str]) -> str:
    """The letter of the right option, which files give as a letter or as an index."""
    answer = answer.strip()
    if answer.isdecimal() and answer not in options and int(answer) < len(options):
        return LETTERS[int(answer)]
    return answer


def ask_option(row: Row) -> list[Question]:
    """One question with its options.

    Where a file has the options inside the question, they are taken out of it (MMStar) or the
    question is asked as it is (RealWorldQA).
    """
    question, options = row.question("question"), options_of(row)
    apart = _MMSTAR.match(question) if not options else None
    if apart:
        question = apart[1]
        options = dict(re.findall(r"([A-Z]): (.*?)(?:, (?=[B-Z]: )|$)", apart[2], re.DOTALL))
    if options:
        prompt = prompt_of(question, options, _written(row, "hint"))
    else:
        prompt, options = question, dict(_OPTION_LINE.findall(question))
    answer = _letter(row.text("answer"), options)
    category = str(row.find("category", "l2-category", "l2_category") or "")
    return [Question(id_of(row), prompt, row.pictures, (answer,), category, options=options)]


def ask_circular(row: Row) -> list[Question]:
    """The question in every rotation of its options.

    VLMEvalKit's files hold the rotations as rows of their own, numbered from a million on; they
    are left out here, because they are made anew.
    """
    asked = ask_option(row)[0]
    if asked.id.isdecimal() and int(asked.id) >= _ROTATION:
        return []
    letters = list(asked.options)
    if asked.answers[0] not in letters:
        return [asked]
    hint = _written(row, "hint")
    question = row.question("question")
    turned = rotations(list(asked.options.values()), letters.index(asked.answers[0]))
    made = []
    for shift, (texts, answer) in enumerate(turned):
        options: dict[str, str] = dict(zip(LETTERS, texts, strict=False))
        prompt = prompt_of(question, options, hint)
        right = (LETTERS[answer],)
        name = f"{asked.id}/{shift}"
        made.append(Question(name, prompt, row.pictures, right, asked.category, asked.id, options))
    return made


def judge_option(question: Question, prediction: str) -> Judgement:
    """Right if the answer names the right option; without options, if it is the same text."""
    said = plain(prediction)
    if not question.options:
        right = said.strip().lower() == question.answers[0].strip().lower()
        return Judgement(float(right), said)
    named = named_option(said, question.options)
    return Judgement(float(named == question.answers[0]), named)


def total_circular(records: Sequence[Record]) -> Scores:
    """The share of questions that are right in all their rotations."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.group or record.id, []).append(record)
    whole = [
        Record(name, name, rows[0].category, "", (), "", None, float(all(r.score for r in rows)))
        for name, rows in groups.items()
    ]
    plain_share = mean_scores(records)["score"] if records else 0.0
    return {**mean_scores(whole), "each rotation by itself": plain_share}


def ask_mmmu(row: Row) -> list[Question]:
    """MMMU as the authors asked it.

    All pictures come first, the text keeps its marks `<image 1>`, numbered by their order, and
    the first picture is doubled in size. Rows of the small set for development do not count.
    """
    if row.find("split") == "dev":
        return []
    options = options_of(row) if row.find("question_type") != "open" else {}
    text = prompt_of(row.question("question"), options, _written(row, "hint"))
    pieces = _PLACE.split(text)
    marks = [int(mark) - 1 for mark in pieces[1::2]]
    if not all(0 <= mark < len(row.pictures) for mark in marks):
        marks = []
    if marks:
        texts = pieces[::2]
        text = texts[0] + "".join(
            f"<image {place}>{after}" for place, after in enumerate(texts[1:], start=1)
        )
        shown = [row.pictures[mark] for mark in marks]
    else:
        shown = list(row.pictures)
        text = "".join(f"<image {place}>" for place in range(1, len(shown) + 1)) + text
    text = text.replace(SELECT.strip(), LETTER_ONLY)
    text = text.replace("Question:", "").replace("Options:\n", "")
    prompt = f"{IMAGE_TOKEN * len(shown)}\n{text}"
    pictures = tuple(_doubled(picture) if not i else picture for i, picture in enumerate(shown))
    answers = row.texts("answer")
    category = str(row.find("subfield", "category", "l2-category") or "")
    return [Question(id_of(row), prompt, pictures, answers, category, options=options)]


def _doubled(picture: Picture) -> Picture:
    try:
        image = open_image(picture)
    except ImageError:
        return picture  # told when the question is asked, so that the other questions are
    size = (2 * image.width, 2 * image.height)
    return image.resize(size, PIL.Image.Resampling.BILINEAR)


def judge_mmmu(question: Question, prediction: str) -> Judgement:
    """By letter where there are options, else by MMMU's rules for open answers."""
    said = plain(prediction)
    if question.options:
        named = mmmu.chosen_letter(said, question.options)
        return Judgement(float(named == question.answers[0]), named)
    return Judgement(float(mmmu.is_open_match(said, question.answers)), said)


TASKS = (
    Task("mmbench", "MMBench", ask_circular, judge_option, total_circular, unit="circular, %"),
    Task("mmstar", "MMStar", ask_option, judge_option, mean_scores),
    Task("ai2d", "AI2D", ask_option, judge_option, mean_scores),
    Task("realworldqa", "RealWorldQA", ask_option, judge_option, mean_scores),
    Task("mmmu", "MMMU", ask_mmmu, judge_mmmu, mean_scores),
)

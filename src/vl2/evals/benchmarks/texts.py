"""Benchmarks with answers in words: DocVQA, InfoVQA, ChartQA, TextVQA, OCRBench, MathVista."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from vl2 import grounding
from vl2.evals.benchmarks.questions import (
    Judgement,
    Question,
    Record,
    Scores,
    Task,
    mean_scores,
)
from vl2.evals.benchmarks.rows import Row, as_list
from vl2.evals.metrics import mathvista, ocrbench
from vl2.evals.metrics.anls import anls
from vl2.evals.metrics.relaxed import is_relaxed_match
from vl2.evals.metrics.vqa import vqa_accuracy

SHORT_ANSWER = "\nAnswer the question using a single word or phrase."

_ANSWERS = ("answers", "answer", "label")
_IDS = ("index", "questionId", "question_id", "pid", "id")


def plain(prediction: str) -> str:
    """An answer as it is judged: without tags, outer space and the full stop at its end."""
    return grounding.strip(prediction).strip().rstrip(".")


def id_of(row: Row) -> str:
    """The id of a row, or its number where it has none."""
    found = row.find(*_IDS)
    return str(row.number if found is None else found)


def ask_short(row: Row) -> list[Question]:
    """The question, with the authors' request for a short answer."""
    question = row.question("question", "query") + SHORT_ANSWER
    category = str(row.find("category", "split", "type", "question_type") or "")
    answers = row.texts(*_ANSWERS)
    return [Question(id_of(row), question, row.pictures, answers, category=category)]


def _by(metric: Callable[[str, Sequence[str]], float]) -> Callable[[Question, str], Judgement]:
    def judge(question: Question, prediction: str) -> Judgement:
        said = plain(prediction)
        return Judgement(metric(said, question.answers), said)

    return judge


def _relaxed(said: str, answers: Sequence[str]) -> float:
    return float(any(is_relaxed_match(said, answer) for answer in answers))


def ask_ocrbench(row: Row) -> list[Question]:
    """The question as it is."""
    category = str(row.find("category", "question_type", "dataset") or "")
    return [
        Question(id_of(row), row.question("question"), row.pictures, row.texts(*_ANSWERS), category)
    ]


def _judge_ocrbench(question: Question, prediction: str) -> Judgement:
    said = plain(prediction)
    found = ocrbench.contains_answer(said, question.answers, question.category)
    return Judgement(float(found), said)


def _total_ocrbench(records: Sequence[Record]) -> Scores:
    """Right answers of a thousand; of a part of the benchmark, as many as a thousand would have."""
    parts = mean_scores(records)
    return {name: 10 * score if name == "score" else score for name, score in parts.items()}


def ask_mathvista(row: Row) -> list[Question]:
    """The benchmark's own query, which says what kind of answer is wanted."""
    choices = row.find("choices")
    facts = {
        "question_type": str(row.find("question_type") or "free_form"),
        "answer_type": str(row.find("answer_type") or "text"),
        "choices": [str(choice) for choice in as_list(choices)] if choices is not None else [],
        "precision": row.whole("precision", 1),
    }
    question = row.question("query", "question")
    category = str(row.find("task") or "")
    answers = (row.text("answer"),)
    return [Question(id_of(row), question, row.pictures, answers, category, facts=facts)]


def _judge_mathvista(question: Question, prediction: str) -> Judgement:
    facts = question.facts
    problem = mathvista.Problem(
        cast("mathvista.QuestionType", facts["question_type"]),
        cast("mathvista.AnswerType", facts["answer_type"]),
        tuple(facts["choices"]),
        facts["precision"],
    )
    said = plain(prediction)
    right = mathvista.is_right(said, question.answers[0], problem)
    return Judgement(float(right), mathvista.extract(said, problem))


def _total_mathvista(records: Sequence[Record]) -> Scores:
    unread = sum(record.said is None for record in records)
    share = 100 * unread / len(records) if records else 0.0
    return {**mean_scores(records), "not read by the rules": share}


TASKS = (
    Task("docvqa", "DocVQA", ask_short, _by(anls), mean_scores, unit="ANLS, %"),
    Task("infovqa", "InfoVQA", ask_short, _by(anls), mean_scores, unit="ANLS, %", max_tiles=18),
    Task("chartqa", "ChartQA", ask_short, _by(_relaxed), mean_scores, unit="relaxed accuracy, %"),
    Task("textvqa", "TextVQA", ask_short, _by(vqa_accuracy), mean_scores, unit="VQA accuracy, %"),
    Task("ocrbench", "OCRBench", ask_ocrbench, _judge_ocrbench, _total_ocrbench, 1000.0, "of 1000"),
    Task(
        "mathvista",
        "MathVista",
        ask_mathvista,
        _judge_mathvista,
        _total_mathvista,
        unit="accuracy by rules alone, %",
    ),
)

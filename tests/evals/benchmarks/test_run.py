"""A run keeps what it has, goes on, and tells what it could not ask; the report opens by itself."""

import json
import re

import pytest
from benchmark_files import SMALL, Scripted, encoded

from vl2.engine.remote import ServerError
from vl2.errors import InputError
from vl2.evals.benchmarks.files import read_rows
from vl2.evals.benchmarks.questions import Record
from vl2.evals.benchmarks.report import write_report
from vl2.evals.benchmarks.run import PREDICTIONS, Run, count_questions, evaluate
from vl2.evals.benchmarks.table import TASKS


@pytest.fixture
def data(write_tsv):
    rows = [
        {"index": i, "image": encoded(SMALL), "question": f"Question {i}?", "answer": str(i)}
        for i in range(6)
    ]
    return write_tsv("ChartQA_TEST.tsv", rows)


RIGHT = {str(i): f"{i}." for i in range(6)}


def do(data, answers, folder=None, **options):
    answerer = Scripted(answers)
    run = Run(TASKS["chartqa"], answerer, data, folder, **options)
    told = []
    records, scores = evaluate(run, read_rows(data), told.append)
    return answerer, records, scores, sum(told)


def test_questions_are_counted_and_rows_looked_over_before_any_is_asked(data, write_tsv):
    assert count_questions(TASKS["chartqa"], read_rows(data)) == 6
    assert count_questions(TASKS["chartqa"], read_rows(data), 2) == 2
    rows = [{"index": 1, "image": encoded(SMALL), "question": "?", "answer": "1"}] * 2
    with pytest.raises(InputError, match="Row 2 has the id"):
        count_questions(TASKS["chartqa"], read_rows(write_tsv("x.tsv", rows)))


def test_records_come_in_the_order_of_the_file(data):
    _, records, scores, told = do(data, {**RIGHT, "3": "wrong"}, parallel=4)
    assert [record.id for record in records] == list("012345")
    assert [record.score for record in records] == [1, 1, 1, 0, 1, 1]
    assert scores["score"] == pytest.approx(500 / 6)
    assert told == 6


def test_a_run_that_was_broken_off_goes_on(data, tmp_path):
    folder = tmp_path / "out"
    with pytest.raises(ServerError):
        do(data, {**RIGHT, "3": ServerError("gone")}, folder, parallel=1)
    kept = (folder / PREDICTIONS).read_text().splitlines()
    assert 0 < len(kept) < 6
    with (folder / PREDICTIONS).open("a") as file:
        file.write('{"id": "5", "broken off')
    answerer, records, scores, told = do(data, RIGHT, folder)
    assert sorted(answerer.asked) == sorted(set("012345") - {json.loads(k)["id"] for k in kept})
    assert [record.id for record in records] == list("012345")
    assert (scores["score"], told) == (100, 6)
    assert do(data, {}, folder)[0].asked == []
    assert json.loads((folder / "scores.json").read_text())["scores"]["score"] == 100
    lines = [json.loads(line) for line in (folder / PREDICTIONS).read_text().splitlines()]
    assert sorted(line["id"] for line in lines) == list("012345")
    assert Record.from_dict(lines[0]).as_dict() == {
        **lines[0],
        "answers": tuple(lines[0]["answers"]),
    }


def test_more_rows_of_the_same_file_may_be_asked_later(data, tmp_path):
    assert len(do(data, RIGHT, tmp_path / "out", limit=2)[1]) == 2
    answerer, records, _, _ = do(data, RIGHT, tmp_path / "out")
    assert (len(answerer.asked), len(records)) == (4, 6)


def test_a_question_that_cannot_be_asked_is_wrong_and_says_why(data, tmp_path):
    _, records, scores, _ = do(
        data, {**RIGHT, "2": InputError("It is too long.")}, tmp_path / "out"
    )
    assert (records[2].score, records[2].error) == (0, "It is too long.")
    assert scores["score"] == pytest.approx(500 / 6)


def test_a_question_that_could_not_be_asked_is_asked_when_the_run_goes_on(data, tmp_path):
    do(data, {**RIGHT, "2": InputError("There is no such picture.")}, tmp_path / "out")
    answerer, records, scores, told = do(data, RIGHT, tmp_path / "out")
    assert (answerer.asked, told, scores["score"]) == (["2"], 6, 100)
    assert records[2].error is None
    lines = (tmp_path / "out" / PREDICTIONS).read_text().splitlines()
    assert sorted(json.loads(line)["id"] for line in lines) == list("012345")


def test_another_run_is_not_mixed_in(data, tmp_path):
    do(data, RIGHT, tmp_path / "out", limit=1)
    run = Run(TASKS["docvqa"], Scripted(RIGHT), data, tmp_path / "out")
    with pytest.raises(InputError, match=r"holds another run \(task 'chartqa', not '"):
        evaluate(run, read_rows(data))
    (tmp_path / "out" / "run.json").write_text("[]")
    with pytest.raises(InputError, match="holds another run"):
        do(data, RIGHT, tmp_path / "out")
    (tmp_path / "out" / "run.json").write_text("{")
    with pytest.raises(InputError, match="cannot be kept"):
        do(data, RIGHT, tmp_path / "out")


@pytest.mark.parametrize("column", ["question", "answer"])
def test_answers_to_another_file_of_that_name_are_not_taken(data, write_tsv, tmp_path, column):
    do(data, RIGHT, tmp_path / "out")
    row = {"index": 1, "image": encoded(SMALL), "question": "Question 1?", "answer": "1"}
    other = write_tsv("ChartQA_TEST.tsv", [{**row, column: "another"}])
    with pytest.raises(InputError, match=r"'1' .* differently in an earlier run"):
        do(other, RIGHT, tmp_path / "out")


def test_a_row_without_a_picture_is_told(write_tsv):
    row = {"index": 1, "photo": SMALL, "question": "?", "answer": "1"}
    with pytest.raises(InputError, match=r"Row 1 has no picture.* index, photo, question"):
        do(write_tsv("x.tsv", [row]), RIGHT)


def test_what_is_no_file_of_predictions_is_told(data, tmp_path):
    do(data, RIGHT, tmp_path / "out", limit=1)
    for line in ("{}\n", "x\n"):
        (tmp_path / "out" / PREDICTIONS).write_text(line)
        with pytest.raises(InputError, match=r"(line|file) of predictions"):
            do(data, RIGHT, tmp_path / "out")


def test_bad_requests_and_rows_are_told(data, write_tsv):
    for options in ({"limit": 0}, {"parallel": 0}):
        with pytest.raises(InputError, match="At least one question"):
            do(data, RIGHT, **options)
    row = {"index": 1, "image": encoded(SMALL), "question": "?", "answer": "1"}
    with pytest.raises(InputError, match="Row 2 has the id '1' of an earlier one"):
        do(write_tsv("x.tsv", [row, row]), RIGHT)
    with pytest.raises(InputError, match="nothing in the column question"):
        do(write_tsv("x.tsv", [{**row, "question": ""}]), RIGHT)


def test_an_empty_file_scores_nothing(write_tsv):
    path = write_tsv("x.tsv", [{"index": 1}])
    path.write_text("index\tquestion\n")
    assert do(path, {})[2] == {"score": 0.0}


def test_the_report_holds_all_it_shows(data, tmp_path):
    folder = tmp_path / "out"
    evil = "<script>alert(1)</script>"
    _, records, scores, _ = do(data, {**RIGHT, "3": evil}, folder)
    write_report(folder / "report.html", TASKS["chartqa"], "scripted", data.name, records, scores)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert evil not in page
    assert "&lt;script&gt;alert(1)" in page
    assert page.count("data:image/jpeg;base64,") == 6
    assert not re.search(r"""(src|href)=["']?(http|/|file)""", page)
    assert "84.5" in page, "the paper's score stands beside"
    assert "83.3" in page
    assert page.index("Question 3?") < page.index("Question 0?"), "wrong ones come first"


def test_the_report_draws_boxes(tmp_path):
    said = "<|ref|>it<|/ref|><|det|>[[100, 200, 300, 500]]<|/det|>"
    facts = {"box": [0, 0, 1, 1], "width": 9, "height": 9}
    record = Record("a", "", "", "?", (said,), said, "x", 1.0, facts)
    write_report(tmp_path / "r.html", TASKS["refcoco"], "m", "d", [record], {"score": 100.0})
    assert "<svg" not in (tmp_path / "r.html").read_text(), "no picture, nothing to draw on"
    from PIL import Image

    from vl2.evals.benchmarks.thumbnails import save_thumbnail

    (tmp_path / "thumbnails").mkdir()
    save_thumbnail(Image.new("RGB", (900, 300)), tmp_path / "thumbnails", "a")
    write_report(tmp_path / "r.html", TASKS["refcoco"], "m", "d", [record], {"score": 100.0})
    page = (tmp_path / "r.html").read_text()
    for kind in ("said", "truth"):
        assert f'<rect class={kind} x="100" y="200" width="200" height="300"/>' in page
    assert "dashed what is right" in page

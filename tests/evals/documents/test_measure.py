"""What is measured on rendered documents: all of the truth is 1, none of it is 0."""

import json

import pytest
from reading import StubReader, settings_of

from vl2.cli import main
from vl2.documents.tables import to_markdown
from vl2.errors import EngineError
from vl2.evals.documents.measure import PAPERS, Score, measure, score, similarity, tasks_of
from vl2.evals.documents.papers import KINDS, paper


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_seed_is_a_document(kind):
    one, same, other = paper(kind, 3), paper(kind, 3), paper(kind, 4)
    assert one.fields == same.fields
    assert one.table == same.table
    assert [p.tobytes() for p in one.pages] == [p.tobytes() for p in same.pages]
    assert one.pages[0].tobytes() != other.pages[0].tobytes()
    assert one.fields or one.table
    for page in one.pages:  # ink on paper, nothing at the very edge
        assert page.getextrema()[0][0] < 60
        edge = page.crop((0, page.height - 8, page.width, page.height))
        assert edge.getextrema()[0] == (255, 255)


def test_balances_add_up():
    one = paper("statement", 1)

    def cents(text):
        return round(float(text.replace(",", "")) * 100)

    balance = cents(one.fields["opening balance"])
    for *_, amount, after in one.table[1:]:
        balance += cents(amount)
        assert balance == cents(after)
    assert balance == cents(one.fields["closing balance"])
    receipt = paper("receipt", 1)
    assert sum(cents(price) for _, price in receipt.table) == cents(receipt.fields["total"])


def knowing(kind):
    """Answers with the truth, told by the size and the ink of the page."""
    papers = [paper(kind, seed) for seed in range(3)]

    def say(picture, prompt):
        one = next(p for p in papers if any(_holds(page, picture) for page in p.pages))
        return json.dumps(dict(one.fields)) if "JSON" in prompt else to_markdown(one.table)

    return StubReader(say)


def _holds(page, picture):
    if page.width != picture.width or page.height < picture.height:
        return False
    ends = (0, page.height - picture.height)  # a receipt may be read in two bands
    return any(
        page.crop((0, top, page.width, top + picture.height)).tobytes() == picture.tobytes()
        for top in ends
    )


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_reader_that_knows_the_truth_has_everything_right(kind, tmp_path):
    result, outcomes = measure(
        tmp_path, kind, 3, lambda tasks: settings_of(*tasks), knowing(kind), parallel=2
    )
    assert result.right == result.fields == 3 * len(paper(kind, 0).fields)
    assert result.tables in (None, 1)
    assert (result.documents, result.failed) == (3, 0)
    assert {outcome.status for outcome in outcomes} == {"ok"}
    truth = json.loads((tmp_path / PAPERS / kind / "truth.json").read_text())
    assert len(truth) == 3


def test_a_reader_that_knows_nothing_has_nothing_right(tmp_path):
    table = "| a | b |\n| c | d |"
    reader = StubReader(lambda picture, prompt: "{}" if "JSON" in prompt else table)
    result, _ = measure(tmp_path, "statement", 2, lambda tasks: settings_of(*tasks), reader)
    assert result.right == 0
    assert 0 < result.tables < 0.4


def test_fields_count_without_case_and_spaces_and_errors_as_wrong():
    one = paper("contract", 0)
    said = {name: f" {value.upper()} " for name, value in one.fields.items()}
    good = {"status": "ok", "fields": {**said, "term": 6}, "pages": []}
    bad = {"status": "error", "fields": None, "pages": []}
    assert score("contract", [(one, good), (one, bad)]) == Score("contract", 2, 1, 5, 12, None)


def test_of_several_tables_the_nearest_counts():
    truth = [["a", "b"], ["1", "2"]]
    pages = [{"tables": [[["x", "y", "z"]]]}, {"tables": None}, {"tables": [truth]}]
    assert similarity(truth, pages) == 1
    assert similarity(truth, [{"tables": []}]) == 0


def test_what_is_asked_is_what_a_kind_says():
    assert [task.kind for task in tasks_of("contract")] == ["fields"]
    assert [task.kind for task in tasks_of("table")] == ["tables"]
    assert [task.kind for task in tasks_of("receipt")] == ["fields", "tables"]


def test_a_reader_that_fails_ends_the_measurement(tmp_path):
    def say(picture, prompt):
        raise EngineError("gone")

    with pytest.raises(EngineError, match="gone"):
        measure(tmp_path, "table", 1, lambda tasks: settings_of(*tasks), StubReader(say))


def test_the_command_measures_and_keeps_what_it_read(nano, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["eval", "documents", "--only", "table", "--count", "2", "--max-tokens", "8"]
    assert main([*words, "--out", str(out)]) == 0
    assert "table" in capsys.readouterr().out
    saved = json.loads((out / "scores.json").read_text())
    assert saved["model"]["model"] == "nano"
    (kept,) = saved["scores"]
    assert (kept["kind"], kept["documents"]) == ("table", 2)
    assert 0 <= kept["tables"] <= 1
    assert (out / "report.html").exists()
    assert main(["eval", "documents", "--only", "poem"]) == 2
    assert "poem" in capsys.readouterr().err

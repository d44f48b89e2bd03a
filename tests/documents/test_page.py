"""Everything that is asked of a page comes back in its place."""

import json

import PIL.Image
import pytest
from reading import StubReader, settings_of

from vl2.documents.page import CUT, DISAGREEMENT, NO_JSON, read_page
from vl2.documents.readers import RefusedError, Reply, Usage
from vl2.documents.rendering.renderer import Sheet
from vl2.documents.results import PageResult, merged, status_of
from vl2.documents.tasks import (
    ask,
    locate,
    read_fields,
    read_markdown,
    read_tables,
    read_text,
)

SHORT = PIL.Image.new("RGB", (400, 500))
LONG = PIL.Image.new("RGB", (1000, 6000))


def page_of(say, *tasks, picture=SHORT, layer=None, **changed):
    reader = StubReader(say if callable(say) else lambda picture, prompt: say)
    return read_page(3, Sheet(picture, layer), reader, settings_of(*tasks, **changed)), reader


def test_text_is_readable_text():
    page, _ = page_of("<|ref|>Total<|/ref|><|det|>[[1, 2, 3, 4]]<|/det|> 12", read_text())
    assert (page.page, page.text, page.text_from) == (3, "Total 12", "model")
    assert (page.width, page.height, page.bands) == (400, 500, 1)
    assert page.usage == Usage(10, 5, 3)
    assert page.markdown is page.tables is page.fields is None


def test_everything_at_once_is_asked_in_order_and_counted():
    def say(picture, prompt):
        if "JSON" in prompt:
            return '{"total": "12", "date": null}'
        if "table" in prompt:
            return "| a | b |\n| 1 | 2 |"
        return "It is <|ref|>here<|/ref|><|det|>[[0, 0, 999, 999]]<|/det|>"

    tasks = (read_markdown(), read_tables(), read_fields("total, date"), ask("Where?"), locate("x"))
    page, reader = page_of(say, *tasks)
    assert [prompt for _, prompt, _ in reader.asked] == [task.prompt for task in tasks]
    assert [schema is not None for *_, schema in reader.asked] == [False, False, True, False, False]
    assert page.fields == {"total": "12", "date": None}
    assert page.tables == [[["a", "b"], ["1", "2"]]]
    (answer,) = page.answers
    assert (answer["question"], answer["answer"]) == ("Where?", "It is here")
    assert answer["boxes"] == [{"label": "here", "box": [0, 0, 400, 500]}]
    assert page.boxes == [{"phrase": "x", "label": "here", "box": [0, 0, 400, 500]}]
    assert page.usage == Usage(50, 25, 15)
    assert not page.flags


def test_a_long_page_is_read_in_bands_and_joined():
    page = PIL.Image.new("RGB", LONG.size)
    lines = [f"line {number}" for number in range(60)]
    for number in range(60):  # a line of its own colour every 100 pixels
        page.paste((number + 1, 0, 0), (0, 100 * number + 20, 1000, 100 * number + 80))

    def say(picture, prompt):
        column = [picture.getpixel((500, row))[0] for row in range(picture.height)]
        seen = [row for row in range(1, 61) if column.count(row) > 30]
        return "\n".join(lines[number - 1] for number in seen)

    result, reader = page_of(say, read_text(), picture=page)
    assert result.bands == len(reader.asked) == 4
    assert {size[0] for size, *_ in reader.asked} == {1000}
    assert result.text == "\n".join(lines)
    assert result.usage == Usage(40, 20, 12)


def test_bands_that_answer_alike_answer_once():
    said = iter(["No.", "No. ", "Yes.", "No."])
    page, _ = page_of(lambda picture, prompt: next(said), ask("Signed?"), picture=LONG)
    assert page.answers[0]["answer"] == "No.\n\nYes."


def test_boxes_of_bands_are_in_pixels_of_the_page():
    page, _ = page_of(
        "<|ref|>x<|/ref|><|det|>[[0, 0, 999, 999]]<|/det|>", locate("x"), picture=LONG
    )
    tops = [box["box"][1] for box in page.boxes]
    assert len(page.boxes) == page.bands > 1
    assert tops == sorted(tops)
    assert tops[0] == 0
    assert page.boxes[-1]["box"][3] == 6000


@pytest.mark.parametrize("said", ["", "no", "[1]", '{"total": 1e999}', '{"total": '])
def test_what_is_no_json_object_is_flagged(said):
    page, _ = page_of(said, read_fields("total"))
    assert page.fields is None
    assert page.flags == [NO_JSON]
    assert page.unparsed == [{"task": "fields", "answer": said}]


def test_json_that_was_cut_is_kept_and_flagged_as_cut_only():
    said = '{"total": "12'
    page, _ = page_of(Reply(said, Usage(), cut=True), read_fields("total"))
    assert (page.fields, page.flags) == (None, [CUT])
    assert page.unparsed == [{"task": "fields", "answer": said}]


def test_of_bands_those_answers_are_kept_that_could_not_be_read():
    said = iter(['{"total": "12"}', "<b>no</b>", '{"total": "13"}', "{"])
    page, _ = page_of(lambda picture, prompt: next(said), read_fields("total"), picture=LONG)
    assert page.fields == {"total": "12"}
    assert [entry["answer"] for entry in page.unparsed] == ["<b>no</b>", "{"]


def test_an_answer_without_a_table_is_kept_unless_another_band_has_one():
    page, _ = page_of("There is none.", read_tables())
    assert (page.tables, page.flags) == ([], [])
    assert page.unparsed == [{"task": "tables", "answer": "There is none."}]
    said = iter(["none", "| a | b |\n| 1 | 2 |", "none", "none"])
    page, _ = page_of(lambda picture, prompt: next(said), read_tables(), picture=LONG)
    assert (len(page.tables), page.unparsed) == (1, [])


def test_json_in_a_fence_counts():
    page, _ = page_of('```json\n{"total": "1"}\n```', read_fields("total"))
    assert page.fields == {"total": "1"}


def test_a_cut_answer_is_flagged_once():
    page, _ = page_of(Reply("a", Usage(), cut=True), read_text(), ask("b"))
    assert page.flags == [CUT]


def test_a_text_layer_is_preferred_compared_or_ignored():
    layer = "Total 12 EUR"
    page, reader = page_of("Total 12", read_text(), layer=layer, text_layer="prefer")
    assert (page.text, page.text_from, reader.asked) == (layer, "text layer", [])
    page, _ = page_of("Total 12", read_text(), layer=layer, text_layer="compare")
    assert (page.text, page.text_layer, page.agreement) == ("Total 12", layer, 0.8)
    assert page.flags == []
    page, _ = page_of("Sum 21", read_markdown(), layer=layer, text_layer="compare")
    assert (page.agreement, page.flags) == (0, [DISAGREEMENT])
    page, _ = page_of("Total 12", read_text(), layer=layer, text_layer="ignore")
    assert (page.text, page.text_layer, page.agreement) == ("Total 12", None, None)


def test_a_long_page_that_nobody_reads_has_no_bands():
    read, _ = page_of("words", read_text(), picture=LONG)
    taken, reader = page_of("words", read_text(), picture=LONG, layer="printed")
    assert (read.bands > 1, taken.bands, taken.text, reader.asked) == (True, 1, "printed", [])


def test_what_a_page_cannot_be_asked_is_raised():
    def say(picture, prompt):
        raise RefusedError("too long")

    with pytest.raises(RefusedError):
        page_of(say, read_text())


def test_pages_survive_json():
    page, _ = page_of('{"total": "1"}', read_fields("total"), ask("x"), read_tables())
    values = json.loads(json.dumps(page.as_dict()))
    assert PageResult.fits(values)
    assert PageResult.from_dict(values) == page


def test_fields_of_pages_become_those_of_the_document():
    pages = [
        {"total": None, "items": [1], "name": "  "},
        None,
        {"total": "5", "items": [2], "name": "x"},
        {"total": "6", "items": [], "more": {}},
    ]
    assert merged(pages) == {"total": "5", "items": [1, 2], "name": "x", "more": {}}
    assert merged([None]) is None


def test_the_status_tells_whether_all_some_or_no_pages_were_read():
    good, bad = PageResult(1), PageResult(2, error="broken")
    assert [status_of(pages) for pages in ([good], [good, bad], [bad])] == [
        "ok",
        "partial",
        "error",
    ]

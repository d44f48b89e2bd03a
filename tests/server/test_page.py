"""What the page shows, without the page: the conversation, the tiles, the boxes."""

import json

import PIL.Image
import pytest
from acted import acted
from sent import BUNDLED, png

from vl2.errors import ImageError
from vl2.grounding import Box
from vl2.processing.images import DEFAULT_LIMITS
from vl2.processing.tiling import Grid, Tiling
from vl2.server.page.examples import examples
from vl2.server.page.talk import Talk, Turn
from vl2.server.page.views import box_at, cut, summary, told, with_boxes, with_tiles

SHAPES = str(BUNDLED / "shapes.png")
SIGN = str(BUNDLED / "sign.png")
TALK = Talk(
    (
        Turn("<|ref|>it<|/ref|>.", (SHAPES,), "<|ref|>it<|/ref|><|det|>[[1, 2, 3, 4]]<|/det|>"),
        Turn("And <here>?", (SIGN,), "<b>No</b>", note="cut"),
    )
)


def test_the_model_reads_tags_and_no_answer_to_the_last_question():
    system, *messages = TALK.messages("Be brief.")
    assert system == {"role": "system", "content": "Be brief."}
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert messages[0]["content"][0] == {"type": "image"}
    assert messages[0]["content"][1]["text"] == "<|ref|>it<|/ref|>."
    assert messages[1]["content"] == TALK.turns[0].answer
    assert TALK.messages(" ")[0]["role"] == "user"


def test_a_placeholder_that_a_model_spells_is_taken_out():
    talk = Talk((Turn("a", answer="an <image> here"), Turn("b")))
    assert talk.messages("")[1]["content"] == "an  here"


def test_a_person_reads_no_tags_and_html_stays_text():
    shown = [message["content"] for message in TALK.shown()]
    assert shown == [
        {"path": SHAPES},
        "it.",
        "it",
        {"path": SIGN},
        "And &lt;here>?",
        "&lt;b>No&lt;/b>\n\n*cut*",
    ]


def test_both_ways_to_save():
    assert "[shapes.png]\n> <|ref|>it<|/ref|>.\n\nit\n" in TALK.as_text()
    first, second = json.loads(TALK.as_json())["turns"]
    assert first["answer"] == TALK.turns[0].answer
    assert second["pictures"] == ["sign.png"]


@pytest.fixture(scope="module")
def assistant():
    return acted()[0]


@pytest.mark.parametrize("system", ["", "Be brief."])
def test_the_count_is_that_of_the_prompt(assistant, system):
    view, shown = cut(TALK.pictures, 9, assistant, DEFAULT_LIMITS)
    assert [name for _, name in shown] == ["Picture 1", "Picture 2"]
    pictures = [PIL.Image.open(path) for path in TALK.pictures]
    messages = TALK.messages(system)
    for message in messages:
        for part in message["content"] if isinstance(message["content"], list) else ():
            if part["type"] == "image":
                part["image"] = pictures.pop(0)
    prompt = assistant.prepare(messages)[0].prompt
    assert sum(view.counts) == prompt.image_mask.sum()
    line = summary(TALK, system, view, assistant)
    assert f"**{len(prompt)} of 4096 tokens**" in line
    assert f"{4096 - len(prompt)} are left" in line
    assert "Picture 2, 480 x 360 pixels" in line


def test_too_many_tokens_are_told(assistant):
    talk = Talk((Turn("word " * 5000),))
    assert "too many" in summary(talk, "", cut((), 9, assistant, DEFAULT_LIMITS)[0], assistant)


def test_fewer_tiles_are_fewer_tokens(assistant):
    whole, _ = cut((SHAPES,), 9, assistant, DEFAULT_LIMITS)
    fewer, _ = cut((SHAPES,), 1, assistant, DEFAULT_LIMITS)
    assert fewer.counts < whole.counts
    assert "1 tile and the whole" in fewer.lines[0]


def test_a_broken_picture_is_named(assistant, tmp_path):
    path = tmp_path / "some.png"
    path.write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"^some\.png: The picture is not"):
        cut((str(path),), 9, assistant, DEFAULT_LIMITS)


def test_a_picture_that_is_gone_is_told(assistant, tmp_path):
    with pytest.raises(ImageError, match=r"^gone\.png is no longer on the server: add it again"):
        cut((str(tmp_path / "gone.png"),), 9, assistant, DEFAULT_LIMITS)


def test_tiles_have_edges():
    shown = with_tiles(PIL.Image.new("RGB", (300, 200), (9, 9, 9)), Grid(3, 2), Tiling())
    assert shown.width * 2 == shown.height * 3
    side = shown.width // 3
    assert shown.getpixel((side, side // 2)) != (9, 9, 9)
    assert shown.getpixel((side // 2, side // 2)) == (9, 9, 9)


def test_boxes_of_a_large_picture_are_scaled_with_it(tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(png(3200, 100))
    picture, (box,) = with_boxes(str(path), [Box("it", 100, 20, 300, 80)], DEFAULT_LIMITS)
    assert picture.size == (1600, 50)
    assert box == Box("it", 50, 10, 150, 40)


def test_the_smallest_box_around_a_point_is_the_one():
    large, small = Box("large", 0, 0, 100, 100), Box("", 10, 10, 20, 20)
    assert box_at([large, small], 15, 15) is small
    assert box_at([large, small], 50, 50) is large
    assert box_at([large, small], 150, 50) is None
    assert told(large) == "**large** at 0, 0, 100, 100 (left, top, right, bottom in pixels)"
    assert "(no text)" in told(small)
    assert told(Box("<b>", 0, 0, 1, 1)).startswith("**&lt;b&gt;**")
    assert "Click" in told(None)


def test_every_example_can_be_asked(assistant):
    labels, values = examples()
    assert len(labels) == len(values) == 7
    for value in values:
        talk = Talk((Turn(value["text"], tuple(value["files"])),))
        view, _ = cut(talk.pictures, 9, assistant, DEFAULT_LIMITS)
        assert "are left" in summary(talk, "", view, assistant)

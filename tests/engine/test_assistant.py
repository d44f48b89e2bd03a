"""Asking: the ways in, what comes back, and boxes in the right picture."""

import dataclasses
import io
import json

import PIL.Image
import pytest
from golden import GOLDEN
from scripted import boxes, scripted

from vl2.chat import as_conversation
from vl2.engine.assistant import Options
from vl2.engine.sampling import Sampling
from vl2.errors import ContextError, ConversationError, ImageError, InputError
from vl2.grounding import Box

PICTURE = GOLDEN / "images" / "97x61.png"
LARGE = GOLDEN / "images" / "640x480.png"


def asked(assistant, engine) -> str:
    """The last request as text, pictures left out."""
    prompt = engine.requests[-1].prompt
    return assistant._processor.tokenizer.decode(prompt.token_ids[~prompt.image_mask])


def test_ask() -> None:
    assistant, engine = scripted("A box.")
    answer = assistant.ask(PICTURE, "What is it?")
    assert answer.text == answer.readable == "A box."
    assert answer.boxes == ()
    assert answer.finish_reason == "stop"
    assert answer.usage.image_tokens == 421
    assert answer.usage.total_tokens == len(engine.requests[0].prompt) + 6
    assert asked(assistant, engine).endswith("<|User|>: \nWhat is it?\n\n<|Assistant|>:")


def test_ask_without_a_picture_and_with_several() -> None:
    assistant, engine = scripted("a", "b", "c")
    assert assistant.ask([], "Hello").usage.image_tokens == 0
    assistant.ask([PICTURE, LARGE.read_bytes()], "Which?")
    assert len(engine.requests[-1].prompt.grids) == 2
    assistant.ask([PICTURE, PIL.Image.open(LARGE)], "Is <image> like <image>?")
    assert ": Is  like ?" in asked(assistant, engine)


def test_chat_takes_every_spelling() -> None:
    assistant, engine = scripted("a", "b", "c")
    content = [{"type": "image", "image": str(PICTURE)}, {"type": "text", "text": "What?"}]
    assistant.chat([{"role": "user", "content": content}])
    first = asked(assistant, engine)
    original = {"role": "<|User|>", "content": "<image>\nWhat?", "images": [PICTURE]}
    assistant.chat([original, {"role": "<|Assistant|>", "content": ""}])
    assert asked(assistant, engine) == first
    assistant.chat(as_conversation("What?", PICTURE))
    assert asked(assistant, engine) == first


def test_an_answer_goes_into_the_next_turn_as_it_is() -> None:
    said = "See " + boxes("it", (1, 2, 3, 4))
    assistant, engine = scripted(said, "b")
    answer = assistant.ask(PICTURE, "What?")
    messages = [
        {"role": "user", "content": "<image>\nWhat?", "images": [PICTURE]},
        {"role": "assistant", "content": answer.text},
        {"role": "user", "content": "More"},
    ]
    assistant.chat(messages)
    assert f"<|Assistant|>:{said}<" in asked(assistant, engine)


def test_boxes_are_in_pixels_of_the_picture() -> None:
    assistant, _ = scripted("Two " + boxes("dogs", (0, 0, 999, 999), (100, 200, 300, 400)) + ".")
    answer = assistant.ask(LARGE, "<|grounding|>Describe it.")
    assert answer.readable == "Two dogs."
    assert answer.boxes[0] == Box("dogs", 0, 0, 640, 480)
    assert answer.boxes[1].corners == pytest.approx([64.06, 96.1, 192.19, 192.19], abs=0.01)


def test_boxes_are_in_the_last_of_several_pictures() -> None:
    assistant, _ = scripted(boxes("it", (0, 0, 999, 999)), boxes("it", (0, 0, 999, 999)))
    answer = assistant.ask([LARGE, PICTURE], "Where?")
    assert answer.boxes[0].corners == (0, 0, 97, 61)
    answer = assistant.ask([PICTURE, LARGE], "Where?")
    assert answer.boxes[0].corners == (0, 0, 640, 480)


def test_boxes_are_in_the_picture_as_it_is_shown() -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # lies on its side
    stream = io.BytesIO()
    PIL.Image.new("RGB", (900, 300)).save(stream, "JPEG", exif=exif)
    assistant, engine = scripted(boxes("it", (0, 0, 999, 999)))
    answer = assistant.locate(stream.getvalue(), "it")
    assert answer.boxes[0].corners == (0, 0, 300, 900)
    (grid,) = engine.requests[0].prompt.grids
    assert grid.rows > grid.columns


def test_without_a_picture_there_are_no_boxes() -> None:
    assistant, _ = scripted(boxes("it", (1, 2, 3, 4)))
    assert assistant.ask([], "Where?").boxes == ()


def test_locate_asks_as_the_original_does() -> None:
    assistant, engine = scripted(boxes("the red box", (0, 0, 999, 500)))
    answer = assistant.locate(PICTURE, "the red box")
    assert "<|User|>: \n<|ref|>the red box<|/ref|>.\n\n" in asked(assistant, engine)
    assert [box.label for box in answer.boxes] == ["the red box"]


def test_streaming_gives_the_text_in_pieces() -> None:
    assistant, engine = scripted("A rather long answer.")
    stream = assistant.stream("What?", PICTURE)
    assert next(stream) == "A rat"
    assert stream.text == "A rat"
    rest = list(stream)
    assert stream.answer.text == "A rat" + "".join(rest) == "A rather long answer."
    assert engine.closed == 1


def test_the_answer_of_a_stream_needs_no_loop() -> None:
    assistant, _ = scripted("A rather long answer.")
    assert assistant.stream("What?").answer.text == "A rather long answer."


def test_a_closed_stream_stops_the_engine_and_has_no_answer() -> None:
    assistant, engine = scripted("A rather long answer.")
    stream = assistant.stream("What?")
    next(stream)
    stream.close()
    assert engine.closed == 1
    assert list(stream) == []
    with pytest.raises(InputError, match="closed"):
        _ = stream.answer


def test_options_reach_the_engine() -> None:
    assistant, engine = scripted("a", "b")
    assistant.ask(LARGE, "What?", temperature=0.5, top_p=0.9, max_tokens=7, seed=3, max_tiles=1)
    sampling = engine.requests[0].sampling
    assert (sampling.temperature, sampling.top_p, sampling.max_tokens) == (0.5, 0.9, 7)
    assert sampling.seed == 3
    assert len(engine.requests[0].prompt.pixel_values) == 2
    assistant.ask(LARGE, "What?")
    assert len(engine.requests[1].prompt.pixel_values) > 2


def test_an_answer_as_json() -> None:
    assistant, _ = scripted("On " + boxes("it", (0, 0, 500, 500)))
    answer = assistant.ask(PICTURE, "Where?")
    shown = json.loads(json.dumps(answer.as_dict()))
    assert shown["text"] == answer.text
    assert shown["boxes"] == [{"label": "it", "box": [0.0, 0.0, 48.5, 30.5]}]
    assert set(shown["usage"]) == {
        "prompt_tokens",
        "image_tokens",
        "completion_tokens",
        "cached_tokens",
        "total_tokens",
    }


def test_bad_input_is_told_before_the_engine_is_asked() -> None:
    assistant, engine = scripted()
    bad = [
        (ImageError, lambda: assistant.ask(PICTURE.parent, "What?")),
        (ImageError, lambda: assistant.stream("What?", "nowhere.png")),
        (InputError, lambda: assistant.ask(PICTURE, "  ")),
        (InputError, lambda: assistant.ask(PICTURE, None)),
        (InputError, lambda: assistant.ask(PICTURE, "What?", max_tiles="2")),
        (InputError, lambda: assistant.locate(PICTURE, "")),
        (InputError, lambda: assistant.locate(PICTURE, None)),
        (InputError, lambda: assistant.ask(PICTURE, "What?", temperature=-1)),
        (ConversationError, lambda: assistant.ask(PICTURE, "<image><image>")),
        (ConversationError, lambda: assistant.chat([])),
        (ConversationError, lambda: assistant.chat([{"role": "robot", "content": "Hi"}])),
        (ConversationError, lambda: assistant.chat([{"role": "assistant", "content": "Yes."}])),
        (ContextError, lambda: assistant.ask([], "word " * 9000)),
    ]
    for kind, ask in bad:
        with pytest.raises(kind):
            ask()
    assert engine.requests == []


@pytest.mark.parametrize(
    ("wrong", "near"), [("temprature", "temperature"), ("max_tile", "max_tiles")]
)
def test_an_unknown_option_is_a_type_error_that_names_the_nearest(wrong, near) -> None:
    assistant, _ = scripted()
    told = f"There is no option '{wrong}'. Did you mean '{near}'"
    with pytest.raises(TypeError, match=told):
        assistant.ask(PICTURE, "What?", **{wrong: 1})


def test_the_options_of_an_answer_are_the_fields_of_sampling() -> None:
    assert set(Options.__annotations__) == {field.name for field in dataclasses.fields(Sampling)}


def test_where_it_runs() -> None:
    assistant, _ = scripted()
    assert (assistant.device, assistant.dtype) == ("cpu", "float32")

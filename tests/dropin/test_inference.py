"""Streaming as the original's web demo does it, conversations and boxes."""

import threading

import PIL.Image
import pytest
import torch
from dropin_inputs import model_of, processor_of
from golden import checkpoint, load_case, messages, picture

from vl2.dropin.conversation import Conversation, get_conv_template, register_conv_template
from vl2.dropin.drawing import parse_ref_bbox, strip_stop_words
from vl2.dropin.inference import (
    convert_conversation_to_prompts,
    deepseek_generate,
    load_model,
)
from vl2.dropin.io import load_json
from vl2.dropin.modeling import NoGpuWarning
from vl2.errors import ImageError, InputError


def stream(name="vqa_one_image", **options):
    processor = processor_of("small")
    settings = {"temperature": 0, "max_length": 10, "stop_words": [], **options}
    return deepseek_generate(
        messages(name), model_of("small"), processor, processor.tokenizer, **settings
    )


@pytest.mark.parametrize("chunk_size", [-1, 200])
def test_pieces_of_an_answer_equal_the_golden_one(chunk_size):
    wanted = load_case("small", "vqa_one_image").tensors["greedy_tokens"].tolist()
    text = "".join(stream(chunk_size=chunk_size))
    assert text == processor_of("small").tokenizer.decode(wanted)


def test_a_stop_word_ends_the_answer():
    tokenizer = processor_of("small").tokenizer
    wanted = load_case("small", "vqa_one_image").tensors["greedy_tokens"].tolist()
    token = next(
        t
        for t in wanted[1:]
        if tokenizer.encode(tokenizer.decode([t]), add_special_tokens=False) == [t]
    )
    text = "".join(stream(stop_words=[tokenizer.decode([token])]))
    assert text == tokenizer.decode(wanted[: wanted.index(token) + 1])


def test_sampling_is_repeatable():
    answers = []
    for _ in range(2):
        torch.manual_seed(3)
        answers.append("".join(stream(temperature=0.7, top_p=0.9)))
    assert answers[0] == answers[1]


def test_leaving_early_ends_the_work():
    before = threading.active_count()
    pieces = stream(max_length=2000, stop_words=[])
    next(pieces)
    pieces.close()
    assert threading.active_count() == before


def test_an_error_in_the_model_arrives_here():
    with pytest.raises(InputError, match="chunk_size"):
        "".join(stream(chunk_size=0))


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_loading():
    with pytest.warns(NoGpuWarning):
        tokenizer, model, processor = load_model(checkpoint("tiny"), dtype=torch.float32)
    assert processor.tokenizer is tokenizer
    assert model.dtype == torch.float32


def test_a_history_becomes_messages():
    history = get_conv_template("deepseek")
    with PIL.Image.open(picture("97x61.png")) as image:
        shown = image.convert("RGB")
    user, model = history.roles
    history.append_message(user, ("<image>\nWhat?", [shown]))
    history.append_message(model, "A box.")
    history.append_message(user, "And?")
    history.append_message(model, "")
    prompts, last = convert_conversation_to_prompts(history)
    assert last is shown
    assert [prompt["role"] for prompt in prompts] == [user, model] * 2
    assert prompts[0]["images"] == [shown]
    assert prompts[2]["images"] == []
    made = processor_of("small")(conversations=prompts)
    assert made.images_spatial_crop.tolist() == [[[1, 1]]]
    assert convert_conversation_to_prompts(get_conv_template("plain")) == ([], None)


def test_how_a_conversation_is_printed_and_kept():
    said = get_conv_template("deepseek")
    said.set_system_message("Be brief.")
    said.append_message(said.roles[0], "Hello!")
    said.append_message(said.roles[1], None)
    assert said.get_prompt() == "Be brief.\n\n<|User|>: Hello!\n\n<|Assistant|>:"
    assert said.to_gradio_chatbot() == [["Hello!", None]]
    copy = said.copy()
    said.update_last_message("Hi.")
    assert said.get_prompt().endswith("<|Assistant|>: Hi.<｜end▁of▁sentence｜>")
    assert said.to_gradio_chatbot() == [["Hello!", "Hi."]]
    assert said.to_openai_api_messages() == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello!"},
        {"role": "assistant", "content": "Hi."},
    ]
    assert copy.messages[1][1] is None
    assert copy.to_openai_api_messages()[1:] == [{"role": "user", "content": "Hello!"}]
    assert said.dict()["messages"] == said.messages
    said.reset_message()
    assert said.get_prompt() == "Be brief.\n\n"
    assert get_conv_template("deepseek").messages == []
    plain = get_conv_template("plain")
    plain.append_message("", "as it is")
    assert plain.get_prompt() == "as it is"


def test_templates_by_name():
    with pytest.raises(InputError, match="already"):
        register_conv_template(Conversation("deepseek"))
    register_conv_template(Conversation("deepseek"), override=True)
    with pytest.raises(InputError, match="no conversation template 'vicuna'"):
        get_conv_template("vicuna")


BOX = "<|ref|>cat<|/ref|><|det|>[[100, 100, 500, 500]]<|/det|>"


@pytest.mark.parametrize(
    "answer",
    [
        BOX,
        BOX + "<|ref|>dog<|/ref|>",
        BOX + "<|ref|>dog<|/ref|><|det|>[[1, 2, 3",
        BOX + "<|ref|>x<|/ref|><|det|>[[__import__('os').abort()]]<|/det|>",
    ],
)
def test_boxes_are_drawn_and_nothing_is_evaluated(answer):
    white = PIL.Image.new("RGB", (200, 100), "white")
    drawn = parse_ref_bbox(answer, white)
    assert drawn.size == white.size
    assert drawn.getpixel((round(100 / 999 * 200), 30)) != (255, 255, 255)
    assert white.getpixel((20, 30)) == (255, 255, 255)


def test_no_boxes_no_picture():
    assert parse_ref_bbox("A cat.", PIL.Image.new("RGB", (9, 9))) is None
    assert strip_stop_words(" a cat<end> and", ["<end>"]) == "a cat"
    assert strip_stop_words(" a cat ", ["<end>"]) == "a cat"


def test_files(tmp_path):
    (tmp_path / "a.json").write_text('{"a": ["é"]}', encoding="utf-8")
    assert load_json(tmp_path / "a.json") == {"a": ["é"]}
    from vl2.dropin.io import load_pil_images

    with pytest.raises(ImageError, match="does not exist"):
        load_pil_images([{"role": "User", "images": ["absent.png"]}])

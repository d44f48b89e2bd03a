import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from vl2.synth import vocabulary
from vl2.synth.answers import COORDINATES
from vl2.train.tokenizer import build_tokenizer

TOKENIZER = build_tokenizer(vocabulary(), COORDINATES, 2048)


def pieces(text):
    return TOKENIZER.convert_ids_to_tokens(TOKENIZER.encode(text, add_special_tokens=False))


def test_a_known_word_is_one_token_with_or_without_a_space():
    assert pieces(" red star") == ["Ġred", "Ġstar"]
    assert pieces("red star") == ["red", "Ġstar"]


def test_any_other_word_is_spelt():
    assert pieces("redder Stars") == [*"redder", "Ġ", *"Stars"]


def test_it_stays_the_same_when_saved_and_loaded(tmp_path):
    TOKENIZER.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = "Is there a redder star? [[120, 40, 999, 410]]"
    assert loaded.encode(text) == TOKENIZER.encode(text)


def test_coordinates_are_whole_with_what_stands_before_them():
    text = "[[120, 40, 999, 410], [10, 20, 30, 40]]"
    wanted = ["[[120", ",Ġ40", ",Ġ999", ",Ġ410", "],Ġ[10", ",Ġ20", ",Ġ30", ",Ġ40", "]]"]
    assert pieces(text) == wanted


def test_printed_numbers_are_spelt_digit_by_digit():
    assert pieces("4821") == ["4", "8", "2", "1"]


def test_special_tokens_follow_each_other_in_the_original_order():
    names = ["<image>", "<|ref|>", "<|/ref|>", "<|det|>", "<|/det|>", "<|grounding|>"]
    names += ["<|User|>", "<|Assistant|>"]
    ids = TOKENIZER.convert_tokens_to_ids(names)
    assert ids == list(range(ids[0], ids[0] + 8))
    assert ids[-1] == len(TOKENIZER) - 1


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=60))
def test_any_text_comes_back(text):
    ids = TOKENIZER.encode(text, add_special_tokens=False)
    if "<" not in text:
        assert TOKENIZER.decode(ids) == text


@pytest.mark.parametrize("text", ["图片中有什么？", "naïve\n\n  x=1,234.5", "[[1, 2], [30"])
def test_text_outside_its_world_comes_back(text):
    assert TOKENIZER.decode(TOKENIZER.encode(text, add_special_tokens=False)) == text

import random

import pytest

from vl2.synth import strings
from vl2.synth.names import CHARACTERS
from vl2.synth.words import WORDS


def test_the_word_list_is_clean():
    assert len(WORDS) > 1000
    assert len(set(WORDS)) == len(WORDS)
    assert all(3 <= len(word) <= 8 and word.isascii() and word.islower() for word in WORDS)


@pytest.mark.parametrize("held_out", [False, True])
def test_drawn_strings_belong_to_their_split_and_can_be_printed(held_out):
    rng = random.Random(1)
    for draw in (strings.word, strings.number):
        drawn = [draw(rng, held_out=held_out) for _ in range(400)]
        assert all(strings.is_held_out(string) == held_out for string in drawn)
        assert all(set(string) <= set(CHARACTERS) for string in drawn)
        assert all(strings.is_number(string) == (draw is strings.number) for string in drawn)
        assert len(set(drawn)) > 250


def test_words_come_in_three_cases_and_half_are_made_up():
    rng = random.Random(2)
    drawn = [strings.word(rng, held_out=False) for _ in range(1000)]
    assert 450 < sum(word.islower() for word in drawn) < 700
    assert sum(word.isupper() for word in drawn) > 130
    assert sum(word[0].isupper() and word[1:].islower() for word in drawn) > 130
    listed = sum(word.lower() in set(WORDS) for word in drawn)
    assert 420 < listed < 600


def test_no_word_has_an_unreadable_case():
    rng = random.Random(3)
    drawn = [strings.word(rng, held_out=False) for _ in range(3000)]
    assert not any(word.isupper() and set(word) <= set("COSVWXZ") for word in drawn)
    assert not any(word[0] == "I" and word[1:].islower() for word in drawn)


def test_case_does_not_move_a_string_to_the_other_split():
    held_out = [word for word in WORDS if strings.is_held_out(word)]
    assert 100 < len(held_out) < 300
    assert all(strings.is_held_out(word.upper()) for word in held_out)
    assert not strings.is_held_out("7")

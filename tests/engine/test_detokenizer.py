"""Text in whole characters, however tokens cut them."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from vl2.engine.detokenizer import Detokenizer, token_bytes
from vl2.processing.tokens import load_tokenizer


def decoder(pieces: list[bytes]):
    """Tokens whose text is these bytes, decoded as byte-level tokenizers do."""
    return lambda ids: b"".join(pieces[i] for i in ids).decode("utf-8", errors="replace")


def deltas(pieces: list[bytes]) -> list[str]:
    detokenizer = Detokenizer(decoder(pieces))
    return [detokenizer.add(token) for token in range(len(pieces))]


def test_a_character_waits_until_it_is_whole() -> None:
    assert deltas([b"a", b"\xe4", b"\xbd", b"\xa0", b"!"]) == ["a", "", "", "你", "!"]


def test_text_before_an_incomplete_character_does_not_wait() -> None:
    assert deltas([b"so \xf0\x9f", b"\x98\x80 and"]) == ["so ", "😀 and"]


def test_an_incomplete_end_is_left_out() -> None:
    assert "".join(deltas([b"a", b"\xe4\xbd"])) == "a"


def test_broken_bytes_come_out_once_more_text_follows() -> None:
    assert "".join(deltas([b"\xbd", b"\xe4", b"a"])) == "\ufffd\ufffda"


def test_a_flood_of_broken_bytes_is_not_held_forever() -> None:
    flood = deltas([b"\xff"] * 500)
    assert len("".join(flood)) >= 490


@given(st.text(max_size=40), st.lists(st.integers(0, 160), max_size=60))
def test_any_cut_of_any_text_gives_the_text_in_whole_characters(text, cuts) -> None:
    data = text.encode()
    places = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    pieces = [data[a:b] for a, b in itertools.pairwise(places)]
    given_text = deltas(pieces)
    assert "".join(given_text) == text
    assert all("\ufffd" not in delta or "\ufffd" in text for delta in given_text)


@given(st.lists(st.binary(min_size=1, max_size=3), max_size=60))
def test_any_bytes_give_what_decoding_them_at_once_gives(pieces) -> None:
    whole = decoder(pieces)(range(len(pieces)))
    assert "".join(deltas(pieces)) == whole.removesuffix("\ufffd")


def test_the_bytes_of_tokens_together_are_those_of_the_text(nano) -> None:
    tokenizer = load_tokenizer(nano)
    text = "a red box, 你好 😀\n\u00ad\x00\u0120<|ref|>\ufffd"
    ids = tokenizer.encode(text, add_special_tokens=False)
    texts = [tokenizer.decode([token]) for token in ids]
    assert any("\ufffd" in alone for alone in texts[:-3])
    spellings = tokenizer.convert_ids_to_tokens(ids)
    assert b"".join(map(token_bytes, texts, spellings)) == text.encode()

"""Text of an answer: whole characters, and never a part of a stop text."""

from hypothesis import given
from hypothesis import strategies as st

from vl2.engine.requests import Candidate, Choice, Delta
from vl2.engine.writer import Writer

ALPHABET = "abcn.é"


def decode(ids) -> str:
    return bytes(ids).decode("utf-8", errors="replace")


def written(data: bytes, stops=()) -> tuple[list[str], bool]:
    writer, pieces = Writer(decode, stops), []
    for byte in data:
        delta = writer.add(byte)
        if delta is not None:
            pieces.append(delta.text)
        if writer.stopped:
            return pieces, True
    delta = writer.end()
    if delta is not None:
        pieces.append(delta.text)
    return pieces, False


@given(
    st.text(ALPHABET, max_size=40),
    st.lists(st.text(ALPHABET, min_size=1, max_size=4), max_size=3),
)
def test_the_text_ends_before_the_first_stop_text(text: str, stops: list[str]) -> None:
    pieces, stopped = written(text.encode(), stops)
    ends = [(text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text]
    # The stop text that is complete first ends the answer; of several, the one that begins first.
    first = min(end for end, _ in ends) if ends else None
    begin = min((b for e, b in ends if e == first), default=None)
    assert stopped == bool(ends)
    assert "".join(pieces) == text[:begin]
    assert all(pieces)


def test_text_is_held_back_no_longer_than_needed() -> None:
    writer = Writer(decode, ["</end>", "\n\n"])
    given_out = [writer.add(byte) for byte in b"a<b</en\n."]
    assert [delta and delta.text for delta in given_out] == [
        "a", None, "<b", None, None, None, None, "</en", "\n.",
    ]  # fmt: skip


def test_characters_stay_whole_beside_stop_texts() -> None:
    pieces, stopped = written("好é的end".encode(), ["end"])
    assert pieces == ["好", "é", "的"]
    assert stopped


def choice(token: int) -> Choice:
    return Choice(Candidate(token, chr(token), bytes([token]), -1.0))


def test_choices_come_with_the_text_that_follows_them() -> None:
    writer = Writer(decode, ["ab"])
    assert writer.add(ord("x"), choice(1)) == Delta("x", (choice(1),))
    assert writer.add(ord("a"), choice(2)) is None
    assert writer.add(ord("c"), choice(3)) == Delta("ac", (choice(2), choice(3)))
    assert writer.end(choice(4)) == Delta("", (choice(4),))
    assert writer.end() is None

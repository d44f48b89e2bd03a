import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import golden

from vl2.chat import Conversation, Image, Message, Text, as_conversation
from vl2.errors import ConversationError
from vl2.processing.template import Piece, encode, lay_out, read_markup, render
from vl2.processing.tokens import Vocabulary, load_tokenizer

BOS, EOS = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
WORDS = st.text(alphabet="ab .:)\n<|>图", max_size=12)


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return _vocabulary()


def user(*parts: str | bytes) -> Message:
    """A user's message; bytes stand for a picture."""
    return Message("user", tuple(Image(p) if isinstance(p, bytes) else Text(p) for p in parts))


def assistant(text: str) -> Message:
    return Message("assistant", (Text(text),))


def written(vocabulary, *messages, generate=True) -> str:
    return render(lay_out(Conversation(messages), vocabulary, generate=generate))


@pytest.mark.parametrize("name", sorted(set(golden.CASES) - {"system_message"}))
def test_the_string_equals_the_original(vocabulary, name):
    # the string that the original shows for a system message is not what it tokenises
    case = golden.load_case("small", name)
    pieces = lay_out(as_conversation(case.messages), vocabulary, generate=True)
    assert render(pieces) == BOS + case.info["sft_format"].replace("<|Assistant|>: ", TURN)


TURN = "<|Assistant|>:"


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([user("Hi.")], "<|User|>: Hi.\n\n<|Assistant|>:"),
        ([user(" \n Hi. \t")], "<|User|>: Hi.\n\n<|Assistant|>:"),
        ([user(b"", "\n")], "<|User|>: <image>\n\n<|Assistant|>:"),
        ([user(" ", b"", " a ", b"", " b ")], "<|User|>: <image> a <image> b\n\n<|Assistant|>:"),
        ([user("  ")], "<|User|>:<|Assistant|>:"),
        (
            [user("Hi."), assistant(" Yes. "), user("So?")],
            f"<|User|>: Hi.\n\n<|Assistant|>:Yes.{EOS}<|User|>: So?\n\n<|Assistant|>:",
        ),
        (
            [Message("system", (Text(" Be brief. "),)), user("Hi.")],
            "Be brief.<|User|>: Hi.\n\n<|Assistant|>:",
        ),
    ],
)
def test_layout(vocabulary, messages, expected):
    assert written(vocabulary, *messages) == BOS + expected


def test_a_last_question_stays_open_without_generation(vocabulary):
    assert written(vocabulary, user("Hi."), generate=False) == f"{BOS}<|User|>: Hi.\n\n"


def test_a_last_answer_is_closed(vocabulary):
    text = written(vocabulary, user("Hi."), assistant("Yes."), generate=False)
    assert text == f"{BOS}<|User|>: Hi.\n\n<|Assistant|>:Yes.{EOS}"


@pytest.mark.parametrize("messages", [[], [user("Hi."), assistant("Yes.")]])
def test_without_a_question_there_is_nothing_to_answer(vocabulary, messages):
    with pytest.raises(ConversationError, match="must end with a question"):
        written(vocabulary, *messages)


def test_stretches_are_tokenised_apart(vocabulary):
    encode_text = vocabulary.encode_text
    ids = encode(
        lay_out(
            Conversation((user("a\n", b"", "\n b"), assistant(")"), user("c"))),
            vocabulary,
            generate=True,
        ),
        vocabulary,
        [2],
    ).token_ids
    special = vocabulary.ids
    assert ids.tolist() == [
        special.bos,
        special.user,
        *encode_text(": a\n"),
        special.image,
        special.image,
        *encode_text("\n b\n\n"),
        special.assistant,
        *encode_text(":"),
        *encode_text(")"),
        special.eos,
        special.user,
        *encode_text(": c\n\n"),
        special.assistant,
        *encode_text(":"),
    ]


def test_only_answers_are_supervised(vocabulary):
    conversation = Conversation(
        (Message("system", (Text("Be brief."),)), user(b"", "Hi."), assistant("Yes."))
    )
    pieces = lay_out(conversation, vocabulary, generate=False)
    masked = encode(pieces, vocabulary, [3])
    answer = [*vocabulary.encode_text("Yes."), vocabulary.ids.eos]
    assert masked.token_ids[masked.supervised].tolist() == [vocabulary.ids.bos, *answer]
    everything = encode(pieces, vocabulary, [3], mask_prompt=False)
    assert np.array_equal(everything.supervised, ~everything.image_mask)
    assert everything.image_mask.sum() == 3


def test_another_number_of_pictures_is_refused(vocabulary):
    with pytest.raises(ConversationError, match="1 times but 2 pictures"):
        encode([Piece("picture", "<image>")], vocabulary, [5, 5])


@given(
    st.lists(st.tuples(WORDS, WORDS, st.booleans()), min_size=1, max_size=3),
    st.booleans(),
)
def test_a_rendered_layout_reads_back_to_the_same_tokens(turns, generate):
    vocabulary = _vocabulary()
    messages = []
    for question, answer, picture in turns:
        messages += [user(*([b"", question] if picture else [question])), assistant(answer)]
    if generate:
        messages.append(user("Why?"))
    pieces = lay_out(Conversation(tuple(messages)), vocabulary, generate=generate)
    counts = [4] * sum(picture for _, _, picture in turns)
    direct = encode(pieces, vocabulary, counts)
    again = encode(read_markup(render(pieces)), vocabulary, counts)
    assert direct.token_ids.tolist() == again.token_ids.tolist()
    assert direct.image_mask.tolist() == again.image_mask.tolist()


@functools.cache
def _vocabulary() -> Vocabulary:
    return Vocabulary.of(load_tokenizer(golden.checkpoint("small")))

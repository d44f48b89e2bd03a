import PIL.Image
import pytest

from vl2.chat import Conversation, Image, Message, Text
from vl2.errors import ConversationError, InputError
from vl2.processing.calls import conversations_of, distributed, stand_ins

ASK = [{"role": "user", "content": "Hi."}]
SPOKEN = Conversation((Message("user", (Image("a.png"), Text("Hi."))),))


class Chat:
    messages = ASK


@pytest.mark.parametrize(
    ("given", "single", "rows"),
    [
        (ASK, True, [ASK]),
        ([ASK, ASK], False, [ASK, ASK]),
        ("Hi.", True, ["Hi."]),
        (SPOKEN, True, [SPOKEN.messages]),
        ([SPOKEN, SPOKEN], False, [SPOKEN.messages] * 2),
        (list(SPOKEN.messages), True, [list(SPOKEN.messages)]),
        (Chat(), True, [ASK]),
        ([Chat()], False, [ASK]),
    ],
)
def test_one_conversation_or_several(given, single, rows):
    assert conversations_of(given) == (single, rows)


@pytest.mark.parametrize(
    ("conversation", "count"),
    [
        ("<image>\n<image>\nCompare.", 2),
        (SPOKEN, 0),
        (SPOKEN.messages, 0),
        ([{"role": "user", "content": "<image>\nHi."}], 1),
        ([{"role": "user", "content": "<image>\nHi.", "images": ["a.png"]}], 0),
        ([{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Hi."}]}], 1),
        ([{"role": "user", "content": [{"type": "image", "url": "a.png"}]}], 0),
        ([{"role": "user", "content": [{"type": "image", "image": None}]}], 1),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": "a.png"}]}], 0),
        ([{"role": "user", "content": [{"type": "text", "text": "<image> <image>"}]}], 2),
        (
            [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "<image>"}]}],
            1,
        ),
        ([{"role": "assistant", "content": None}], 0),
        ([{"role": "user", "content": 5}], 0),
        (None, 0),
    ],
)
def test_pictures_that_a_conversation_does_not_hold(conversation, count):
    assert stand_ins(conversation) == [b""] * count


PICTURE = PIL.Image.new("L", (1, 1))


@pytest.mark.parametrize(
    ("images", "counts", "rows"),
    [
        (None, [0, 2], [[], []]),
        ("a.png", [1], [["a.png"]]),
        (PICTURE, [1], [[PICTURE]]),
        (["a", "b", "c"], [1, 0, 2], [["a"], [], ["b", "c"]]),
        ([["a"], [], ["b", "c"]], [1, 0, 2], [["a"], [], ["b", "c"]]),
        ([["a"], None], [1, 0], [["a"], []]),
        ([["a"], "b"], [1, 1], [["a"], ["b"]]),
        ((("a",), ("b",)), [1, 1], [["a"], ["b"]]),
    ],
)
def test_pictures_reach_their_rows(images, counts, rows):
    assert distributed(images, counts) == rows


@pytest.mark.parametrize(
    ("images", "counts", "message"),
    [
        (["a"], [1, 1], "2 times but 1 pictures"),
        (["a", "b"], [1], "1 times but 2 pictures"),
        ([["a"]], [1, 1], "2 texts but 1 lists"),
    ],
)
def test_pictures_that_do_not_fit_are_refused(images, counts, message):
    with pytest.raises(ConversationError, match=message):
        distributed(images, counts)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda p: p(images=1.5, text="<image>"), "must come as a list, got float"),
        (lambda p: p(images=[[], 7], text=["a", "b"]), "must come as a list, got int"),
        (lambda p: p(text="half \ud83d"), "half characters"),
        (lambda p: p.apply_chat_template(None), "must be a question or a list of messages"),
        (lambda p: p.apply_chat_template([{"role": "user", "content": True}]), "got bool"),
    ],
)
def test_what_is_no_conversation_is_told(processor, call, told):
    with pytest.raises(InputError, match=told):
        call(processor)

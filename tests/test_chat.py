"""Conversations: one type behind every accepted spelling."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from vl2.chat import Conversation, Image, Message, Text, as_conversation, as_picture
from vl2.errors import ConversationError, ImageError

GOLDEN = Path(__file__).parent / "data" / "golden"


def png(colour: str = "red") -> bytes:
    stream = io.BytesIO()
    PIL.Image.new("RGB", (4, 3), colour).save(stream, "PNG")
    return stream.getvalue()


def one(parts: tuple[Text | Image, ...]) -> Conversation:
    return Conversation((Message("user", parts),))


def test_a_question_alone() -> None:
    assert as_conversation("Why?") == one((Text("Why?"),))


def test_pictures_stand_before_the_question_each_on_its_line() -> None:
    conversation = as_conversation("Why?", ["a.png", Path("b.png")])
    assert conversation == one((Image("a.png"), Text("\n"), Image(Path("b.png")), Text("\nWhy?")))
    assert conversation.messages[0].content == "<image>\n<image>\nWhy?"


def test_a_single_picture_counts_as_a_list_of_one() -> None:
    assert as_conversation("Why?", "a.png") == as_conversation("Why?", ["a.png"])


def test_a_question_may_say_where_its_pictures_go() -> None:
    conversation = as_conversation("Is <image> like <image>?", ["a.png", "b.png"])
    assert conversation == one(
        (Text("Is "), Image("a.png"), Text(" like "), Image("b.png"), Text("?"))
    )


def test_openai_parts() -> None:
    url = "data:image/png;base64," + base64.b64encode(png()).decode()
    messages = [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": url, "detail": "high"}},
                {"type": "text", "text": "What "},
                {"type": "text", "text": "is it?"},
            ],
        },
        {"role": "assistant", "content": "A box."},
        {"role": "user", "content": [{"type": "image_url", "image_url": url}]},
    ]
    assert as_conversation(messages) == Conversation(
        (
            Message("system", (Text("Be brief."),)),
            Message("user", (Image(png()), Text("\nWhat is it?"))),
            Message("assistant", (Text("A box."),)),
            Message("user", (Image(png()), Text("\n"))),
        )
    )


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image", "image": "a.png"},
        {"type": "image", "url": "a.png"},
        {"type": "image", "path": "a.png"},
        {"type": "image", "image": Path("a.png")},
        {"type": "image", "image": png()},
        {"type": "image", "base64": base64.b64encode(png()).decode()},
        {"type": "image", "image": PIL.Image.new("RGB", (2, 2))},
        {"type": "image"},
    ],
)
def test_image_parts_name_their_source_in_many_ways(part: dict[str, Any]) -> None:
    given = ["given.png"] if len(part) == 1 else []
    messages = [{"role": "user", "content": [part, {"type": "text", "text": "What?"}]}]
    message = as_conversation(messages, given).messages[0]
    assert message.content == "<image>\nWhat?"
    (picture,) = (image.source for image in message.images)
    if "base64" in part:
        assert picture == png()
    elif given:
        assert picture == "given.png"
    else:
        assert picture in part.values()


def test_parts_may_say_with_the_placeholder_where_pictures_go() -> None:
    content = [
        {"type": "image", "image": "a.png"},
        {"type": "text", "text": "Read <image> aloud."},
    ]
    message = as_conversation([{"role": "user", "content": content}]).messages[0]
    assert message.parts == (Text("Read "), Image("a.png"), Text(" aloud."))


def test_the_original_messages() -> None:
    cases = json.loads((GOLDEN / "conversations.json").read_text(encoding="utf-8"))["cases"]
    for messages in cases.values():
        conversation = as_conversation(messages)
        kept = [message for message in messages if message["content"]]
        assert [message.content for message in conversation.messages] == [
            message["content"] for message in kept
        ]
        assert [image.source for image in conversation.images] == [
            source for message in kept for source in message.get("images", [])
        ]
    three = as_conversation(cases["multi_turn"])
    assert [message.role for message in three.messages] == ["user", "assistant", "user"]


def test_pictures_handed_in_beside_messages_are_taken_in_order() -> None:
    messages = [
        {"role": "user", "content": "First <image>."},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "And this?"}]},
    ]
    conversation = as_conversation(messages, ["a.png", "b.png"])
    assert [image.source for image in conversation.images] == ["a.png", "b.png"]


def test_only_the_last_empty_answer_is_dropped() -> None:
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "b"},
        {"role": "assistant", "content": None},
    ]
    assert [message.role for message in as_conversation(messages).messages] == [
        "user",
        "assistant",
        "user",
    ]


def test_neighbouring_texts_are_joined() -> None:
    assert Message("user", (Text("a"), Text(""), Text("b"))) == Message("user", (Text("ab"),))


def test_conversations_grow_without_changing() -> None:
    first = as_conversation("Why?")
    longer = first.add(Message("assistant", (Text("So."),)))
    assert len(first.messages) == 1
    assert [message.content for message in longer.messages] == ["Why?", "So."]
    assert as_conversation(longer) is longer
    assert as_conversation(list(longer.messages)) == longer


BAD: dict[str, tuple[Any, list[Any], type[Exception], str]] = {
    "too few pictures": ("<image> and <image>", ["a.png"], ConversationError, "2 times but 1"),
    "no picture": ("What is <image>?", [], ConversationError, "1 times but 0"),
    "too many for messages": (
        [{"role": "user", "content": "Hi"}],
        ["a.png"],
        ConversationError,
        "1 pictures were handed in",
    ),
    "own list differs": (
        [{"role": "<|User|>", "content": "<image>", "images": ["a", "b"]}],
        [],
        ConversationError,
        "1 times but 2",
    ),
    "own list without a place": (
        [{"role": "user", "content": "Hi", "images": ["a"]}],
        [],
        ConversationError,
        "0 times but 1",
    ),
    "own list without a part": (
        [{"role": "user", "content": [{"type": "text", "text": "Hi"}], "images": ["a"]}],
        [],
        ConversationError,
        "1 of a message's 'images' have no place",
    ),
    "bytes that were no text": (
        "a\udcff",
        [],
        ConversationError,
        "'a\\udcff' holds half characters",
    ),
    "unknown role": ([{"role": "robot", "content": "x"}], [], ConversationError, "'robot'"),
    "role of another type": ([{"role": 3, "content": "x"}], [], ConversationError, "role 3"),
    "late system": (
        [{"role": "user", "content": "x"}, {"role": "system", "content": "y"}],
        [],
        ConversationError,
        "Message 2",
    ),
    "picture in an answer": (
        [{"role": "assistant", "content": [{"type": "image", "image": "a.png"}]}],
        [],
        ConversationError,
        "'assistant'",
    ),
    "placeholder in an answer": (
        [{"role": "assistant", "content": "<image>"}],
        [],
        ConversationError,
        "1 times but 0",
    ),
    "no messages": ([], [], ConversationError, "empty"),
    "no role": ([{"content": "x"}], [], ConversationError, "'role'"),
    "no content": ([{"role": "user"}], [], ConversationError, "NoneType"),
    "not a conversation": (7, [], ConversationError, "int"),
    "a lone message": ({"role": "user", "content": "x"}, [], ConversationError, "dict"),
    "unknown part": (
        [{"role": "user", "content": [{"type": "video", "video": "a.mp4"}]}],
        [],
        ConversationError,
        "video",
    ),
    "text part without text": (
        [{"role": "user", "content": [{"type": "text"}]}],
        [],
        ConversationError,
        "'text'",
    ),
    "image part without a source": (
        [{"role": "user", "content": [{"type": "image"}]}],
        [],
        ConversationError,
        "names no picture",
    ),
    "web address": ("x", ["https://example.org/a.png"], ImageError, "nothing is fetched"),
    "web address in capitals": ("x", ["HTTP://example.org/a.png"], ImageError, "web address"),
    "broken base64": ("x", ["data:image/png;base64,@@@"], ImageError, "not valid base64"),
    "data URL without content": ("x", ["data:image/png;base64"], ImageError, "comma"),
    "another type": ("x", [12], ImageError, "got int"),
    "an empty path": ("x", [""], ImageError, "empty"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_conversations_are_told_in_one_sentence(name: str) -> None:
    x, images, kind, said = BAD[name]
    with pytest.raises(kind) as caught:
        as_conversation(x, images)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_message_checks_itself() -> None:
    with pytest.raises(ConversationError, match="no picture stands for it"):
        Message("user", (Text("<image>"),))
    with pytest.raises(ConversationError, match="got str"):
        Message("user", ("text",))  # type: ignore[arg-type]


def test_urls_of_pictures() -> None:
    assert as_picture("file:///tmp/a%20b.png") == "/tmp/a b.png"
    assert as_picture("data:image/svg+xml,%3Csvg/%3E") == b"<svg/>"
    assert as_picture("DATA:image/png;BASE64," + base64.b64encode(png()).decode()) == png()
    assert as_picture(bytearray(b"abc")) == b"abc"
    assert as_picture("data.png") == "data.png"

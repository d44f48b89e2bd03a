"""What a conversation is, and the spellings of it that are accepted.

A `Conversation` holds `Message`s, a message holds `Text` and `Image` parts in reading order. An
`Image` part always stands for exactly one `<image>`; rules of spelling (a picture that comes as a
content part is followed by a line break, as the original's own clients write it) are applied once,
in `as_conversation`, by adding text.
"""

from __future__ import annotations

import base64
import binascii
import os
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import PIL.Image

from vl2.errors import ConversationError, ImageError

IMAGE_TOKEN = "<image>"
"""The placeholder that stands for one picture in the text of a conversation."""

Role: TypeAlias = Literal["system", "user", "assistant"]

Picture: TypeAlias = str | os.PathLike[str] | bytes | PIL.Image.Image
"""What a user may hand in as one picture: a path, a `data:` URL, encoded bytes, or a PIL image."""

_ROLES: dict[str, Role] = {
    "system": "system",
    "user": "user",
    "assistant": "assistant",
    "<|User|>": "user",
    "<|Assistant|>": "assistant",
}


@dataclass(frozen=True, slots=True)
class Text:
    """A stretch of text inside a message."""

    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """One picture inside a message; it stands for exactly one `<image>`."""

    source: Picture


Part: TypeAlias = Text | Image


@dataclass(frozen=True, slots=True)
class Message:
    """What one side said: texts and pictures in reading order.

    Neighbouring texts are joined and empty ones dropped, so two equal messages are equal however
    they were put together.

    Raises:
        ConversationError: the role is unknown, a picture stands outside a user message, or a text
            holds a literal `<image>` that no picture stands for, or is no valid Unicode.
    """

    role: Role
    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "role", _role(self.role))
        object.__setattr__(self, "parts", _joined(self.parts))
        for part in self.parts:
            if isinstance(part, Image) and self.role != "user":
                raise ConversationError(
                    f"A picture stands in a message of role {self.role!r}: "
                    "only messages of the user can hold pictures."
                )
            if isinstance(part, Text) and IMAGE_TOKEN in part.text:
                raise ConversationError(
                    f"The text {_shortened(part.text)!r} holds {IMAGE_TOKEN} but no picture stands "
                    "for it: hand in one picture for each, or take the placeholder out."
                )
            if isinstance(part, Text):
                check_unicode(part.text)

    @property
    def images(self) -> tuple[Image, ...]:
        """The pictures in reading order."""
        return tuple(part for part in self.parts if isinstance(part, Image))

    @property
    def content(self) -> str:
        """The text with `<image>` where a picture stands."""
        return "".join(p.text if isinstance(p, Text) else IMAGE_TOKEN for p in self.parts)


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages in the order in which they were said.

    Raises:
        ConversationError: a system message stands anywhere but first.
    """

    messages: tuple[Message, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "messages", tuple(self.messages))
        for index, message in enumerate(self.messages):
            if message.role == "system" and index > 0:
                raise ConversationError(
                    f"Message {index + 1} has the role 'system': "
                    "a system message can only be the first one."
                )

    @property
    def images(self) -> tuple[Image, ...]:
        """All pictures of the conversation in reading order."""
        return tuple(image for message in self.messages for image in message.images)

    def add(self, message: Message) -> Conversation:
        """A new conversation with `message` at its end."""
        return Conversation((*self.messages, message))


ConversationLike: TypeAlias = Conversation | str | Sequence[Message | Mapping[str, Any]]
"""Everything that `as_conversation` accepts."""


def as_conversation(x: ConversationLike, images: Picture | Iterable[Picture] = ()) -> Conversation:
    r"""Turn any accepted spelling into a `Conversation`.

    Accepted are a `Conversation`; a question (the pictures in `images` are put before it, each as
    `<image>` and a line break, unless the question itself says with `<image>` where they go); a
    list of messages of the OpenAI or transformers kind, whose content is a text or a list of
    parts; and the original's messages `{"role": "<|User|>", "content": "...<image>...",
    "images": [...]}`. Parts that name no source, and `<image>` in messages without an `images`
    list of their own, take the next picture of `images`. An empty last assistant message, the
    original's way of asking for an answer, is dropped. Nothing is fetched or opened here.

    Args:
        x: the conversation in any of these spellings.
        images: pictures that `x` refers to but does not hold; one alone needs no list.

    Raises:
        ConversationError: unknown roles or parts, or counts of `<image>` and pictures that differ.
        ImageError: a picture's source is of no known kind, or would have to be fetched.
    """
    given = _pictures(images)
    if isinstance(x, Conversation):
        conversation, left = x, given
    elif isinstance(x, str):
        parts = _placed(x, given) if IMAGE_TOKEN in x else (*_on_lines(given), Text(x))
        conversation, left = Conversation((Message("user", parts),)), []
    elif isinstance(x, Iterable) and not isinstance(x, (bytes, Mapping)):
        left = list(given)
        conversation = _from_messages(list(x), left)
    else:
        raise ConversationError(
            f"A conversation must be a question or a list of messages, got {type(x).__name__}."
        )
    if left:
        raise ConversationError(
            f"{len(given)} pictures were handed in, but the conversation has places for only "
            f"{len(given) - len(left)} of them: write {IMAGE_TOKEN} once for each picture."
        )
    return conversation


def as_picture(source: object) -> Picture:
    """Check what kind of thing stands for a picture, and decode what is encoded in text.

    Args:
        source: a path, a `file:` or `data:` URL, encoded bytes, or a PIL image.

    Returns:
        A path, bytes or PIL image; URLs are resolved, nothing is opened.

    Raises:
        ImageError: a web address (nothing is ever fetched), broken base64, or another type.
    """
    if isinstance(source, (bytes, os.PathLike, PIL.Image.Image)):
        return source
    if isinstance(source, (bytearray, memoryview)):
        return bytes(source)
    if not isinstance(source, str):
        raise ImageError(
            "A picture must be a path, bytes, a data: URL or a PIL image, "
            f"got {type(source).__name__}."
        )
    scheme = source[:8].lower()
    if scheme.startswith(("http://", "https://")):
        raise ImageError(
            f"The picture {_shortened(source)!r} is a web address, and nothing is fetched from "
            "the network: download it and hand in the file."
        )
    if scheme.startswith("data:"):
        return _decoded_data_url(source)
    if scheme.startswith("file://"):
        return urllib.request.url2pathname(urllib.parse.urlparse(source).path)
    if not source:
        raise ImageError("A picture's path is empty: name a file.")
    return source


def check_unicode(text: str) -> None:
    """Check that a text can be written in UTF-8; arguments that were not UTF-8 cannot.

    Raises:
        ConversationError: it holds half characters.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConversationError(
            f"The text {_shortened(text)!r} holds half characters (surrogates), which no model can "
            "read: decode it with its true encoding, such as UTF-8."
        ) from error


def _from_messages(items: list[Any], pictures: list[Picture]) -> Conversation:
    """Read a list of messages; takes the pictures that it uses out of `pictures`."""
    if not items:
        raise ConversationError("The conversation is empty: it needs at least one message.")
    messages = [_message(item, pictures) for item in items]
    last = messages[-1]
    if last.role == "assistant" and not last.content.strip():
        messages.pop()
    return Conversation(tuple(messages))


def _message(item: object, pictures: list[Picture]) -> Message:
    """Read one message of any spelling."""
    if isinstance(item, Message):
        return item
    if not isinstance(item, Mapping) or "role" not in item:
        raise ConversationError(
            f"A message must have a 'role' and a 'content', got {_shortened(repr(item))}."
        )
    role = _role(item["role"])
    content = item.get("content")
    if content is None and role == "assistant":
        content = ""
    own = _pictures(item.get("images") or ())
    if isinstance(content, str):
        wanted = content.count(IMAGE_TOKEN)
        taken = own or _take(pictures, wanted)
        return Message(role, _placed(content, taken))
    if isinstance(content, Sequence) and not isinstance(content, bytes):
        parts = _from_content_parts(content, own or pictures)
        if own:
            raise ConversationError(
                f"{len(own)} of a message's 'images' have no place in its content: "
                "write an image part or <image> for each."
            )
        return Message(role, parts)
    raise ConversationError(
        f"The content of a message must be a text or a list of parts, got {type(content).__name__}."
    )


def _from_content_parts(content: Sequence[Any], pictures: list[Picture]) -> tuple[Part, ...]:
    """Read a list of content parts.

    A picture is followed by a line break. Where the texts themselves say with `<image>` where
    the pictures go, they go there instead.
    """
    parts = [_content_part(item, pictures) for item in content]
    text = "".join(part.text for part in parts if isinstance(part, Text))
    if IMAGE_TOKEN in text:
        own = [part.source for part in parts if isinstance(part, Image)]
        return _placed(text, own or _take(pictures, text.count(IMAGE_TOKEN)))
    return tuple(
        piece
        for part in parts
        for piece in ((part, Text("\n")) if isinstance(part, Image) else (part,))
    )


def _content_part(item: object, pictures: list[Picture]) -> Part:
    """Read one content part; a picture without a source is the next of `pictures`."""
    if isinstance(item, (Text, Image)):
        return item
    if isinstance(item, str):
        return Text(item)
    if isinstance(item, Mapping):
        kind = item.get("type")
        if kind == "text" and isinstance(item.get("text"), str):
            return Text(item["text"])
        if kind == "image":
            return Image(_image_source(item, pictures))
        if kind == "image_url":
            url = item.get("image_url")
            return Image(as_picture(url.get("url") if isinstance(url, Mapping) else url))
    raise ConversationError(
        "A content part must be of type 'text' (with a 'text'), 'image' or 'image_url', "
        f"got {_shortened(repr(item))}."
    )


def _image_source(item: Mapping[str, Any], pictures: list[Picture]) -> Picture:
    """Where an image part says its picture is."""
    for key in ("image", "url", "path"):
        if item.get(key) is not None:
            return as_picture(item[key])
    if item.get("base64") is not None:
        encoded = str(item["base64"])
        return _decoded_data_url(encoded) if encoded.startswith("data:") else _decoded(encoded)
    taken = _take(pictures, 1)
    if not taken:
        raise ConversationError(
            "An image part names no picture and none is left of those handed in: "
            "give it an 'image', 'url', 'path' or 'base64'."
        )
    return taken[0]


def _pictures(sources: object) -> list[Picture]:
    """Check a list of pictures; a picture alone counts as a list of one."""
    if isinstance(sources, (str, bytes, bytearray, memoryview, os.PathLike, PIL.Image.Image)):
        return [as_picture(sources)]
    if not isinstance(sources, Iterable):
        raise ImageError(f"Pictures must come as a list, got {type(sources).__name__}.")
    return [as_picture(source) for source in sources]


def _placed(text: str, pictures: Sequence[Picture]) -> tuple[Part, ...]:
    """Put each picture where the text has `<image>`."""
    pieces = text.split(IMAGE_TOKEN)
    if len(pieces) - 1 != len(pictures):
        raise ConversationError(
            f"The text {_shortened(text)!r} has {IMAGE_TOKEN} {len(pieces) - 1} times but "
            f"{len(pictures)} pictures came with it: the two counts must be equal."
        )
    parts: list[Part] = [Text(pieces[0])]
    for picture, piece in zip(pictures, pieces[1:], strict=True):
        parts += [Image(picture), Text(piece)]
    return tuple(parts)


def _on_lines(pictures: Sequence[Picture]) -> tuple[Part, ...]:
    """Each picture on a line of its own."""
    return tuple(part for picture in pictures for part in (Image(picture), Text("\n")))


def _take(pictures: list[Picture], count: int) -> list[Picture]:
    """Remove up to `count` pictures from the front of the list and return them."""
    taken = pictures[:count]
    del pictures[:count]
    return taken


def _joined(parts: Iterable[Part]) -> tuple[Part, ...]:
    """Join neighbouring texts and drop empty ones."""
    joined: list[Part] = []
    for part in parts:
        if isinstance(part, Image):
            joined.append(part)
        elif not isinstance(part, Text):
            raise ConversationError(
                f"A part of a message must be a Text or an Image, got {type(part).__name__}."
            )
        elif joined and isinstance(joined[-1], Text):
            joined[-1] = Text(joined[-1].text + part.text)
        elif part.text:
            joined.append(part)
    return tuple(joined)


def _role(name: object) -> Role:
    """The role behind any of its accepted names."""
    if isinstance(name, str) and name in _ROLES:
        return _ROLES[name]
    raise ConversationError(f"Unknown role {name!r}: a role must be one of {', '.join(_ROLES)}.")


def _decoded_data_url(url: str) -> bytes:
    """The bytes inside a `data:` URL."""
    header, comma, payload = url.partition(",")
    if not comma:
        raise ImageError(f"The data: URL {_shortened(url)!r} has no content after a comma.")
    if header.lower().endswith(";base64"):
        return _decoded(urllib.parse.unquote(payload))
    return urllib.parse.unquote_to_bytes(payload)


def _decoded(encoded: str) -> bytes:
    """The bytes that a base64 text stands for."""
    try:
        return base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError(
            f"The picture {_shortened(encoded)!r} is not valid base64 ({error}): encode it again."
        ) from error


def _shortened(text: str, limit: int = 60) -> str:
    """The beginning of a text, for use in a message."""
    return text if len(text) <= limit else text[: limit - 3] + "..."

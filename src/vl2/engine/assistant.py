"""A model to talk to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from vl2 import grounding
from vl2.chat import Conversation, ConversationLike, Image, Message, Picture, as_conversation
from vl2.engine.requests import Answer, Choice, Delta, Engine, Finish, Request
from vl2.engine.sampling import Sampling
from vl2.errors import InputError, did_you_mean
from vl2.processing.images import open_image
from vl2.processing.processor import DeepseekVLV2Processor

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Options(TypedDict, total=False):
    """The fields of `Sampling`, by name, in every way of asking."""

    temperature: float
    top_p: float
    max_tokens: int
    seed: int | None
    top_k: int
    min_p: float
    repetition_penalty: float
    frequency_penalty: float
    presence_penalty: float
    logit_bias: Mapping[int, float]
    stop: str | Sequence[str]
    logprobs: bool
    top_logprobs: int
    no_repeat_ngram: int
    no_repeat_window: int
    json_schema: str | Mapping[str, Any] | None
    regex: str | None
    grammar: str | None
    ignore_eos: bool


class Stream:
    """An answer that is being written: iterate for its text, then read `answer`.

    The pieces are whole characters and together equal `answer.text`. Leaving the loop early ends
    the work on the answer when the stream is closed or forgotten.
    """

    def __init__(self, engine: Engine, request: Request, size: tuple[int, int] | None) -> None:
        self._events = engine.generate(request)
        self._size = size
        self._text: list[str] = []
        self._choices: list[Choice] = []
        self._answer: Answer | None = None

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        for event in self._events:
            if isinstance(event, Delta):
                self._text.append(event.text)
                self._choices += event.choices
                return event.text
            self._answer = self._finished(event)
        raise StopIteration

    @property
    def text(self) -> str:
        """What has been written so far."""
        return "".join(self._text)

    @property
    def answer(self) -> Answer:
        """The whole answer; waits for the rest of it."""
        for _ in self:
            pass
        if self._answer is None:
            raise InputError("The answer was closed before it was finished: ask again.")
        return self._answer

    def close(self) -> None:
        """End the work on the answer."""
        self._events.close()

    def _finished(self, finish: Finish) -> Answer:
        boxes = grounding.parse(self.text, *self._size) if self._size else ()
        return Answer(self.text, tuple(boxes), finish.usage, finish.reason, tuple(self._choices))


class Assistant:
    """Answers questions about pictures; made by `load`.

    Args:
        engine: what computes the answers.
        processor: what turns conversations into prompts for it.
    """

    def __init__(self, engine: Engine, processor: DeepseekVLV2Processor) -> None:
        self._engine = engine
        self._processor = processor

    @property
    def engine(self) -> Engine:
        """What computes the answers."""
        return self._engine

    @property
    def processor(self) -> DeepseekVLV2Processor:
        """What turns conversations into prompts."""
        return self._processor

    @property
    def device(self) -> str:
        """Where the model runs, e.g. `cpu` or `cuda:0`."""
        return self._engine.device

    @property
    def dtype(self) -> str:
        """The type of its weights, e.g. `bfloat16`."""
        return self._engine.dtype

    def ask(
        self,
        pictures: Picture | Sequence[Picture],
        question: str,
        *,
        max_tiles: int | None = None,
        **options: Unpack[Options],
    ) -> Answer:
        """Answer one question about a picture, several, or (with an empty list) none.

        Args:
            pictures: paths, encoded bytes, `data:` URLs or PIL images; they stand before the
                question, unless it says with `<image>` where each of them goes.
            question: the question.
            max_tiles: cut a picture into at most so many tiles: fewer tokens, less detail.
            **options: the fields of `Sampling`, such as `temperature`, `max_tokens` and `seed`.

        Raises:
            InputError: a picture or an option is bad, or it is too much for the context.
        """
        return self.stream(_question(question), pictures, max_tiles=max_tiles, **options).answer

    def chat(
        self,
        messages: ConversationLike,
        pictures: Picture | Sequence[Picture] = (),
        *,
        max_tiles: int | None = None,
        **options: Unpack[Options],
    ) -> Answer:
        """Answer the last question of a conversation.

        Args:
            messages: any spelling that `vl2.chat.as_conversation` takes.
            pictures: pictures that the messages refer to but do not hold.
            max_tiles: cut a picture into at most so many tiles: fewer tokens, less detail.
            **options: the fields of `Sampling`, such as `temperature`, `max_tokens` and `seed`.

        Raises:
            InputError: the conversation is malformed, a picture or an option is bad, or it is too
                much for the context.
        """
        return self.stream(messages, pictures, max_tiles=max_tiles, **options).answer

    def stream(
        self,
        messages: ConversationLike,
        pictures: Picture | Sequence[Picture] = (),
        *,
        max_tiles: int | None = None,
        **options: Unpack[Options],
    ) -> Stream:
        """Like `chat`, but the text arrives while it is written.

        Bad input is raised here, not at the first piece of text.
        """
        request, size = self.prepare(messages, pictures, max_tiles=max_tiles, **options)
        return Stream(self._engine, request, size)

    def prepare(
        self,
        messages: ConversationLike,
        pictures: Picture | Sequence[Picture] = (),
        *,
        max_tiles: int | None = None,
        **options: Unpack[Options],
    ) -> tuple[Request, tuple[int, int] | None]:
        """What `stream` hands to the engine; arguments and errors as there.

        Returns:
            The request, and the size in pixels of the last picture (None without pictures), which
            `vl2.grounding.parse` needs to place the boxes of the answer.
        """
        _check_names(options)
        sampling = Sampling(**options)
        conversation, size = _opened(as_conversation(messages, pictures))
        prompt = self._processor.encode(
            conversation, max_tiles=max_tiles, max_tokens=self._engine.context
        )
        return Request(prompt, sampling), size

    def locate(
        self,
        picture: Picture,
        phrase: str,
        *,
        max_tiles: int | None = None,
        **options: Unpack[Options],
    ) -> Answer:
        """Find something in a picture; the boxes of the answer say where it is.

        Args:
            picture: the picture.
            phrase: what to find, in plain words: `the red box`.
            max_tiles: cut a picture into at most so many tiles: fewer tokens, less detail.
            **options: the fields of `Sampling`, such as `temperature`, `max_tokens` and `seed`.
        """
        question = grounding.locate_question(phrase)
        return self.ask(picture, question, max_tiles=max_tiles, **options)


def _check_names(options: Iterable[str]) -> None:
    """Refuse an option that there is not, as Python refuses a keyword.

    Raises:
        TypeError: there is one; the nearest known one is named.
    """
    known = ("max_tiles", *Options.__annotations__)
    for name in options:
        if name not in known:
            raise TypeError(
                f"There is no option {name!r}.{did_you_mean(name, known)} "
                f"Use some of {', '.join(known)}."
            )


def _question(question: str) -> str:
    if not isinstance(question, str):
        raise InputError(f"A question must be a text, got {type(question).__name__}.")
    if not question.strip():
        raise InputError("The question is empty: ask something.")
    return question


def _opened(conversation: Conversation) -> tuple[Conversation, tuple[int, int] | None]:
    """The conversation with every picture opened, and the size of the last one in pixels."""
    images = [open_image(image.source) for image in conversation.images]
    waiting = iter(images)
    messages = [
        Message(
            message.role,
            tuple(Image(next(waiting)) if isinstance(p, Image) else p for p in message.parts),
        )
        for message in conversation.messages
    ]
    return Conversation(tuple(messages)), images[-1].size if images else None

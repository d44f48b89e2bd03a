"""`vl2 chat`: a conversation about pictures, turn by turn."""

import contextlib
import importlib
import json
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vl2.cli import options, terminal
from vl2.errors import EXIT_USER_ERROR, InputError, VL2Error

if TYPE_CHECKING:
    from vl2.chat import Conversation
    from vl2.engine import Stream

_HELP = """\
Type a question and press Enter; the path of a picture alone adds the picture.
  /image PATH   add a picture to the next question
  /clear        begin a new conversation, without the pictures
  /save FILE    save the conversation as JSON
  /help         show this
  /quit         leave, as Ctrl-D does; Ctrl-C stops an answer"""


def command(
    pictures: Annotated[
        list[str] | None,
        typer.Argument(metavar="PICTURE", help="Pictures to begin with.", show_default=False),
    ] = None,
    model: options.Model = "nano",
    temperature: options.Temperature = 0.0,
    top_p: options.TopP = 1.0,
    max_tokens: options.MaxTokens = 512,
    seed: options.Seed = None,
    max_tiles: options.MaxTiles = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    memory: options.Memory = None,
    quiet: options.Quiet = False,
) -> None:
    """Talk about pictures, turn by turn; /help inside shows how.

    Questions may also come from a pipe, one a line. A mistake is told and the rest goes on; the
    exit code of a pipe with mistakes is 2.
    """
    if sys.stdin is None:
        raise InputError("Standard input is closed, and questions come from there: open it.")
    for picture in pictures or ():
        _check_picture(picture)
    settings = terminal.checked(
        temperature=temperature, top_p=top_p, max_tokens=max_tokens, seed=seed
    )
    assistant = terminal.load_assistant(model, device, dtype, memory, quiet=quiet)
    ask = partial(assistant.stream, max_tiles=max_tiles, **settings)
    talk = _Talk(ask, pictures or (), quiet=quiet)
    interactive = sys.stdin.isatty()
    if interactive:
        talk.tell("ask something; /help shows what else you can do.")
    mistakes = 0
    for line in _typed() if interactive else _piped():
        try:
            if not talk.take(line.strip()):
                break
        except VL2Error as error:
            terminal.note(str(error))
            mistakes += 1
    if mistakes and not interactive:
        raise typer.Exit(EXIT_USER_ERROR)


class _Talk:
    """A conversation and the pictures that wait for its next question.

    Args:
        ask: streams the answer to a conversation.
        pictures: pictures to begin with.
        quiet: leave out notes.
    """

    def __init__(
        self, ask: "Callable[[Conversation], Stream]", pictures: Sequence[str], *, quiet: bool
    ) -> None:
        from vl2.chat import Conversation

        self._ask = ask
        self._waiting = list(pictures)
        self._quiet = quiet
        self._conversation = Conversation()

    def tell(self, sentence: str) -> None:
        """Write a note, unless none are wanted."""
        if not self._quiet:
            terminal.note(sentence)

    def take(self, line: str) -> bool:
        """Do what a line says; returns whether the conversation goes on."""
        path = _path(line)
        word, _, rest = line.partition(" ")
        if terminal.exists(path) or terminal.means_picture(path):
            self._add(path)
        elif word in ("/quit", "/exit"):
            return False
        elif line.startswith("/"):
            self._obey(word, rest.strip())
        elif line:
            self._answer(line)
        return True

    def _obey(self, word: str, rest: str) -> None:
        if word in ("/image", "/save") and not rest:
            raise InputError(f"The command {word!r} lacks its file: see /help.")
        if word == "/image":
            self._add(_path(rest))
        elif word == "/clear":
            self._clear()
        elif word == "/save":
            self._save(Path(_path(rest)))
        elif word == "/help":
            typer.echo(_HELP, err=True)
        else:
            raise InputError(f"The command {word!r} is unknown: see /help.")

    def _clear(self) -> None:
        had_pictures = bool(self._waiting or self._conversation.images)
        self._waiting.clear()
        self._conversation = type(self._conversation)()
        without = ", without the pictures" if had_pictures else ""
        self.tell(f"a new conversation begins{without}.")

    def _add(self, path: str) -> None:
        _check_picture(path)
        self._waiting.append(path)
        self.tell(f"{path} goes with the next question.")

    def _answer(self, question: str) -> None:
        from vl2.chat import IMAGE_TOKEN, Message, Text, as_conversation

        # Should they not fit, the same pictures must not spoil the next question too.
        pictures, self._waiting = self._waiting, []
        asked = self._conversation.add(as_conversation(question, pictures).messages[0])
        stream = self._ask(asked)
        try:
            terminal.show(terminal.readable(stream))
            terminal.show_boxes(stream.answer.boxes)
            if not self._quiet:
                terminal.tell_if_cut(stream.answer)
        except KeyboardInterrupt:
            stream.close()
            typer.echo()
            self.tell("stopped.")
        # A model may spell the placeholder letter by letter; no picture stands for it.
        said = stream.text.replace(IMAGE_TOKEN, "")
        self._conversation = asked.add(Message("assistant", (Text(said),)))

    def _save(self, target: Path) -> None:
        messages = [
            {
                "role": message.role,
                "content": message.content,
                **({"images": [i.source for i in message.images]} if message.images else {}),
            }
            for message in self._conversation.messages
        ]
        try:
            target.write_text(
                json.dumps(messages, ensure_ascii=False, indent=2) + "\n", encoding="utf-8"
            )
        except (OSError, ValueError) as error:  # ValueError: letters that no file can hold
            raise InputError(
                f"{str(target)!r} cannot be written ({terminal.reason(error)}): name another file."
            ) from error
        self.tell(f"{len(messages)} messages saved in {target}.")


def _piped() -> Iterator[str]:
    """The lines of standard input."""
    try:
        yield from sys.stdin
    except UnicodeDecodeError as error:
        raise InputError(f"Standard input is not {error.encoding} text ({error}).") from error


def _typed() -> Iterator[str]:
    """Lines that somebody types, until Ctrl-D."""
    with contextlib.suppress(ImportError):  # line editing; not on Windows
        importlib.import_module("readline")
    while (line := _line()) is not None:
        yield line


def _line() -> str | None:
    """One line that somebody types: empty after Ctrl-C, none after Ctrl-D."""
    shown = sys.stdout.isatty()
    if not shown:
        typer.echo("> ", err=True, nl=False)
    try:
        return input("> " if shown else "")
    except EOFError:
        typer.echo(err=True)
        return None
    except KeyboardInterrupt:
        typer.echo("\n(Ctrl-D leaves)", err=True)
        return ""


def _check_picture(path: str) -> None:
    """Open a picture once, so that a bad one is told before a question is asked with it."""
    if path == terminal.STDIN:
        raise InputError("Standard input carries the questions here: name a picture file.")
    terminal.open_picture(path)


def _path(text: str) -> str:
    """The path in a line, as typed, quoted, or escaped the way terminals paste dropped files."""
    words = [text]
    if not terminal.exists(text):
        with contextlib.suppress(ValueError):  # a quotation mark without its partner
            words = shlex.split(text)
    path = words[0] if len(words) == 1 else text
    return str(terminal.expanded(path)) if path.startswith("~") else path

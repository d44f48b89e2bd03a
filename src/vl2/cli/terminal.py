"""Between the terminal and the library: loading quietly, streaming, pictures in and out.

Standard output carries answers and nothing else; `note` writes to standard error.
"""

import importlib.util
import json
import os
import re
import shutil
import sys
import textwrap
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vl2.errors import ImageError, InputError, MissingExtraError

if TYPE_CHECKING:
    import PIL.Image
    from rich.console import RenderableType

    from vl2.engine import Answer, Assistant, Stream
    from vl2.grounding import Box

STDIN = "-"

_NARROWEST = 30  # below that, lines of text are longer than their terminal

# What a model writes is shown as text: it must not move the cursor or change the terminal.
_CONTROLS = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def note(sentence: str) -> None:
    """Tell the user something that is not part of the answer."""
    # Where a progress line is shown, it is `sys.stderr` that puts words above it.
    typer.echo(f"vl2: {sentence}", file=sys.stderr)


def hush() -> None:
    """Keep the libraries underneath from talking."""
    import transformers

    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def need(extra: str, purpose: str, *packages: str) -> None:
    """Tell of an extra that is missing before any work is done; words as for the error itself."""
    if any(importlib.util.find_spec(package) is None for package in packages):
        raise MissingExtraError.for_extra(extra, purpose)


def checked(**settings: Any) -> dict[str, Any]:  # noqa: ANN401 - of `Sampling`
    """Settings of an answer, refused before the wait for a model if one is out of range."""
    from vl2.engine.sampling import Sampling

    Sampling(**settings)
    return settings


def check_placement(device: str, dtype: str, memory: str | None) -> None:
    """Refuse what is misspelt before torch is loaded."""
    from vl2.engine import spelling

    spelling.check_device(device)
    spelling.check_dtype(dtype)
    if memory is not None:
        spelling.parse_size(memory)


def load_assistant(
    model: str, device: str, dtype: str, memory: str | None = None, *, quiet: bool = False
) -> "Assistant":
    """Load a model and say, to somebody at a terminal, which one answers."""
    check_placement(device, dtype, memory)
    from vl2.engine import load

    hush()
    assistant = load(model, device, dtype, memory=memory)
    if not quiet and sys.stderr.isatty():
        note(_introduction(model, assistant))
    return assistant


def _introduction(model: str, assistant: "Assistant") -> str:
    from vl2.engine.sources import EMBEDDED, RELEASES

    where = f"on {assistant.device} in {assistant.dtype}"
    if model != EMBEDDED:
        return f"{model} answers {where}."
    tiny = RELEASES["tiny"]
    return (
        f"vl2-nano, a demonstration, answers {where}; "
        f"for real use --model tiny ({tiny.gigabytes} GB)."
    )


def open_picture(word: str) -> "PIL.Image.Image":
    """Open the picture that a word of the command line stands for; `-` is standard input.

    Needs no torch, so a bad picture is told before the wait for a model. Pillow's own remarks on
    what it repairs or refuses are left out.
    """
    from vl2.processing.images import open_image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return open_image(_standard_input() if word == STDIN else word)


def _standard_input() -> bytes:
    from vl2.processing.images import DEFAULT_LIMITS

    if sys.stdin is None or sys.stdin.isatty():  # there is none where a program closed it
        raise InputError("No picture comes from standard input: pipe one in, or name a file.")
    # One byte more than is allowed is enough to be refused.
    data = sys.stdin.buffer.read(DEFAULT_LIMITS.max_bytes + 1)
    if not data:
        raise ImageError("Standard input is empty (0 bytes): pipe a whole picture in.")
    return data


def expanded(word: str) -> Path:
    """A path with its `~` resolved; as it is where there is no such user."""
    try:
        return Path(word).expanduser()
    except RuntimeError:
        return Path(word)


def exists(word: str) -> bool:
    """Whether a word names a file or a folder; an empty one names nothing."""
    try:
        return bool(word) and expanded(word).exists()
    except (OSError, ValueError):  # too long for a path, or a null byte in it
        return False


def means_picture(word: str) -> bool:
    """Whether a word can only be meant as a picture's path, there or not: `nowhere.png`."""
    from vl2.processing.images import ENDINGS

    return word.lower().endswith(ENDINGS) and not any(map(str.isspace, word))


def reason(error: Exception) -> str:
    """What an error says, without the number and the path that the system adds to it."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def show(pieces: Iterable[str]) -> None:
    """Write text as it arrives, and a line break at its end."""
    for piece in pieces:
        if piece:
            typer.echo(piece.translate(_CONTROLS), nl=False)
    typer.echo()


def line(text: str) -> str:
    """Text that stays in its line, whatever a name or a model puts into it."""
    return text.translate(_CONTROLS).replace("\n", " ")


def wrapped(text: str, indent: int = 0) -> str:
    """Text in lines of the terminal's width, all but the first of them indented.

    The first line leaves room for what stands before it.
    """
    width = max(_NARROWEST, shutil.get_terminal_size().columns - indent)
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    return ("\n" + " " * indent).join(lines)


def show_blocks(*blocks: "RenderableType") -> None:
    """Draw tables and the like, a blank line between them.

    rich fills the lines of tables with blanks, and ends some tables with a line of them: left out.
    """
    from rich.console import Console

    console = Console(highlight=False)
    with console.capture() as drawn:
        for block in blocks:
            console.print(block)
            console.print()
    lines = [line.rstrip() for line in drawn.get().splitlines()]
    typer.echo(re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip())


def readable(stream: "Stream") -> Iterable[str]:
    """The text of a stream without tags and coordinates."""
    from vl2.grounding import Stripper

    stripper = Stripper()
    for piece in stream:
        yield stripper.feed(piece)
    yield stripper.close()


def show_boxes(boxes: Iterable["Box"]) -> None:
    """One line a box: left, top, right, bottom in pixels, then the label."""
    for box in boxes:
        typer.echo(line(str(box)))


def show_json(answer: "Answer") -> None:
    """The whole answer as one line of JSON."""
    typer.echo(json.dumps(answer.as_dict(), ensure_ascii=False))


def tell_if_cut(answer: "Answer") -> None:
    """Say so when an answer ended at a limit."""
    if answer.finish_reason == "length":
        count = answer.usage.completion_tokens
        note(f"the answer was cut after {count} tokens (see --max-tokens).")


def check_drawing(target: Path | None) -> None:
    """Refuse a file that a picture could not be saved to, before the model works in vain."""
    if target is None:
        return
    import PIL.Image

    kinds = PIL.Image.registered_extensions()
    if kinds.get(target.suffix.lower()) not in PIL.Image.SAVE:
        raise InputError(
            f"{str(target)!r} has no ending that a picture can be saved under: use .png or .jpg."
        )
    if not target.absolute().parent.is_dir():
        raise InputError(f"The folder of {str(target)!r} does not exist: create it first.")


def save_drawing(
    picture: "PIL.Image.Image", answer: "Answer", target: Path, *, quiet: bool = False
) -> None:
    """Draw the boxes of an answer into its picture and save it."""
    from vl2.grounding import draw

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        drawn = draw(picture, answer.boxes)
    for warning in caught:
        note(str(warning.message))
    try:
        drawn.save(target)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{str(target)!r} cannot be written ({reason(error)}): name another file."
        ) from error
    if not quiet:
        count = len(answer.boxes)
        note(f"{count or 'no'} {'box' if count == 1 else 'boxes'} drawn in {os.fspath(target)}.")

"""`vl2 ask`: a question about pictures."""

from typing import Annotated

import typer

from vl2.cli import options, terminal
from vl2.errors import InputError


def command(
    pictures: Annotated[
        list[str],
        typer.Argument(
            metavar="PICTURE",
            help="Picture files; - reads one from standard input.",
            default_factory=list,
            show_default=False,
        ),
    ],
    question: Annotated[
        str,
        typer.Argument(
            metavar="QUESTION",
            help="What to ask, in quotes, after all pictures. <image> in it says where each "
            "picture goes; without, they stand before it.",
            show_default=False,
        ),
    ],
    model: options.Model = "nano",
    as_json: options.AsJson = False,
    draw: options.Draw = None,
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
    """Ask a question about one or several pictures; the answer streams to standard output.

    What the model points at follows the answer, a box a line: left, top, right and bottom in
    pixels of the (last) picture, and the label.
    """
    from vl2.chat import as_conversation

    _check_order(pictures, question)
    if draw is not None and not pictures:
        raise InputError("There is no picture to draw on: name one before the question.")
    terminal.check_drawing(draw)
    settings = terminal.checked(
        temperature=temperature, top_p=top_p, max_tokens=max_tokens, seed=seed
    )
    opened = [terminal.open_picture(picture) for picture in pictures]
    conversation = as_conversation(question, opened)
    assistant = terminal.load_assistant(model, device, dtype, memory, quiet=quiet)
    stream = assistant.stream(conversation, max_tiles=max_tiles, **settings)
    if as_json:
        terminal.show_json(stream.answer)
    else:
        terminal.show(terminal.readable(stream))
        terminal.show_boxes(stream.answer.boxes)
    if not quiet:
        terminal.tell_if_cut(stream.answer)
    if draw is not None:
        terminal.save_drawing(opened[-1], stream.answer, draw, quiet=quiet)


def _check_order(pictures: list[str], question: str) -> None:
    if not question.strip():
        raise InputError("The question is empty: ask something.")
    if question == terminal.STDIN or terminal.exists(question):
        kind = "folder" if terminal.expanded(question).is_dir() else "picture"
        raise InputError(
            f"The last word must be the question, but {question!r} is a {kind}: "
            'write vl2 ask PICTURE... "QUESTION".'
        )
    if terminal.means_picture(question):
        raise InputError(
            f"There is no picture {question!r}: check its path, and put the question behind it."
        )
    if pictures.count(terminal.STDIN) > 1:
        raise InputError("Standard input can give only one picture: write - once.")

"""`vl2 locate`: where something is in a picture."""

from typing import Annotated

import typer

from vl2.cli import options, terminal


def command(
    picture: Annotated[
        str,
        typer.Argument(
            metavar="PICTURE",
            help="A picture file; - reads it from standard input.",
            show_default=False,
        ),
    ],
    phrase: Annotated[
        str,
        typer.Argument(
            metavar="PHRASE", help='What to find, such as "the red box".', show_default=False
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
    """Find something in a picture and give its boxes.

    One line a box: left, top, right and bottom in pixels of the picture, and the label. Where the
    model sees no such thing, what it says instead.
    """
    from vl2.grounding import locate_question

    locate_question(phrase)  # a phrase that cannot be asked for is told before the wait
    terminal.check_drawing(draw)
    settings = terminal.checked(
        temperature=temperature, top_p=top_p, max_tokens=max_tokens, seed=seed
    )
    opened = terminal.open_picture(picture)
    assistant = terminal.load_assistant(model, device, dtype, memory, quiet=quiet)
    answer = assistant.locate(opened, phrase, max_tiles=max_tiles, **settings)
    if as_json:
        terminal.show_json(answer)
    elif answer.boxes:
        terminal.show_boxes(answer.boxes)
    else:
        terminal.show([answer.readable])
    if not quiet:
        terminal.tell_if_cut(answer)
    if draw is not None:
        terminal.save_drawing(opened, answer, draw, quiet=quiet)

"""Options that the verbs which ask a model share."""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

Model: TypeAlias = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="nano (embedded); tiny, small or base (the released ones, downloaded on first use); "
        "a folder; or a repository on huggingface.co.",
    ),
]
GivenModel: TypeAlias = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="nano, tiny, small, base, a folder, or a repository."),
]
Device: TypeAlias = Annotated[
    str, typer.Option(metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps.")
]
Dtype: TypeAlias = Annotated[
    str, typer.Option(metavar="TYPE", help="auto, float32, bfloat16 or float16.")
]
Memory: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="What weights, cache and the rest may take together, such as 8GB.",
        show_default=False,
    ),
]
GroupSize: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Columns that share a scale: more take less memory and round more coarsely. "
        "int8 has 64, int4 has 32.",
        show_default=False,
    ),
]
Temperature: TypeAlias = Annotated[
    float,
    typer.Option(
        metavar="0..100",
        min=0,
        max=100,
        help="How much answers vary: 0 takes the likeliest word each time, 1 draws words as "
        "likely as the model finds them, more draws unlikely ones more often.",
    ),
]
TopP: TypeAlias = Annotated[
    float,
    typer.Option(
        metavar="0..1",
        min=0,
        max=1,
        help="Sample only among the likeliest words of this total probability.",
    ),
]
MaxTokens: TypeAlias = Annotated[
    int, typer.Option(metavar="N", min=1, help="Length limit of an answer, in tokens.")
]
Seed: TypeAlias = Annotated[
    int | None,
    typer.Option(metavar="N", help="The same seed gives the same answer.", show_default=False),
]
MaxTiles: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, help="Cut a picture into at most so many tiles.", show_default=False
    ),
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Draw: TypeAlias = Annotated[
    Path | None,
    typer.Option(metavar="OUT.png", help="Save the picture with the boxes drawn."),
]
Quiet: TypeAlias = Annotated[bool, typer.Option("--quiet", "-q", help="No notes on stderr.")]


def is_given(context: typer.Context, name: str) -> bool:
    """Whether the user named an option of a verb, be it with the value that it has anyway."""
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"

"""The `vl2` command: a table of verbs, each imported only when it is called.

How a verb plugs in: write `vl2/cli/<verb>.py` with one function named `command`, annotated the way
typer reads it (`Annotated[..., typer.Argument(...)]`, `Annotated[..., typer.Option(...)]`). Its
docstring is the help text. Then add a line to `VERBS`. Inside `command`, import what is heavy
(torch, the engine); at the top of the file import only what is light, for `vl2 <verb> --help`.

A verb writes its answer to standard output and everything else to standard error. It raises
`VL2Error` for what the user can mend; `main` turns that into one sentence and exit code 2. A wrong
option or argument is 2 as well, Ctrl-C is 130, any other exception stays a traceback (exit code 1).
A package of an extra (`EXTRAS`) that is not installed counts as something the user can mend.
"""

import errno
import gc
import importlib
import io
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from vl2.errors import (
    EXIT_USER_ERROR,
    InputError,
    MissingExtraError,
    VL2Error,
    did_you_mean,
)

VERBS = {
    "ask": "Ask a question about one or several pictures.",
    "locate": "Find something in a picture and give its box.",
    "chat": "Talk about pictures, turn by turn.",
    "read": "Turn documents into text, tables, JSON and boxes, page by page.",
    "serve": "Serve a model over HTTP: an API like OpenAI's, and a web page.",
    "synth": "Render pictures with questions and exact answers.",
    "train": "Train a model from a recipe.",
    "data": "Check data before it is trained on.",
    "eval": "Measure a model on held-out pictures or on a benchmark.",
    "quantize": "Write a smaller copy of a model, with weights in 8 or 4 bits.",
    "bench": "Time a model beside what the machine could do.",
    "doctor": "Check a model from its files to its first answer.",
    "info": "Show what a model is made of and what it costs to run.",
}

EXTRAS = {
    "accelerate": "train",
    "matplotlib": "train",
    "peft": "train",
    "yaml": "train",
    "fastapi": "serve",
    "prometheus_client": "serve",
    "pydantic": "serve",
    "starlette": "serve",
    "uvicorn": "serve",
    "gradio": "web",
    "pypdfium2": "documents",
}
"""Packages that a verb may need, and the extra of this package that brings them."""

_OBJECTS_BETWEEN_COLLECTIONS = 200_000
"""Importing torch and transformers makes a million objects that stay; looking through them for
garbage again and again takes a seventh of the time of their import."""


class _VerbTable(TyperGroup):
    """A typer group that knows its verbs by name and imports one only to run it."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 - typer's signature
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401
        if cmd_name not in VERBS:
            near = did_you_mean(cmd_name, VERBS)
            return ctx.fail(f"There is no verb {cmd_name!r}.{near}")
        function = importlib.import_module(f"vl2.cli.{cmd_name}").command
        verb = typer.Typer(add_completion=False, rich_markup_mode=None)
        verb.command(cmd_name)(function)
        command = typer.main.get_command(verb)
        for parameter in command.params:
            if parameter.param_type_name == "argument":
                # Their names say enough; typer would add `<list[str]>` and the like.
                setattr(parameter, "display_type_rich", lambda ctx: None)  # noqa: B010
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


app = typer.Typer(
    cls=_VerbTable,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    subcommand_metavar="VERB ...",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        version = importlib.import_module("vl2").__version__
        typer.echo(f"vl2 {version}")
        raise typer.Exit


@app.callback()
def _vl2(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """DeepSeek-VL2: ask pictures questions, find things in them, train and measure the model."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line.

    Args:
        arguments: the words after `vl2`; those of the process if None.

    Returns:
        The exit code.
    """
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    words = None if arguments is None else list(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Some terminals cannot show all that a model writes; better a spelled letter than none.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        typer.main.get_command(app).main(args=words, prog_name="vl2")
    except VL2Error as error:
        return _tell(error)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        purpose = f"This verb, which uses {package},"
        return _tell(MissingExtraError.for_extra(EXTRAS[package], purpose))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return _tell(InputError("There is no space left to write to: make room and try again."))
    except KeyboardInterrupt:
        return 130
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _tell(error: VL2Error) -> int:
    typer.echo(f"vl2: {error}", err=True)
    return EXIT_USER_ERROR

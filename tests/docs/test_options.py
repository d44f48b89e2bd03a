"""`docs/guide/command-line.md` lists exactly the options that the verbs have."""

import re

import pytest
import typer
from pages import REPOSITORY

from vl2 import cli

PAGE = REPOSITORY / "docs" / "guide" / "command-line.md"


def sections():
    """The text below each `## vl2 VERB` heading."""
    parts = re.split(r"^## `vl2 (\w+)`.*$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def documented(text):
    """Long options in the first cells of the section's tables."""
    cells = re.findall(r"^\| (`--[^|]+) \|", text, re.MULTILINE)
    return {option for cell in cells for option in re.findall(r"--[\w-]+", cell)}


def existing(verb):
    program = typer.main.get_command(cli.app)
    with program.make_context("vl2", [verb]) as context:
        command = program.get_command(context, verb)
    options = {o for p in command.params for o in [*p.opts, *p.secondary_opts]}
    return {option for option in options if option.startswith("--")} - {"--help"}


def test_every_verb_has_a_section():
    assert list(sections()) == list(cli.VERBS)


@pytest.mark.parametrize("verb", list(cli.VERBS))
def test_options_of_a_verb(verb):
    assert documented(sections()[verb]) == existing(verb)


@pytest.mark.parametrize("verb", list(cli.VERBS))
def test_help_names_values_and_not_types(verb, capsys):
    assert cli.main([verb, "--help"]) == 0
    assert not re.search(r" <(?:\w+ range|path|int|str|float|list\[)", capsys.readouterr().out)

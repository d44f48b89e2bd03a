"""Every command in the README and the guide runs, or at least parses."""

import doctest
import re
import shlex

import pytest
import typer
from pages import PAGES, REPOSITORY, blocks, commands

from vl2 import cli

CONSOLE = {"console", "bash", "sh", "shell"}
CONSOLE_BLOCKS = [b for page in PAGES for b in blocks(page) if b.language in CONSOLE]
ASKING_VERBS = {"ask", "locate", "chat", "read", "eval"}
OTHER_PROGRAMS = {
    *("accelerate", "cd", "curl", "git", "make", "pip", "python", "ray", "source", "torchrun"),
}
SAME = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def vl2_arguments(words):
    """The words after `vl2`, without redirections and pipes; None for another program."""
    parts = shlex.split(words.split(" | ")[-1].split(" > ")[0])
    if parts[:3] == ["python", "-m", "vl2"]:
        return parts[3:]
    return parts[1:] if parts[0] == "vl2" else None


def parse(arguments):
    """Lets typer read the arguments as it would before running the verb."""
    program = typer.main.get_command(cli.app)
    with program.make_context("vl2", list(arguments)) as context:
        rest = [*getattr(context, "_protected_args", []), *context.args]
        if rest:
            name, verb, words = program.resolve_command(context, rest)
            verb.make_context(name, words, parent=context)


@pytest.mark.parametrize("block", CONSOLE_BLOCKS, ids=lambda b: b.name)
def test_block_has_commands_of_known_programs(block):
    found = commands(block)
    assert found, "a console block marks its commands with `$ `"
    for command in found:
        program = shlex.split(command.words.split(" | ")[-1])[0]
        assert program == "vl2" or program in OTHER_PROGRAMS, command.words


@pytest.mark.parametrize("block", CONSOLE_BLOCKS, ids=lambda b: b.name)
def test_options_parse(block):
    for command in commands(block):
        arguments = vl2_arguments(command.words)
        if arguments is not None and not {"--help", "--version"} & set(arguments):
            parse(arguments)


@pytest.mark.parametrize("block", CONSOLE_BLOCKS, ids=lambda b: b.name)
def test_make_targets_and_extras_exist(block):
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    for command in commands(block):
        if command.words.startswith("make"):
            for target in command.words.split()[1:]:
                assert "=" in target or re.search(rf"^{target}:", makefile, re.MULTILINE), target
        for extras in re.findall(r"(?:vl2|\.)\[([\w,]+)\]", command.words):
            for extra in extras.split(","):
                assert re.search(rf"^{extra} = \[", project, re.MULTILINE), extra


@pytest.mark.parametrize("block", [b for b in CONSOLE_BLOCKS if b.is_run], ids=lambda b: b.name)
def test_commands_run(block, workplace, capsys, monkeypatch, request):
    monkeypatch.chdir(workplace)
    monkeypatch.setenv("COLUMNS", "80")
    for command in commands(block):
        arguments = vl2_arguments(command.words)
        if arguments is None:
            continue
        if arguments[0] in ASKING_VERBS:
            request.getfixturevalue("nano")
        code = cli.main(arguments)
        printed = capsys.readouterr()
        assert code == 0, f"{command.words}: {printed.err}"
        if command.output.strip():
            same = doctest.OutputChecker().check_output(command.output, printed.out, SAME)
            assert same, f"{command.words} printed:\n{printed.out}"


def test_continuous_integration_runs_what_the_readme_says():
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    script = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")
    run = [line for line in script.splitlines() if line.startswith("make ")]
    assert run == ["make check", "make test", "make run"]
    assert all(f"$ {line}\n" in readme for line in run)

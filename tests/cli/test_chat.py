"""`vl2 chat`: turns, commands, pictures, a pipe and a keyboard."""

import io
import json
import sys

import pytest
from golden import GOLDEN
from scripted import boxes, scripted

from vl2 import cli, engine
from vl2.chat import as_conversation

PICTURE = str(GOLDEN / "images" / "97x61.png")
LARGE = str(GOLDEN / "images" / "640x480.png")


@pytest.fixture
def model(monkeypatch):
    """Makes the verb load a model that gives these answers; returns its engine."""

    def answers(*texts: str):
        assistant, asked = scripted(*texts)
        asked.decode = assistant._processor.tokenizer.decode
        monkeypatch.setattr(engine, "load", lambda name, device, dtype, memory=None: assistant)
        return asked

    return answers


@pytest.fixture
def piped(monkeypatch):
    """Runs the verb with these lines in its standard input."""

    def run(*lines: str, words: tuple[str, ...] = ()) -> int:
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(line + "\n" for line in lines)))
        return cli.main(["chat", *words])

    return run


@pytest.fixture
def typed(monkeypatch):
    """Runs the verb with somebody at the keyboard who types these lines, then Ctrl-D."""

    def run(*lines: str | type[BaseException], words: tuple[str, ...] = ()) -> int:
        waiting = iter(lines)

        def line(prompt: str = "") -> str:
            said = next(waiting, EOFError)
            if not isinstance(said, str):
                raise said
            return said

        keyboard = io.StringIO()
        keyboard.isatty = lambda: True
        monkeypatch.setattr(sys, "stdin", keyboard)
        monkeypatch.setattr("builtins.input", line)
        return cli.main(["chat", *words])

    return run


def said(asked, index: int) -> str:
    """What a request said, pictures left out."""
    prompt = asked.requests[index].prompt
    return asked.decode(prompt.token_ids[~prompt.image_mask])


def test_turns_follow_each_other(model, piped, capsys) -> None:
    asked = model("Three.", "Blue.")
    assert piped("How many?", "", "Which colour?") == 0
    assert capsys.readouterr().out == "Three.\nBlue.\n"
    assert ": How many?\n\n<|Assistant|>:Three.<" in said(asked, 1)
    assert said(asked, 1).endswith("<|User|>: Which colour?\n\n<|Assistant|>:")


def test_pictures_come_by_argument_by_command_and_by_path(model, piped) -> None:
    asked = model("a", "b", "c")
    lines = ("First", f"/image '{LARGE}'", "Second", PICTURE, "Third")
    assert piped(*lines, words=(PICTURE,)) == 0
    assert [len(request.prompt.grids) for request in asked.requests] == [1, 2, 3]


def test_the_question_may_say_where_its_picture_goes(model, piped) -> None:
    asked = model("a")
    assert piped("Is <image> red?", words=(PICTURE,)) == 0
    assert ": Is  red?" in said(asked, 0)


def test_answers_are_readable_and_kept_as_they_are(model, piped, capsys) -> None:
    text = "See " + boxes("it", (0, 0, 999, 999)) + "."
    asked = model(text, "b")
    assert piped("Where?", "Sure?", words=(PICTURE,)) == 0
    assert capsys.readouterr().out == "See it.\n[0, 0, 97, 61] it\nb\n"
    assert f"<|Assistant|>:{text}<" in said(asked, 1)


def test_a_question_may_begin_with_a_tilde(model, piped) -> None:
    asked = model("a")
    assert piped("~5 shapes, or more?") == 0
    assert ": ~5 shapes, or more?" in said(asked, 0)


def test_clear(model, piped) -> None:
    asked = model("a", "b")
    assert piped("First", PICTURE, "/clear", "Second") == 0
    assert "First" not in said(asked, 1)
    assert asked.requests[1].prompt.grids == ()


def test_clear_says_that_pictures_go_too(model, piped, capsys) -> None:
    model()
    assert piped("/clear", words=(PICTURE,)) == 0
    assert "without the pictures" in capsys.readouterr().err
    assert piped("/clear") == 0
    assert "pictures" not in capsys.readouterr().err


def test_what_is_saved_is_a_conversation(model, piped, tmp_path) -> None:
    model("Größe 3.", "b")
    target = tmp_path / "talk.json"
    assert piped("What?", "More", f"/save {target}", words=(PICTURE,)) == 0
    text = target.read_text(encoding="utf-8")
    assert "Größe" in text
    conversation = as_conversation(json.loads(text))
    assert [message.role for message in conversation.messages] == ["user", "assistant"] * 2
    assert conversation.messages[0].content == "<image>\nWhat?"
    assert conversation.images[0].source == PICTURE


@pytest.mark.parametrize("word", ["/quit", "/exit"])
def test_leaving(model, piped, word) -> None:
    asked = model("a")
    assert piped("First", word, "Second") == 0
    assert len(asked.requests) == 1


def test_a_pipe_that_is_no_text(model, monkeypatch, capsys) -> None:
    model()
    lines = io.TextIOWrapper(io.BytesIO(b"na\xefve\n"), encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", lines)
    assert cli.main(["chat", "-q"]) == 2
    assert "Standard input is not utf-8 text" in capsys.readouterr().err


def test_help_goes_to_standard_error(model, piped, capsys) -> None:
    model()
    assert piped("/help") == 0
    out, err = capsys.readouterr()
    assert out == ""
    for command in ("/image", "/clear", "/save", "/help", "/quit"):
        assert command in err
    assert max(map(len, err.splitlines())) < 80


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/dance", "'/dance' is unknown"),
        ("/image", "lacks its file"),
        ("/image nowhere.png", "'nowhere.png' does not exist"),
        ("/image ~nobody-of-this-name/a.png", "does not exist"),
        ("/save /nowhere/talk.json", "cannot be written (No such file or directory)"),
        ("/save", "lacks its file"),
        ("nowhere.png", "'nowhere.png' does not exist"),
        ("/save ~nobody-of-this-name/talk.json", "cannot be written"),
        ("<image>?", "1 times but 0"),
        (str(GOLDEN / "base.json"), "not a picture"),
        (str(GOLDEN), "is a folder"),
    ],
)
def test_a_mistake_is_told_and_the_rest_goes_on(model, piped, typed, capsys, line, told) -> None:
    model("b")
    assert piped(line, "Second", words=("-q",)) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("b\n", 1)
    assert told in err
    model("b")
    assert typed(line, "Second", words=("-q",)) == 0
    out, err = capsys.readouterr()
    assert out == "b\n"
    assert told in err


def test_what_follows_a_mistake_in_a_pipe_is_saved(model, piped, tmp_path) -> None:
    model("a")
    target = tmp_path / "talk.json"
    assert piped("nowhere.png", "First", f"/save {target}") == 2
    assert len(json.loads(target.read_text(encoding="utf-8"))) == 2


def test_a_bad_picture_is_told_before_a_model_is_loaded(monkeypatch, piped, capsys) -> None:
    monkeypatch.setattr(engine, "load", None)
    assert piped("What?", words=("nowhere.png",)) == 2
    assert "nowhere.png" in capsys.readouterr().err
    assert piped("What?", words=("-",)) == 2
    assert "carries the questions" in capsys.readouterr().err


def test_pictures_that_do_not_fit_do_not_spoil_the_next_question(model, typed, capsys) -> None:
    asked = model("b")
    tall = str(GOLDEN / "images" / "300x1000.png")
    wide = str(GOLDEN / "images" / "2600x300.jpg")
    assert typed(tall, wide, "word " * 3000, "Short") == 0
    out, err = capsys.readouterr()
    assert "tokens" in err
    assert out == "b\n"
    assert asked.requests[0].prompt.grids == ()


def test_ctrl_c_at_the_prompt_stays_and_ctrl_d_leaves(model, typed, capsys) -> None:
    asked = model("a")
    assert typed(KeyboardInterrupt, "First") == 0
    assert len(asked.requests) == 1
    assert "Ctrl-D leaves" in capsys.readouterr().err


def test_ctrl_c_stops_an_answer_and_keeps_what_was_said(model, typed, monkeypatch, capsys) -> None:
    asked = model("A very long answer.", "b")
    generate = asked.generate

    def interrupted(request):
        events = generate(request)
        yield next(events)
        events.close()
        raise KeyboardInterrupt

    def first_only(request):
        return (interrupted if not asked.requests else generate)(request)

    monkeypatch.setattr(asked, "generate", first_only)
    assert typed("First", "Second") == 0
    out, err = capsys.readouterr()
    assert out == "A ver\nb\n"
    assert "stopped" in err
    assert "<|Assistant|>:A ver<" in said(asked, 1)


def test_a_spelled_placeholder_does_not_break_the_talk(model, piped) -> None:
    asked = model("I see <image> there.", "b")
    assert piped("First", "Second") == 0
    assert len(asked.requests) == 2

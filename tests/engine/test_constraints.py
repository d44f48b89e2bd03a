"""Answers under a constraint, by a model that knows nothing of it."""

import builtins
import json
import re

import pytest
import torch
from golden import checkpoint

from vl2.engine import BatchingEngine, Delta, Request, Sampling
from vl2.errors import EngineError, InputError, MissingExtraError
from vl2.model.loading import load_model
from vl2.processing.processor import DeepseekVLV2Processor

pytest.importorskip("llguidance")


@pytest.fixture(scope="module")
def engine():
    folder = checkpoint("base")
    processor = DeepseekVLV2Processor.from_pretrained(folder)
    made = BatchingEngine(load_model(folder, dtype=torch.float32), processor)
    yield made
    made.close()


def asked(engine, **options):
    prompt = engine._core.processor.encode("Hello")
    *deltas, finish = engine.generate(Request(prompt, Sampling(**options)))
    return "".join(d.text for d in deltas if isinstance(d, Delta)), finish


SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "count": {"type": "integer", "minimum": 0, "maximum": 99},
    },
    "required": ["name", "count"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_schema(engine, temperature) -> None:
    text, finish = asked(engine, json_schema=SCHEMA, temperature=temperature, seed=1)
    assert finish.reason == "stop"
    values = json.loads(text)
    assert set(values) == {"name", "count"}
    assert len(values["name"]) <= 8
    assert 0 <= values["count"] <= 99


def test_a_regular_expression(engine) -> None:
    text, finish = asked(engine, regex=r"[0-9]{3}-[ab]{2}", max_tokens=40)
    assert re.fullmatch(r"[0-9]{3}-[ab]{2}", text)
    assert finish.reason == "stop"


def test_a_grammar(engine) -> None:
    text, finish = asked(engine, grammar='start: ("yes" | "no") "."', ignore_eos=True)
    assert text in ("yes.", "no.")
    assert finish.reason == "stop"


def test_beside_other_answers(engine) -> None:
    alone, _ = asked(engine, max_tokens=12)
    prompt = engine._core.processor.encode("Hello")
    free = engine.generate(Request(prompt, Sampling(max_tokens=12)))
    bound = engine.generate(Request(prompt, Sampling(regex="[xy]{9}", max_tokens=12)))
    assert "".join(e.text for e in free if isinstance(e, Delta)) == alone
    assert re.fullmatch("[xy]{9}", "".join(e.text for e in bound if isinstance(e, Delta)))


NEXT = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"regex": "("}, "The regex cannot be understood: ( is no pattern: unclosed group."),
        ({"grammar": "start: nothing"}, 'line 1, column 8: unknown name: "nothing".'),
        ({"grammar": "start: start"}, "it leaves no way to begin an answer."),
        ({"json_schema": {"type": "nonsense"}}, "understood: type 'nonsense' is unknown."),
        ({"json_schema": {"not": {}}}, 'understood: "not" cannot be followed; leave it out.'),
        ({"json_schema": {"pattern": "["}}, "understood: [ is no pattern: unclosed character"),
        ({"json_schema": {"enum": []}}, "understood: nothing obeys it, for anyOf is empty."),
        ({"json_schema": {"format": "x"}}, "understood: format 'x' is unknown; leave it out."),
        ({"json_schema": "[1]"}, "understood: a schema must be an object."),
        ({"json_schema": {"$ref": "#/a"}}, "the $ref '#/a' leads nowhere."),
        ({"json_schema": {"$ref": "https://nowhere.example/x"}}, "/x' lies elsewhere; copy it"),
        ({"json_schema": {"$ref": "#"}}, "followed: the $ref '#' at '#' leads back to itself"),
        ({"json_schema": NEXT}, "the $ref '#' at '#/properties/next' leads back to itself"),
    ],
)
def test_what_cannot_be_understood_is_told_at_once(engine, options, said) -> None:
    with pytest.raises(InputError) as caught:
        asked(engine, **options)
    message = str(caught.value)
    assert said in message
    assert not any(word in message for word in ("\n", "state", "Parser", "lexer", "bytes"))


def test_an_answer_of_which_too_much_is_open_says_so_without_inner_state(engine) -> None:
    with pytest.raises((InputError, EngineError), match=r"it is too complex; make it simpler\.$"):
        asked(engine, grammar='start: "a" x\nx: "b" x')


def test_a_guard_that_leaves_nothing_ends_only_its_answer(engine) -> None:
    with pytest.raises(EngineError, match="leave no token"):
        asked(engine, regex="x{40}", no_repeat_ngram=1, max_tokens=40)
    assert asked(engine, max_tokens=2)[1].reason == "length"


def test_without_the_library_the_extra_is_named(engine, monkeypatch) -> None:
    real = builtins.__import__

    def without(name, *args):
        if name.startswith("llguidance"):
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"pip install 'vl2\[grammar\]'"):
        asked(engine, regex="a")

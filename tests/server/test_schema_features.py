"""Every feature of JSON Schema that the library supports, enforced through the API."""

import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from sent import asking

from vl2.server.schemas import Schemas

pytest.importorskip("llguidance")
jsonschema = pytest.importorskip("jsonschema_rs")

LETTERS = {"type": "string", "maxLength": 3}
DIGIT = {"type": "integer", "minimum": 0, "maximum": 9}


def record(*names, **fields):
    """An object with these properties, all of them required."""
    properties = dict.fromkeys(names, DIGIT)
    return {
        "type": "object",
        "properties": properties,
        "required": list(names),
        "additionalProperties": False,
        **fields,
    }


# All bounded, so that every answer comes to its end.
FEATURES = {
    "null": {"type": "null"},
    "boolean": {"type": "boolean"},
    "const": {"const": {"a": [1, None, 'ä\n"\\']}},
    "enum": {"enum": ["star", 5, None, True, [1, 2], {"b": {}}]},
    "several types": {"type": ["boolean", "null"]},
    "length of a text": {"type": "string", "minLength": 2, "maxLength": 4},
    "pattern": {"type": "string", "pattern": "^[a-c]{2}-[0-9]{3}$"},
    "pattern of a part": {"type": "string", "pattern": "^x[0-9]y$"},
    "date-time": {"type": "string", "format": "date-time", "maxLength": 30},
    "date": {"type": "string", "format": "date"},
    "time": {"type": "string", "format": "time", "maxLength": 20},
    "duration": {"type": "string", "format": "duration", "maxLength": 12},
    "email": {"type": "string", "format": "email", "maxLength": 20},
    "hostname": {"type": "string", "format": "hostname", "maxLength": 12},
    "ipv4": {"type": "string", "format": "ipv4"},
    "ipv6": {"type": "string", "format": "ipv6"},
    "uuid": {"type": "string", "format": "uuid"},
    "bounds": {"type": "integer", "minimum": -17, "maximum": 230},
    "exclusive bounds": {"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 5},
    "multiples": {"type": "integer", "multipleOf": 7, "minimum": 0, "maximum": 99},
    "items": {"type": "array", "items": DIGIT, "minItems": 2, "maxItems": 4},
    "items one by one": {
        "type": "array",
        "prefixItems": [DIGIT, LETTERS],
        "items": {"type": "boolean"},
        "minItems": 2,
        "maxItems": 4,
    },
    "required properties": record("a", "b"),
    "optional properties": record("a", required=[]),
    "patterns of properties": {
        "type": "object",
        "patternProperties": {"^p[0-9]$": DIGIT},
        "properties": {"q": LETTERS},
        "required": ["q", "p1"],
        "additionalProperties": False,
        "maxProperties": 2,
    },
    "any of": {"anyOf": [record("a"), {"type": "boolean"}, {"type": "null"}]},
    "all of": {"allOf": [{"type": "integer", "minimum": 5}, {"maximum": 7}]},
    "one of, apart": {"oneOf": [{"type": "boolean"}, {"type": "null"}]},
    "references": {
        "$defs": {"pair": {"type": "array", "items": DIGIT, "minItems": 2, "maxItems": 2}},
        **record(
            "left", "right", properties={n: {"$ref": "#/$defs/pair"} for n in ("left", "right")}
        ),
    },
    "a reference to itself": {
        "$defs": {
            "tree": {
                "anyOf": [
                    {"type": "null"},
                    record("up", properties={"up": {"$ref": "#/$defs/tree"}}),
                ]
            }
        },
        "$ref": "#/$defs/tree",
    },
    "nested": record(
        "a",
        properties={
            "a": record(
                "b", properties={"b": {"type": "array", "items": record("c"), "maxItems": 1}}
            )
        },
    ),
}


@pytest.fixture(scope="module")
def answers(server):
    """What is answered under each schema, all at once; most of it as no sane model would."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Schemas, "_try", lambda *_: None)  # has tests of its own
        with server.client() as client, ThreadPoolExecutor(len(FEATURES)) as many:

            def ask(schema):
                body = {
                    "model": "nano",
                    "messages": asking("Tell me."),
                    "max_tokens": 150,
                    "temperature": 1.9,
                    "seed": 4,
                    "response_format": {
                        "type": "json_schema",
                        "json_schema": {"name": "x", "schema": schema},
                    },
                }
                return client.post("/v1/chat/completions", json=body)

            asked = {name: many.submit(ask, schema) for name, schema in FEATURES.items()}
            yield {name: answer.result() for name, answer in asked.items()}


@pytest.mark.parametrize("name", FEATURES)
def test_an_answer_obeys(answers, name):
    response = answers[name]
    assert response.status_code == 200, response.text
    (choice,) = response.json()["choices"]
    text = choice["message"]["content"]
    if choice["finish_reason"] == "length":
        pytest.fail(text)
    # The grammar of RFC 3339 has a second 60 in any minute; the validator only at the end of a day
    text = re.sub(r"(?<=:\d\d):60", ":59", text)
    validator = jsonschema.validator_for(FEATURES[name], validate_formats=True)
    validator.validate(json.loads(text))


def test_very_many_optional_properties(assistant):
    """Whichever come; or the answer is cut at its limit."""
    schema = {
        "type": "object",
        "properties": {f"p{number}": {"type": "null"} for number in range(1400)},
        "additionalProperties": False,
    }
    answer = assistant.ask([], "Tell me.", json_schema=schema, max_tokens=40, temperature=1, seed=1)
    if answer.finish_reason == "stop":
        jsonschema.validator_for(schema).validate(json.loads(answer.text))
    else:
        assert answer.text.startswith("{")

"""References of a JSON schema that no answer could follow to an end."""

import json
import time

import pytest

from vl2.engine.schema_references import endless_reference


def needing(name, target, **more):
    part = {"type": "object", "properties": {name: {"$ref": target}}, "required": [name]}
    return {**part, **more}


def alternatives(*parts):
    return {"anyOf": list(parts)}


NULL = {"type": "null"}


@pytest.mark.parametrize(
    ("schema", "found"),
    [
        ({"$ref": "#"}, ("#", "#")),
        ({"allOf": [{"$ref": "#"}]}, ("#/allOf/0", "#")),
        (alternatives({"$ref": "#"}), ("#/anyOf/0", "#")),
        (needing("next", "#"), ("#/properties/next", "#")),
        (needing("a/b", "#"), ("#/properties/a~1b", "#")),
        ({"type": "array", "items": {"$ref": "#"}, "minItems": 1}, ("#/items", "#")),
        (
            {"$ref": "#/$defs/a%20b", "$defs": {"a b": {"$ref": "#/$defs/a%20b"}}},
            ("#/$defs/a b", "#/$defs/a%20b"),
        ),
        (
            {**needing("a", "#/$defs/a"), "$defs": {"a": needing("b", "#/$defs/a")}},
            ("#/$defs/a/properties/b", "#/$defs/a"),
        ),
        (
            alternatives({"$ref": "#/$defs/a"}, {"$ref": "#"})
            | {"$defs": {"a": {"$ref": "#/$defs/a"}}},
            ("#/$defs/a", "#/$defs/a"),
        ),
    ],
)
def test_found(schema, found):
    assert endless_reference(schema) == found


@pytest.mark.parametrize(
    "schema",
    [
        {},
        True,
        [1],
        "x",
        {"type": "object", "properties": {"next": {"$ref": "#"}}},
        {"type": "array", "items": {"$ref": "#"}},
        {"type": "array", "items": {"$ref": "#"}, "minItems": 0},
        {
            "type": ["object", "null"],
            **{k: needing("a", "#")[k] for k in ("properties", "required")},
        },
        alternatives({"$ref": "#"}, NULL),
        {**needing("next", "#/$defs/end"), "$defs": {"end": alternatives({"$ref": "#"}, NULL)}},
        {"$ref": "#/$defs/none"},
        {"$ref": "https://nowhere.example/x"},
        {"$ref": 3, "anyOf": {}, "allOf": 3, "required": 5, "type": {}},
        {"properties": {"anyOf": {"$ref": "#"}, "required": {"type": "string"}}},
        {"type": "object", "required": ["a", "b"]},
        {"$defs": {"unused": {"$ref": "#/$defs/unused"}}, "type": "string"},
    ],
    ids=lambda schema: json.dumps(schema)[:40],
)
def test_not_found(schema):
    assert endless_reference(schema) is None


def test_large_schemas_take_linear_time():
    chain = {str(n): {"$ref": f"#/$defs/{n + 1}"} for n in range(3000)}
    deep = {"type": "string"}
    for _ in range(5000):
        deep = {"type": "array", "items": deep, "minItems": 1}
    start = time.process_time()
    assert endless_reference({"$ref": "#/$defs/0", "$defs": chain}) is None
    chain["2999"] = {"$ref": "#/$defs/0"}
    assert endless_reference({"$ref": "#/$defs/0", "$defs": chain}) is not None
    assert endless_reference(deep) is None
    assert time.process_time() - start < 2

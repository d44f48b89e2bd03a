"""References of a JSON schema that every answer would have to follow for ever."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

_Needs = list[list[str]]

# What lies deeper is taken to end: the pointers of a hostile schema would fill the memory.
_LONGEST_POINTER = 1000


def endless_reference(schema: object) -> tuple[str, str] | None:
    """A reference that leads back to itself in every value that obeys the schema.

    `{"$ref": "#"}` is one, and so is a required property that is the schema itself; a property that
    may be left out, or may be something else (`anyOf`), is not. Takes time in proportion to the
    schema.

    Args:
        schema: the parsed schema.

    Returns:
        Where the reference stands, as a JSON pointer, and what it says; None if a value can end.
    """
    parts = dict(_parts(schema))
    needs = {place: _needs(place, part, parts) for place, part in parts.items()}
    ending = _ending(needs)
    place, walked = "#", list[str]()
    while place in needs and place not in ending and place not in walked:
        walked.append(place)
        group = next(group for group in needs[place] if not ending.intersection(group))
        place = group[0]
    circle = walked[walked.index(place) :] if place in walked else []
    return next(((at, parts[at]["$ref"]) for at in circle if "$ref" in parts[at]), None)


def _parts(schema: object) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every table of a schema with its JSON pointer."""
    waiting: list[tuple[str, object]] = [("#", schema)]
    while waiting:
        place, part = waiting.pop()
        if len(place) > _LONGEST_POINTER:
            continue
        if isinstance(part, Mapping):
            yield place, part
            steps = ((str(key), value) for key, value in part.items())
            waiting += ((f"{place}/{_escaped(key)}", value) for key, value in steps)
        elif isinstance(part, list):
            waiting += ((f"{place}/{index}", value) for index, value in enumerate(part))


def _needs(place: str, part: Mapping[str, Any], parts: Mapping[str, Any]) -> _Needs:
    """Groups of places; a value that obeys `part` holds one that obeys some place of each group."""
    needs = [[unquote(part["$ref"])]] if isinstance(part.get("$ref"), str) else []
    needs += [
        [f"{place}/{name}/{index}" for index in range(len(part[name]))]
        for name in ("anyOf", "oneOf")
        if isinstance(part.get(name), list) and part[name]
    ]
    if isinstance(part.get("allOf"), list):
        needs += [[f"{place}/allOf/{index}"] for index in range(len(part["allOf"]))]
    kind, required, fewest = (part.get(name) for name in ("type", "required", "minItems"))
    if kind in ("object", ["object"]) and isinstance(required, Sequence):
        needs += [[f"{place}/properties/{_escaped(str(name))}"] for name in required]
    if kind in ("array", ["array"]) and isinstance(fewest, int) and fewest > 0:
        needs.append([f"{place}/prefixItems/0" if "prefixItems" in part else f"{place}/items"])
    # What is no table of this schema asks for nothing here.
    return [group for group in needs if all(target in parts for target in group)]


def _ending(needs: Mapping[str, _Needs]) -> set[str]:
    """The places that some finite value obeys: those whose every group has such a place."""
    asking = defaultdict(list)
    for place, groups in needs.items():
        for number, group in enumerate(groups):
            for target in group:
                asking[target].append((place, number))
    open_groups = {place: set(range(len(groups))) for place, groups in needs.items()}
    ready = [place for place, groups in open_groups.items() if not groups]
    ending = set(ready)
    while ready:
        for place, number in asking[ready.pop()]:
            open_groups[place].discard(number)
            if not open_groups[place] and place not in ending:
                ending.add(place)
                ready.append(place)
    return ending


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")

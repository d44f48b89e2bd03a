"""What is wrong with a constraint, in sentences: llguidance speaks to those who wrote it."""

from __future__ import annotations

import json
import re

from vl2.engine.schema_references import endless_reference
from vl2.errors import InputError

_LONGEST = 300
# What llguidance says of a constraint, and what that means for who wrote it.
_SENTENCES = tuple(
    (re.compile(pattern), sentence)
    for pattern, sentence in (
        (r"Unimplemented keys: \[(.*?)\]", "{0} cannot be followed; leave it out"),
        (r"Pointer '(.*?)' does not exist", "the $ref '#{0}' leads nowhere"),
        (r"Resource '(.*?)' is not present", "the $ref '{0}' lies elsewhere; copy it into $defs"),
        (r"Invalid type: (.*)", "type '{0}' is unknown"),
        (r"Unknown format: (.*)", "format '{0}' is unknown; leave it out"),
        (
            r"oneOf constraints are not",
            "oneOf with overlapping parts cannot be followed; use anyOf",
        ),
        (r"Expecting object schema", "a schema must be an object"),
        (r"recursion limit exceeded", "it is nested too deep"),
        (r"Unsatisfiable schema: (.*)", "nothing obeys it, for {0}"),
        (r"regex parse error: (.*?) \^+ error: (.*?)(?: \d+ \| .*)?$", "{0} is no pattern: {1}"),
        (r"^(?:at )?(\d+)\((\d+)\): (.*?)(?: \d+ \| .*)?$", "line {0}, column {1}: {2}"),
        (r"NoExtension", "it leaves no way to begin an answer"),
        (r"[Pp]arser [Ee]rror:|[Ll]exer [Ee]rror:", "it is too complex; make it simpler"),
    )
)


def refused(kind: str, reason: str) -> InputError:
    """The error for a constraint that llguidance does not take.

    Args:
        kind: `json_schema`, `regex` or `grammar`.
        reason: what llguidance said.
    """
    return InputError(f"The {kind} cannot be understood: {said(reason)}.")


def refuse_endless(text: str) -> None:
    """Refuse a JSON schema that no finite answer obeys because it refers to itself.

    Raises:
        InputError: it does; the message names the reference.
    """
    try:
        found = endless_reference(json.loads(text))
    except (ValueError, RecursionError):
        return  # what follows tells what is wrong with it
    if found is not None:
        place, target = (text[:_LONGEST] for text in found)
        raise InputError(
            f"The json_schema cannot be followed: the $ref {target!r} at {place!r} leads back to "
            "itself without end; make a property on the way optional, or allow null by anyOf."
        )


def said(reason: str) -> str:
    """What llguidance said, without its inner state and in our words where we have some."""
    reason = " ".join(reason.split("<state>")[0].split())
    for pattern, sentence in _SENTENCES:
        if match := pattern.search(reason):
            return sentence.format(*match.groups())[:_LONGEST].rstrip(". ")
    return reason[:_LONGEST].rstrip(". ")

"""What is asked of a page, and the words it is asked in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from vl2.errors import InputError
from vl2.grounding import locate_question

Kind: TypeAlias = Literal["text", "markdown", "tables", "fields", "ask", "locate"]

TEXT = "Read all the text, top to bottom."
MARKDOWN = "Convert the page to Markdown."
TABLES = "Write the table as Markdown."
FIELDS = "Find {names} in the page. Answer with JSON; null where the page does not say."
SCHEMA = "Answer with JSON that obeys this schema, from what the page says: {schema}"

MAX_FIELDS = 64
MAX_FIELD_NAME = 64
MAX_VALUE = 400
"""Characters of a field's value; what is longer is a model that does not stop."""


@dataclass(frozen=True, slots=True)
class Task:
    """One thing that is asked of every page.

    Attributes:
        kind: what the answer becomes.
        prompt: what the model is asked.
        about: the question or the phrase, as it was given.
        schema: that the answer must obey, as JSON text.
    """

    kind: Kind
    prompt: str
    about: str = ""
    schema: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The task as a result shows it."""
        shown: dict[str, Any] = {"kind": self.kind, "prompt": self.prompt}
        if self.about:
            shown["about"] = self.about
        if self.schema is not None:
            shown["schema"] = json.loads(self.schema)
        return shown


def read_text() -> Task:
    """The text of the page, line by line."""
    return Task("text", TEXT)


def read_markdown() -> Task:
    """The page as Markdown."""
    return Task("markdown", MARKDOWN)


def read_tables() -> Task:
    """The tables of the page."""
    return Task("tables", TABLES)


def read_fields(names: str | Iterable[str]) -> Task:
    """Values by name, each a text or null.

    Args:
        names: of the fields; as one text, separated by commas.

    Raises:
        InputError: there is none, too many, or one comes twice or is too long.
    """
    listed = names.split(",") if isinstance(names, str) else list(names)
    wanted = [name.strip() for name in listed if name.strip()]
    if not wanted or len(wanted) > MAX_FIELDS or len(set(wanted)) < len(wanted):
        raise InputError(
            f"There must be 1 to {MAX_FIELDS} fields, each once, got {len(wanted)}: write them "
            'like "total, date, supplier".'
        )
    longest = max(wanted, key=len)
    if len(longest) > MAX_FIELD_NAME:
        raise InputError(f"A field's name has {MAX_FIELD_NAME} characters at most: {longest!r}.")
    value = {"anyOf": [{"type": "string", "maxLength": MAX_VALUE}, {"type": "null"}]}
    schema = _object_of(dict.fromkeys(wanted, value))
    prompt = FIELDS.format(names=", ".join(wanted))
    return Task("fields", prompt, ", ".join(wanted), json.dumps(schema, ensure_ascii=False))


def read_schema(schema: str | Mapping[str, Any]) -> Task:
    """JSON by a schema of an object.

    Raises:
        InputError: it is no JSON, or no schema of an object.
    """
    try:
        value = json.loads(schema) if isinstance(schema, str) else dict(schema)
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"The schema is not JSON ({reason}): give a JSON Schema.") from error
    if not isinstance(value, dict) or value.get("type", "object") != "object":
        raise InputError('The schema must be one of an object: {"type": "object", ...}.')
    return Task("fields", SCHEMA.format(schema=text), schema=text)


def ask(question: str) -> Task:
    """A question about every page.

    Raises:
        InputError: it is empty.
    """
    if not question.strip():
        raise InputError("The question is empty: ask something.")
    return Task("ask", question.strip(), question.strip())


def locate(phrase: str) -> Task:
    """Boxes of something on every page.

    Raises:
        InputError: the phrase is empty or holds a tag.
    """
    return Task("locate", locate_question(phrase), phrase.strip())


def _object_of(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }

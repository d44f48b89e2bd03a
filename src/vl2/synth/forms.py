"""Forms: fields with their values, as on tickets, cards and slips."""

import functools
import random

from vl2.synth import strings, templates, topics
from vl2.synth.drawn import Drawn, Question, ask_rows
from vl2.synth.fonts import GlyphSet
from vl2.synth.layouts import layout
from vl2.synth.paper import Press, is_legible, shade, style, widest, width_of

FEATURES = {
    "values": ("beside", "below", "right"),
    "field": ("colon", "plain", "heavy", "tinted"),
    "rows": ("none", "ruled", "boxed", "striped"),
    "title": ("none", "left", "centre", "banner"),
}
COUNT = (2, 5)
_PITCH, _MARGIN = 1.65, 0.8
_PRINTABLE = "0123456789.,%$"
"""What numbers are made of: the held-out fonts have no euro sign."""

Fields = tuple[tuple[str, str], ...]


def fields(rng: random.Random, *, held_out: bool, count: tuple[int, int] = COUNT) -> Fields:
    """Fields and their values; a third of the fields are any words."""
    topic = "fields" if rng.random() < 0.67 else "words"
    names = topics.pick(rng, topic, rng.randint(*count), held_out=held_out, longest=7)
    names = [name.capitalize() for name in names]
    said = []
    while len(said) < len(names):
        value = _value(rng, held_out)
        if value not in names:
            said.append((names[len(said)], value))
    return tuple(said)


def _value(rng: random.Random, held_out: bool) -> str:
    if rng.random() < 0.4:
        number = strings.number(rng, held_out=held_out)
        while set(number) - set(_PRINTABLE):
            number = strings.number(rng, held_out=held_out)
        return number
    topic = rng.choice(("people", "towns", "words"))
    word = topics.pick(rng, topic, 1, held_out=held_out)[0]
    return word if topic == "words" and rng.random() < 0.3 else word.capitalize()


def draw(rng: random.Random, *, held_out: bool, count: tuple[int, int] = COUNT) -> Drawn | None:
    """A form with its questions; None if it came out too large to be legible."""
    said, looks = fields(rng, held_out=held_out, count=count), style(rng, held_out=held_out)
    features = layout(rng, FEATURES, held_out=held_out)
    titles = topics.pick(rng, "words", len(said) + 1, held_out=held_out)
    title = next(word for word in map(str.capitalize, titles) if word not in dict(said))
    size, below = looks.size, features["values"] == "below"
    letters = looks.heavy if features["field"] == "heavy" else looks.letters
    colon = ":" if features["field"] == "colon" else ""
    names = widest((name + colon for name, _ in said), letters)
    values = widest((value for _, value in said), looks.letters)
    gap = size * rng.uniform(0.8, 2.0)
    inner = max(names, values + 0.8 * size) if below else names + gap + values
    if features["title"] != "none":
        inner = max(inner, width_of(title, looks.large(1.2)) + size)
    inner += size
    pitch = _PITCH * size + (1.2 * size if below else 0)
    top = _MARGIN * size + (2 * size if features["title"] != "none" else 0)
    width, height = inner + 2 * _MARGIN * size, top + len(said) * pitch + _MARGIN * size
    if not is_legible(width, height, looks.letters):
        return None
    press = Press(rng, width, height, looks)
    _write_title(press, title, features["title"], width)
    for i, (name, value) in enumerate(said):
        _write_row(
            press,
            (name + colon, value, i % 2 == 1),
            features,
            letters,
            (top + i * pitch, pitch, names + gap),
        )
    asks = {"form": functools.partial(ask, said), "rows": ask_rows(said)}
    return Drawn((press.document(),), asks)


def _write_title(press: Press, title: str, kind: str, width: float) -> None:
    size = press.style.size
    if kind == "none":
        return
    if kind == "banner":
        press.fill(0, 0, width, 2.2 * size, shade(press.style.paper, 0.16))
    x, align = (1.3 * size, 0.0) if kind == "left" else (width / 2, 0.5)
    press.write(title, x, 1.6 * size, letters=press.style.large(1.2), align=align)


def _write_row(
    press: Press,
    row: tuple[str, str, bool],
    features: dict[str, str],
    letters: GlyphSet,
    place: tuple[float, float, float],
) -> None:
    """Prints a row, with what marks it as one.

    Args:
        press: The sheet.
        row: The field, its value, and whether it is every other row.
        features: The layout.
        letters: Of the field.
        place: The upper edge, the height, and where values stand beside fields.
    """
    size, (top, pitch, column) = press.style.size, place
    left, right = _MARGIN * size, press.painter.width - _MARGIN * size
    first = top + 1.15 * size
    if features["rows"] == "striped" and row[2]:
        press.fill(left, top, right, top + pitch, shade(press.style.paper, 0.1))
    if features["field"] == "tinted":
        end = right if features["values"] == "below" else left + column + 0.1 * size
        press.fill(left, top, end, top + 1.5 * size, shade(press.style.paper, 0.12))
    if features["rows"] == "boxed":
        press.frame(left, top, right, top + pitch - 0.15 * size)
    elif features["rows"] == "ruled":
        press.rule(left, right, round(top + pitch - 0.1 * size), "solid")
    press.write(row[0], left + 0.5 * size, first, letters=letters)
    if features["values"] == "below":
        press.write(row[1], left + 1.2 * size, first + 1.3 * size)
    elif features["values"] == "right":
        press.write(row[1], right - 0.5 * size, first, align=1.0)
    else:
        press.write(row[1], left + 0.5 * size + column, first)


def ask(said: Fields, rng: random.Random) -> Question:
    """The value of a field."""
    name, value = rng.choice(said)
    return rng.choice(templates.FIELD).format(name=name), value

"""Running text: a paragraph that fills its picture, and small print on a large one."""

import functools
import random

from vl2.synth import strings, templates, topics
from vl2.synth.backgrounds import background
from vl2.synth.drawn import Drawn, Question
from vl2.synth.fonts import HELD_OUT_FONTS, TRAINED_FONTS, GlyphSet, glyph_set
from vl2.synth.layouts import layout
from vl2.synth.painter import SMALLEST_LETTER, Painter, apt_colours, line_of
from vl2.synth.paper import Press, is_legible, mixed, style, widest, width_of
from vl2.synth.scene import add_shapes

FEATURES = {
    "align": ("left", "left", "centre", "right"),
    "pitch": ("tight", "normal", "wide"),
    "heading": ("none", "none", "plain", "ruled"),
    "indent": ("none", "first"),
    "paper": ("plain", "ruled"),
}
_PITCHES = {"tight": 1.25, "normal": 1.5, "wide": 1.8}
_ALIGN = {"left": 0.0, "centre": 0.5, "right": 1.0}
_SENTENCE = (3, 7)
_MARGIN = 0.9

_SMALL_SIDES = (192, 384)
"""Pictures of small print are square and cut into four local tiles."""

_LARGEST_SMALL_LETTER = 10.0
"""The greatest mean advance of small print in pixels of the canvas; it is a half to a quarter of
that in the global view, where nobody can read it."""


def sentences(rng: random.Random, *, held_out: bool) -> str:
    """One to three sentences of words that mean nothing together."""
    told = []
    for _ in range(rng.randint(1, 3)):
        count = rng.randint(*_SENTENCE)
        words = topics.pick(rng, "words", count, held_out=held_out, longest=7)
        if count > 4 and rng.random() < 0.5:
            words[count // 2 - 1] += ","
        words[0] = words[0].capitalize()
        told.append(" ".join(words) + ".")
    return " ".join(told)


def wrapped(text: str, letters: GlyphSet, width: float, first: float = 0.0) -> list[str]:
    """A text cut into lines that are no wider than `width`; the first has less room."""
    lines: list[str] = []
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines else word
        room = width - first if len(lines) == 1 else width
        if lines and width_of(longer, letters) <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def draw(rng: random.Random, *, held_out: bool) -> Drawn | None:
    """A paragraph; None if it came out too large to be legible."""
    text, looks = sentences(rng, held_out=held_out), style(rng, held_out=held_out)
    features = layout(rng, FEATURES, held_out=held_out)
    size, letters = looks.size, looks.letters
    indent = 1.5 * size if features["indent"] == "first" and features["align"] == "left" else 0.0
    lines = wrapped(text, letters, rng.uniform(9, 20) * letters.mean_advance, indent)
    title = topics.pick(rng, "words", 1, held_out=held_out)[0].capitalize()
    has_title = features["heading"] != "none"
    inner = max(widest(lines, letters) + indent, has_title * width_of(title, looks.large(1.2)))
    pitch, top = _PITCHES[features["pitch"]] * size, (1.0 + 1.9 * has_title) * size
    width, height = inner + 2 * _MARGIN * size, top + pitch * len(lines) + 0.9 * size
    if not is_legible(width, height, letters):
        return None
    press = Press(rng, width, height, looks)
    left, right = _MARGIN * size, width - _MARGIN * size
    align = _ALIGN[features["align"]]
    x = left + align * (right - left)
    if has_title:
        press.write(title, x, 1.7 * size, letters=looks.large(1.2), align=align)
        press.rule(left, right, 2.2 * size, "solid" if features["heading"] == "ruled" else "none")
    for i, line in enumerate(lines):
        base = top + i * pitch + size
        if features["paper"] == "ruled":
            press.pen.line((0, base + 3, width, base + 3), fill=mixed(looks.paper, press.ink, 0.2))
        press.write(line, x + (indent if i == 0 else 0), base, align=align)
    whole = f"{title} {text}" if has_title else text
    return Drawn((press.document(),), {"paragraph": functools.partial(_read, whole)})


def _read(text: str, rng: random.Random) -> Question:
    return rng.choice(templates.PARAGRAPH), text


def draw_small(rng: random.Random, *, held_out: bool) -> Drawn | None:
    """One to three lines of print somewhere on a large picture, in letters as small as can be."""
    side = rng.randint(*_SMALL_SIDES)
    painter = Painter(rng, background(rng, side, side))
    letters = _small_letters(rng, painter.scale, held_out)
    if letters is None:
        return None
    words = [strings.word(rng, held_out=held_out) for _ in range(rng.randint(1, 4))]
    lines = [line_of(word, letters) for word in words]
    colour = rng.choice(apt_colours(painter.behind.colours, text=True))
    if not painter.lines(lines, colour, spacing=rng.uniform(0.5, 1.2)):
        return None
    if rng.random() < 0.5:
        add_shapes(painter, rng.randint(1, 3))
    return Drawn((painter.scene(),), {"small_text": functools.partial(_read_small, words)})


def _small_letters(rng: random.Random, scale: float, held_out: bool) -> GlyphSet | None:
    """The smallest legible letters of some font; None if they are not small."""
    font = rng.choice(HELD_OUT_FONTS if held_out else TRAINED_FONTS)
    for size in range(8, 40):
        advance = glyph_set(font, size).mean_advance * scale
        if advance >= SMALLEST_LETTER:
            return glyph_set(font, size) if advance <= _LARGEST_SMALL_LETTER else None
    return None


def _read_small(words: list[str], rng: random.Random) -> Question:
    return rng.choice(templates.SMALL_TEXT), "\n".join(words)

"""Grounding: text in which a model points at things, boxes in pixels, and pictures of both."""

from vl2.grounding.boxes import GRID, Box
from vl2.grounding.drawing import draw
from vl2.grounding.fonts import MissingGlyphWarning
from vl2.grounding.parsing import Stripper, parse, parse_normalised, strip
from vl2.grounding.writing import format_boxes, locate_question

__all__ = [
    "GRID",
    "Box",
    "MissingGlyphWarning",
    "Stripper",
    "draw",
    "format_boxes",
    "locate_question",
    "parse",
    "parse_normalised",
    "strip",
]

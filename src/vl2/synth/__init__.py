"""Rendered training data: pictures with questions, exact answers and dense labels, from a seed."""

from vl2.synth.dense import DenseLabels, dense_labels
from vl2.synth.evaluation import EVALUATED, heldout
from vl2.synth.export import rows
from vl2.synth.names import (
    CHARACTER_CLASSES,
    CHARACTERS,
    COLOUR_CLASSES,
    COLOURS,
    SHAPE_CLASSES,
    SHAPES,
)
from vl2.synth.sampling import Sample, Turn, sample
from vl2.synth.templates import vocabulary
from vl2.synth.things import TILING, Scene, Thing

__all__ = [
    "CHARACTERS",
    "CHARACTER_CLASSES",
    "COLOURS",
    "COLOUR_CLASSES",
    "EVALUATED",
    "SHAPES",
    "SHAPE_CLASSES",
    "TILING",
    "DenseLabels",
    "Sample",
    "Scene",
    "Thing",
    "Turn",
    "dense_labels",
    "heldout",
    "rows",
    "sample",
    "vocabulary",
]

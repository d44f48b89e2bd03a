"""The closed names of the rendered world: shapes, colours, characters, places and tasks.

The order of each tuple is part of the data format, for the dense labels hold indices into it
(plus one, with zero for "nothing here").
"""

SHAPES: tuple[str, ...] = (
    "circle",
    "square",
    "triangle",
    "star",
    "diamond",
    "cross",
    "heart",
    "moon",
)

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (220, 38, 38),
    "green": (38, 160, 60),
    "blue": (40, 80, 225),
    "yellow": (246, 218, 40),
    "orange": (250, 136, 24),
    "purple": (128, 48, 170),
    "pink": (252, 134, 190),
    "brown": (124, 74, 36),
    "black": (18, 18, 18),
    "white": (252, 252, 252),
    "grey": (134, 134, 134),
}

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
DIGITS = "0123456789"
PUNCTUATION = ".,%$€"
CHARACTERS = LETTERS + DIGITS + PUNCTUATION

CHARACTER_CLASS: dict[str, int] = {character: 1 + i for i, character in enumerate(CHARACTERS)}
SHAPE_CLASS: dict[str, int] = {shape: 1 + i for i, shape in enumerate(SHAPES)}
COLOUR_CLASS: dict[str, int] = {colour: 1 + i for i, colour in enumerate(COLOURS)}
TEXT_CLASS = 1 + len(SHAPES)

CHARACTER_CLASSES = 1 + len(CHARACTERS)
SHAPE_CLASSES = 1 + TEXT_CLASS
COLOUR_CLASSES = 1 + len(COLOURS)

PLACES: tuple[tuple[str, str, str], ...] = (
    ("top left", "top", "top right"),
    ("left", "centre", "right"),
    ("bottom left", "bottom", "bottom right"),
)

SPLITS: tuple[str, ...] = ("train", "heldout")


def plural(name: str) -> str:
    """The plural of a shape or another noun of this module: "cross" becomes "crosses"."""
    return name + ("es" if name.endswith("s") else "s")


def with_article(phrase: str) -> str:
    """The phrase behind its indefinite article: "a red star", "an orange heart"."""
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase

"""The wording of questions and answers: closed, and small enough for a whole-word tokenizer."""

import re

from vl2.synth import names

ONE = tuple[str, ...]

COLOUR: ONE = (
    "What colour is {it}?",
    "What color is {it}?",
    "Which colour is {it}?",
    "What is the colour of {it}?",
)
SHAPE: ONE = (
    "What shape is {colour}?",
    "Which shape is {colour}?",
    "What is the {colour} shape?",
    "What {colour} shape is there?",
)
ONLY_SHAPE: ONE = ("What shape is this?", "What shape is it?", "Which shape is shown?")
POSITION: ONE = (
    "Where is {it}?",
    "Where in the picture is {it}?",
    "Where in the image is {it}?",
    "In which part of the picture is {it}?",
)
RELATION: ONE = ("Is {a} {relation} {b}?",)
RELATIONS: dict[str, tuple[str, ...]] = {
    "left": ("left of", "to the left of"),
    "right": ("right of", "to the right of"),
    "above": ("above",),
    "below": ("below", "under"),
}
COUNTING: ONE = (
    "How many {these} are there?",
    "How many {these} do you see?",
    "How many {these} are in the picture?",
    "Count the {these}.",
)
EXISTENCE: ONE = (
    "Is there {one}?",
    "Is there {one} in the picture?",
    "Do you see {one}?",
    "Can you see {one}?",
)
YES_NO = ("no", "yes")
TEXT: ONE = (
    "What does the text say?",
    "Read the text.",
    "What is written here?",
    "What is written in the picture?",
    "What does it say?",
    "What does the sign say?",
)
ALL_TEXT: ONE = ("Read all the text.", "Read all the text, top to bottom.", *TEXT)
ONLY: ONE = ("Read the {noun}.", "What is the {noun}?", "What {noun} is this?", *TEXT)
COLOURED_TEXT: ONE = (
    "What does the {colour} text say?",
    "Read the {colour} text.",
    "What is written in {colour}?",
    "Read the {colour} {noun}.",
)
NO_TEXT = "There is no text."
LOCATE: ONE = (
    "Locate <|ref|>{phrase}<|/ref|> in the given image.",
    "Locate <|ref|>{phrase}<|/ref|>.",
    "Find <|ref|>{phrase}<|/ref|>.",
    "Find <|ref|>{phrase}<|/ref|> in the picture.",
    "<|ref|>{phrase}<|/ref|>",
    "<|ref|>{phrase}<|/ref|>.",
)
ABSENT = "There is no {phrase}."
ABSENT_MANY = "There are no {phrase}."
CAPTION: ONE = (
    "Describe the picture.",
    "Describe the image.",
    "What do you see?",
    "What is in the picture?",
    "What is shown in the image?",
)
LISTING: ONE = (
    "What shapes are there?",
    "Which shapes do you see?",
    "Which shapes are in the picture?",
    "Describe the shapes.",
)
PLACES: ONE = ("Where are the shapes?", "Where are the shapes in the picture?")
GROUNDED_CAPTION: ONE = (
    "<|grounding|>Describe the image.",
    "<|grounding|>Describe the picture.",
    "<|grounding|>Can you describe the content of the image?",
)

NOUNS = ("shape", "text", "word", "number")
_GLUE = "A An The a an the all and any"


def casual(question: str) -> str:
    """A question as it is typed in a hurry: no capital, no mark at its end.

    Questions with tags and quoted strings stay as they are.
    """
    if "<|" in question or '"' in question:
        return question
    return question[0].lower() + question[1:].rstrip("?.")


def vocabulary() -> list[str]:
    """Every word of every question and answer, sorted; the printed strings are not among them.

    A word stands at the start of a text, after a space, after `<|ref|>` or after `<|grounding|>`.
    Besides words there are numbers (`COORDINATES` of `vl2.synth.answers` and single digits),
    punctuation, and strings in quotation marks.
    """
    texts: list[str] = [_GLUE, NO_TEXT, ABSENT, ABSENT_MANY, *YES_NO, *NOUNS]
    texts += [names.plural(noun) for noun in ("shape", "word", "number", *names.SHAPES)]
    texts += [*names.SHAPES, *names.COLOURS]
    texts += [place for row in names.PLACES for place in row]
    texts += [phrase for phrases in RELATIONS.values() for phrase in phrases]
    for templates in (COLOUR, SHAPE, ONLY_SHAPE, POSITION, RELATION, COUNTING, EXISTENCE, TEXT):
        texts += templates
    for templates in (ALL_TEXT, ONLY, COLOURED_TEXT, LOCATE):
        texts += templates
    for templates in (CAPTION, LISTING, PLACES, GROUNDED_CAPTION):
        texts += templates
    texts += [casual(text) for text in texts]
    words: set[str] = set()
    for text in texts:
        words.update(re.findall(r"[A-Za-z]+", re.sub(r"<\|.*?\|>|\{.*?\}", " ", text)))
    return sorted(words)

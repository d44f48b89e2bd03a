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
WHICH_SIDE: dict[tuple[str, str], str] = {
    ("left", "right"): "Is {a} left or right of {b}?",
    ("above", "below"): "Is {a} above or below {b}?",
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

PARAGRAPH: ONE = ("Read the paragraph.", "What does the paragraph say?", "Read all the text.")
SMALL_TEXT: ONE = ("Read the small text.", "What does the small text say?")
PRICE: ONE = (
    'How much is "{name}"?',
    'What is the price of "{name}"?',
    'What does "{name}" cost?',
)
BOUGHT: ONE = ('What costs "{amount}"?',)
TOTAL: ONE = ("What is the total?", "How much is the total?", "How much is it all?")
FIELD: ONE = (
    'What is the "{name}"?',
    'What does it say for "{name}"?',
    'What is written for "{name}"?',
    'Read the field "{name}".',
)
CELL: ONE = (
    'What is the "{column}" of "{row}"?',
    'Read the cell in row "{row}" and column "{column}".',
    'What does the table say for "{row}" in "{column}"?',
)
MARKDOWN: ONE = ("Write the table as Markdown.", "Read the table as Markdown.", "Read the table.")
VALUE: ONE = (
    'What is the value of "{name}"?',
    'How much is "{name}"?',
    'Read the value of "{name}".',
)
EXTREME: ONE = ("Which is the {extreme}?", "What has the {extreme} value?")
EXTREMES = ("largest", "smallest")
DIFFERENCE: ONE = (
    'What is the difference between "{larger}" and "{smaller}"?',
    'How much larger is "{larger}" than "{smaller}"?',
)
IN_CONTEXT: ONE = (
    "<|grounding|>In the first image, an object within the red rectangle is marked. Locate the "
    "object of the same category in the second image.",
    "<|grounding|>The first image shows an object within the red rectangle. Please identify the "
    "object of the same category in the second image.",
)
ORDINALS = ("first", "second", "third", "fourth")
WHICH_PICTURE: ONE = ("Which picture shows {one}?", "In which picture is {one}?")
HOW_MANY_PICTURES: ONE = ("How many pictures show {one}?", "In how many pictures is {one}?")
IN_PICTURE: ONE = ("What is in the {ordinal} picture?", "Describe the {ordinal} image.")
STORY: ONE = ("Tell the story.", "What happens in the pictures?", "Tell what happens.")
AT: dict[str, str] = {
    "left": "on the left",
    "right": "on the right",
    "top": "at the top",
    "bottom": "at the bottom",
    "centre": "in the centre",
}
BEGINNING = "{one} is {where}."
EVENTS: dict[str, str] = {
    "comes": "Then {one} comes.",
    "leaves": "Then the {it} leaves.",
    "turns": "Then the {it} turns {colour}.",
    "grows": "Then the {it} grows.",
    "shrinks": "Then the {it} shrinks.",
    "moves": "Then the {it} moves to the {where}.",
}
SUM: ONE = ("What is {a} plus {b}?", "How much is {a} plus {b}?")
LESS: ONE = ("What is {a} minus {b}?", "How much is {a} minus {b}?")
LARGER: ONE = ("Which is larger, {a} or {b}?", "Which number is larger, {a} or {b}?")
REPEAT: ONE = ('Write "{word}".', 'Repeat "{word}".')
LETTERS: ONE = ('How many letters are in "{word}"?', 'Count the letters in "{word}".')
TOLD = "The {shape} is {colour}."

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
    for templates in (PARAGRAPH, SMALL_TEXT, PRICE, BOUGHT, TOTAL, FIELD, CELL, MARKDOWN, VALUE):
        texts += templates
    for templates in (EXTREME, EXTREMES, DIFFERENCE, IN_CONTEXT, ORDINALS, WHICH_PICTURE):
        texts += templates
    for templates in (HOW_MANY_PICTURES, IN_PICTURE, STORY, SUM, LESS, LARGER, REPEAT, LETTERS):
        texts += templates
    texts += [*AT, *AT.values(), BEGINNING, *EVENTS.values(), TOLD]
    texts += [casual(text) for text in texts]
    words: set[str] = set()
    for text in texts:
        words.update(re.findall(r"[A-Za-z]+", re.sub(r"<\|.*?\|>|\{.*?\}", " ", text)))
    return sorted(words)

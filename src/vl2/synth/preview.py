"""A contact sheet of rendered pictures with their questions and answers."""

import textwrap

from PIL import Image, ImageDraw

from vl2.grounding import parse
from vl2.processing.images import letterbox
from vl2.synth.fonts import open_font
from vl2.synth.sampling import Sample, sample
from vl2.synth.things import TILING

_PICTURE, _CARD, _LINE, _COLUMNS = 192, (640, 290), 15, 3
_MARGIN = 8


def _seen(shown: Sample) -> Image.Image:
    """The picture as its tiles show it, with the boxes of its answers."""
    image = shown.image.copy()
    draw = ImageDraw.Draw(image)
    for turn in shown.turns:
        for box in parse(turn.answer, *image.size):
            draw.rectangle((box.x1, box.y1, box.x2, box.y2), outline=(255, 0, 255))
    canvas = TILING.canvas(TILING.grid(*image.size))
    return letterbox(image, canvas, (127, 127, 127))


def _card(shown: Sample, *, boxes: bool) -> Image.Image:
    canvas = TILING.canvas(TILING.grid(*shown.image.size))
    picture = _seen(shown) if boxes else letterbox(shown.image, canvas, (127, 127, 127))
    card = Image.new("RGB", _CARD, (250, 250, 250))
    picture.thumbnail((_PICTURE, _PICTURE))
    card.paste(picture, (_MARGIN, _MARGIN))
    draw, font = ImageDraw.Draw(card), open_font("DejaVuSans", 11)
    y = _MARGIN
    for turn in shown.turns:
        spelt = f"{turn.question} {turn.answer}".replace("\n", " / ")
        for i, line in enumerate(textwrap.wrap(spelt, 62)):
            draw.text((_PICTURE + 3 * _MARGIN + 8 * (i > 0), y), line, fill=(20, 20, 20), font=font)
            y += _LINE
    return card


def contact_sheet(
    seed: int = 0, split: str = "train", count: int = 12, *, boxes: bool = False
) -> Image.Image:
    """Pictures as the model's tiles show them, each beside its questions and answers.

    Args:
        seed: The seed of the first picture; the others follow.
        split: "train" or "heldout".
        count: How many pictures.
        boxes: Whether to draw the boxes of the answers.
    """
    rows = -(-count // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * _CARD[0], rows * _CARD[1]), (250, 250, 250))
    for i in range(count):
        card = _card(sample(seed + i, split), boxes=boxes)
        sheet.paste(card, (i % _COLUMNS * _CARD[0], i // _COLUMNS * _CARD[1]))
    return sheet

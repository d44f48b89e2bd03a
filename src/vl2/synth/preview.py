"""A contact sheet of rendered pictures with their questions and answers."""

import textwrap
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw

from vl2.grounding import parse
from vl2.processing.building import choose_grids
from vl2.processing.images import letterbox
from vl2.synth.fonts import open_font
from vl2.synth.kinds import KINDS
from vl2.synth.sampling import Sample, sample
from vl2.synth.things import TILING

_PICTURE, _CARD, _LINE, _COLUMNS = 192, (640, 290), 15, 3
_MARGIN, _LETTERS = 8, 62
_GREY = (127, 127, 127)


def _pictures(shown: Sample, *, boxes: bool) -> list[Image.Image]:
    """The pictures as their tiles show them, with the boxes of the answers on request."""
    images = [image.copy() for image in shown.images]
    for turn in shown.turns if boxes and images else ():
        draw = ImageDraw.Draw(images[-1])
        for box in parse(turn.answer, *images[-1].size):
            draw.rectangle((box.x1, box.y1, box.x2, box.y2), outline=(255, 0, 255))
    grids = choose_grids([image.size for image in images], TILING)
    return [
        letterbox(image, TILING.canvas(grid), _GREY)
        for image, grid in zip(images, grids, strict=True)
    ]


def _card(shown: Sample, *, boxes: bool) -> Image.Image:
    card = Image.new("RGB", _CARD, (250, 250, 250))
    pictures = _pictures(shown, boxes=boxes)
    side = _PICTURE if len(pictures) == 1 else _PICTURE // 2
    for i, picture in enumerate(pictures):
        picture.thumbnail((side, _PICTURE))
        step = side + 2
        card.paste(picture, (_MARGIN + i % 2 * step, _MARGIN + i // 2 * step))
    left = 3 * _MARGIN + (_PICTURE if pictures else 0)
    _tell(ImageDraw.Draw(card), shown, left, _LETTERS if pictures else 3 * _LETTERS // 2)
    return card


def _tell(draw: ImageDraw.ImageDraw, shown: Sample, left: int, letters: int) -> None:
    font, y = open_font("DejaVuSans", 11), _MARGIN
    for turn in shown.turns:
        spelt = f"{turn.question} {turn.answer}".replace("\n", " / ")
        for i, line in enumerate(textwrap.wrap(spelt, letters)):
            draw.text((left + 8 * (i > 0), y), line, fill=(20, 20, 20), font=font)
            y += _LINE


def contact_sheet(
    seed: int = 0,
    split: str = "train",
    count: int = 12,
    *,
    kinds: Sequence[Mapping[str, float]] = (KINDS,),
    boxes: bool = False,
) -> Image.Image:
    """Pictures as the model's tiles show them, each beside its questions and answers.

    Args:
        seed: The seed of the first sample; the others follow.
        split: "train" or "heldout".
        count: How many samples.
        kinds: Mixtures of kinds of pictures, at least one, to take in turn.
        boxes: Whether to draw the boxes of the answers.
    """
    rows = -(-count // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * _CARD[0], rows * _CARD[1]), (250, 250, 250))
    for i in range(count):
        card = _card(sample(seed + i, split, kinds=kinds[i % len(kinds)]), boxes=boxes)
        sheet.paste(card, (i % _COLUMNS * _CARD[0], i // _COLUMNS * _CARD[1]))
    return sheet

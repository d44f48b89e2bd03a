"""Receipts: what was bought, for how much, and the sum."""

import functools
import random
from dataclasses import dataclass

from vl2.synth import strings, templates, topics
from vl2.synth.drawn import Drawn, Question, ask_rows
from vl2.synth.fonts import GlyphSet
from vl2.synth.layouts import layout
from vl2.synth.paper import Press, Style, is_legible, style, widest, width_of

FEATURES = {
    "prices": ("right", "dots", "near"),
    "rule": ("solid", "dashed", "double", "none"),
    "shop": ("centre", "left", "capitals"),
    "total": ("heavy", "plain", "large"),
    "head": ("none", "shown"),
}
GOODS = (2, 5)
_TITLE, _PITCH, _MARGIN = 1.25, 1.4, 0.8


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a receipt says: amounts are printed strings, the total is their sum."""

    shop: str
    head: str
    entries: tuple[tuple[str, str], ...]
    total: str

    @property
    def rows(self) -> tuple[tuple[str, str], ...]:
        """What was bought with its price, and the total."""
        return (*self.entries, ("Total", self.total))


def _amount(cents: int, sign: str) -> str:
    return f"{sign}{cents // 100}.{cents % 100:02d}"


def receipt(rng: random.Random, *, held_out: bool, goods: tuple[int, int] = GOODS) -> Receipt:
    """A random receipt; names and prices, but not the total, are of the split's class."""
    names = topics.pick(rng, "goods", rng.randint(*goods), held_out=held_out)
    capital = rng.random() < 0.6
    sign = rng.choice(("", "", "$"))
    highest = rng.choice((999, 999, 2999))
    entries, total = [], 0
    for name in names:
        cents = rng.randint(30, highest)
        while strings.is_held_out(_amount(cents, sign)) != held_out:
            cents = rng.randint(30, highest)
        entries.append((name.capitalize() if capital else name, _amount(cents, sign)))
        total += cents
    shop = topics.pick(rng, rng.choice(("towns", "people", "words")), 1, held_out=held_out)[0]
    heads = (f"No {rng.randint(1, 9999)}", f"{rng.randint(1, 28):02d}.{rng.randint(1, 12):02d}.24")
    return Receipt(shop.capitalize(), rng.choice(heads), tuple(entries), _amount(total, sign))


def _write(press: Press, said: Receipt, looks: dict[str, str], left: float, right: float) -> None:
    """Prints a receipt between two edges."""
    size, letters = press.style.size, press.style.letters
    pitch, y = _PITCH * size, _MARGIN * size + size
    shop = said.shop.upper() if looks["shop"] == "capitals" else said.shop
    align = 0.0 if looks["shop"] == "left" else 0.5
    press.write(
        shop,
        left if align == 0 else (left + right) / 2,
        y + 0.1 * size,
        letters=press.style.large(_TITLE),
        align=align,
    )
    y += 0.2 * size
    if looks["head"] != "none":
        y += pitch
        press.write(said.head, left if align == 0 else (left + right) / 2, y, align=align)
    press.rule(left, right, y + 0.5 * size, looks["rule"])
    y += 0.4 * size
    near = left + widest((name for name, _ in said.entries), letters) + 1.2 * size
    price, before = (near, 0.0) if looks["prices"] == "near" else (right, 1.0)
    for name, amount in said.entries:
        y += pitch
        press.write(name, left, y)
        press.write(amount, price, y, align=before)
        if looks["prices"] == "dots":
            first = left + width_of(name, letters) + 0.5 * size
            last = right - width_of(amount, letters) - 0.5 * size
            for x in range(round(first), round(last), max(4, round(0.4 * size))):
                press.fill(x, y - 1, x + size // 14, y - 1 + size // 14, press.ink)
    press.rule(left, right, y + 0.5 * size, looks["rule"])
    y += pitch + 0.5 * size
    bold = _total_letters(press.style, looks)
    press.write("Total", left, y, letters=bold)
    press.write(said.total, price, y, letters=bold, align=before)


def _total_letters(looks: Style, features: dict[str, str]) -> GlyphSet:
    if features["total"] == "large":
        return looks.large(1.15)
    return looks.heavy if features["total"] == "heavy" else looks.letters


def draw(rng: random.Random, *, held_out: bool, goods: tuple[int, int] = GOODS) -> Drawn | None:
    """A receipt with its questions; None if it came out too wide to be legible."""
    said, looks = receipt(rng, held_out=held_out, goods=goods), style(rng, held_out=held_out)
    features = layout(rng, FEATURES, held_out=held_out)
    heavy = _total_letters(looks, features)
    names = widest((name for name, _ in said.entries), looks.letters)
    amounts = widest((amount for _, amount in said.entries), looks.letters)
    total = width_of("Total", heavy), width_of(said.total, heavy)
    inner = max(
        max(names, total[0]) + max(amounts, total[1]) + looks.size * rng.uniform(1.2, 3.0),
        width_of(said.shop.upper(), looks.large(_TITLE)),
        width_of(said.head, looks.letters),
    )
    lines = len(said.entries) + 2 + (features["head"] != "none")
    width = inner + 2 * _MARGIN * looks.size
    height = lines * _PITCH * looks.size + 2.6 * looks.size
    if not is_legible(width, height, looks.letters):
        return None
    press = Press(rng, width, height, looks)
    _write(press, said, features, _MARGIN * looks.size, width - _MARGIN * looks.size)
    asks = {"receipt": functools.partial(ask, said), "rows": ask_rows(said.rows)}
    return Drawn((press.document(),), asks)


def ask(said: Receipt, rng: random.Random) -> Question:
    """What something costs, what cost so much, the total, or the name of the shop."""
    chance = rng.random()
    if chance < 0.2:
        return rng.choice(templates.TOTAL), said.total
    name, amount = rng.choice(said.entries)
    if chance < 0.3 and sum(other == amount for _, other in said.entries) == 1:
        return rng.choice(templates.BOUGHT).format(amount=amount), name
    return rng.choice(templates.PRICE).format(name=name), amount

"""Documents rendered from a seed, and what they say."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import PIL.Image

from vl2.documents.tables import Table
from vl2.evals.documents.sheets import Sheet

A4 = (1190, 1684)
"""Width and height of a page at 144 dpi, in pixels."""

_FIRMS = (
    *("Alder Freight", "Brook Optics", "Cedar Mills", "Delta Paper", "Ember Energy"),
    *("Fjord Foods", "Granite Tools", "Harbour Print", "Iris Medical", "Juniper Tiles"),
)
_FORMS = ("Ltd", "GmbH", "SA", "Inc.", "BV")
_TOWNS = ("Aarhus", "Bergen", "Cork", "Dover", "Essen", "Faro", "Genoa", "Huelva", "Izmir", "Jena")
_PEOPLE = ("A. Novak", "B. Okafor", "C. Lindqvist", "D. Moreau", "E. Tanaka", "F. Silva")
_GOODS = (
    *("apples", "basmati rice", "candles", "dish soap", "envelopes", "flour", "green tea"),
    *("honey", "ink black", "jam", "kitchen foil", "lemons", "milk 1 l", "noodles", "olive oil"),
    *("pencils", "quinoa", "raisins", "salt", "tomatoes", "vinegar", "walnuts", "yeast"),
)
_SPENT = ("Card payment", "Direct debit", "Transfer out", "Standing order", "Cash", "Fee")
_EARNED = ("Transfer in", "Salary", "Refund", "Interest")
_REGIONS = ("North", "South", "East", "West", "Centre", "Coast", "Islands", "Valley", "Hills")
_COLUMNS = ("Units", "Orders", "Returns", "Staff", "Visits", "Sales")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_CLAUSES = (
    "The supplier delivers the goods named in the annex to the address of the customer.",
    "Deliveries are made on working days between eight and seventeen o'clock.",
    "The customer examines each delivery within ten days and reports what is missing in writing.",
    "Invoices are due thirty days after they have been received; interest is five per cent.",
    "The fee is reviewed once a year and follows the index of consumer prices.",
    "Either party may end this agreement for good cause at any time.",
    "Changes to this agreement are valid only in writing and signed by both parties.",
    "Neither party hands confidential matters of the other to anybody else.",
    "What one clause lacks does not touch the others.",
    "The courts at the seat of the supplier decide on disputes under this agreement.",
)


@dataclass(frozen=True, slots=True)
class Paper:
    """A rendered document.

    Attributes:
        kind: one of `KINDS`.
        pages: RGB pictures.
        fields: what it says, by name.
        table: the table that it holds, if any.
    """

    kind: str
    pages: tuple[PIL.Image.Image, ...]
    fields: Mapping[str, str] = field(default_factory=dict)
    table: Table | None = None


def paper(kind: str, seed: int) -> Paper:
    """The document of a kind that belongs to a seed; always the same.

    Raises:
        MissingExtraError: matplotlib, which brings the fonts, is not installed.
    """
    return KINDS[kind](random.Random(f"{kind} {seed}"))


def _contract(rng: random.Random) -> Paper:
    supplier, customer = (f"{firm} {rng.choice(_FORMS)}" for firm in rng.sample(_FIRMS, 2))
    fields = {
        "contract number": f"C-{rng.randint(1000, 9999)}/{rng.randint(10, 99)}",
        "date": _date(rng),
        "supplier": supplier,
        "customer": customer,
        "term": f"{rng.choice((6, 12, 18, 24, 36, 48))} months",
        "annual fee": f"EUR {_thousands(rng.randint(2_000, 90_000) * 100)}",
    }
    first, second = Sheet(A4, "DejaVuSerif"), Sheet(A4, "DejaVuSerif")
    first.line("Supply Agreement", size=44, bold=True, align=0.5)
    first.skip(30)
    first.line(f"Contract number: {fields['contract number']}")
    first.line(f"Date: {fields['date']}")
    first.skip(20)
    first.paragraph(
        f"between {supplier} of {rng.choice(_TOWNS)}, the supplier, and {customer} of "
        f"{rng.choice(_TOWNS)}, the customer."
    )
    clauses = rng.sample(_CLAUSES, len(_CLAUSES))
    clauses.insert(2, f"This agreement holds for a term of {fields['term']} from its date.")
    clauses.insert(7, f"The annual fee is {fields['annual fee']}, without value added tax.")
    for number, clause in enumerate(clauses, 1):
        page = first if number <= 7 else second
        page.skip(14)
        page.paragraph(f"{number}. {clause}")
    second.skip(120)
    for name in (supplier, customer):
        second.rule(0.0, 0.45)
        second.line(f"{rng.choice(_PEOPLE)}, for {name}", size=22)
        second.skip(90)
    return Paper("contract", (first.picture, second.picture), fields)


def _statement(rng: random.Random) -> Paper:
    balance = rng.randint(20_000, 900_000)
    day = dt.date(2025, rng.randint(1, 12), 1)
    number = f"{rng.randint(10, 99)} {rng.randint(1000, 9999)} {rng.randint(1000, 9999)}"
    fields = {
        "account holder": rng.choice(_PEOPLE),
        "account number": number,
        "period": f"{_MONTHS[day.month - 1]} {day.year}",
        "opening balance": _thousands(balance),
    }
    rows = []
    for offset in sorted(rng.sample(range(28), rng.randint(8, 16))):
        amount = rng.choice((-1, -1, -1, 1)) * rng.randint(150, 95_000)
        balance += amount
        when = f"{day + dt.timedelta(days=offset):%d.%m.}"
        details = rng.choice(_EARNED if amount > 0 else _SPENT)
        rows.append([when, details, _thousands(amount), _thousands(balance)])
    fields["closing balance"] = _thousands(balance)
    table = [["Date", "Details", "Amount", "Balance"], *rows]
    sheet = Sheet(A4, "DejaVuSans")
    sheet.line(f"{rng.choice(_TOWNS)} Savings Bank", size=38, bold=True)
    sheet.rule()
    sheet.skip(20)
    for name, value in list(fields.items())[:4]:
        sheet.pair(f"{name.capitalize()}:", value, 0.3)
    sheet.skip(30)
    sheet.table(table, (0.0, 0.14, 0.78, 1.0), right_from=2)
    sheet.skip(20)
    sheet.pair("Closing balance:", fields["closing balance"], 0.3)
    return Paper("statement", (sheet.picture,), fields, table)


def _receipt(rng: random.Random) -> Paper:
    names = rng.choices(_GOODS, k=rng.randint(6, 70))
    prices = [rng.randint(49, 1999) for _ in names]
    fields = {
        "shop": rng.choice(_FIRMS),
        "date": _date(rng),
        "receipt number": str(rng.randint(10_000, 99_999)),
        "total": _thousands(sum(prices)),
    }
    lines = [[name, _thousands(cents)] for name, cents in zip(names, prices, strict=True)]
    sheet = Sheet((560, 420 + 34 * len(names)), "DejaVuSansMono", size=24, margin=36)
    sheet.line(fields["shop"], size=34, bold=True, align=0.5)
    sheet.line(rng.choice(_TOWNS), align=0.5)
    sheet.line(f"{fields['date']}   No {fields['receipt number']}", size=20, align=0.5)
    sheet.rule()
    sheet.table(lines, (0.0, 1.0), right_from=1, head=False)
    sheet.rule()
    sheet.table([["TOTAL EUR", fields["total"]]], (0.0, 1.0), right_from=1, head=False)
    sheet.line("Thank you", align=0.5)
    return Paper("receipt", (sheet.picture,), fields, lines)


def _table(rng: random.Random) -> Paper:
    columns = rng.sample(_COLUMNS, rng.randint(2, 4))
    rows = [
        [region, *(str(rng.randint(1, 9999)) for _ in columns)]
        for region in rng.sample(_REGIONS, rng.randint(3, 9))
    ]
    table = [["Region", *columns], *rows]
    sheet = Sheet((1000, 240 + 60 * len(table)), rng.choice(("DejaVuSans", "DejaVuSerif")))
    sheet.line(f"Regions in {rng.randint(1990, 2026)}", size=32, bold=True)
    sheet.skip(10)
    edges = tuple((index + 1) / (len(columns) + 1) for index in range(1, len(columns) + 1))
    sheet.table(table, (0.0, *edges), right_from=1)
    return Paper("table", (sheet.picture,), table=table)


def _date(rng: random.Random) -> str:
    return (
        f"{rng.randint(1, 28)} {dt.date(2000, rng.randint(1, 12), 1):%B} {rng.randint(2019, 2026)}"
    )


def _thousands(cents: int) -> str:
    return f"{cents / 100:,.2f}"


KINDS: dict[str, Callable[[random.Random], Paper]] = {
    "contract": _contract,
    "statement": _statement,
    "receipt": _receipt,
    "table": _table,
}
"""Names of the kinds, and what renders them."""

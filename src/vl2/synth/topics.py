"""What documents and charts are about: short lists of words that stand together on real ones."""

import functools
import random

from vl2.synth.strings import is_held_out
from vl2.synth.words import WORDS

_GOODS = """
apples bacon bagel banana basil batter beans beef beer beets berry bread broom brush bulbs butter
cake candle candy carrot cereal cheese cherry chips cider cloves coconut cod coffee cookie corn
cream crisps curry dates dill donut eggs figs fish flour fruit garlic ginger glue grapes gum ham
herbs honey jam juice kale kebab ketchup lamb leek lemon lentils lettuce lime liver lotion mango
melon milk mints muffin mussels nails napkin noodles nuts oats oil olives onion orange paper pasta
peach pears peas pens pepper pickle pie pizza plums popcorn pork potato prunes quinoa radish
raisins razor rice roll rolls sage salad salmon salt sauce scone shampoo shrimp soap soda soup
spinach sponge squash steak sugar syrup tape tea thyme toast tofu tomato tuna turkey turnip vanilla
vinegar waffle walnut water wine wraps yeast yogurt
"""
_PEOPLE = """
Ada Adam Alan Alma Amy Andy Anna Anton Arlo Ava Ben Bea Bella Boris Brian Carl Carla Cleo Clara Dan
Dana David Dora Edith Ella Elsa Emil Emma Eric Esther Eva Felix Fiona Frank Fred Gina Greta Hana
Hans Harry Hazel Helen Hugo Ida Ivan Jack Jana Jane Jim Joan Joe John Josef Julia Karl Kate
Kim Lara Laura Lena Leo Lily Linda Lisa Lou Lucas Lucy Luis Mara Maria Mark Marta Mary Max Maya Mia
Mila Mona Nadia Nina Noah Nora Olga Oscar Otto Paul Paula Pedro Peter Petra Pia Ralph Ray Rita
Robin Rosa Ruth Sam Sara Simon Sofia Stella Sven Tara Ted Theo Tim Tina Tom Toni Una Vera Victor
Wanda Will Yara Zoe
"""
_TOWNS = """
Accra Athens Bari Basel Berlin Bern Bonn Boston Bremen Brest Cairo Calais Cork Dakar Dallas Delft
Delhi Denver Dover Dublin Essen Faro Geneva Genoa Ghent Graz Hanoi Havana Izmir Jena Kiel Krakow
Kyiv Kyoto Lagos Leeds Leipzig Lille Lima Lund Lisbon London Lyon Madrid Malaga Malmo Metz Miami
Milan Minsk Munich Nancy Nantes Naples Nice Oporto Osaka Oslo Oxford Padua Paris Pecs Perth Pisa
Porto Prague Quito Reims Riga Rome Rouen Salem Seoul Siena Split Sofia Tampa Tokyo Toulon Tours
Trento Trier Tunis Turin Turku Utrecht Venice Verona Vienna Vilnius Warsaw York Zagreb Zurich
"""
_HEADS = """
Age Amount Area Balance Code Cost Count Depth Distance Goals Grade Height Hours Length Level Losses
Marks Members Mileage Number Orders Points Pounds Price Profit Rank Rate Rooms Sales Score Seats
Share Shifts Size Speed Stock Sum Time Total Trips Units Value Visits Volume Votes Weight Width
Wins Year
"""
_FIELDS = """
Account Age Author Bank Batch Branch Building Cabin Carrier Case City Class Client Code Colour
Company Contact Country Course Date Desk Doctor Driver Email Event Exit Family Flight Floor Gate
Grade Group Guest Guide Hotel House Item Job Key Level Locker Member Model Month Name Number Office
Order Owner Parcel Patient Phone Pilot Plan Port Product Room Route School Seat Sender Shelf Size
Station Street Student Subject Table Teacher Team Ticket Title Town Track Train Unit Vendor Visit
Ward Week Zone
"""
MONTHS: tuple[str, ...] = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)
"""Both splits print the months, on line charts, for there are too few to keep any back."""

TOPICS: dict[str, tuple[str, ...]] = {
    "goods": tuple(_GOODS.split()),
    "people": tuple(_PEOPLE.split()),
    "towns": tuple(_TOWNS.split()),
    "heads": tuple(_HEADS.split()),
    "fields": tuple(_FIELDS.split()),
    "words": WORDS,
}


@functools.cache
def _apt(topic: str, held_out: bool, longest: int) -> tuple[str, ...]:
    # A capital I looks like a small l in most sans-serif fonts.
    return tuple(
        word
        for word in TOPICS[topic]
        if len(word) <= longest and word[0] not in "iI" and is_held_out(word) == held_out
    )


def pick(
    rng: random.Random, topic: str, count: int, *, held_out: bool, longest: int = 8
) -> list[str]:
    """Different words of one topic, all of the split's class.

    Args:
        rng: The source of chance.
        topic: One of `TOPICS`.
        count: How many; words of other topics stand in where a topic has too few.
        held_out: Whether to draw from the words that training never prints.
        longest: The most letters of a word.
    """
    apt = _apt(topic, held_out, longest)
    if len(apt) < count:
        apt = tuple(dict.fromkeys(apt + _apt("words", held_out, longest)))
    return rng.sample(apt, count)

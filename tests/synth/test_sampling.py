import itertools
import re
from collections import Counter

import numpy as np
import pytest

from vl2.errors import InputError
from vl2.evals.judging import true_boxes
from vl2.evals.metrics.boxes import intersection_over_union
from vl2.grounding import parse_normalised, strip
from vl2.synth import TILING, Sample, sample, vocabulary
from vl2.synth.answers import COORDINATES, coordinate
from vl2.synth.names import CHARACTERS, COLOURS, PLACES, SHAPES
from vl2.synth.questions import TASKS
from vl2.synth.sampling import TASK_WEIGHTS
from vl2.synth.strings import is_held_out


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return [sample(seed) for seed in range(400)]


def everything(of: Sample) -> tuple:
    told = [(of.turns, scene.things, scene.characters) for scene in of.scenes]
    return [image.tobytes() for image in of.images], told


def test_the_same_seed_gives_the_same_sample_and_another_seed_another():
    assert everything(sample(7)) == everything(sample(7))
    assert everything(sample(7)) != everything(sample(8))
    assert everything(sample(7)) != everything(sample(7, "heldout"))


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ((-1, "train"), "-1"),
        ((0, "test"), "'test'"),
    ],
)
def test_bad_seeds_and_splits_are_refused(arguments, part):
    with pytest.raises(InputError, match=part):
        sample(*arguments)


def test_unknown_tasks_and_kinds_are_refused():
    with pytest.raises(InputError, match="juggling"):
        sample(0, tasks={"juggling": 1.0})
    with pytest.raises(InputError, match="films"):
        sample(0, kinds={"films": 1.0})


def test_the_splits_print_disjoint_strings(samples):
    train = {thing.name for s in samples for thing in s.scenes[0].things if thing.kind == "text"}
    kept = [sample(seed, "heldout", kinds={"text": 1.0}) for seed in range(100)]
    heldout = {thing.name for s in kept for thing in s.scenes[0].things}
    assert len(train) > 150
    assert len(heldout) > 100
    assert not any(is_held_out(string) for string in train)
    assert all(is_held_out(string) for string in heldout)
    assert {s.casefold() for s in train}.isdisjoint(s.casefold() for s in heldout)


def test_pictures_are_varied_and_of_the_promised_sizes(samples):
    assert all(s.scenes[0].image.mode == "RGB" for s in samples)
    sides = [side for s in samples for side in s.scenes[0].image.size]
    assert min(sides) >= 80
    assert max(sides) <= 400
    assert len({TILING.grid(*s.scenes[0].image.size) for s in samples}) >= 4
    kinds = Counter(frozenset(thing.kind for thing in s.scenes[0].things) for s in samples)
    assert kinds[frozenset(["shape"])] > kinds[frozenset(["text"])] > 80
    assert {t.name for s in samples for t in s.scenes[0].things if t.kind == "shape"} == set(SHAPES)
    assert {t.colour for s in samples for t in s.scenes[0].things} == set(COLOURS)


def test_things_lie_inside_and_apart(samples):
    for s in samples:
        for i, a in enumerate(s.scenes[0].things):
            assert 0 <= a.x1 < a.x2 <= s.scenes[0].image.width
            assert 0 <= a.y1 < a.y2 <= s.scenes[0].image.height
            for b in s.scenes[0].things[:i]:
                assert a.x2 < b.x1 or b.x2 < a.x1 or a.y2 <= b.y1 or b.y2 <= a.y1


def test_boxes_are_tight_around_what_is_drawn():
    # On a plain background everything that differs from its corner belongs to a thing.
    checked = 0
    for seed in range(200):
        s = sample(seed, kinds={"shapes": 1.0})
        if len(s.scenes[0].things) != 1 or s.scenes[0].image.getcolors(64) is None:
            continue
        pixels = np.asarray(s.scenes[0].image).astype(int)
        ys, xs = np.nonzero(np.abs(pixels - pixels[0, 0]).sum(-1) > 60)
        drawn = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
        thing = s.scenes[0].things[0]
        assert drawn == pytest.approx((thing.x1, thing.y1, thing.x2, thing.y2), abs=1.6)
        checked += 1
        if checked == 8:
            break
    assert checked == 8


def test_letters_have_cells_in_reading_order(samples):
    for s in samples:
        texts = [thing for thing in s.scenes[0].things if thing.kind == "text"]
        assert "".join(t.name for t in texts) == "".join(c[0] for c in s.scenes[0].characters)
        assert all(c[0] in CHARACTERS for c in s.scenes[0].characters)
        cells = iter(s.scenes[0].characters)
        for text in texts:
            own = [next(cells) for _ in text.name]
            assert all(a[3] == b[1] for a, b in itertools.pairwise(own))
            middle = [(c[1] + c[3]) / 2 for c in own]
            assert all(text.x1 <= x <= text.x2 for x in middle)


def test_every_task_is_asked_and_turns_are_neither_few_nor_repeated(samples):
    tasks = Counter(turn.task for s in samples for turn in s.turns)
    assert set(TASKS) <= set(TASK_WEIGHTS)
    assert set(tasks) == {task for task in TASKS if TASK_WEIGHTS[task]}
    counts = [len(s.turns) for s in samples]
    assert max(counts) <= 10
    assert sum(counts) / len(counts) > 7
    for s in samples:
        assert len({turn.question for turn in s.turns}) == len(s.turns)


def test_words_of_questions_and_answers_are_the_published_ones(samples):
    known = set(vocabulary())
    used = set()
    for s in samples:
        for turn in s.turns:
            answer = "" if turn.task in ("word", "number", "lines") else strip(turn.answer)
            for text in (turn.question, answer):
                bare = re.sub(r'"[^"]*"|<\|.*?\|>', " ", text)
                assert re.sub(r"[A-Za-z ,.?0-6]", "", bare) == ""
                used.update(re.findall(r"[A-Za-z]+", bare))
    assert used <= known
    assert vocabulary() == sorted(known)


def test_a_quoted_string_comes_after_its_reading(samples):
    for s in samples:
        seen_quote = False
        for turn in s.turns:
            if '"' in turn.question + turn.answer:
                seen_quote = True
            assert not (seen_quote and turn.task in ("word", "number", "lines"))


def test_coordinates_are_on_the_coarse_scale_and_near_the_truth(samples):
    found = set()
    for s in samples:
        for turn in s.turns:
            for spelt, true in zip(parse_normalised(turn.answer), true_boxes(turn, s), strict=True):
                found.update(spelt.corners)
                assert intersection_over_union(spelt.corners, true.corners) > 0.7
                for a, b in zip(spelt.corners, true.corners, strict=True):
                    assert abs(a - b) <= 5.5
    assert found <= set(COORDINATES)
    assert len(COORDINATES) == 101


@pytest.mark.parametrize(
    ("position", "expected"), [(0, 0), (4.9, 0), (5.1, 10), (500, 500), (994, 990), (999, 999)]
)
def test_coordinates_round_to_tens_and_end_at_999(position, expected):
    assert coordinate(position, 999) == expected


def check_counting(s: Sample, question: str, answer: str) -> None:
    asked = re.search(r"(?:many|the) (.*?)(?: are| do|\.|$)", question, re.IGNORECASE)[1]
    singular = {"crosses": "cross"}.get(asked.split()[-1], asked.split()[-1].removesuffix("s"))
    colour = asked.split()[0] if " " in asked else None
    count = sum(
        singular in (thing.name if thing.kind == "shape" else None, thing.noun)
        and colour in (None, thing.colour)
        for thing in s.scenes[0].things
    )
    assert answer == str(count), (question, s.scenes[0].things)


def check_relation(s: Sample, question: str, answer: str) -> None:
    pattern = r"is (.*?) (?:to the )?(left|right|above|below|under)(?: of)? (the .*?)\??$"
    first, word, second = re.match(pattern, question, re.IGNORECASE).groups()
    a, b = (only(s, phrase) for phrase in (first, second))
    dx, dy = (p - q for p, q in zip(a.centre, b.centre, strict=True))
    truth = {"left": dx < 0, "right": dx > 0, "above": dy < 0, "below": dy > 0, "under": dy > 0}
    assert answer == ("yes" if truth[word] else "no")
    distance = (
        abs(dx) / s.scenes[0].image.width
        if word in ("left", "right")
        else abs(dy) / s.scenes[0].image.height
    )
    assert distance >= 0.14


def test_the_side_that_is_told_is_true():
    told = Counter()
    for s in (sample(seed, tasks={"which_side": 1.0}) for seed in range(150)):
        for turn in s.turns:
            pattern = r"is (the .*) (left|above) or (?:right of|below) (the .*?)\??"
            first, word, second = re.fullmatch(pattern, turn.question, re.IGNORECASE).groups()
            a, b = (only(s, phrase).centre for phrase in (first, second))
            axis, words = (0, ("left", "right")) if word == "left" else (1, ("above", "below"))
            assert turn.answer == words[a[axis] > b[axis]]
            told[turn.answer] += 1
    assert len(told) == 4
    assert min(told.values()) > 15


def only(s: Sample, phrase: str):
    """The one thing that a phrase can mean; an independent reading of the phrases."""
    words = re.sub(r'"[^"]*"', lambda m: "QUOTED", phrase).removeprefix("the ").split()
    quoted = re.search(r'"([^"]*)"', phrase)
    found = []
    for thing in s.scenes[0].things:
        nouns = {thing.noun, "text" if thing.kind == "text" else thing.name}
        fits = {
            word: word in nouns or word == thing.colour or (quoted and thing.name == quoted[1])
            for word in words
        }
        if all(fits.values()):
            found.append(thing)
    assert len(found) == 1, (phrase, s.scenes[0].things)
    return found[0]


def check_colour(s: Sample, question: str, answer: str) -> None:
    phrase = re.search(r"(?:is|of) (the (?!colour).*?)\??$", question)[1]
    assert only(s, phrase).colour == answer


def check_position(s: Sample, question: str, answer: str) -> None:
    phrase = re.search(r"is (the .*?)\??$", question)[1]
    x, y = only(s, phrase).centre
    x, y = x / s.scenes[0].image.width, y / s.scenes[0].image.height
    assert ("left" in answer, "right" in answer) == (x < 0.33, x > 0.67)
    assert ("top" in answer, "bottom" in answer) == (y < 0.33, y > 0.67)


def check_locate(s: Sample, question: str, answer: str) -> None:
    phrase = re.search(r"<\|ref\|>(.*)<\|/ref\|>", question)[1]
    assert answer.startswith(f"<|ref|>{phrase}<|/ref|><|det|>")
    thing = only(s, phrase)
    box = parse_normalised(answer)[0]
    assert box.x1 == pytest.approx(thing.x1 / s.scenes[0].image.width * 999, abs=5.5)
    assert box.y2 == pytest.approx(thing.y2 / s.scenes[0].image.height * 999, abs=5.5)


CHECKS = {
    "counting": check_counting,
    "relation": check_relation,
    "colour": check_colour,
    "position": check_position,
    "locate_one": check_locate,
}


def test_answers_are_true(samples):
    checked = Counter()
    for s in samples:
        for turn in s.turns:
            if turn.task in CHECKS:
                CHECKS[turn.task](s, turn.question, turn.answer)
                checked[turn.task] += 1
    assert min(checked[task] for task in CHECKS) > 50


def test_captions_name_things_from_left_to_right():
    turns = [
        (s, turn)
        for s in (sample(seed, tasks={"caption": 1.0}) for seed in range(60))
        for turn in s.turns
    ]
    assert len(turns) > 20
    for s, turn in turns:
        labels = re.findall(r'(?:an? |the )(\w+ (?:"[^"]*"|\w+))', turn.answer, re.IGNORECASE)
        ordered = sorted(s.scenes[0].things, key=lambda thing: thing.x1)
        assert labels == [thing.label for thing in ordered]
        assert turn.answer[0].isupper()
        assert turn.answer.endswith(".")


@pytest.mark.parametrize("task", ["listing", "places"])
def test_lists_tell_each_shape_from_left_to_right(task):
    drawn = [sample(seed, kinds={"shapes": 1.0}, tasks={task: 1.0}) for seed in range(150)]
    turns = [(s, turn) for s in drawn for turn in s.turns]
    assert len(turns) > 20
    for s, turn in turns:
        ordered = sorted(s.scenes[0].things, key=lambda thing: thing.x1)
        told = [part.split(" ", 1) for part in turn.answer.split(", ")]
        assert [name for name, _ in told] == [thing.name for thing in ordered]
        for (_, said), thing in zip(told, ordered, strict=True):
            assert said == thing.colour if task == "listing" else said == where(s, thing)


def where(s, thing):
    """The ninth of the picture that the middle of a thing lies in."""
    x, y = (
        (thing.x1 + thing.x2) / 2 / s.scenes[0].image.width,
        (thing.y1 + thing.y2) / 2 / s.scenes[0].image.height,
    )
    row, column = (min(2, int(3 * part)) for part in (y, x))
    return PLACES[row][column]

"""What holds for every kind of sample."""

import random
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vl2.chat import as_conversation
from vl2.evals.judging import judge
from vl2.processing.building import choose_grids
from vl2.synth import (
    TILING,
    bars,
    curves,
    dense_labels,
    fonts,
    forms,
    heldout,
    layouts,
    paragraphs,
    pies,
    receipts,
    sample,
    tables,
    topics,
    vocabulary,
)
from vl2.synth.export import messages
from vl2.synth.fonts import FONTS, HELD_OUT_FONTS, TRAINED_FONTS, bold
from vl2.synth.kinds import KINDS
from vl2.synth.names import CHARACTER_CLASS, TEXT_CLASS
from vl2.synth.painter import SMALLEST_LETTER
from vl2.synth.recut import CUTS
from vl2.synth.sampling import TASK_WEIGHTS
from vl2.synth.strings import is_held_out

SPLITS = ("train", "heldout")
PRINTED = ("paragraph", "small_print", "receipt", "form", "table")
CHARTS = ("bar_chart", "line_chart", "pie_chart")
SHORT = ("short_receipt", "short_form", "short_table", "short_chart")
NEW = (*PRINTED, *CHARTS, *SHORT, "pair", "album", "story", "talk")
FURNITURE = {"Total", "No", *topics.MONTHS}
NOT_WORDS = re.compile(r'"[^"]*"|<\|.*?\|>')


def drawn(kind, count=30, split="train"):
    return [sample(seed, split, kinds={kind: 1.0}) for seed in range(count)]


@given(st.sampled_from(NEW), st.sampled_from(SPLITS), st.integers(0, 10**9))
@settings(max_examples=40, deadline=None)
def test_a_sample_follows_from_its_seed(kind, split, seed):
    once, again = (sample(seed, split, kinds={kind: 1.0}) for _ in range(2))
    assert [image.tobytes() for image in once.images] == [i.tobytes() for i in again.images]
    assert once.turns == again.turns
    assert [(s.things, s.characters) for s in once.scenes] == [
        (s.things, s.characters) for s in again.scenes
    ]
    assert all(turn.answer for turn in once.turns)


@pytest.mark.parametrize("kind", NEW)
def test_the_splits_differ_in_pictures_and_turns(kind):
    train, held_out = (drawn(kind, 12, split) for split in SPLITS)
    assert all(a.turns != b.turns for a, b in zip(train, held_out, strict=True))
    if kind != "talk":
        found = [tuple(image.tobytes() for image in s.images) for s in train + held_out]
        assert len(found) == len(set(found))


@pytest.mark.parametrize("kind", [*PRINTED, *CHARTS])
@pytest.mark.parametrize("split", SPLITS)
def test_printed_words_are_of_the_splits_class(kind, split):
    for s in drawn(kind, 40, split):
        for thing in s.scenes[0].things:
            word = thing.name.strip(".,:")
            if thing.kind == "text" and word.isalpha() and word not in FURNITURE:
                assert is_held_out(word) == (split == "heldout"), word


@pytest.mark.parametrize("module", [receipts, forms, tables, paragraphs, bars, curves, pies])
def test_an_eighth_of_the_layouts_is_held_out_and_no_feature_is(module):
    rng = random.Random(0)
    train = [layouts.layout(rng, module.FEATURES, held_out=False) for _ in range(200)]
    unseen = [layouts.layout(rng, module.FEATURES, held_out=True) for _ in range(100)]
    assert not any(found in train for found in unseen)
    assert len({str(found) for found in unseen}) > 8
    for name, values in module.FEATURES.items():
        assert {found[name] for found in train} == set(values)


def test_held_out_fonts_are_printed_in_the_held_out_split_alone(monkeypatch):
    asked = []
    real = fonts.glyph_set

    def watched(name, size):
        asked.append(name)
        return real(name, size)

    for module in ("paper", "paragraphs"):
        monkeypatch.setattr(f"vl2.synth.{module}.glyph_set", watched)
    seen = {}
    for split in SPLITS:
        asked.clear()
        for kind in (*PRINTED, *CHARTS):
            drawn(kind, 12, split)
        seen[split] = set(asked)
    assert seen["train"] <= set(TRAINED_FONTS)
    assert seen["train"] & set(FONTS)
    assert seen["train"] & set(CUTS)
    assert seen["heldout"] == set(HELD_OUT_FONTS)
    assert {bold(name) for name in HELD_OUT_FONTS} <= set(HELD_OUT_FONTS)


@pytest.mark.parametrize("name", CUTS)
def test_a_cut_is_as_wide_and_as_strong_as_it_says(name):
    cut = CUTS[name]
    plain, changed = fonts.glyph_set(cut.font, 24), fonts.glyph_set(name, 24)
    assert changed.mean_advance == pytest.approx(cut.width * plain.mean_advance, rel=0.06)

    def ink(letters):
        return sum(int(np.asarray(letters.glyphs[c].mask).sum()) for c in "aegkmntBHR2580")

    strength = ink(changed) / (cut.width * ink(plain))
    lowest, highest = {-1: (0.35, 0.85), 0: (0.9, 1.1), 1: (1.15, 1.9)}[cut.weight]
    assert lowest < strength < highest
    for character in "ilxpQ%":
        new, old = changed.glyphs[character], plain.glyphs[character]
        assert abs(new.top - old.top) <= 1
        assert abs(new.top + new.mask.height - old.top - old.mask.height) <= 1


@pytest.mark.parametrize("font", HELD_OUT_FONTS)
def test_held_out_fonts_have_every_character_but_the_euro(font):
    glyphs = fonts.glyph_set(font, 24).glyphs
    masks = {character: (g.mask.size, g.mask.tobytes()) for character, g in glyphs.items()}
    missing = masks["€"]
    assert [character for character, mask in masks.items() if mask == missing] == ["€"]


def test_held_out_documents_print_no_euro():
    for kind in (*PRINTED, *CHARTS):
        for s in drawn(kind, 60, "heldout"):
            assert "€" not in {character[0] for character in s.scenes[0].characters}


@pytest.mark.parametrize("kind", [*PRINTED, *CHARTS])
@pytest.mark.parametrize("split", SPLITS)
def test_print_is_legible_on_the_canvas_and_lies_inside(kind, split):
    widths = []
    for s in drawn(kind, 40, split):
        (scene,) = s.scenes
        width, height = scene.image.size
        canvas = TILING.canvas(TILING.grid(width, height))
        scale = min(canvas[0] / width, canvas[1] / height)
        widths += [(x2 - x1) * scale for _, x1, _, x2, _ in scene.characters]
        for thing in scene.things:
            assert -1 <= thing.x1 < thing.x2 <= width + 1, (thing, scene.image.size)
            assert -1 <= thing.y1 < thing.y2 <= height + 1, (thing, scene.image.size)
    # Small letters are narrower than the mean of all letters, by which print is measured.
    assert sum(widths) / len(widths) > 0.85 * SMALLEST_LETTER


@pytest.mark.parametrize("kind", [*PRINTED, *CHARTS])
def test_print_does_not_run_into_other_print(kind):
    for s in drawn(kind, 60):
        things = s.scenes[0].things
        for i, a in enumerate(things):
            for b in things[:i]:
                across = min(a.x2, b.x2) - max(a.x1, b.x1)
                down = min(a.y2, b.y2) - max(a.y1, b.y1)
                assert across <= 1 or down <= 1, (a, b)


@pytest.mark.parametrize("kind", NEW)
def test_words_of_turns_are_the_published_ones(kind):
    known, used = set(vocabulary()), set()
    for s in drawn(kind, 60):
        for turn in s.turns:
            used.update(re.findall(r"[A-Za-z]+", NOT_WORDS.sub(" ", turn.question)))
            if turn.task in ("in_picture", "which_picture", "story", "in_context"):
                used.update(re.findall(r"[A-Za-z]+", NOT_WORDS.sub(" ", turn.answer)))
    assert used <= known, used - known


def test_every_word_of_the_vocabulary_is_used():
    used = set()
    for kind in KINDS:
        for s in drawn(kind, 90):
            for turn in s.turns:
                text = NOT_WORDS.sub(" ", f"{turn.question} {turn.answer}")
                used.update(re.findall(r"[A-Za-z]+", text))
    assert len(set(vocabulary()) - used) <= 4, set(vocabulary()) - used


@pytest.mark.parametrize("task", TASK_WEIGHTS)
def test_every_task_has_held_out_questions_that_their_answers_satisfy(task):
    items = heldout(task, 6)
    assert len(items) == 6
    for of, turn in items:
        assert turn.task == task
        assert judge(turn, turn.answer, of)
        assert judge(turn, f" {turn.answer}\n", of)
        assert not judge(turn, "", of)
        assert not judge(turn, "I do not know.", of)


@pytest.mark.parametrize("kind", NEW)
def test_labels_cover_the_tiles_that_the_processor_cuts(kind):
    for s in drawn(kind, 8):
        grids = choose_grids([image.size for image in s.images], TILING)
        if len(s.scenes) > 2:
            assert all(grid.n_tiles == 2 for grid in grids)
        for scene, grid in zip(s.scenes, grids, strict=True):
            labels = dense_labels(scene, grid, TILING)
            assert labels.shape.shape == (grid.n_tiles, 64)
            if kind in PRINTED:
                assert (labels.shape == TEXT_CLASS).any()
                told = set(np.unique(labels.characters[1:])) - {0}
                printed = {CHARACTER_CLASS[c[0]] for c in scene.characters}
                assert told <= printed
                assert len(told) > 0.6 * len(printed)


@pytest.mark.parametrize("kind", NEW)
def test_messages_hold_as_many_pictures_as_there_are(kind):
    for s in drawn(kind, 4):
        conversation = as_conversation(messages(s), s.images)
        assert len(conversation.images) == len(s.scenes)
        assert conversation.messages[0].images == conversation.images
        assert len(conversation.messages) == 2 * len(s.turns)


def test_kinds_are_as_frequent_as_wished():
    mixture = {"line_chart": 1.0, "story": 1.0}
    found = [sample(seed, kinds=mixture, turns=(1, 1)) for seed in range(200)]
    assert 80 < sum(len(s.scenes) == 1 for s in found) < 120


def test_kinds_can_be_mixed_and_the_default_holds_what_it_held():
    mixture = {"shapes": 0.5, "receipt": 0.3, "talk": 0.2}
    tasks = [{turn.task for turn in sample(seed, kinds=mixture).turns} for seed in range(60)]
    assert sum("receipt" in found for found in tasks) > 8
    assert sum("text_only" in found for found in tasks) > 4
    assert sum(bool(found & {"colour", "counting", "existence"}) for found in tasks) > 20
    assert {kind for kind, weight in KINDS.items() if weight} == {"shapes", "text", "both"}


@pytest.mark.parametrize("kind", SHORT)
def test_short_documents_have_one_or_two_rows(kind):
    tasks = {"rows": 1.0, "table_markdown": 1.0}
    rows = [
        len(sample(seed, kinds={kind: 1.0}, tasks=tasks).turns[-1].answer.splitlines())
        for seed in range(20)
    ]
    around = {"short_receipt": 1, "short_table": 2}.get(kind, 0)  # the total; head and dashes
    assert {count - around for count in rows} == {1, 2}


def test_rows_tell_every_answer_about_single_values():
    asked = 0
    tasks = {"rows": 1.0, "receipt": 1.0, "form": 1.0, "chart_value": 2.0}
    for kind in ("receipt", "form", *CHARTS):
        for seed in range(20):
            turns = sample(seed, kinds={kind: 1.0}, tasks=tasks, turns=(8, 8)).turns
            assert turns[-1].task == "rows"
            told = dict(line.split(" ", 1) for line in turns[-1].answer.splitlines())
            for turn in turns[:-1]:
                quoted = re.findall(r'"([^"]*)"', turn.question)
                if quoted and quoted[0] in told:
                    asked += 1
                    assert told[quoted[0]] == turn.answer
    assert asked > 150


def test_a_sign_is_one_string_nearly_as_wide_as_the_picture():
    scenes = [found.scenes[0] for found in drawn("sign")]
    assert all(len(scene.things) == 1 and scene.things[0].kind == "text" for scene in scenes)
    shares = [(scene.things[0].x2 - scene.things[0].x1) / scene.image.width for scene in scenes]
    assert sum(shares) / len(shares) > 0.5


def test_two_are_two_shapes_where_there_is_room():
    counts = [len(found.scenes[0].things) for found in drawn("two")]
    assert max(counts) == 2
    assert counts.count(2) > 0.9 * len(counts)

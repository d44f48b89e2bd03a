"""Learning from rendered samples of every kind: labels, batches, tokenizers."""

import json

import pytest
import torch

from vl2.cli import main
from vl2.cli.train import _rendered_lessons
from vl2.errors import InputError
from vl2.model.loss import supervised_positions
from vl2.synth import CHARACTERS, COLOURS, SHAPES, vocabulary
from vl2.synth.answers import COORDINATES
from vl2.synth.kinds import KINDS
from vl2.train.data import Collator, Encoder
from vl2.train.naming import NamingRows
from vl2.train.recipe import load_recipe
from vl2.train.run import _name_tokens, fresh_model, fresh_processor, starting_point
from vl2.train.vision import DenseNames


@pytest.fixture(scope="module")
def processor():
    return fresh_processor(vocabulary(), COORDINATES)


def lessons(kind, *settings):
    recipe = load_recipe("nano-look", (f"pictures={{{kind}: 1}}", "tasks={}", *settings))
    return recipe, _rendered_lessons(recipe)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "page"])
def test_labels_lie_beside_the_tiles_of_the_prompt(processor, kind):
    rows = []
    for max_tiles in (0, 1):
        recipe, lesson = lessons(kind, f"max_tiles={max_tiles}", "max_tokens=900")
        rows.append(Encoder(processor, recipe)(lesson, 1 + max_tiles))
    for row in rows:
        if kind == "talk":
            assert row.dense is None
            assert row.prompt.grids == ()
        else:
            tiles = len(row.prompt.pixel_values)
            assert row.dense.characters.shape == (tiles, 64, 4)
            assert row.dense.shape.shape == (tiles, 64)
        assert row.prompt.supervised.any()
    batch = Collator(processor)([[row] for row in rows])
    assert ("dense" in batch) == ("pixel_values" in batch) == (kind != "talk")


@pytest.mark.parametrize("kind", ["paragraph", "table", "pair", "album"])
def test_a_picture_and_one_answer_fit_into_the_tokens_that_the_guide_names(processor, kind):
    recipe, lesson = lessons(kind, "max_tiles=0", "max_tokens=2000", "turns=[1, 1]")
    encode = Encoder(processor, recipe)
    assert max(len(encode(lesson, index).prompt) for index in range(12)) <= 480


def test_lessons_put_together_in_rows_teach_the_same(processor):
    """Fewer and fuller rows change neither the loss of answers nor what image rows tell."""
    kinds = "shapes: 1, receipt: 1, pair: 1, talk: 1, short_table: 1"
    recipe = load_recipe("nano", (f"pictures={{{kinds}}}", "max_tokens=480", "turns=[1, 3]"))
    encode, lesson = Encoder(processor, recipe), _rendered_lessons(recipe)
    rows = [[encode(lesson, index)] for index in range(8)]
    model = fresh_model(processor, 0).eval()
    words = _name_tokens(processor, DenseNames(CHARACTERS, SHAPES, tuple(COLOURS)))
    learner = NamingRows(model, words, len(CHARACTERS), 0.2)
    told = []
    for packed in (False, True):
        batch = Collator(processor, packed=packed, max_tokens=480)(rows)
        count = {len(row.prompt) for (row,) in rows}
        assert batch["input_ids"].shape == ((3, 480) if packed else (8, max(count)))
        inputs = {name: batch[name] for name in batch if name in TAKEN}
        kept = supervised_positions(batch["labels"])
        with torch.no_grad():
            told.append(learner(**inputs, logits_to_keep=kept, output_router_logits=True))
    for name in ("answer_loss", "characters_right", "edge_error", "shapes_named", "row_size"):
        assert told[1][name] == pytest.approx(told[0][name].item(), rel=1e-4), name


TAKEN = ("input_ids", "labels", "attention_mask", "document_ids", "dense", "pixel_values")
TAKEN += ("images_spatial_crop",)


def test_a_run_goes_through_pictures_of_all_sorts_and_through_none(tmp_path):
    settings = [
        *(
            "steps=6",
            "batch_size=1",
            "global_batch_size=1",
            "workers=0",
            "save_every=6",
            "log_every=1",
            "threads=1",
        ),
        *("vision=", "tasks={}", "pictures={talk: 2, album: 1, pair: 1, receipt: 1}"),
        *("naming_weight=0.3", "max_tiles=0", "max_tokens=900", "bf16=false"),
    ]
    words = [word for setting in settings for word in ("--set", setting)]
    assert main(["train", "nano-look", "--output", str(tmp_path / "run"), *words]) == 0
    log = (tmp_path / "run" / "log.jsonl").read_text("utf-8").splitlines()
    named = ["shapes_named" in json.loads(line) for line in log]
    assert len(log) == 6
    assert any(named)
    assert not all(named)  # a step of talk alone has no rows that could name anything


def test_tasks_that_ask_about_no_picture_are_told():
    recipe = load_recipe("nano-look", ("pictures={receipt: 1}", "tasks={colour: 1}"))
    with pytest.raises(InputError, match="colour asks about pictures of the kinds receipt"):
        _rendered_lessons(recipe)(0)


def test_a_checkpoint_keeps_its_own_tokenizer(nano, tmp_path):
    recipe = load_recipe("nano-rows", (f"model={nano}",))
    other = [word for word in vocabulary() if word != "red"]
    _, processor = starting_point(recipe, other, COORDINATES[:3], tmp_path)
    saved = json.loads((nano / "tokenizer.json").read_text(encoding="utf-8"))
    kept = processor.tokenizer.get_vocab()
    assert saved["model"]["vocab"].items() <= kept.items()
    fresh = fresh_processor(other, COORDINATES[:3]).tokenizer.get_vocab()
    assert kept != fresh

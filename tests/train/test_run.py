"""Both stages for a few steps, stopped half-way and gone on with."""

import json
import shutil
import sys

import pytest
import torch
from safetensors.torch import load_file

from vl2.cli import main
from vl2.errors import InputError
from vl2.model.loading import load_model
from vl2.train import run
from vl2.train.curves import draw_curves
from vl2.train.initial import grid_waves
from vl2.train.recipe import Recipe, load_recipe
from vl2.train.run import fresh_model, fresh_processor

SMALL = [
    *("batch_size=2", "global_batch_size=2", "workers=0", "threads=1"),
    *("save_every=2", "log_every=1", "warmup_steps=1"),
]


@pytest.fixture(scope="module")
def vision(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "vision"
    settings = [word for setting in ["steps=2", *SMALL] for word in ("--set", setting)]
    assert main(["train", "nano-vision", "--output", str(folder), *settings]) == 0
    return folder


def losses(folder):
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["step"]: row["loss"] for row in map(json.loads, lines)}


def train(folder, vision, steps, naming=0.0):
    settings = [f"steps={steps}", f"vision={vision}", f"naming_weight={naming}", *SMALL]
    words = [word for setting in settings for word in ("--set", setting)]
    return main(["train", "nano-look", "--output", str(folder), *words])


def test_a_run_leaves_weights_recipe_log_and_curves(vision):
    assert (vision / "final" / "encoder.safetensors").is_file()
    assert (vision / "curves.png").stat().st_size > 1000
    assert "stage: vision" in (vision / "recipe.yaml").read_text(encoding="utf-8")
    assert set(losses(vision)) == {1, 2}


@pytest.fixture(scope="module")
def answers(vision, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "nano"
    assert train(folder, vision, 4) == 0
    return folder


def test_a_trained_model_loads_in_the_official_layout(answers, vision):
    model = load_model(answers / "final", device="cpu", dtype=torch.float32)
    assert type(model).__name__ == "DeepseekVLV2ForCausalLM"
    assert (answers / "final" / "processor_config.json").is_file()
    log = [json.loads(x) for x in (answers / "log.jsonl").read_text("utf-8").splitlines()]
    assert log[-1]["busiest_expert"] >= 1
    assert log[-1]["aux_loss"] > 0


def test_a_stopped_run_goes_on_as_if_it_never_stopped(answers, vision, tmp_path, capsys):
    stopped = tmp_path / "stopped"
    shutil.copytree(answers, stopped)
    shutil.rmtree(stopped / "checkpoint-4")
    shutil.rmtree(stopped / "final")
    half = stopped / "checkpoint-4"
    half.mkdir()  # a kill in the middle of writing leaves a checkpoint without its state
    (half / "model.safetensors").write_bytes(b"half")
    before = losses(answers)
    (stopped / "log.jsonl").unlink()
    capsys.readouterr()
    assert train(stopped, vision, 4) == 0
    printed = capsys.readouterr()
    assert printed.out.strip() == str(stopped / "final")
    assert "step 3 of 4: loss " in printed.err
    assert "|" not in printed.err  # no bars
    after = losses(stopped)
    assert set(after) == {3, 4}
    assert after == {step: before[step] for step in after}


def test_rows_learn_names_beside_the_answers(vision, tmp_path):
    assert train(tmp_path / "naming", vision, 2, naming=0.3) == 0
    assert train(tmp_path / "naming", vision, 2, naming=0.3) == 0  # done: nothing is left to do
    log = (tmp_path / "naming" / "log.jsonl").read_text("utf-8").splitlines()
    assert {"shapes_named", "colours_named", "answer_loss"} <= set(json.loads(log[-1]))
    load_model(tmp_path / "naming" / "final", device="cpu", dtype=torch.float32)


def test_a_finished_run_is_left_alone(answers, vision, capsys):
    before = (answers / "final" / "model.safetensors").stat().st_mtime_ns
    assert train(answers, vision, 4) == 0
    printed = capsys.readouterr()
    assert printed.out.strip() == str(answers / "final")
    assert "is finished" in printed.err
    assert (answers / "final" / "model.safetensors").stat().st_mtime_ns == before


def test_a_folder_of_another_recipe_is_not_overwritten(vision, capsys):
    settings = [word for setting in ["steps=3", *SMALL] for word in ("--set", setting)]
    assert main(["train", "nano-vision", "--output", str(vision), *settings]) == 2
    assert "another recipe" in capsys.readouterr().err


def test_a_missing_extra_is_told_first(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    assert main(["train", "nano-look", "--output", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.startswith("vl2: Training needs optional packages")
    assert not (tmp_path / "run").exists()


def test_an_absent_encoder_is_told(tmp_path, capsys):
    assert train(tmp_path / "run", tmp_path / "nothing", 2) == 2
    assert "no trained vision encoder" in capsys.readouterr().err


def test_a_model_that_is_not_there_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "nano", "--set", "model=absent"]) == 2
    assert "--set model=" in capsys.readouterr().err


def test_rows_longer_than_the_model_takes_are_told(nano, tmp_path, capsys):
    words = ["--set", "data=absent.jsonl", "--set", "max_tokens=4096"]
    assert main(["train", "nano-rows", "--output", str(tmp_path / "run"), *words]) == 2
    assert "takes 2048 at most: --set max_tokens=2048" in capsys.readouterr().err


def test_several_devices_do_not_leave_an_encoder_out_in_silence(vision, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(run, "join", lambda: None)
    recipe = Recipe(name="run", model="nano", vision=str(vision))
    with pytest.raises(InputError, match="train one step on one device first"):
        run.starting_point(recipe, (), (), tmp_path)


def test_rendered_pictures_come_again_only_where_a_recipe_says_so():
    assert Recipe(name="run", first_picture=5).seed_of(7) == 12
    assert Recipe(name="run", first_picture=5, distinct=4).seed_of(7) == 8
    recipe = load_recipe("nano-vision")
    assert recipe.steps * recipe.global_batch_size == 2 * recipe.distinct


def test_earlier_stages_that_are_not_there_come_first(vision, tmp_path, capsys, monkeypatch):
    stages = tmp_path / "recipes"
    stages.mkdir()
    short = "\n".join(["stage: sft", "steps: 1", *(word.replace("=", ": ") for word in SMALL)])
    look = f"name: look\nvision: {vision}\nnaming_weight: 0.2\n{short}"
    (stages / "look.yaml").write_text(look, encoding="utf-8")
    last = f"name: last\nmodel: runs/look/final\nnaming_weight: 0.2\n{short}"
    (stages / "last.yaml").write_text(last, encoding="utf-8")
    monkeypatch.setattr("vl2.train.recipe.BUILTIN", stages)
    monkeypatch.chdir(tmp_path)
    assert main(["train", "last"]) == 0
    printed = capsys.readouterr()
    assert "last starts from what look leaves" in printed.err
    assert printed.out.splitlines() == ["runs/last/final"]
    heads = [load_file(f"runs/{run}/naming.safetensors")["box.weight"] for run in ("look", "last")]
    # One step moves what it took over by about a learning rate; other heads would be far away.
    assert (heads[0] - heads[1]).abs().max() < 0.01

    shutil.rmtree("runs/last")
    assert main(["train", "last"]) == 0
    assert "starts from" not in capsys.readouterr().err


def test_the_embedded_model_is_a_start(nano, tmp_path, capsys):
    rows = tmp_path / "rows.jsonl"
    said = [{"role": "user", "content": "What is red?"}, {"role": "assistant", "content": "red"}]
    rows.write_text(json.dumps({"messages": said}) + "\n", encoding="utf-8")
    settings = [f"data={rows}", "steps=1", "batch_size=1", "save_every=1"]
    words = [word for setting in settings for word in ("--set", setting)]
    assert main(["train", "nano-rows", "--output", str(tmp_path / "run"), *words]) == 0
    assert (tmp_path / "run" / "final" / "config.json").is_file()


def test_fresh_weights_depend_on_the_seed_alone():
    processor = fresh_processor(["red"], [10])
    one, same, other = (fresh_model(processor, seed) for seed in (1, 1, 2))
    weights = [model.lm_head.weight for model in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_patches_begin_by_looking_at_their_neighbours():
    waves = grid_waves(8, 160)[0]
    middle = 3 * 8 + 3
    likeness = (waves @ waves[middle]).view(8, 8)
    assert likeness.argmax() == middle
    assert likeness[3, 4] > likeness[3, 6]
    processor = fresh_processor(["red"], [10])
    tower = fresh_model(processor, 0).model.vision_tower
    query, key = tower.blocks[0].attn.qkv.weight[:160], tower.blocks[0].attn.qkv.weight[160:320]
    assert torch.equal(query, key)


def test_curves_of_an_empty_log_draw_nothing(tmp_path):
    draw_curves(tmp_path / "log.jsonl", tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()

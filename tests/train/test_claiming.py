"""The folder of a run belongs to one recipe, on however many devices."""

from dataclasses import replace

import pytest

from vl2.errors import InputError
from vl2.train.claiming import claim, last_whole_checkpoint
from vl2.train.recipe import Recipe, load_recipe

RECIPE = Recipe(name="run", batch_size=4, accumulate=2, tasks={"colour": 1.0})


def test_what_makes_it_another_run_is_named(tmp_path):
    claim(tmp_path, RECIPE)
    other = replace(RECIPE, steps=7, tasks={"word": 1.0})
    with pytest.raises(
        InputError, match=r"where tasks is \{'colour': 1.0\}, steps is 1000: set the same"
    ):
        claim(tmp_path, other)


def test_devices_and_what_is_written_may_change(tmp_path):
    claim(tmp_path, RECIPE)
    claim(tmp_path, replace(RECIPE, workers=3, log_every=1, save_every=2, max_skipped=9, ep_size=2))
    assert load_recipe(str(tmp_path / "recipe.yaml")).max_skipped == 9


def test_steps_stay_as_large_on_other_devices(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    claim(tmp_path, RECIPE)
    assert load_recipe(str(tmp_path / "recipe.yaml")).global_batch_size == 32
    claim(tmp_path, RECIPE)
    monkeypatch.setenv("WORLD_SIZE", "1")
    with pytest.raises(InputError, match="where global_batch_size is 32: set the same"):
        claim(tmp_path, RECIPE)
    claim(tmp_path, replace(RECIPE, global_batch_size=32))
    claim(tmp_path, replace(RECIPE, global_batch_size=32, batch_size=2, accumulate=1))


def test_a_checkpoint_counts_when_it_was_written_to_its_end(tmp_path):
    for step, state in ((50, "{}"), (100, '{"global_st'), (150, None)):
        checkpoint = tmp_path / f"checkpoint-{step}"
        checkpoint.mkdir()
        if state is not None:
            (checkpoint / "trainer_state.json").write_text(state)
    assert last_whole_checkpoint(tmp_path) == str(tmp_path / "checkpoint-50")

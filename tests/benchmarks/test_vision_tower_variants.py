"""The comparison of vision towers, in miniature: its yardstick, its variants, its page."""

import importlib.util
import json
import sys

import pytest
import torch


@pytest.fixture(scope="module")
def script(repository):
    path = repository / "benchmarks" / "vision_tower_variants.py"
    spec = importlib.util.spec_from_file_location("vision_tower_variants", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_the_restated_tower_is_the_tower_where_nothing_is_changed(script):
    tower = script.random_tower(32, 2, "smooth", 1.0, seed=1)
    tiles = torch.randn(1, 3, 384, 384)
    with torch.no_grad():
        wanted = tower(tiles)
    assert torch.equal(script.features(tower, tiles, script.Variant("", 27, "tanh")), wanted)


def test_the_first_patches_of_both_grids_see_the_same_pixels(script):
    tower = script.random_tower(32, 1, "white", 1.0, seed=1)
    tiles = torch.randn(1, 3, 384, 384)
    padded = torch.nn.functional.pad(tiles, (0, 8, 0, 8))
    small, large = tower.patch_embed(tiles), tower.patch_embed(padded)
    assert (small.shape[1], large.shape[1]) == (729, 784)
    assert torch.allclose(script.same_patches(large, 27), small, atol=1e-6)


def test_resampling_keeps_what_does_not_change(script):
    table = torch.full((1, 729, 4), 0.5)
    assert torch.allclose(script._resampled(table, 27, 28), torch.full((1, 784, 4), 0.5))
    assert script._resampled(table, 27, 27) is table


def test_distance_by_hand(script):
    a = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    same = script.distance(a, a)
    assert (same.relative, same.cosine) == (0, pytest.approx(1))
    turned = script.distance(a, torch.tensor([[0.0, 1.0], [-1.0, 0.0]]))
    assert turned.relative == pytest.approx(1)
    assert (turned.cosine, turned.worst) == (pytest.approx(0.5), pytest.approx(0))


def test_the_page_and_the_numbers(script, tmp_path, capsys, monkeypatch):
    small = ["--width", "32", "--layers", "1", "--tiles", "1", "--out", str(tmp_path)]
    script.main(small)
    page = capsys.readouterr().out
    (file,) = tmp_path.glob("vision_tower_variants_*.md")
    assert file.read_text(encoding="utf-8") == page
    assert "Not established: how much the released weights lose" in page
    assert page.count("| white | 1 |") == page.count("| smooth | 1 |") == 4
    numbers = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
    assert numbers["settings"]["layers"] == 1
    yardstick = numbers["results"][3]
    assert f"| {yardstick['patches']['relative']:.4f} |" in page

    monkeypatch.setattr(script, "measure", lambda *given: pytest.fail("measured again"))
    script.main(small)  # all of it is there
    assert capsys.readouterr().out == page

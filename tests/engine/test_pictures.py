"""Pictures: told apart by what is seen, encoded a few tiles at a time, kept within a limit."""

import numpy as np
import pytest
import torch
from engine_inputs import MiniProcessor, prompt_of, shared_model
from quantised import quantised_model_of

from vl2.engine.pictures import PictureEncoder, pictures_of
from vl2.model.images import encode_tiles
from vl2.quantization.modules import QuantisedLinear

GRIDS = [(1, 2), (2, 1), (1, 1)]


def pictures(grids=GRIDS, seed: int = 0):
    prompt = prompt_of(grids, seed=seed)
    return pictures_of(prompt, [MiniProcessor.tiling.tokens(grid) for grid in prompt.grids])


def encoder(limit: int = 10**9) -> PictureEncoder:
    return PictureEncoder(shared_model("base").model, limit)


def encoded(by: PictureEncoder, picture, at_most: int = 99) -> torch.Tensor:
    while (rows := by.encode(picture, at_most)) is None:
        pass
    return rows


def test_places_follow_one_another() -> None:
    found = pictures()
    assert [picture.places for picture in found] == [37, 34, 25]
    assert [picture.first for picture in found] == [1, 38, 72]
    assert found[0].end == 38
    assert [len(picture.tiles) for picture in found] == [3, 3, 2]
    assert pictures([]) == ()


def test_places_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="37 places of pictures, not 36"):
        pictures_of(prompt_of([(1, 2)]), [36])


def test_the_content_is_that_of_the_tiles_and_their_grid() -> None:
    first, second = pictures([(1, 2)]), pictures([(1, 2)])
    assert first[0].content == second[0].content
    contents = {picture.content for picture in (*pictures(), *pictures(seed=1))}
    assert len(contents) == 6
    tiles = first[0].tiles
    prompt = prompt_of([(2, 1)])
    np.copyto(prompt.pixel_values, tiles)
    (turned,) = pictures_of(prompt, [34])
    assert turned.content != first[0].content


def test_the_kernels_know_all_maps_before_the_first_picture() -> None:
    """What they are told stays: between activations it would keep glibc from using these again."""
    model = quantised_model_of("base", "int8").model
    PictureEncoder(model, 10**9)
    maps = [m for m in model.vision_tower.modules() if isinstance(m, QuantisedLinear)]
    maps += [m for m in model.projector.modules() if isinstance(m, QuantisedLinear)]
    before = [(m._seen["weight"], m.exact_bias) for m in maps]
    assert len(maps) >= 6
    size = model.vision_tower.config.image_size
    with torch.inference_mode():
        encode_tiles(model.vision_tower, model.projector, torch.zeros(1, 3, size, size))
    for module, (weight, bias) in zip(maps, before, strict=True):
        assert module._seen["weight"] is weight
        assert module.exact_bias is bias
        assert bias.dtype == torch.float32


@pytest.mark.parametrize("at_most", [1, 2, 3, 99])
def test_in_pieces_as_at_once(at_most: int) -> None:
    found = pictures()
    crops = torch.tensor([[p.grid.columns, p.grid.rows] for p in found])
    tiles = torch.cat([torch.from_numpy(picture.tiles) for picture in found])
    with torch.no_grad():
        whole = shared_model("base").model.get_image_features(tiles, crops).pooler_output
    by = encoder()
    for picture, rows in zip(found, whole, strict=True):
        torch.testing.assert_close(encoded(by, picture, at_most), rows)
    assert by.encoded == 3


def test_known_pictures_are_found_until_the_limit() -> None:
    found = pictures()
    size = 37 * 32 * 4
    by = encoder(limit=2 * size)
    for picture in found[:2]:
        encoded(by, picture)
    assert by.find(found[0]) is not None
    encoded(by, found[2])
    assert by.find(found[1]) is None
    assert by.find(found[0]) is not None
    assert by.find(found[2]) is not None
    assert by.reused == 3
    assert encoded(encoder(limit=0), found[0]).shape == (37, 32)


def test_forgotten_halves_begin_anew() -> None:
    (picture,) = pictures([(1, 2)])
    by = encoder()
    assert by.encode(picture, 2) is None
    by.forget(picture)
    assert by.encode(picture, 2) is None
    assert by.encode(picture, 2) is not None
    by.forget(picture)
    assert by.find(picture) is not None

import dataclasses

import PIL.Image
import pytest
from tests import golden

from vl2.errors import ContextError, ConversationError, ImageError, InputError
from vl2.processing.building import Recipe, build_prompt, choose_grids, truncated
from vl2.processing.images import Limits
from vl2.processing.template import Piece
from vl2.processing.tiling import Grid, Tiling
from vl2.processing.tokens import Vocabulary, load_tokenizer

TALL = PIL.Image.new("L", (400, 3500))
PICTURE = Piece("picture", "<image>")


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary.of(load_tokenizer(golden.checkpoint("base")))


def build(vocabulary, pictures, text="123", **changes):
    pieces = [PICTURE] * len(pictures) + [Piece("text", text)]
    return build_prompt(pieces, pictures, vocabulary, Recipe(Tiling(), **changes))


def test_two_tall_pictures_do_not_fit(vocabulary):
    with pytest.raises(ContextError) as caught:
        build(vocabulary, [TALL, TALL])
    message = str(caught.value)
    assert "has 4205 tokens, but the context holds 4096" in message
    assert "picture 1 (400x3500) 2101, picture 2 (400x3500) 2101, text 3" in message
    assert "max_tiles=8" in message
    assert "fewer pictures" in message


def test_the_named_way_out_is_one(vocabulary):
    recipe = Recipe(Tiling().limited(8))
    prompt = build_prompt([PICTURE, PICTURE], [TALL, TALL], vocabulary, recipe)
    assert len(prompt) <= 4096
    assert prompt.image_mask.sum() == sum(map(recipe.tiling.tokens, prompt.grids))


def test_many_pictures_leave_only_fewer_pictures(vocabulary):
    with pytest.raises(ContextError) as caught:
        build(vocabulary, [TALL] * 10)
    assert "max_tiles" not in str(caught.value)
    assert "use fewer pictures or less text" in str(caught.value)


def test_a_long_text_is_to_be_shortened(vocabulary):
    with pytest.raises(ContextError, match=r"holds 4: shorten the text"):
        build(vocabulary, [], "0123456789", max_tokens=4)


def test_a_text_that_is_too_long_by_itself_is_told_whatever_stands_beside_it(vocabulary):
    with pytest.raises(
        ContextError, match=r"text \d+; shorten the text, too long by itself"
    ) as caught:
        build(vocabulary, [PIL.Image.new("L", (64, 64))], "word " * 5000)
    assert "fewer pictures" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [{"mean": (0.5,)}, {"mean": (127.0,) * 3}, {"std": (0.5, 0.5, 0.0)}, {"max_tokens": 0}],
    ids=str,
)
def test_recipes_that_cut_nothing(wrong):
    with pytest.raises(InputError):
        Recipe(Tiling(), **wrong)


def test_a_full_context_still_fits(vocabulary):
    assert len(build(vocabulary, [], "0123", max_tokens=4)) == 4


def test_counting_comes_before_cutting(vocabulary, monkeypatch):
    monkeypatch.setattr("vl2.processing.building.cut", lambda *_, **__: pytest.fail("was cut"))
    with pytest.raises(ContextError):
        build(vocabulary, [TALL, TALL])


def test_limits_reach_the_opening(vocabulary):
    with pytest.raises(ImageError, match="400x3500"):
        build(vocabulary, [TALL], limits=Limits(max_pixels=1000))


def test_counts_must_agree(vocabulary):
    with pytest.raises(ConversationError):
        build_prompt([PICTURE], [], vocabulary, Recipe(Tiling()))


def test_grids_of_a_conversation():
    sizes = [(400, 3500)] * 2
    assert choose_grids(sizes, Tiling()) == (Grid(1, 9),) * 2
    assert choose_grids([*sizes, (5, 5)], Tiling()) == (Grid(1, 1),) * 3


def test_truncating_spares_pictures(vocabulary):
    pieces = [Piece("text", "123"), PICTURE, Piece("text", "0123456789")]
    prompt = build_prompt(pieces, [PIL.Image.new("L", (9, 9))], vocabulary, Recipe(Tiling()))
    first = 3 + 421
    assert len(truncated(prompt, first)) == first
    assert len(truncated(prompt, 10_000)) == len(prompt)
    with pytest.raises(ContextError, match=f"allow at least {first} tokens"):
        truncated(prompt, first - 1)


def test_a_prompt_knows_its_labels_and_crops(vocabulary):
    prompt = build(vocabulary, [TALL])
    assert prompt.images_spatial_crop.tolist() == [[1, 9]]
    assert (prompt.labels() == -100).all()
    supervised = dataclasses.replace(prompt, supervised=~prompt.image_mask)
    assert supervised.labels(-1)[-3:].tolist() == prompt.token_ids[-3:].tolist()
    assert (supervised.labels(-1)[:-3] == -1).all()
    assert build(vocabulary, []).images_spatial_crop.shape == (0, 2)
    assert build(vocabulary, []).pixel_values.shape == (0, 3, 384, 384)

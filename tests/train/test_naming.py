import pytest
import torch

from vl2.errors import InputError
from vl2.ops.tiles import fold_patches
from vl2.train.naming import NameTokens, NamingRows, classes_of_rows
from vl2.train.run import _name_tokens, fresh_model, fresh_processor
from vl2.train.vision import DenseNames

NAMES = DenseNames("ab", ("star", "moon"), ("red",))


@pytest.fixture(scope="module")
def processor():
    return fresh_processor(["star", "moon", "red", "text"], [10])


def test_a_row_has_the_highest_class_of_its_patches():
    classes = torch.zeros(1, 64)
    classes[0, 0], classes[0, 9], classes[0, 63] = 2, 1, 3
    rows = classes_of_rows(classes, 16)
    assert rows[0, 0] == 2
    assert rows[0, 15] == 3
    assert rows.sum() == 5


def test_names_are_words_inside_a_sentence(processor):
    tokens = _name_tokens(processor, NAMES)
    words = processor.tokenizer.convert_ids_to_tokens([*tokens.shape, *tokens.colour])
    assert words == ["Ġstar", "Ġmoon", "Ġtext", "Ġred"]
    with pytest.raises(InputError, match="naming_weight to 0"):
        _name_tokens(processor, DenseNames("ab", ("hexagon",), ("red",)))


def test_rows_that_equal_a_word_are_named_right(processor):
    tokens = NameTokens((5, 6), (7,))
    learner = NamingRows(fresh_model(processor, 0), tokens, 2, 1.0)
    words = learner.model.model.language_model.embed_tokens.weight
    rows = torch.zeros(1, 4, words.shape[1])
    rows[0, 0], rows[0, 1] = words[6], words[5]
    loss, right = learner._name(rows, torch.tensor([[2, 1, 0, 9]]), tokens.shape)
    assert right.item() == 1.0
    assert loss.item() < 0.1
    swapped, wrong = learner._name(rows, torch.tensor([[1, 2, 0, 9]]), tokens.shape)
    assert wrong.item() == 0.0
    assert swapped.item() > 1


def test_labels_follow_their_patches_into_the_rows(processor):
    learner = NamingRows(fresh_model(processor, 0), NameTokens((5, 6), (7,)), 2, 1.0)
    labels = torch.arange(64)[None, :, None].expand(1, 64, 4)
    features = labels[..., :1].float()
    folded = learner.model.model.projector.config.downsample_ratio
    assert torch.equal(learner._by_row(labels, 16)[..., 0].float(), fold_patches(features, folded))

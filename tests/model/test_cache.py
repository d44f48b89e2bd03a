import pytest
import torch
from model_inputs import mini_config
from transformers import DynamicCache, StaticCache

from vl2.model.cache import LatentLayer, make_cache, use_latent_layers

RANK, ROPE = 6, 2


def tokens(count, batch=3):
    return torch.randn(batch, 1, count, RANK), torch.randn(batch, 1, count, ROPE)


def filled(*counts):
    """A layer, and what it should hold."""
    layer, parts = LatentLayer(), []
    for count in counts:
        parts.append(tokens(count))
        layer.update(*parts[-1])
    return layer, [torch.cat(part, dim=2) for part in zip(*parts, strict=True)]


def holds(layer, expected):
    assert torch.equal(layer.keys, expected[0])
    assert torch.equal(layer.values, expected[1])
    assert layer.get_seq_length() == expected[0].shape[2]


@pytest.mark.parametrize("counts", [(1,), (5, 1, 1), (70, 1, 64, 200, 1)])
def test_holds_all_tokens_in_order(counts):
    holds(*filled(*counts))


def test_one_buffer_for_both_parts():
    layer, _ = filled(5, 1)
    assert layer.keys.stride(2) == layer.values.stride(2) == RANK + ROPE
    assert layer.values.data_ptr() - layer.keys.data_ptr() == RANK * 4


def test_adding_a_token_rarely_moves_the_buffer():
    layer, _ = filled(100)
    places = set()
    for _ in range(1000):
        layer.update(*tokens(1))
        places.add((layer.keys.data_ptr(), layer.keys.untyped_storage().nbytes()))
    assert len(places) < 10


def test_crop_and_go_on():
    layer, expected = filled(9, 3)
    layer.crop(-4)
    holds(layer, [part[:, :, :8] for part in expected])
    more = tokens(2)
    layer.update(*more)
    holds(layer, [torch.cat((a[:, :, :8], b), dim=2) for a, b in zip(expected, more, strict=True)])


def test_crop_refuses_a_length():
    layer, _ = filled(3)
    with pytest.raises(ValueError, match="at most 0, not 2"):
        layer.crop(2)


def test_rows_are_reordered_repeated_and_selected():
    order = torch.tensor([2, 0, 0])
    layer, expected = filled(4, 1)
    layer.reorder_cache(order)
    holds(layer, [part[order] for part in expected])
    layer.batch_repeat_interleave(2)
    holds(layer, [part[order].repeat_interleave(2, dim=0) for part in expected])
    layer.batch_select_indices(torch.tensor([5]))
    holds(layer, [part[[0]] for part in expected])


def test_reset_forgets():
    layer, _ = filled(4)
    layer.reset()
    assert layer.get_seq_length() == 0
    fresh = tokens(2)
    layer.update(*fresh)
    holds(layer, fresh)


def test_gradients_pass_through():
    layer = LatentLayer()
    first = [part.requires_grad_() for part in tokens(3)]
    layer.update(*first)
    keys, values = layer.update(*[part.requires_grad_() for part in tokens(2)])
    (keys.square().sum() + values.sum()).backward()
    torch.testing.assert_close(first[0].grad, 2 * first[0])
    torch.testing.assert_close(first[1].grad, torch.ones_like(first[1]))


def test_only_fresh_growing_caches_of_latent_attention_become_latent():
    mla, mha = (mini_config(variant).language_config for variant in ("base", "tiny"))
    assert all(isinstance(layer, LatentLayer) for layer in make_cache(mla).layers)
    assert not any(isinstance(layer, LatentLayer) for layer in make_cache(mha).layers)
    used = DynamicCache(config=mla)
    used.update(*tokens(1), 0)
    use_latent_layers(used, mla)
    assert not any(isinstance(layer, LatentLayer) for layer in used.layers)
    static = StaticCache(config=mla, max_cache_len=8)
    use_latent_layers(static, mla)
    assert not any(isinstance(layer, LatentLayer) for layer in static.layers)
    bare = DynamicCache()
    use_latent_layers(bare, mla)
    assert len(bare.layers) == mla.num_hidden_layers

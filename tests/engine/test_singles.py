"""Single tokens through all layers in one call, against the layers one by one."""

import copy

import pytest
import torch
from model_inputs import mini_model
from quantised import compiled_or_none, quantised_model_of

from vl2.engine import singles
from vl2.engine.runner import Runner, Span
from vl2.engine.storage import BLOCK, Storage
from vl2.quantization import modules, packing
from vl2.quantization.modules import QuantisedLinear

LENGTHS = (3, 16, 37, 50)


@pytest.fixture
def kernels(monkeypatch):
    loaded = compiled_or_none()
    if loaded is None:
        pytest.skip("the kernels cannot be compiled here")
    for module in (singles, modules):
        monkeypatch.setattr(module, "library", lambda: loaded)
    monkeypatch.setattr(packing, "fast_library", lambda: loaded)
    return loaded


def packed(variant):
    """A miniature whose weights are packed; what lies between them is float32 as in the kernels."""
    return packing.pack(mini_model(variant).to(torch.bfloat16)).to(torch.float32)


def made(variant, kind):
    return packed(variant) if kind == "packed" else quantised_model_of(variant, kind)


def steps(model, whole):
    """Logits of a step of single tokens after prompts of some lengths, and the cache."""
    storage = Storage(model.config.language_config, 40, torch.float32, model.device)
    runner = Runner(model, storage)
    assert (runner._singles is not None) or not whole
    if not whole:
        runner._singles = None
    generator = torch.Generator().manual_seed(1)
    spans, free = [], 1
    for length in LENGTHS:
        tokens = torch.randint(1, 30, (length + 1,), generator=generator).tolist()
        # Pages in no order, as they lie after a while.
        pages = list(range(free + length // BLOCK, free - 1, -1))
        free += len(pages)
        runner.run([Span(tokens[:-1], 0, pages)])
        spans.append(Span(tokens[-1:], length, pages))
    return runner.run(spans), storage.layers, runner, spans


@pytest.mark.parametrize("kind", ["packed", "int8", "int4"])
@pytest.mark.parametrize("variant", ["tiny", "small", "base"])
def test_all_layers_at_once_are_the_layers_one_by_one(kernels, variant, kind):
    model = made(variant, kind)
    given, cache, runner, spans = steps(model, whole=True)
    expected, expected_cache, *_ = steps(model, whole=False)
    # Sums in another order; an activation between two codes may fall to the other side.
    tolerance = 2e-3 if kind == "packed" else 1e-2
    assert (given - expected).norm() <= tolerance * expected.norm()
    for pool, other in zip(cache, expected_cache, strict=True):
        assert (pool - other).norm() <= tolerance * other.norm()
        assert not pool[0].any()
    # Bit for bit: an answer must not depend on who shares the step.
    for row, span in enumerate(spans):
        assert torch.equal(runner.run([span])[0], given[row])


def test_a_step_of_single_tokens_and_a_prompt(kernels):
    model = quantised_model_of("base", "int8")
    _, _, runner, spans = steps(model, whole=True)
    prompt = Span([5, 6, 7], 0, [30])
    alone = runner.run(spans), runner.run([prompt])
    together = runner.run([*spans, prompt])
    assert torch.equal(together, torch.cat(alone))


def test_plain_weights_go_layer_by_layer(kernels):
    model = mini_model("small")
    storage = Storage(model.config.language_config, 4, torch.float32, model.device)
    assert singles.Singles.of(model, storage) is None


@pytest.mark.parametrize("variant", ["tiny", "base"])
def test_packing_changes_no_more_than_rounding(kernels, variant):
    plain = mini_model(variant).to(torch.bfloat16)
    ids = torch.randint(1, 30, (1, 12), generator=torch.Generator().manual_seed(0))
    made = packing.pack(copy.deepcopy(plain))
    assert isinstance(made.lm_head, QuantisedLinear)
    with torch.inference_mode():
        given, expected = made(input_ids=ids).logits.float(), plain(input_ids=ids).logits.float()
    assert (given - expected).norm() <= 3e-2 * expected.norm()

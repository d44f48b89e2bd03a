import pytest
import torch

from vl2.ops import mla

DIMS = mla.LatentDims(heads=3, rank=24, nope=8, rope=4, value=6)
RELEASED = mla.LatentDims(heads=16, rank=512, nope=128, rope=64, value=128)


def operands(queries=2, cached=9, dtype=torch.float64):
    shapes = {
        "q_nope": (2, DIMS.heads, queries, DIMS.nope),
        "q_pe": (2, DIMS.heads, queries, DIMS.rope),
        "latents": (2, cached, DIMS.rank + DIMS.rope),
        "kv_weight": (DIMS.heads * (DIMS.nope + DIMS.value), DIMS.rank),
    }
    return {name: torch.randn(shape, dtype=dtype) for name, shape in shapes.items()}


def masks(queries=2, cached=9):
    causal = torch.ones(queries, cached, dtype=torch.bool).tril(cached - queries)
    boolean = causal.expand(2, 1, -1, -1).clone()
    boolean[0, ..., :4] = False
    additive = torch.zeros(boolean.shape).masked_fill(~boolean, torch.finfo(torch.float32).min)
    return {"none": None, "boolean": boolean, "additive": additive}


@pytest.mark.parametrize("mask", masks().values(), ids=masks().keys())
def test_absorbed_equals_its_twin(mask):
    given = operands()
    absorbed = mla.absorbed_attention(**given, mask=mask, scale=0.3)
    torch.testing.assert_close(absorbed, mla.plain_latent_attention(**given, mask=mask, scale=0.3))


def test_absorbed_equals_expanded():
    given = operands()
    c_kv, k_pe = given["latents"][:, None].split([DIMS.rank, DIMS.rope], dim=-1)
    key, value = mla.split_expanded(c_kv @ given["kv_weight"].T, k_pe, DIMS)
    query = torch.cat((given["q_nope"], given["q_pe"]), dim=-1)
    usual = ((query @ key.mT * 0.3).softmax(dim=-1) @ value).transpose(1, 2)
    absorbed = mla.absorbed_attention(**given, mask=None, scale=0.3)
    torch.testing.assert_close(absorbed, usual)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_query_that_may_look_nowhere_gives_no_nan(dtype):
    mask = torch.zeros(2, 1, 2, 9, dtype=torch.bool)
    given = operands(dtype=dtype)
    assert mla.absorbed_attention(**given, mask=mask, scale=0.3).isfinite().all()


def test_float16_scores_beyond_its_range_stay_finite():
    given = operands(dtype=torch.float16)
    given["q_nope"], given["latents"] = given["q_nope"] * 100, given["latents"] * 100
    assert mla.absorbed_attention(**given, mask=None, scale=1 / 192).isfinite().all()


@pytest.mark.parametrize(
    ("queries", "cached", "pays"),
    [(1, 2, True), (1, 1500, True), (64, 1500, True), (400, 1500, False), (1500, 1500, False)],
)
def test_absorption_pays_for_few_queries(queries, cached, pays):
    assert mla.absorption_pays(queries, cached, RELEASED) is pays

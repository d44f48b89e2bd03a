"""Budgets: what the plan says is what is there, and too little is told before anything loads."""

import pytest
import torch
from golden import VARIANTS, checkpoint
from model_inputs import mini_config, mini_model

import vl2
from vl2.engine.limits import Limits
from vl2.engine.memory import (
    MemoryPlan,
    plan_memory,
    spelled,
    weight_bytes,
    working_bytes,
)
from vl2.engine.spelling import parse_size
from vl2.errors import InputError
from vl2.model.loading import load_config, load_model
from vl2.model.released import released_config
from vl2.quantization.plan import plan_of

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8GB", 8 * 10**9),
        ("8 GiB", 8 * 2**30),
        ("7.5g", 7_500_000_000),
        ("900MB", 900_000_000),
        ("512 KiB", 524_288),
        ("123456", 123_456),
        ("64B", 64),
        ("1TB", 10**12),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "GB", "8XB", "-8GB", "0", "8GBs", "1e9", "nan", "9" * 41, "9" * 400]
)
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(InputError, match="no size of memory"):
        parse_size(text)


def test_sizes_for_people() -> None:
    assert [spelled(n) for n in (8_050_000_000, 64_200_000, 2048, 7)] == [
        "8.05 GB", "64.2 MB", "2.05 kB", "7 B",
    ]  # fmt: skip


def held(model) -> int:
    tensors = [*model.parameters(), *model.buffers()]
    return sum(tensor.nbytes for tensor in tensors)


@pytest.mark.parametrize("variant", VARIANTS)
def test_planned_weights_are_those_that_are_loaded(variant) -> None:
    model = mini_model(variant)
    assert weight_bytes(mini_config(variant), torch.float32) == held(model)
    assert weight_bytes(mini_config(variant), torch.bfloat16) == held(model.bfloat16())


@pytest.mark.parametrize(("scheme", "group"), [("int8", None), ("int4", None), ("int4", 16)])
def test_planned_weights_of_a_quantised_model_are_those_that_are_loaded(scheme, group) -> None:
    folder = checkpoint("base")
    assistant = vl2.load(folder, dtype="bfloat16", quantize=scheme, group_size=group)
    plan = plan_of(scheme, group)
    planned = weight_bytes(load_config(folder), torch.bfloat16, plan)
    loaded = assistant.engine._core.model
    pool = load_model(folder, dtype=torch.bfloat16).model.vision_tower.attn_pool
    dropped = held(pool) if loaded.model.vision_tower.attn_pool is None else 0
    # Rows are filled up to whole blocks once for gate and once for up.
    assert planned <= held(loaded) + dropped <= 1.05 * planned


def test_the_released_models_need_what_their_files_hold() -> None:
    files = {"tiny": 6.74e9, "small": 32.3e9, "base": 54.9e9}
    for name, size in files.items():
        assert weight_bytes(released_config(name), torch.bfloat16) == pytest.approx(size, rel=0.01)


def test_what_the_weights_leave_becomes_cache() -> None:
    config = released_config("small")
    plan = plan_memory(config, torch.bfloat16, CPU, 34 * 10**9)
    assert 33.5e9 < plan.total <= 34e9
    more = plan_memory(config, torch.bfloat16, CPU, 35 * 10**9)
    per_token = 27 * (512 + 64) * 2
    assert more.cache_tokens - plan.cache_tokens == pytest.approx(1e9 / per_token, rel=0.01)
    assert more.limits().cache_tokens == more.cache_tokens
    # More than all that can run at once would never be used.
    most = plan_memory(config, torch.bfloat16, CPU, 10**12)
    assert most.cache_tokens == Limits().running * 4096


def test_without_a_budget_there_are_four_contexts() -> None:
    plan = plan_memory(released_config("base"), torch.bfloat16, CPU)
    assert plan.cache_tokens == 4 * 4096


def test_too_little_is_told_with_the_plan() -> None:
    config = released_config("base")
    with pytest.raises(InputError) as caught:
        plan_memory(config, torch.bfloat16, CPU, 8 * 10**9)
    for part in ("8 GB", "55 GB of weights", "Python", "computes", "of cache", "55.9 GB"):
        assert part in str(caught.value)
    with pytest.raises(InputError) as caught:
        plan_memory(config, torch.bfloat16, torch.device("cuda"), 8 * 10**9)
    assert "Python" not in str(caught.value)
    enough = plan_memory(config, torch.bfloat16, CPU, 56 * 10**9)
    assert enough.cache_tokens >= 2048


def test_the_least_that_is_named_is_enough() -> None:
    config = released_config("tiny")
    for budget in range(7_000_000_000, 8_000_000_000, 250_000_000):
        try:
            plan = plan_memory(config, torch.bfloat16, CPU, budget)
        except InputError:
            assert budget < 7.7e9
            continue
        assert plan.total <= budget
        assert plan.cache_tokens >= 2048


def test_more_at_once_takes_more() -> None:
    config = released_config("small")
    usual = working_bytes(config, torch.bfloat16, Limits())
    assert usual < working_bytes(config, torch.float32, Limits())
    assert usual < working_bytes(config, torch.bfloat16, Limits(tiles=16))
    assert usual < working_bytes(config, torch.bfloat16, Limits(step_tokens=4096))


def test_loading_keeps_to_the_plan(monkeypatch) -> None:
    folder = checkpoint("base")
    plan = plan_memory(load_config(folder), torch.float32, CPU)
    small = plan.total - plan.cache - plan.pictures + 30_000_000
    assistant = vl2.load(folder, dtype="float32", memory=small)
    core = assistant.engine._core
    cache = sum(layer.nbytes for layer in core.storage.layers)
    assert isinstance(plan, MemoryPlan)
    assert cache + core.limits.picture_bytes <= 30_000_000
    assert cache > 5_000_000
    monkeypatch.setattr("vl2.engine.loading.load_model", None)
    with pytest.raises(InputError, match="A memory of 5 MB is too small"):
        vl2.load(folder, memory="5MB")
    with pytest.raises(InputError, match="'lots'"):
        vl2.load(folder, memory="lots")

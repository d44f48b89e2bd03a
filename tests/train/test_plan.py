"""The plan against what a small run really keeps."""

import runpy

import pytest
import torch
from model_inputs import IMAGE, mini_config, mini_model, mini_prompt

from vl2.cli import main
from vl2.errors import InputError
from vl2.model.adapters import adapter_parameters, add_adapters
from vl2.model.modeling import DeepseekVLV2ForCausalLM
from vl2.model.released import released_config
from vl2.model.sizes import model_sizes
from vl2.train.layout import divides_weights
from vl2.train.memory import Batch, Kept, activation_bytes
from vl2.train.optim import build_optimizer
from vl2.train.plan import config_of, largest_batch, make_plan, plan_text
from vl2.train.ranks import is_sharded
from vl2.train.recipe import Recipe, load_recipe


def saved_bytes(model, batch):
    """Bytes of all storages that autograd saves, without weights and their bfloat16 casts."""
    shapes = set()
    for parameter in model.parameters():
        shape = tuple(parameter.shape)
        shapes |= {shape, shape[::-1], shape[1:], shape[:0:-1]}
    own = {p.untyped_storage().data_ptr() for p in [*model.parameters(), *model.buffers()]}
    found = {}

    def pack(x):
        is_cast = x.dtype == torch.bfloat16 and tuple(x.shape) in shapes
        if x.untyped_storage().data_ptr() not in own and not is_cast:
            found[x.untyped_storage().data_ptr()] = x  # kept, so that no address is used twice
        return x

    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x)
    with hooks, torch.autocast("cpu", torch.bfloat16):
        model(**batch)
    return sum(x.untyped_storage().nbytes() for x in found.values())


@pytest.mark.parametrize("variant", ["tiny", "small", "base"])
@pytest.mark.parametrize(("grids", "words"), [([], 30), ([(1, 2)], 100), ([(1, 1)] * 3, 60)])
def test_activations_are_what_a_pass_keeps(variant, grids, words):
    prompt = mini_prompt(grids, words=words)
    labels = prompt["input_ids"].clone()
    labels[labels == IMAGE] = -100
    model = mini_model(variant).train()
    tiles = prompt["pixel_values"].shape[0] if grids else 0
    batch = Batch(1, labels.shape[1], tiles, int((labels[:, 1:] != -100).sum()))
    reckoned = activation_bytes(model.config, batch, Kept(False, scores=True))
    measured = saved_bytes(model, {**prompt, "labels": labels})
    assert reckoned == pytest.approx(measured, rel=0.05)


def test_checkpointed_layers_keep_their_inputs():
    prompt = mini_prompt([(1, 2)], words=100)
    model = mini_model("base").train()
    getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()
    labels = prompt["input_ids"].clone()
    batch = Batch(1, labels.shape[1], 3, labels.shape[1] - 1)
    layer = {}
    for layers in (3, 4):  # what the layer that is computed again adds, does not grow with them
        config = mini_config("base", num_hidden_layers=layers)
        layer[layers] = activation_bytes(config, batch, Kept(True, scores=True))
    assert layer[4] - layer[3] == labels.shape[1] * 32 * 4
    whole = activation_bytes(model.config, batch, Kept(False, scores=True))
    measured = saved_bytes(model, {**prompt, "labels": labels})
    assert measured < layer[3] < 0.6 * whole


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_weights_gradients_and_moments_are_those_of_a_step(optimizer):
    model = mini_model("base").train()
    recipe = Recipe(
        name="x",
        stage="align",
        optimizer=optimizer,
        moments="bfloat16",
        max_tokens=64,
        batch_size=1,
    )
    plan = make_plan(recipe, model.config, 1, gpu=False)
    optimizer = build_optimizer(model, recipe)
    prompt = mini_prompt([(1, 2)], words=9)
    model(**prompt, labels=prompt["input_ids"]).loss.backward()
    optimizer.step()
    assert plan.memory.weights == sum(p.nbytes for p in model.parameters())
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert plan.memory.gradients == sum(g.nbytes for g in gradients)
    moments = [x for state in optimizer.state.values() for x in state.values() if x.ndim]
    assert plan.memory.optimizer == sum(x.nbytes for x in moments)


@pytest.mark.parametrize("size", ["tiny", "small", "base"])
def test_all_parameters_are_in_the_groups(size):
    recipe = load_recipe(f"{size}-sft")
    plan = make_plan(recipe, config_of(recipe), 8, gpu=True)
    biases = 29 * 72 if size == "base" else 0  # buffers, moved without gradients
    every = sum(group.parameters for group in plan.groups) + biases
    assert every == model_sizes(released_config(size)).total
    assert plan.memory.weights == pytest.approx((every - biases) * 4 / 8, abs=1)


def test_experts_are_divided_only_where_it_goes_up():
    config = released_config("base")
    one = make_plan(load_recipe("base-sft"), config, 8, gpu=True)
    eight = make_plan(load_recipe("base-sft", ("ep_size=8",)), config, 8, gpu=True)
    assert one.traffic.tokens == 0
    assert eight.traffic.weights < 0.11 * one.traffic.weights
    assert eight.memory.copies < one.memory.copies
    with pytest.raises(InputError, match="ep_size must divide"):
        make_plan(load_recipe("base-sft", ("ep_size=16",)), config, 16, gpu=True)
    with pytest.raises(InputError, match="replicas must divide"):
        make_plan(load_recipe("base-sft", ("replicas=3",)), config, 8, gpu=True)


WHOLE = [{"lora_rank": 4, "weights": "bfloat16"}, {"lora_rank": 4}, {"naming_weight": 0.3}]


@pytest.mark.parametrize("settings", WHOLE)
@pytest.mark.parametrize("layout", [{}, {"replicas": 3}, {"ep_size": 8}])
def test_devices_that_hold_all_weights_send_nothing_but_gradients(settings, layout):
    config = mini_config("base")
    one = make_plan(Recipe(name="x", **settings), config, 1, gpu=True)
    recipe = Recipe(name="x", **settings, **layout)
    plan = make_plan(recipe, config, 8, gpu=True)
    assert (plan.shards, plan.ep_size, plan.rows) == (1, 1, 8 * one.rows)
    for part in ("weights", "gradients", "optimizer", "activations"):
        assert getattr(plan.memory, part) == getattr(one.memory, part)
    assert plan.memory.copies == one.memory.copies + one.memory.gradients
    # Around a ring each sends its sum and then the whole but for one eighth.
    assert plan.traffic.gradients == 2 * one.memory.gradients * 7 // 8
    assert plan.traffic.weights == plan.traffic.tokens == 0
    assert one.traffic.gradients == 0
    assert "Each holds all weights." in plan_text(recipe, plan)


def test_adapters_of_a_released_model_lie_beside_all_its_weights(capsys):
    words = ["train", "tiny-sft", "--plan", "--devices", "8"]
    assert main([*words, "--set", "lora_rank=16", "--set", "weights=bfloat16"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    weights = next(row for row in rows if row[:1] == ["weights"])
    # 3.37e9 parameters in two bytes, 63e6 of the adapters in four
    assert weights == ["weights", "6.99"]


@pytest.mark.parametrize("devices", [1, 2, 8])
@pytest.mark.parametrize("settings", [*WHOLE, {}, {"replicas": 2}, {"stage": "vision"}])
def test_a_plan_divides_what_a_run_divides(settings, devices, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", str(devices))
    recipe = Recipe(name="x", **settings)
    assert divides_weights(recipe, devices) == is_sharded(recipe)


@pytest.mark.parametrize("replicas", [1, 8])
def test_a_plan_refuses_the_optimizer_that_a_run_refuses(replicas):
    model, recipe = mini_model("base"), Recipe(name="x", optimizer="muon", replicas=replicas)
    config = model.config
    model.lm_head.weight.device_mesh = object()  # as weights have that are sharded
    with pytest.raises(InputError) as run:
        build_optimizer(model, recipe)
    with pytest.raises(InputError) as plan:
        make_plan(recipe, config, 8, gpu=True)
    assert str(plan.value) == str(run.value)
    make_plan(recipe, config, 1, gpu=True)
    make_plan(Recipe(name="x", optimizer="muon", naming_weight=0.3), config, 8, gpu=True)


def test_a_row_holds_as_many_tiles_as_its_tokens_allow():
    batch = largest_batch(load_recipe("tiny-align"), released_config("tiny"))
    # Two pictures of 3 x 3 tiles and their global views take 2 * 2017 of 4096 tokens.
    assert (batch.rows, batch.tokens, batch.tiles) == (4, 4096, 4 * 20)


def test_adapters_are_counted_as_peft_makes_them():
    pytest.importorskip("peft")
    for variant in ("tiny", "base"):
        model = add_adapters(mini_model(variant), 4, 8.0)
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        assert adapter_parameters(mini_config(variant), 4) == trained


def test_a_plan_is_printed(capsys):
    assert main(["train", "base-pretrain", "--plan", "--devices", "8"]) == 0
    printed = capsys.readouterr().out
    assert "57874 steps" in printed
    assert "420 passes of 1 row on each device" in printed
    rows = [line.split() for line in printed.splitlines()]
    assert ["vision,", "matrices", "412,587,648", "4.5e-05", "0.1"] in rows
    assert [row[-1] for row in rows if "frozen" in row] == ["15,225,984", "12,368"]
    assert "|" not in printed
    assert main(["train", "nano", "--plan"]) == 2
    assert main(["train", "base-pretrain", "--plan", "--devices", "9"]) == 2


def test_a_plan_needs_a_shape():
    with pytest.raises(InputError, match="name its shape"):
        config_of(Recipe(name="x", model="nowhere"))


def test_a_plan_of_one_device_sends_nothing():
    config = mini_config("tiny")
    text = plan_text(Recipe(name="x"), make_plan(Recipe(name="x"), config, 1, gpu=False))
    assert "sent by a device" not in text
    assert isinstance(DeepseekVLV2ForCausalLM(config), torch.nn.Module)


def test_the_guide_shows_what_the_script_computes(repository):
    script = runpy.run_path(str(repository / "benchmarks" / "training_plan.py"))
    guide = (repository / "docs" / "guide" / "training.md").read_text(encoding="utf-8")
    for table in script["tables"]().split("\n\n"):
        assert table in guide

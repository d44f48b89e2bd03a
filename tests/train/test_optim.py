import copy

import pytest
import torch
from model_inputs import mini_model
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard
from torch.testing._internal.distributed.fake_pg import FakeStore

from vl2.errors import InputError
from vl2.train.moments import AdamWWithMoments
from vl2.train.muon import Muon, orthogonal
from vl2.train.optim import build_optimizer, parameter_groups
from vl2.train.recipe import Recipe, load_recipe
from vl2.train.resuming import load_optimizer, save_optimizer

TABLE_2 = {
    # learning rates; balance weight; rows of a step; bias step of pretrain (paper, Table 2)
    "tiny": ((5.4e-4, 5.4e-4, 3.0e-5), 0.001, (256, 2304, 64), 0),
    "small": ((4.2e-4, 4.2e-4, 1.4e-5), 0.001, (256, 2304, 64), 0),
    "base": ((4.5e-4, 4.5e-4, 2.0e-5), 0.0001, (256, 3360, 64), 0.001),
}
TOKENS = {"tiny": (798.5e9, 19.5e9), "small": (808.9e9, 20.0e9), "base": (796.5e9, 19.5e9)}


def groups(**settings):
    return parameter_groups(mini_model("base"), Recipe(name="x", **settings))


@pytest.mark.parametrize("size", TABLE_2)
def test_stages_are_those_of_the_paper(size):
    rates, balance, rows, bias = TABLE_2[size]
    stages = [load_recipe(f"{size}-{stage}") for stage in ("align", "pretrain", "sft")]
    assert tuple(stage.learning_rate for stage in stages) == rates
    assert tuple(stage.global_batch_size for stage in stages) == rows
    assert [stage.schedule for stage in stages] == ["cosine", "step", "constant"]
    assert [stage.packing for stage in stages] == [False, True, True]
    assert [stage.bias_step for stage in stages] == [0, bias, 0]
    assert [stage.frozen_parts for stage in stages] == [("language",), (), ()]
    for stage in stages:
        assert (stage.vision_multiplier, stage.weight_decay, stage.clip) == (0.1, 0.1, 1.0)
        assert (stage.max_tokens, stage.balance_weight) == (4096, balance)
        assert stage.moments == ("bfloat16" if size == "base" else "float32")
    for stage, tokens in zip(stages[1:], TOKENS[size], strict=True):
        assert stage.steps * stage.global_batch_size * 4096 == pytest.approx(tokens, rel=1e-4)


def test_alignment_freezes_the_language_model_alone():
    parts = {group.part: group.frozen for group in groups(stage="align") if group.decays}
    assert parts["language"]
    assert not parts["adaptor"]
    trained = {g.part: g.learning_rate for g in groups(stage="align") if not g.frozen}
    assert trained == pytest.approx({"vision": 3e-6, "adaptor": 3e-5})


def test_every_parameter_is_in_one_group_and_only_matrices_decay():
    model = mini_model("base")
    found = parameter_groups(model, Recipe(name="x"))
    listed = [id(p) for group in found for p in group.parameters]
    assert sorted(listed) == sorted(id(p) for p in model.parameters())
    assert all((p.ndim > 1) == g.decays for g in found for p in g.parameters)
    pool = {id(p) for n, p in model.named_parameters() if "attn_pool" in n}
    assert pool <= {id(p) for g in found if g.frozen for p in g.parameters}


def test_the_adaptor_is_projector_newline_and_separator():
    model = mini_model("tiny")
    count = sum(p.numel() for p in model.model.projector.parameters()) + 2 * 32
    found = parameter_groups(model, Recipe(name="x"))
    assert sum(group.count for group in found if group.part == "adaptor") == count


def steps(optimizer, parameter, count=6):
    random = torch.Generator().manual_seed(1)
    for _ in range(count):
        parameter.grad = torch.randn(parameter.shape, generator=random)
        optimizer.step()
    return parameter.detach().clone()


def test_float32_moments_equal_torch():
    start = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    one, two = (torch.nn.Parameter(start.clone()) for _ in range(2))
    ours = AdamWWithMoments(
        [{"params": [one], "lr": 0.01, "weight_decay": 0.1}], 0.01, (0.9, 0.95), torch.float32
    )
    torchs = torch.optim.AdamW([two], lr=0.01, weight_decay=0.1, betas=(0.9, 0.95))
    torch.testing.assert_close(steps(ours, one), steps(torchs, two), rtol=1e-6, atol=1e-6)


def test_bfloat16_moments_stay_so_and_come_near():
    start = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    results = []
    for moments in (torch.float32, torch.bfloat16):
        parameter = torch.nn.Parameter(start.clone())
        optimizer = AdamWWithMoments([{"params": [parameter]}], 0.01, (0.9, 0.95), moments)
        results.append(steps(optimizer, parameter) - start)
        saved = copy.deepcopy(optimizer.state_dict())
        optimizer.load_state_dict(saved)
        state = optimizer.state[parameter]
        assert state["exp_avg"].dtype == state["exp_avg_sq"].dtype == moments
    exact, rounded = results
    assert not torch.equal(exact, rounded)
    assert (exact - rounded).norm() < 0.01 * exact.norm()


def narrow_layer(seed=0):
    """Two bfloat16 parameters: a matrix and a vector."""
    torch.manual_seed(seed)
    return torch.nn.Linear(8, 24).bfloat16()


def optimizer_of(kind, layer, moments=torch.float32):
    groups = [
        {"params": [parameter], "matrices": 3 if parameter.ndim > 1 else 0, "weight_decay": 0.1}
        for parameter in layer.parameters()
    ]
    return kind(groups, 0.01, (0.9, 0.95), moments)


def train(optimizer, layer, seed):
    random = torch.Generator().manual_seed(seed)
    for _ in range(3):
        for parameter in layer.parameters():
            shape = parameter.shape
            parameter.grad = torch.randn(shape, generator=random).to(parameter.dtype)
        optimizer.step()
    optimizer.zero_grad()


def by_state_dict(layer, ours, theirs, folder):
    theirs.load_state_dict(copy.deepcopy(ours.state_dict()))


def by_checkpoint(layer, ours, theirs, folder):
    save_optimizer(layer, ours, folder)
    load_optimizer(layer, theirs, folder)


@pytest.mark.parametrize("hand_over", [by_state_dict, by_checkpoint])
@pytest.mark.parametrize("kind", [AdamWWithMoments, Muon])
def test_wide_moments_of_narrow_weights_go_on_bit_for_bit(kind, hand_over, tmp_path):
    layer = narrow_layer()
    ours, theirs = optimizer_of(kind, layer), optimizer_of(kind, layer)
    train(ours, layer, seed=1)
    hand_over(layer, ours, theirs, tmp_path)
    for parameter in layer.parameters():
        state, loaded = ours.state[parameter], theirs.state[parameter]
        assert loaded.keys() == state.keys()
        for name, value in state.items():
            assert loaded[name].dtype == torch.float32
            assert torch.equal(loaded[name], value), name
        moment = state["exp_avg"]
        assert not torch.equal(moment, moment.bfloat16().float())  # there is something to lose


@pytest.fixture
def two_devices():
    """The first of two devices that are not there: their shards are made without the other one."""
    distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    yield init_device_mesh("cpu", (2,))
    distributed.destroy_process_group()


def test_moments_of_divided_weights_stay_divided(two_devices):
    whole = narrow_layer()
    layer = torch.nn.Module()
    for name, parameter in whole.named_parameters():
        share = DTensor.from_local(parameter.detach().clone(), two_devices, [Shard(0)])
        layer.register_parameter(name, torch.nn.Parameter(share))
    exact = optimizer_of(AdamWWithMoments, whole)
    ours, theirs = (optimizer_of(AdamWWithMoments, layer) for _ in range(2))
    train(exact, whole, seed=1)
    random = torch.Generator().manual_seed(1)
    for _ in range(3):
        for parameter in layer.parameters():
            shape = parameter.to_local().shape
            gradient = torch.randn(shape, generator=random).to(parameter.dtype)
            parameter.grad = DTensor.from_local(gradient, two_devices, [Shard(0)])
        ours.step()
    theirs.load_state_dict(copy.deepcopy(ours.state_dict()))
    for parameter, one in zip(layer.parameters(), whole.parameters(), strict=True):
        for name in ("exp_avg", "exp_avg_sq"):
            loaded = theirs.state[parameter][name]
            assert loaded.placements == parameter.placements
            assert torch.equal(loaded.to_local(), exact.state[one][name])


def test_a_recipe_chooses_the_precision_of_the_moments():
    model = mini_model("base")
    assert isinstance(build_optimizer(model, Recipe(name="x")), torch.optim.AdamW)
    assert isinstance(
        build_optimizer(model, Recipe(name="x", moments="bfloat16")), AdamWWithMoments
    )
    assert not any(p.requires_grad for p in model.model.vision_tower.attn_pool.parameters())


def test_passes_follow_from_the_rows_of_a_step():
    recipe = load_recipe("base-pretrain")
    assert [recipe.passes(devices) for devices in (1, 8, 336)] == [3360, 420, 10]
    with pytest.raises(InputError, match="512 devices"):
        recipe.passes(512)


def test_orthogonal_matrices_keep_their_directions():
    matrices = torch.randn(3, 24, 40, generator=torch.Generator().manual_seed(0))
    for given in (matrices, matrices.transpose(1, 2)):
        turned = orthogonal(given)
        left, sizes, right = torch.linalg.svd(given, full_matrices=False)
        inside = left.transpose(1, 2) @ turned @ right.transpose(1, 2)
        kept = inside.diagonal(dim1=1, dim2=2)
        assert sizes.max() > 5 * sizes.min()
        assert 0.6 < kept.min() <= kept.max() < 1.3
        assert (inside - torch.diag_embed(kept)).abs().max() < 0.15
    assert not orthogonal(torch.zeros(1, 4, 5)).any()


def test_muon_turns_each_of_the_stacked_matrices_alone():
    """Three matrices in one parameter move as the same three in parameters of their own."""
    start = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(0))
    one = torch.nn.Parameter(start.reshape(24, 8).clone())
    alone = [torch.nn.Parameter(part.clone()) for part in start]
    settings = {"lr": 0.01, "weight_decay": 0.1}
    for parameters, matrices in (([one], 3), (alone, 1)):
        group = {"params": parameters, "matrices": matrices, **settings}
        optimizer = Muon([group], 0.01, (0.9, 0.95), torch.float32)
        random = torch.Generator().manual_seed(1)
        for _ in range(3):
            for parameter in parameters:
                parameter.grad = torch.randn(parameter.shape, generator=random)
            optimizer.step()
    torch.testing.assert_close(one, torch.cat(list(alone)), rtol=1e-5, atol=1e-6)


def test_muon_moves_as_far_as_adamw_does():
    parameter = torch.nn.Parameter(torch.zeros(64, 256))
    group = {"params": [parameter], "matrices": 1, "lr": 0.01, "weight_decay": 0.0}
    moved = steps(Muon([group], 0.01, (0.9, 0.95), torch.float32), parameter, count=1)
    assert float(moved.pow(2).mean().sqrt()) == pytest.approx(0.2 * 0.01, rel=0.2)


def test_muon_is_for_the_matrices_inside_layers():
    model = mini_model("base")
    recipe = Recipe(name="x", optimizer="muon")
    assert isinstance(build_optimizer(model, recipe), Muon)
    turned = {id(p): g.matrices for g in parameter_groups(model, recipe) for p in g.parameters}
    by_name = {name: turned[id(p)] for name, p in model.named_parameters()}
    assert by_name["model.vision_tower.blocks.0.attn.qkv.weight"] == 3
    assert by_name["model.language_model.layers.1.mlp.experts.gate_up_proj"] == 2
    assert by_name["model.language_model.layers.1.mlp.experts.down_proj"] == 1
    assert by_name["model.projector.layers.0.weight"] == 1
    for name in ("embed_tokens.weight", "lm_head.weight", "mlp.gate.weight", "pos_embed", "bias"):
        assert all(not count for at, count in by_name.items() if at.endswith(name)), name
    assert not any(group.matrices for group in groups())


def test_muon_refuses_matrices_that_are_divided_among_devices():
    model = mini_model("base")
    model.lm_head.weight.device_mesh = object()  # as weights have that are sharded
    with pytest.raises(InputError, match="set optimizer to adamw, or train on one device") as told:
        build_optimizer(model, Recipe(name="x", optimizer="muon"))
    assert "replicas to" not in str(told.value)  # copies of a model are held as shards are

"""Timing a model: the arithmetic of the floors, and that all pieces are timed."""

import json

import pytest
import torch

from vl2.cli import main
from vl2.errors import InputError
from vl2.evals.speed import measure as timing
from vl2.evals.speed.machine import Machine
from vl2.evals.speed.measure import Rate, measure
from vl2.evals.speed.shapes import processor_for, random_model
from vl2.model import released
from vl2.model.released import released_config
from vl2.model.sizes import model_sizes
from vl2.quantization.modules import QuantisedExperts
from vl2.quantization.plan import VL2QuantizationConfig

MACHINE = Machine(1, 1e9, {"float32": 1e10, "bfloat16": 2e10, "int8": 4e10})


def mini(name="small"):
    """The shape of a release, far smaller; tiles of 28 pixels."""
    config = released_config(name)
    language, vision = config.language_config, config.vision_config
    language.hidden_size, language.intermediate_size = 64, 96
    language.moe_intermediate_size, language.num_hidden_layers = 32, 2
    language.num_attention_heads = language.num_key_value_heads = 2
    language.n_routed_experts, language.vocab_size = 4, 8192
    language.num_experts_per_tok = 2
    if name != "tiny":
        language.kv_lora_rank = 16
    vision.width, vision.layers, vision.heads = 32, 1, 2
    vision.image_size = 28
    config.projector_config.input_dim, config.projector_config.n_embed = 32, 64
    config.candidate_resolutions = [[28, 28], [28, 56], [56, 28]]
    return config


def plan_of(scheme):
    return None if scheme is None else VL2QuantizationConfig.named(scheme)


@pytest.mark.parametrize("scheme", [None, "int8", "int4"])
@pytest.mark.parametrize("name", ["tiny", "small", "base"])
def test_random_models_have_the_shape_and_compute(name, scheme):
    config = mini(name)
    processor_for(config)
    model = random_model(config, torch.float32, plan_of(scheme))
    assert sum(p.numel() for p in model.parameters() if p.dtype != torch.uint8) > 1e5
    quantised = any(isinstance(module, QuantisedExperts) for module in model.modules())
    assert quantised == (scheme is not None)
    ids = torch.arange(20, 60)[None]
    logits = model(input_ids=ids).logits
    assert logits.isfinite().all()
    assert logits.std() > 0


def test_every_piece_is_timed():
    config = mini()
    processor = processor_for(config)
    model = random_model(config, torch.float32, plan_of("int4"))
    told = []
    report = measure(model, processor, MACHINE, 40, 8, runs=1, told=told.append)
    for rate in (report.prefill, report.decode, report.tile, report.page):
        assert rate.seconds > 0
        assert rate.floor > 0
    assert report.prefill.pieces == 40
    assert len(told) == 3
    json.dumps(report.as_dict())


def test_floors_are_arithmetic():
    config = mini("tiny")
    processor_for(config)
    model = random_model(config, torch.float32)
    floors = timing._Floors(model, MACHINE)
    sizes = model_sizes(config)
    assert floors.weight_bytes == 4 * sizes.total
    # In float32 a token reads four bytes of each weight that it meets.
    assert floors.token_bytes == 2 * sizes.flops_per_token
    context = 100 * 4 * sizes.cache_values_per_token
    assert floors.token(100) == pytest.approx((floors.token_bytes + context) / 1e9)
    head = config.language_config.vocab_size * config.language_config.hidden_size
    assert floors.prompt(10) == pytest.approx(10 * (sizes.flops_per_token - 2 * head) / 1e10)
    assert floors.tiles(3) == pytest.approx(3 * sizes.flops_per_tile / 1e10)


def test_four_bits_read_a_seventh():
    config = mini()
    processor_for(config)
    plain, small = (
        timing._Floors(random_model(config, torch.float32, plan_of(scheme)), MACHINE).token_bytes
        for scheme in (None, "int4")
    )
    assert small < plain / 3


def test_a_rate():
    rate = Rate(2.0, 0.5, pieces=100)
    assert (rate.per_second, rate.share) == (50, 0.25)
    assert Rate(2.0, None).share is None


def test_what_does_not_fit_the_context_is_refused():
    config = mini()
    processor = processor_for(config)
    with pytest.raises(InputError, match="do not fit"):
        measure(random_model(config, torch.float32), processor, MACHINE, 4096, 8)


@pytest.fixture
def quick(monkeypatch):
    """The verb on a small machine with small shapes."""
    monkeypatch.setattr("vl2.evals.speed.machine.measure_machine", lambda device: MACHINE)
    monkeypatch.setattr(released, "released_config", mini)


WORDS = ["small", "--random", "--prompt", "30", "--tokens", "3", "--runs", "1", "--device", "cpu"]


def test_the_verb_prints_a_table(quick, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["bench", *WORDS, "--quantize", "int8"]) == 0
    out = capsys.readouterr().out
    for word in ("prompt", "answer", "tile", "page to first token", "%", "machine"):
        assert word in out
    assert "of weights: int8, multiplied by" in " ".join(out.split())
    assert all(len(line) <= 80 and line == line.rstrip() for line in out.splitlines())


def test_the_verb_tells_of_kernels_only_where_they_multiply(quick, capsys):
    assert main(["bench", *WORDS]) == 0
    assert "multiplied" not in capsys.readouterr().out


def test_the_verb_prints_json(quick, capsys):
    assert main(["bench", *WORDS, "--json", "--dtype", "float32"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["decode"]["per_second"] == pytest.approx(1 / report["decode"]["seconds"])
    assert report["machine"]["read_bytes"] == 1e9
    assert report["dtype"] == "float32"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nano", "--random"], "'nano'"),
        (["nano", "--quantize", "int3"], "'int3'"),
        (["nowhere"], "'nowhere'"),
    ],
)
def test_wrong_words_are_one_sentence(words, said, capsys):
    assert main(["bench", *words]) == 2
    assert said in capsys.readouterr().err

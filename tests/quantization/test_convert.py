"""A checkpoint folder into a quantised one, tensor by tensor."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from golden import VARIANTS, checkpoint
from model_inputs import inputs_of
from quantised import quantised_model_of
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from vl2.errors import CheckpointError, InputError
from vl2.model.loading import load_model
from vl2.model.modeling import DeepseekVLV2ForCausalLM
from vl2.quantization import convert
from vl2.quantization.convert import quantise_checkpoint
from vl2.quantization.plan import VL2QuantizationConfig
from vl2.quantization.shards import ShardWriter, Spec

INT4 = VL2QuantizationConfig.named("int4")


def sharded(variant, folder, parts=3):
    """A golden checkpoint in several files."""
    shutil.copytree(checkpoint(variant), folder)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    places = {}
    for part in range(parts):
        name = f"model-{part + 1:05}-of-{parts:05}.safetensors"
        kept = {key: tensors[key] for key in sorted(tensors)[part::parts]}
        save_file(kept, folder / name, metadata={"format": "pt"})
        places |= dict.fromkeys(kept, name)
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


@pytest.mark.parametrize("scheme", ["int8", "int4"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_it_is_what_quantising_while_loading_gives(variant, scheme, tmp_path):
    plan = VL2QuantizationConfig.named(scheme)
    result = quantise_checkpoint(checkpoint(variant), tmp_path / "out", plan)
    assert result.after < result.before
    given = load_model(tmp_path / "out", dtype=torch.float32).state_dict()
    wanted = quantised_model_of(variant, scheme).state_dict()
    assert given.keys() == wanted.keys()
    assert all(torch.equal(given[name], wanted[name]) for name in wanted)


def test_several_files_become_as_many(tmp_path):
    source = sharded("small", tmp_path / "source")
    quantise_checkpoint(source, tmp_path / "out", INT4)
    assert len(list((tmp_path / "out").glob("*.safetensors"))) == 3
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    for name, file in index["weight_map"].items():
        with safe_open(tmp_path / "out" / file, framework="pt") as stored:
            assert name in stored.keys()  # noqa: SIM118 - not a mapping
    inputs = inputs_of("small", "text_only")
    with torch.inference_mode():
        given = load_model(tmp_path / "out", dtype=torch.float32)(**inputs).logits
        assert torch.equal(given, quantised_model_of("small", "int4")(**inputs).logits)


def test_what_belongs_to_the_model_comes_along(tmp_path):
    quantise_checkpoint(checkpoint("tiny"), tmp_path / "out", INT4)
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert names >= {"config.json", "tokenizer.json", "processor_config.json"}
    assert not [name for name in names if "unfinished" in name or "growing" in name]


def test_progress_reaches_the_end(tmp_path):
    told = []
    quantise_checkpoint(
        sharded("tiny", tmp_path / "source"), tmp_path / "out", INT4, lambda *at: told.append(at)
    )
    done = [at for at, _ in told]
    assert done == sorted(done)
    assert told[-1][0] == told[-1][1] > 0


def test_interrupted_work_goes_on(tmp_path, monkeypatch):
    source, target = sharded("small", tmp_path / "source"), tmp_path / "out"
    calls = []

    def breaks(file, *rest):
        calls.append(file.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(file, *rest)

    original = convert._convert_file
    monkeypatch.setattr(convert, "_convert_file", breaks)
    with pytest.raises(KeyboardInterrupt):
        quantise_checkpoint(source, target, INT4)
    assert not target.exists()
    quantise_checkpoint(source, target, INT4)
    assert len(calls) == 4  # one done, one broken; then that one and the third
    load_model(target)
    assert [path.name for path in tmp_path.iterdir() if "unfinished" in path.name] == []


def test_a_file_that_breaks_in_the_middle_never_looks_whole(tmp_path, monkeypatch):
    def fails(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ShardWriter, "write", fails)
    with pytest.raises(InputError, match="No space left"):
        quantise_checkpoint(checkpoint("tiny"), tmp_path / "out", INT4)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.rglob("*.safetensors"))


def test_other_unfinished_work_is_not_mixed_in(tmp_path, monkeypatch):
    source, target = checkpoint("tiny"), tmp_path / "out"

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(convert, "_convert_file", interrupted)
        with pytest.raises(KeyboardInterrupt):
            quantise_checkpoint(source, target, INT4)
    with pytest.raises(InputError, match="other unfinished work"):
        quantise_checkpoint(source, target, VL2QuantizationConfig.named("int8"))


def test_too_little_space_is_told_before_the_work(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(InputError, match="too little space"):
        quantise_checkpoint(checkpoint("tiny"), tmp_path / "out", INT4)


def test_a_taken_target_is_refused(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("keep")
    with pytest.raises(InputError, match="exists already"):
        quantise_checkpoint(checkpoint("tiny"), tmp_path / "out", INT4)
    assert (tmp_path / "out" / "mine").read_text() == "keep"


def test_a_quantised_source_is_refused(tmp_path):
    quantise_checkpoint(checkpoint("tiny"), tmp_path / "one", INT4)
    with pytest.raises(CheckpointError, match="quantised already"):
        quantise_checkpoint(tmp_path / "one", tmp_path / "two", INT4)


def test_a_poisoned_tensor_is_named(tmp_path):
    source = tmp_path / "source"
    shutil.copytree(checkpoint("tiny"), source)
    tensors = load_file(source / "model.safetensors")
    name = "language.model.layers.1.mlp.experts.0.up_proj.weight"
    tensors[name][0, 0] = float("nan")
    save_file(tensors, source / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=f"{name}.*NaN"):
        quantise_checkpoint(source, tmp_path / "out", INT4)


def test_the_writer_writes_what_the_library_reads(tmp_path):
    tensors = {
        "a": torch.arange(6, dtype=torch.uint8).view(2, 3),
        "b": torch.randn(3, 5).to(torch.bfloat16),
        "c": torch.randn(()),
    }
    specs = {name: Spec(tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}
    with ShardWriter(tmp_path / "x.safetensors", specs) as writer:
        for name, tensor in tensors.items():
            writer.write(name, tensor)
    read = load_file(tmp_path / "x.safetensors")
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)


MEASURED = """
import sys
from pathlib import Path
from vl2.ops import groupwise
from vl2.quantization import convert
from vl2.quantization.plan import VL2QuantizationConfig
source, target = map(Path, sys.argv[1:])
groupwise._PORTION = 2**16
def anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
quantise, peak = convert.quantise, 0
def watched(*arguments):
    global peak
    made = quantise(*arguments)
    peak = max(peak, anonymous())
    return made
convert.quantise = watched
files = convert._survey(source, VL2QuantizationConfig.named("int8"))
before = anonymous()
convert.quantise_checkpoint(source, target, VL2QuantizationConfig.named("int8"))
print(peak - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_holds_a_few_tensors(tmp_path):
    """Whatever the size of the checkpoint: here 36 MB, in tensors of at most 1 MB."""
    config = load_model(checkpoint("tiny")).config
    config.language_config.moe_intermediate_size = 2048
    config.language_config.n_routed_experts = 16
    source = tmp_path / "source"
    shutil.copytree(checkpoint("tiny"), source)
    (source / "model.safetensors").unlink()
    with torch.device("meta"):
        empty = DeepseekVLV2ForCausalLM(config).to(torch.bfloat16)
    empty.to_empty(device="cpu")
    for parameter in empty.parameters():
        parameter.data.fill_(0.5)
    empty.save_pretrained(source)
    size = sum(file.stat().st_size for file in source.glob("*.safetensors"))
    assert size > 30e6
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(source), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=True,
    )
    # A tensor, its codes, and what the allocators of the process keep.
    assert int(done.stdout) < 12e6

"""A whole checkpoint is fine; each kind of damage is found, told once, and comes with advice."""

import hashlib
import json
import shutil
import threading

import pytest
import torch
from golden import checkpoint
from safetensors.torch import load_file, save_file

from vl2.doctor import examination, examine, reading, running, template
from vl2.engine import Assistant, load
from vl2.errors import CheckpointError, ContextError, InputError
from vl2.model.released import released_config
from vl2.processing.processor import DeepseekVLV2Processor


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(checkpoint("base"), tmp_path / "model")


def states(folder, **options):
    return {finding.check: finding for finding in examine(folder, "cpu", **options)}


def only_wrong(found):
    (wrong,) = [finding for finding in found.values() if finding.state == "wrong"]
    assert wrong.advice
    return wrong


def change(folder, name, **values):
    file = folder / name
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.mark.parametrize("variant", ["tiny", "base"])
def test_a_whole_checkpoint_is_fine(variant):
    found = states(checkpoint(variant))
    assert {finding.state for finding in found.values()} == {"fine", "not checked"}
    assert found["hashes"].state == "not checked"
    assert found["tiles"].told == "Grids, counts and pixels are those of the original release."
    assert "both times (float32 on cpu)" in found["answer"].told
    assert all(
        set(finding.as_dict()) == {"check", "state", "told", "advice"} for finding in found.values()
    )


def test_quick_reads_no_weights(folder, monkeypatch):
    monkeypatch.setattr(examination, "load", None)
    found = states(folder, quick=True)
    assert "numbers" not in found
    assert "hashes" not in found
    assert found["answer"].state == "not checked"


def test_missing_files(folder):
    (folder / "tokenizer.json").unlink()
    (folder / "model.safetensors").unlink()
    found = states(folder)
    assert only_wrong(found).told == "tokenizer.json, model.safetensors are missing."
    assert list(found) == ["files"]


def test_half_a_file(folder):
    (folder / "tokenizer_config.json").write_text("{")
    assert "tokenizer_config.json cannot be read" in only_wrong(states(folder)).told


@pytest.mark.parametrize("index", ["{", '{"weight_map": 3}'])
def test_a_broken_index(folder, index):
    (folder / "model.safetensors.index.json").write_text(index)
    assert "model.safetensors.index.json" in only_wrong(states(folder)).told


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "a\0b", "x" * 5000])
def test_an_index_that_leads_elsewhere(folder, name):
    index = json.dumps({"weight_map": {"image_newline": name}})
    (folder / "model.safetensors.index.json").write_text(index)
    found = states(folder)
    assert list(found) == ["files"]
    assert "which is no file in its folder" in only_wrong(found).told


@pytest.mark.parametrize(
    ("name", "count", "told"),
    [
        ("num_hidden_layers", 10**9, "at most 1000: 1000000000"),
        ("num_hidden_layers", 0, "at least 1"),
        ("vocab_size", 10**12, "at most 16777216"),
        ("n_routed_experts", 10**9, "n_routed_experts must be at most 16777216"),
        ("n_routed_experts", 5000, "of which there may be 4096"),
        ("kv_lora_rank", 2**63, "kv_lora_rank must be at most 16777216"),
        ("n_shared_experts", 2**63, "n_shared_experts must be at most 16777216"),
        ("torch_dtype", 1e308, "torch_dtype must be a name such as bfloat16"),
    ],
)
def test_counts_that_no_model_has(folder, name, count, told):
    config = json.loads((folder / "config.json").read_text())
    config["language_config"][name] = count
    (folder / "config.json").write_text(json.dumps(config))
    assert told in only_wrong(states(folder)).told


def test_a_processor_of_another_model(folder):
    file = folder / "processor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "patch_size": 16}))
    found = states(folder)
    assert "patches of 16" in only_wrong(found).told
    assert found["answer"].state == "not checked"
    with pytest.raises(CheckpointError, match="belong to different checkpoints"):
        load(folder)


def shard(folder, total):
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, part in shards.items():
        save_file({name: tensors[name] for name in part}, folder / file)
    (folder / "model.safetensors").unlink()
    index = {
        "metadata": {"total_size": total or sum(t.nbytes for t in tensors.values())},
        "weight_map": {name: file for file, part in shards.items() for name in part},
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_shards_and_their_total(folder):
    shard(folder, total=None)
    found = states(folder)
    assert found["index"].state == found["answer"].state == "fine"
    (folder / "b.safetensors").unlink()
    assert only_wrong(states(folder)).told == "b.safetensors is missing."


def test_a_total_that_differs(folder):
    shard(folder, total=5)
    assert "The index states 5 bytes" in only_wrong(states(folder)).told


def test_hashes_beside_a_download_and_in_the_cache(folder, tmp_path):
    weights = folder / "model.safetensors"
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    noted = folder / ".cache" / "huggingface" / "download" / "model.safetensors.metadata"
    noted.parent.mkdir(parents=True)
    noted.write_text(f"commit\n{digest}\n1700000000.0\n")
    assert states(folder)["hashes"].state == "fine"
    noted.write_text(f"commit\n{'0' * 64}\n1700000000.0\n")
    assert only_wrong(states(folder)).check == "hashes"
    noted.unlink()
    blob = tmp_path / digest
    weights.rename(blob)
    weights.symlink_to(blob)
    assert states(folder)["hashes"].state == "fine"
    blob.rename(tmp_path / ("1" * 64))
    weights.unlink()
    weights.symlink_to(tmp_path / ("1" * 64))
    assert only_wrong(states(folder)).check == "hashes"


def rewrite(folder, edit):
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors")


def test_half_downloaded_weights(folder):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    found = states(folder)
    assert [finding.check for finding in found.values() if finding.state == "wrong"] == [
        "tensors",
        "types",
    ]
    assert found["answer"].state == "not checked"


def test_tensors_of_another_model(folder):
    rewrite(folder, lambda tensors: tensors.pop("image_newline"))
    assert "lacks tensor image_newline" in only_wrong(states(folder)).told


def test_numbers_that_are_none(folder):
    rewrite(folder, lambda tensors: tensors["image_newline"].fill_(float("nan")))
    found = states(folder)
    assert (
        "1 tensors hold numbers that are not finite, such as image_newline" in found["numbers"].told
    )
    assert found["answer"].state == "not checked"


def test_empty_matrices_are_odd(folder):
    rewrite(folder, lambda tensors: tensors["language.lm_head.weight"].zero_())
    found = states(folder)
    assert found["numbers"].state == "odd"
    assert "language.lm_head.weight" in found["numbers"].told


def test_a_norm_of_zeros_is_odd(folder):
    """A layer behind it says the same to everything; biases of zeros are common."""
    name = "language.model.norm.weight"
    rewrite(folder, lambda tensors: tensors[name].zero_())
    assert name in states(folder)["numbers"].told
    assert states(checkpoint("base"))["numbers"].state == "fine"


@pytest.mark.parametrize("name", ["generation_config.json", "special_tokens_map.json"])
@pytest.mark.parametrize("held", ["{nope", "[1]"])
def test_files_that_are_not_needed_are_read_too(folder, name, held):
    (folder / name).write_text(held)
    assert name in only_wrong(states(folder, quick=True)).told


def test_a_resolution_larger_than_the_context(folder):
    change(folder, "processor_config.json", candidate_resolutions=[[384, 384], [15360, 384]])
    found = states(folder)
    assert "the context holds 4096" in only_wrong(found).told
    assert found["answer"].state == "not checked"


@pytest.mark.parametrize("theta", [0, -1.0])
def test_rotations_that_no_model_has(folder, theta):
    config = json.loads((folder / "config.json").read_text())
    change(
        folder, "config.json", language_config={**config["language_config"], "rope_theta": theta}
    )
    wrong = only_wrong(states(folder, quick=True))
    assert wrong.check == "configuration"
    assert "rope_theta" in wrong.told


def test_types_that_nothing_explains(folder):
    name = "language.lm_head.weight"
    rewrite(folder, lambda tensors: tensors.update({name: tensors[name].to(torch.int8)}))
    assert "config.json explains no I8" in only_wrong(states(folder)).told


def test_a_configuration_of_another_model(folder):
    change(folder, "config.json", model_type="llama")
    assert "'llama'" in only_wrong(states(folder)).told


def test_a_processor_that_cannot_be_loaded(folder):
    change(folder, "processor_config.json", image_std=[0, 0, 0])
    assert only_wrong(states(folder)).check == "processor"


def test_pixels_of_another_normalisation(folder):
    change(folder, "processor_config.json", image_mean=[0.4, 0.5, 0.5])
    wrong = only_wrong(states(folder))
    assert wrong.check == "tiles"
    assert "image_mean" in wrong.advice


def test_other_candidates_are_fine_but_said(folder):
    change(folder, "processor_config.json", candidate_resolutions=[[384, 384]])
    assert "released models only" in states(folder, quick=True)["tiles"].told


def test_ids_that_do_not_fit(folder):
    change(folder, "config.json", image_token_id=7)
    assert "<image> is 425 in the tokenizer, 7 in config.json" in only_wrong(states(folder)).told


def test_ids_of_the_released_models():
    """A tokenizer that belongs to another model is told by its ids."""
    processor = DeepseekVLV2Processor.from_pretrained(checkpoint("base"))
    config = released_config("tiny")
    assert "<image> is 425 in the tokenizer, 128815" in reading.check_ids(processor, config).told
    config.image_token_id = None
    assert "<image> 425, not 128815" in reading.check_ids(processor, config).told
    config.language_config.vocab_size = 10
    assert "the model only 10 words" in reading.check_ids(processor, config).told


@pytest.mark.parametrize("name", ["tiny", "small", "base"])
def test_stored_ids_are_those_of_the_configurations(name):
    config = released_config(name)
    assert reading.RELEASED_IDS[config.language_config.vocab_size][0] == config.image_token_id


@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
@pytest.mark.parametrize(
    ("ids", "told"),
    [
        ({"eos_token_id": 640}, "eos_token_id in {} is 640, which is none of the 640 words"),
        ({"bos_token_id": -1}, "bos_token_id in {} is -1, which is none of"),
        ({"eos_token_id": [423, 425]}, "eos_token_id in {} is 425, which is that of <image>"),
        ({"pad_token_id": 9999}, "pad_token_id in {} is 9999, which is none of"),
    ],
)
def test_ids_that_end_no_text(folder, file, ids, told):
    if file == "config.json":
        config = json.loads((folder / file).read_text())
        change(folder, file, language_config={**config["language_config"], **ids})
    else:
        (folder / file).write_text(json.dumps({"bos_token_id": 422, "eos_token_id": 423, **ids}))
    wrong = only_wrong(states(folder, quick=True))
    assert wrong.check == "ends"
    assert told.format(file) in wrong.told
    assert file in wrong.advice


def test_ids_that_are_not_the_tokenizers_are_odd(folder):
    file = folder / "generation_config.json"
    file.write_text('{"eos_token_id": 7, "bos_token_id": 422}')
    odd = states(folder, quick=True)["ends"]
    assert odd.state == "odd"
    assert odd.told == "eos_token_id is 7 in generation_config.json, 423 in the tokenizer."
    file.write_text('{"eos_token_id": [423, 7]}')
    assert states(folder, quick=True)["ends"].state == "fine"


@pytest.mark.parametrize("held", ['{"eos_token_id": "x"}', '{"suppress_tokens": [1.5]}'])
def test_ids_that_are_no_numbers_are_not_loaded(folder, held):
    (folder / "generation_config.json").write_text(held)
    with pytest.raises(CheckpointError, match="which is no token's number"):
        load(folder)


@pytest.mark.parametrize(
    ("held", "state", "told"),
    [
        ("{% for", "wrong", "broken: unexpected 'end of template'"),
        ("{{ 1 / 0 }}", "wrong", "broken: division by zero"),
        ("{{ messages.x.y }}", "wrong", "broken: 'list object' has no attribute 'x'"),
        ("{{ messages[0]['content'] }}", "odd", "writes 'Is it?' instead of '<｜begin"),
        ("{#- a copy -#}" + template.CHAT_TEMPLATE, "fine", "writes what the models were"),
        (template.CHAT_TEMPLATE.replace("image_url", "video"), "fine", "writes what the models"),
        (template.CHAT_TEMPLATE.replace("<image>\\n", "<image>"), "odd", "writes '<｜begin"),
    ],
)
def test_chat_templates(folder, held, state, told):
    (folder / "chat_template.jinja").write_text(held, encoding="utf-8")
    found = states(folder)
    assert found["template"].state == state
    assert told in found["template"].told
    assert bool(found["template"].advice) == (state != "fine")
    assert found["answer"].state == "fine", "vl2 itself does without it"


def test_a_template_without_end(folder, monkeypatch):
    monkeypatch.setattr(template, "SECONDS", 0.2)
    over = threading.Event()
    monkeypatch.setattr(template, "_tried", lambda processor: over.wait(60))
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    try:
        assert "more than 0.2 seconds" in only_wrong(states(folder, quick=True)).told
    finally:
        over.set()


def test_memory(folder, monkeypatch):
    monkeypatch.setattr(running, "_free_bytes", lambda device: 1000)
    found = states(folder)
    assert only_wrong(found).check == "memory"
    assert found["answer"].told == "There is no room for it."
    monkeypatch.setattr(running, "_free_bytes", lambda device: None)
    assert states(folder, quick=True)["memory"].state == "not checked"


def test_free_memory_of_this_machine():
    free = running._free_bytes(torch.device("cpu"))
    assert free is None or free > 2**20
    assert running._free_bytes(torch.device("meta")) is None


def test_an_answer_that_fails_or_wavers(folder, monkeypatch):
    answers = iter(["a", "b"])

    class Said:
        def __init__(self):
            self.text = next(answers)

    monkeypatch.setattr(Assistant, "ask", lambda *a, **k: Said())
    assert states(folder)["answer"].state == "odd"

    def fail(*args, **kwargs):
        raise ContextError("too long")

    monkeypatch.setattr(Assistant, "ask", fail)
    assert "too long" in only_wrong(states(folder)).told

    def refuse(*args):
        raise CheckpointError("broken")

    monkeypatch.setattr(examination, "load", refuse)
    assert only_wrong(states(folder)).told == "broken"


def test_positions_that_are_rounded_are_found(folder, monkeypatch):
    exact = running.rotary_tables

    def rounded(positions, dim, theta):
        return exact(positions.to(torch.bfloat16), dim, theta)

    monkeypatch.setattr(running, "rotary_tables", rounded)
    assert only_wrong(states(folder)).check == "positions"


def test_no_such_model_or_device(tmp_path):
    with pytest.raises(CheckpointError, match="no model"):
        list(examine(tmp_path / "absent"))
    with pytest.raises(InputError, match="Unknown device"):
        list(examine(checkpoint("base"), "abacus"))

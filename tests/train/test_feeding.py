"""Files to batches, through a run: packed, mixed, with bad rows, killed at a random step."""

import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import time

import PIL.Image
import pytest
import torch
from golden import checkpoint
from model_inputs import mini_checkpoint

from vl2.cli import main
from vl2.errors import InputError
from vl2.model.loading import load_config, load_model
from vl2.processing.processor import DeepseekVLV2Processor
from vl2.train.data import Collator, EncodedLesson, Encoder, Skipped
from vl2.train.feeding import mixed_rows, open_mixture, open_rows, part_names
from vl2.train.measure import Measurer
from vl2.train.recipe import Recipe
from vl2.train.skipping import SkippedRows


def said(question, answer, *images):
    first = {"role": "user", "content": question}
    return [
        {**first, "images": list(images)} if images else first,
        {"role": "assistant", "content": answer},
    ]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A JSONL file with pictures and two bad rows, and a shard of text."""
    folder = tmp_path_factory.mktemp("data")
    lines = []
    for number in range(9):
        size = (40 * (1 + number % 3), 90)
        PIL.Image.new("RGB", size, (20 * number, 90, 30)).save(folder / f"{number}.png")
        row = said("<image>\nWhich?", f"number {number} " * (1 + number % 4), f"{number}.png")
        lines.append(json.dumps({"messages": row}))
    PIL.Image.effect_noise((60, 60), 50).save(folder / "half.png")
    half = (folder / "half.png").read_bytes()[:1500]
    (folder / "half.png").write_bytes(half)
    mini_checkpoint(folder / "mini")
    lines.insert(2, json.dumps({"messages": said("<image>\nWhich?", "none", "absent.png")}))
    long = said("<image>\nWhich?", "none at all " * 4, "half.png")  # packed among the first
    lines.insert(5, json.dumps({"messages": long}))
    (folder / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    with tarfile.open(folder / "text.tar", "w") as tar:
        for number in range(5):
            content = json.dumps({"messages": said(f"say {number}", f"{number} it is")}).encode()
            info = tarfile.TarInfo(f"{number}.json")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return folder


def words(data, output, rows=None, **settings):
    mixture = f"{{{data / 'rows.jsonl'}: 0.7, {data / 'text.tar'}: 0.3}}"
    chosen = {
        "model": data / "mini",
        "data": mixture if rows is None else rows,
        "shape": "",
        "steps": 4,
        "global_batch_size": 4,
        "batch_size": 2,
        "max_tokens": 160,
        "warmup_steps": 0,
        "learning_rate": 1e-3,
        "balance_weight": 0.01,
        "bias_step": 0.001,
        "gradient_checkpointing": False,
        "workers": 0,
        "threads": 1,
        "log_every": 1,
        "save_every": 100,
        **settings,
    }
    sets = [word for name, value in chosen.items() for word in ("--set", f"{name}={value}")]
    return ["train", "base-sft", "--output", str(output), *sets]


def log(folder):
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["step"]: row for row in map(json.loads, lines)}


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert main(words(data, folder, save_every=3)) == 0
    return folder


def test_a_packed_mixture_is_learnt(whole):
    rows = log(whole)
    assert rows[4]["loss"] < rows[1]["loss"]
    assert {"loss_rows", "loss_text", "busiest_expert", "idle_experts"} <= rows[1].keys()
    parts = [rows[1]["loss_rows"], rows[1]["loss_text"]]
    balance = 0.01 * rows[1]["aux_loss"]
    assert min(parts) <= rows[1]["loss"] - balance <= max(parts)
    assert rows[1]["busiest_expert"] >= 1
    for name in ("curves.png", "experts.png", "checkpoint-3/recipe.yaml"):
        assert (whole / name).stat().st_size > 100
    loads = [json.loads(x) for x in (whole / "experts.jsonl").read_text("utf-8").splitlines()]
    assert all(sum(layer) == pytest.approx(1, abs=1e-3) for layer in loads[0]["load"])


def test_bad_rows_are_named(whole):
    told = (whole / "skipped.txt").read_text(encoding="utf-8")
    assert "rows.jsonl, line 3: " in told
    assert "absent.png" in told
    assert log(whole)[4]["skipped_rows"] == len(told.splitlines())


def test_too_many_bad_rows_end_the_run(data, tmp_path, capsys):
    assert main(words(data, tmp_path / "run", max_skipped=0)) == 2
    told = capsys.readouterr().err
    assert "max_skipped is 0" in told
    assert "rows.jsonl, line 3" in told


@pytest.mark.parametrize("packing", [True, False])
def test_the_run_stops_with_the_list_of_what_was_skipped(data, tmp_path, capsys, packing):
    more = {"max_skipped": 1, "packing": packing, "rows": data / "rows.jsonl", "steps": 9}
    assert main(words(data, tmp_path / "run", **more)) == 2
    told = capsys.readouterr().err
    assert "2 rows cannot be used for training, and max_skipped is 1." in told
    named = (tmp_path / "run" / "skipped.txt").read_text("utf-8")
    for text in (told, named):
        assert "rows.jsonl, line 3: " in text
        assert "rows.jsonl, line 6: " in text
    assert len(named.splitlines()) == 2


class Start:
    """The start of a run on a copy of the rows with the two bad ones, without its training."""

    def __init__(self, data, folder, **settings):
        self.files = shutil.copytree(data, folder / "files")
        self.run = folder / "run"
        self.run.mkdir()
        self.settings = {"packing": True, "max_tokens": 1000, "workers": 0, **settings}

    def __call__(self, max_skipped):
        rows = str(self.files / "rows.jsonl")
        recipe = Recipe(name="x", data=rows, max_skipped=max_skipped, **self.settings)
        processor = DeepseekVLV2Processor.from_pretrained(checkpoint("small"))
        skipped = SkippedRows(self.run, max_skipped)
        config = load_config(checkpoint("small"))
        self.mixed = mixed_rows(open_mixture(recipe), processor, recipe, config, self.run, skipped)
        return skipped

    @property
    def listed(self):
        lines = (self.run / "skipped.txt").read_text("utf-8").splitlines()
        return [line.partition("rows.jsonl, ")[2].partition(":")[0] for line in lines]

    def mend(self, name):
        shutil.copy(self.files / "1.png", self.files / name)


def test_the_same_command_stops_again_until_rows_are_mended(data, tmp_path):
    start = Start(data, tmp_path)
    for _ in range(2):
        with pytest.raises(
            InputError, match=r"1 rows cannot be used.*--set max_skipped=1\."
        ) as told:
            start(max_skipped=0)
        assert "Mend or remove them" in str(told.value)
        assert start.listed == ["line 3"]
    assert len(start(max_skipped=1)) == 1
    start.mend("absent.png")
    assert len(start(max_skipped=0)) == 0
    assert start.listed == []
    read = [lesson for number in range(9) for lesson in start.mixed[number]]
    reasons = {lesson.reason for lesson in read if isinstance(lesson, Skipped)}
    assert len(reasons) == 1  # half.png alone, which only decoding finds
    assert "line 6: " in reasons.pop()


@pytest.mark.parametrize("packing", [True, False])
def test_what_was_met_while_training_is_looked_at_again(data, tmp_path, packing):
    start = Start(data, tmp_path, packing=packing)
    skipped = start(max_skipped=2)
    met = [item.reason for row in range(60) for item in start.mixed[row] if hasattr(item, "reason")]
    skipped.add(met)
    skipped.settle()
    assert sorted(start.listed) == ["line 3", "line 6"]
    assert len(start(max_skipped=2)) == 2
    with pytest.raises(InputError, match="2 rows cannot be used"):
        start(max_skipped=1)
    start.mend("half.png")
    assert len(start(max_skipped=1)) == 1
    assert start.listed == ["line 3"]


def test_a_heic_picture_without_its_package_is_a_bad_row(data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as if it were not installed
    start = Start(data, tmp_path)
    phone = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)
    (start.files / "absent.png").write_bytes(phone)
    assert len(start(max_skipped=1)) == 1
    assert "line 3: " in (start.run / "skipped.txt").read_text("utf-8")
    processor = DeepseekVLV2Processor.from_pretrained(checkpoint("small"))
    rows = open_rows(start.files / "rows.jsonl")
    skipped = Encoder(processor, Recipe(name="x"))(rows, 2)
    assert isinstance(skipped, Skipped)
    assert "pip install 'vl2[heic]'" in skipped.reason


def test_parts_of_the_same_name_are_told_apart(tmp_path):
    for name in ("v1.5", "v1.6"):
        (tmp_path / "s" / name).mkdir(parents=True)

    def names(*paths):
        return part_names(Recipe(name="x", data=dict.fromkeys(map(str, paths), 1.0)))

    assert names("a/train.jsonl", "b/train.jsonl", "c/text.jsonl") == ("a/train", "b/train", "text")
    assert names(tmp_path / "s/v1.5", tmp_path / "s/v1.6") == ("v1.5", "v1.6")
    assert names("x/a/train.jsonl", "y/a/train.jsonl") == ("x/a/train", "y/a/train")
    assert names("train.jsonl", "b/train.jsonl") == ("train", "b/train")
    assert names("a/train.jsonl", "a/train.tar") == ("train.jsonl", "train.tar")
    assert names("a/train.jsonl") == ()


def test_rendered_data_is_no_part_of_a_mixture(data):
    mixture = {"synth": 0.5, str(data / "rows.jsonl"): 0.5}
    with pytest.raises(InputError, match="cannot be mixed with files: set data to synth alone"):
        open_mixture(Recipe(name="x", data=mixture))


@pytest.mark.slow
def test_killed_at_a_random_step_it_goes_on_bit_for_bit(data, whole, tmp_path):
    killed = tmp_path / "killed"
    step = random.Random(os.getpid()).randint(1, 3)
    arguments = [sys.executable, "-m", "vl2", *words(data, killed, save_every=1)]
    with subprocess.Popen(arguments, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as run:
        deadline = time.monotonic() + 200
        while not (killed / f"checkpoint-{step}").is_dir() and time.monotonic() < deadline:
            time.sleep(0.002)
        run.send_signal(signal.SIGKILL)
    assert run.returncode == -signal.SIGKILL
    assert main(words(data, killed)) == 0
    exact, found = log(whole), log(killed)
    assert {s: row["loss"] for s, row in found.items()} == {s: exact[s]["loss"] for s in exact}
    weights = [(run / "final" / "model.safetensors").read_bytes() for run in (whole, killed)]
    assert weights[0] == weights[1]


def test_how_rows_are_divided_into_passes_does_not_matter(data, tmp_path):
    logs, biases = [], []
    for batch_size in (1, 4):
        run = tmp_path / str(batch_size)
        assert main(words(data, run, steps=1, bf16=False, batch_size=batch_size)) == 0
        logs.append(log(run)[1])
        saved = load_model(run / "checkpoint-1", dtype=torch.float32).state_dict()
        biases.append([saved[name] for name in sorted(saved) if "correction_bias" in name])
    for name in ("loss", "grad_norm", "busiest_expert", "loss_rows", "loss_text"):
        assert logs[0][name] == pytest.approx(logs[1][name], rel=1e-4)
    start = load_model(data / "mini", dtype=torch.float32).state_dict()
    before = [start[name] for name in sorted(start) if "correction_bias" in name]
    for old, one, other in zip(before, *biases, strict=True):
        assert torch.equal(one, other)
        # By one step, however many passes it had.
        assert (one - old).abs().max() == pytest.approx(0.001, rel=1e-3)


def test_unpacked_rows_skip_what_cannot_be_read(data, tmp_path):
    one = {"packing": False, "rows": data / "rows.jsonl", "steps": 3}
    assert main(words(data, tmp_path / "run", **one)) == 0
    assert log(tmp_path / "run")[3]["skipped_rows"] == 2


def test_measured_sizes_are_those_of_the_encoded_rows(data):
    processor = DeepseekVLV2Processor.from_pretrained(checkpoint("small"))
    recipe = Recipe(name="x", max_tokens=1000, max_tiles=2)
    rows = open_rows(data / "rows.jsonl")
    measurer, encode = Measurer(rows, len(rows), processor, recipe), Encoder(processor, recipe)
    for number in range(len(rows)):
        size, lesson = measurer[number], encode(rows, number)
        if isinstance(lesson, Skipped):
            assert number in (2, 5)
            continue
        assert size.tokens == len(lesson.prompt)
        assert size.tiles == len(lesson.prompt.pixel_values)
        assert size.supervised == lesson.prompt.supervised[1:].sum()


def test_a_row_that_is_too_long_is_skipped_by_name(data):
    processor = DeepseekVLV2Processor.from_pretrained(checkpoint("small"))
    rows = open_rows(data / "rows.jsonl")
    skipped = Encoder(processor, Recipe(name="x", max_tokens=50))(rows, 0)
    assert "rows.jsonl, line 1: " in skipped.reason
    assert "50" in skipped.reason
    measured = Measurer(rows, 1, processor, Recipe(name="x", max_tokens=50))[0]
    assert measured.tokens == 0
    assert "line 1: " in measured.reason


def test_packed_rows_number_their_documents(data):
    processor = DeepseekVLV2Processor.from_pretrained(checkpoint("small"))
    rows = open_rows(data / "text.tar")
    lessons = [Encoder(processor, Recipe(name="x"))(rows, number) for number in range(3)]
    assert all(isinstance(lesson, EncodedLesson) for lesson in lessons)
    lengths = [len(lesson.prompt) for lesson in lessons]
    length = lengths[0] + lengths[1]
    collate = Collator(processor, packed=True, max_tokens=length)
    batch = collate([[lessons[0], Skipped("x: y"), lessons[1]], [lessons[2]]])
    assert batch["document_ids"].unique(return_counts=True)[1].tolist()[1:] == lengths
    assert batch["input_ids"].shape == (2, length)
    assert batch["labels"][0, lengths[0]] == -100
    assert (batch["documents"], batch["skipped"]) == (3, ["x: y"])
    assert "pixel_values" not in batch


def test_a_batch_of_skipped_rows_is_padding():
    processor = DeepseekVLV2Processor.from_pretrained(checkpoint("small"))
    batch = Collator(processor)([[Skipped("x: y")]])
    assert batch["documents"] == 0
    assert torch.equal(batch["labels"], torch.full((1, 1), -100))

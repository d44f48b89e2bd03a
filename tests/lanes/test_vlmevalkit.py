"""VLMEvalKit for real: its `run.py`, our class, a local data set of three pictures, one result.

Skipped unless the environment variable `VLMEVALKIT` names a checkout of VLMEvalKit whose needs are
installed; `make lane-vlmevalkit` makes an environment for it.
"""

import base64
import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

DATA = "VL2Lane"
CHECKPOINT = Path(__file__).parents[1] / "data" / "golden" / "checkpoints" / "small"
CHECKOUT = os.environ.get("VLMEVALKIT", "")
if not CHECKOUT:
    pytest.skip("VLMEVALKIT names no checkout of VLMEvalKit", allow_module_level=True)


def encoded(colour):
    held = io.BytesIO()
    Image.new("RGB", (96, 96), colour).save(held, "PNG")
    return base64.b64encode(held.getvalue()).decode()


@pytest.fixture
def data(tmp_path):
    """A folder with a data set in VLMEvalKit's form."""
    folder = tmp_path / "data"
    folder.mkdir()
    rows = [
        {
            "index": index,
            "image": encoded(colour),
            "question": "Which colour is the picture?",
            "A": "red",
            "B": "green",
            "C": "blue",
            "answer": "ABC"[index],
        }
        for index, colour in enumerate(("red", "green", "blue"))
    ]
    with (folder / f"{DATA}.tsv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter="\t")
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.fixture
def run(data, tmp_path):
    """Runs `run.py` by one of our commands; gives the folder with what a model's run left."""

    def run_script(module, model, *arguments):
        script, out = Path(CHECKOUT).resolve() / "run.py", tmp_path / "out"
        done = subprocess.run(
            [
                *(sys.executable, "-m", module, str(script), *arguments),
                *("--judge", "exact_matching", "--work-dir", str(out)),
            ],
            cwd=script.parent,
            env={**os.environ, "LMUData": str(data), "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return out / model

    return run_script


def check(results, model):
    (score,) = results.glob("*_acc.csv")
    (row,) = csv.DictReader(score.read_text().splitlines())
    assert 0 <= float(row["Overall"]) <= 1
    assert (results / f"{model}_{DATA}.xlsx").is_file()


def test_our_class(run):
    model = "vl2-nano"
    check(run("vl2.plugins.vlmevalkit", model, "--model", model, "--data", DATA), model)


def test_the_kits_own_class_in_place_of_the_original(run, tmp_path):
    """Its class for DeepSeek-VL2 imports `deepseek_vl2`."""
    model = {"class": "DeepSeekVL2", "model_path": str(CHECKPOINT), "max_new_tokens": 8}
    data = {"class": "CustomMCQDataset", "dataset": DATA}
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"model": {"theirs": model}, "data": {DATA: data}}))
    check(run("vl2.dropin", "theirs", "--config", str(config)), "theirs")

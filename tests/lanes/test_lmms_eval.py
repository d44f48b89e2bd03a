"""lmms-eval for real: its command, our entry point, a local task of three pictures, one result.

Skipped where lmms-eval is not installed; `make lane-lmms-eval` makes an environment for it.
"""

import importlib.util
import json
import os
import subprocess
import sys

import pytest
from PIL import Image

if importlib.util.find_spec("lmms_eval") is None:
    pytest.skip("lmms-eval is not installed", allow_module_level=True)

TASK = """
dataset_path: json
dataset_kwargs:
  data_files:
    test: {rows}
task: vl2_lane
test_split: test
output_type: generate_until
doc_to_visual: !function lane_task.pictures
doc_to_text: !function lane_task.text
doc_to_target: answer
generation_kwargs:
  max_new_tokens: 8
  temperature: 0
  do_sample: false
process_results: !function lane_task.judged
metric_list:
  - metric: answered
    aggregation: mean
    higher_is_better: true
metadata:
  - version: 0.0
"""

FUNCTIONS = """
from PIL import Image


def pictures(doc):
    return [Image.open(doc["picture"]).convert("RGB")]


def text(doc, lmms_eval_specific_kwargs=None):
    return doc["question"]


def judged(doc, results):
    return {"answered": float(bool(results[0].strip()))}
"""


@pytest.fixture
def task(tmp_path):
    """A folder with a task and its data."""
    rows = []
    for colour in ("red", "green", "blue"):
        path = tmp_path / f"{colour}.png"
        Image.new("RGB", (96, 96), colour).save(path)
        rows.append({"picture": str(path), "question": "Which colour is it?", "answer": colour})
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder = tmp_path / "task"
    folder.mkdir()
    (folder / "vl2_lane.yaml").write_text(TASK.format(rows=tmp_path / "rows.jsonl"))
    (folder / "lane_task.py").write_text(FUNCTIONS)
    return folder


@pytest.mark.parametrize("face", [[], ["--force_simple"]], ids=["chat", "simple"])
def test_a_local_task(task, tmp_path, face):
    command = [
        *(sys.executable, "-m", "lmms_eval", "--model", "vl2", *face),
        *("--model_args", "pretrained=nano,device=cpu", "--batch_size", "2"),
        *("--tasks", "vl2_lane", "--include_path", str(task)),
        *("--output_path", str(tmp_path / "out"), "--log_samples"),
    ]
    settings = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        command, env={**os.environ, **settings}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (result,) = (tmp_path / "out").rglob("*results.json")
    assert json.loads(result.read_text())["results"]["vl2_lane"]["answered,none"] == 1
    (samples,) = (tmp_path / "out").rglob("*samples*.jsonl")
    assert len(samples.read_text().splitlines()) == 3

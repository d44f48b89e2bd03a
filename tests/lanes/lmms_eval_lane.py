"""lmms-eval for real: its command, our entry point, a local task of three pictures, one result."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

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


def main():
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        rows = []
        for colour in ("red", "green", "blue"):
            Image.new("RGB", (96, 96), colour).save(folder / f"{colour}.png")
            rows.append(
                {
                    "picture": str(folder / f"{colour}.png"),
                    "question": "How many shapes are in the picture?",
                    "answer": "0",
                }
            )
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "rows.jsonl").write_text(lines)
        (folder / "task").mkdir()
        (folder / "task" / "vl2_lane.yaml").write_text(TASK.format(rows=folder / "rows.jsonl"))
        (folder / "task" / "lane_task.py").write_text(FUNCTIONS)
        command = [
            *(sys.executable, "-m", "lmms_eval", "--model", "vl2"),
            *("--model_args", "pretrained=nano,device=cpu", "--batch_size", "2"),
            *("--tasks", "vl2_lane", "--include_path", str(folder / "task")),
            *("--output_path", str(folder / "out")),
            *sys.argv[1:],
        ]
        settings = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "cache")}
        subprocess.run(command, check=True, env={**os.environ, **settings})
        (result,) = (folder / "out").rglob("*results.json")
        score = json.loads(result.read_text())["results"]["vl2_lane"]["answered,none"]
        if score != 1:
            raise SystemExit(f"of three questions only a share of {score} was answered")
        sys.stdout.write(f"lmms-eval: answered {score:.0%} of the questions\n")


if __name__ == "__main__":
    main()

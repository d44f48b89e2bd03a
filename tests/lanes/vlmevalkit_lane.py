"""VLMEvalKit for real: its `run.py`, our class, a local data set of three pictures, one result.

Give the folder of a checkout of VLMEvalKit as the argument.
"""

import base64
import csv
import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image


def encoded(colour):
    held = io.BytesIO()
    Image.new("RGB", (96, 96), colour).save(held, "PNG")
    return base64.b64encode(held.getvalue()).decode()


def main():
    checkout = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "data").mkdir()
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
        with (folder / "data" / "VL2Lane.tsv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t")
            writer.writeheader()
            writer.writerows(rows)
        command = [
            *(sys.executable, "-m", "vl2.plugins.vlmevalkit", str(checkout / "run.py")),
            *("--model", "vl2-nano", "--data", "VL2Lane", "--judge", "exact_matching"),
            *("--work-dir", str(folder / "out")),
        ]
        settings = {"LMUData": str(folder / "data"), "HF_HUB_OFFLINE": "1"}
        subprocess.run(command, check=True, cwd=checkout, env={**os.environ, **settings})
        scores = sorted((folder / "out").rglob("*_acc.csv"))
        if not scores:
            raise SystemExit("VLMEvalKit wrote no score")
        sys.stdout.write(f"VLMEvalKit: {scores[0].read_text()}\n")


if __name__ == "__main__":
    main()

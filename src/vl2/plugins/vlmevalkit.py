"""VLMEvalKit: a class for it, and a way to run it with this model.

VLMEvalKit looks models up in a table of its own and has no entry points. So this module adds the
model to the table, then runs VLMEvalKit's `run.py` in the same process:

    python -m vl2.plugins.vlmevalkit VLMEvalKit/run.py --model vl2-tiny --data ChartQA_TEST

Known are `vl2-nano`, `vl2-tiny`, `vl2-small`, `vl2-base`, and `vl2` for the model named in the
environment variable `VL2_MODEL`.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from vlmeval.config import supported_VLM
from vlmeval.vlm.base import BaseModel

from vl2.engine import load
from vl2.errors import InputError, VL2Error
from vl2.plugins.asking import (
    MAX_TOKENS,
    as_fractions,
    interleaved,
    pointing_question,
    unless_unaskable,
)

MODEL_VARIABLE = "VL2_MODEL"
SIZES = ("nano", "tiny", "small", "base")
USAGE = "usage: python -m vl2.plugins.vlmevalkit RUN.PY --model vl2-tiny --data DATASET ..."


class VL2(BaseModel):
    """The model as VLMEvalKit calls it.

    Args:
        model: as for `vl2.load`.
        device: where it runs.
        dtype: type of its weights.
        max_new_tokens: length limit of an answer.
    """

    INSTALL_REQ = False
    INTERLEAVE = True

    def __init__(
        self,
        model: str = "nano",
        device: str = "auto",
        dtype: str = "auto",
        max_new_tokens: int = MAX_TOKENS,
    ) -> None:
        super().__init__()
        self._assistant = load(model, device, dtype)
        self._max_new_tokens = max_new_tokens

    def generate_inner(
        self, message: Sequence[Mapping[str, Any]], dataset: str | None = None
    ) -> str:
        """Answer one message, laid out as the authors did for their reported scores."""
        asked = interleaved(message, dataset)
        if dataset is None or not dataset.startswith("RefCOCO"):
            return self._said(asked.prompt, asked.pictures).rstrip(".")
        text = "".join(part["value"] for part in message if part["type"] == "text")
        return as_fractions(self._said(pointing_question(text), asked.pictures))

    def chat_inner(self, message: Sequence[Mapping[str, Any]], dataset: str | None = None) -> str:
        """Answer the last question of a conversation.

        Raises:
            InputError: the question cannot be asked; VLMEvalKit then tries with fewer turns.
        """
        turns = []
        for turn in message:
            asked = interleaved(turn["content"], dataset)
            pictures = list(asked.pictures)
            turns.append({"role": turn["role"], "content": asked.prompt, "images": pictures})
        answer = self._assistant.chat(turns, max_tokens=self._max_new_tokens)
        return answer.text.strip().rstrip(".")

    def _said(self, prompt: str, pictures: Sequence[Any]) -> str:
        return unless_unaskable(
            lambda: (
                self._assistant.ask(list(pictures), prompt, max_tokens=self._max_new_tokens).text
            )
        ).strip()


def register() -> None:
    """Add the models to VLMEvalKit's table."""
    for size in SIZES:
        supported_VLM[f"vl2-{size}"] = partial(VL2, model=size)
    supported_VLM["vl2"] = partial(VL2, model=os.environ.get(MODEL_VARIABLE, "nano"))


def main(arguments: Sequence[str]) -> int:
    """Run VLMEvalKit's script with the models in its table.

    Args:
        arguments: the script and its own arguments.

    Returns:
        2 if there is no script to run, else 0.
    """
    if not arguments:
        sys.stderr.write(f"{USAGE}\n")
        return 2
    script = Path(arguments[0])
    try:
        if not script.is_file():
            raise InputError(f"There is no script {arguments[0]!r}: name VLMEvalKit's run.py.")
        register()
        sys.argv = list(arguments)
        sys.path.insert(0, str(script.resolve().parent))
        runpy.run_path(str(script), run_name="__main__")
    except VL2Error as error:
        sys.stderr.write(f"vl2: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

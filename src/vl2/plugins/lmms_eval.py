"""lmms-eval: the entry point by which it finds this model.

The package's metadata names `manifest` in the group `lmms_eval.models`, so that after
`pip install vl2 lmms-eval` the model is there by the name `vl2`:

    python -m lmms_eval --model vl2 --model_args pretrained=tiny --tasks chartqa --batch_size 8
"""

from __future__ import annotations

import importlib
from typing import Any

MODEL_ID = "vl2"
CHAT_CLASS = "vl2.plugins.lmms_eval_model.VL2Chat"
SIMPLE_CLASS = "vl2.plugins.lmms_eval_model.VL2Simple"


def manifest() -> Any:  # noqa: ANN401 - a class of lmms-eval, which need not be installed
    """What lmms-eval needs to know of the model."""
    registry = importlib.import_module("lmms_eval.models.registry_v2")
    return registry.ModelManifest(
        model_id=MODEL_ID,
        simple_class_path=SIMPLE_CLASS,
        chat_class_path=CHAT_CLASS,
        aliases=("deepseek_vl2",),
    )

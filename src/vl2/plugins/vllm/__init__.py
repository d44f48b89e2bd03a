"""vLLM: the entry point by which it finds this model, in each of its processes.

vLLM brings a `DeepseekVLV2ForCausalLM` of its own whose vision tower is another one: 28 x 28
patches instead of 27 x 27, positions resampled, exact instead of tanh GELU. This one has the tower,
projector, tiling, token layout and chat format of `vl2`, which are those of the original, over
vLLM's language models.

The entry point is in the group `vllm.general_plugins`, so `pip install vl2 vllm` is all there is to
do; the environment variable `VLLM_PLUGINS` can leave it out.
"""

from __future__ import annotations

import importlib

ARCHITECTURE = "DeepseekVLV2ForCausalLM"
MODEL_TYPE = "deepseek_vl_v2"
MODE = "vl2"
"""Name of our tokenizer and chat format among those of vLLM."""


def register() -> None:
    """Puts this model in the place of vLLM's own; a second call does nothing new."""
    importlib.import_module(f"{__name__}.installing").install()

r"""The original release, if whoever runs this has fetched it.

Neither its code nor its weights are part of this repository. To time it:

    git clone https://github.com/deepseek-ai/DeepSeek-VL2 FOLDER
    python -m venv VENV            # with torch, transformers==4.38.2 and what FOLDER asks for
    DEEPSEEK_VL2=FOLDER python benchmarks/against_peers.py --peers original:bfloat16 \
        --python original=VENV/bin/python

Its language part is built with random weights from its own configuration class. Variants:
bfloat16, float32.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from protocol import Done, Options, Work, serve

_SHARED = {
    "n_routed_experts": 64, "n_shared_experts": 2, "num_experts_per_tok": 6,
    "first_k_dense_replace": 1, "topk_method": "greedy", "n_group": 1, "topk_group": 1,
    "q_lora_rank": None, "max_position_embeddings": 4096,
}  # fmt: skip
_SHAPES = {
    "tiny": {
        "hidden_size": 1280, "intermediate_size": 6848, "moe_intermediate_size": 896,
        "num_hidden_layers": 12, "num_attention_heads": 10, "num_key_value_heads": 10,
        "vocab_size": 129280, "use_mla": False, "kv_lora_rank": None, "qk_nope_head_dim": 0,
        "qk_rope_head_dim": 0, "v_head_dim": 0,
    },
    "small": {
        "hidden_size": 2048, "intermediate_size": 10944, "moe_intermediate_size": 1408,
        "num_hidden_layers": 27, "num_attention_heads": 16, "num_key_value_heads": 16,
        "vocab_size": 102400,
    },
}  # fmt: skip


def _folder() -> Path:
    given = os.environ.get("DEEPSEEK_VL2")
    if not given or not (Path(given) / "deepseek_vl2" / "models").is_dir():
        sys.exit(
            "The original release is not here: clone https://github.com/deepseek-ai/DeepSeek-VL2 "
            "and set DEEPSEEK_VL2 to its folder (see the top of benchmarks/peers/original.py)."
        )
    return Path(given)


def prepare(options: Options) -> tuple[dict[str, object], Work]:
    """Its language model with random weights."""
    sys.path.insert(0, str(_folder()))
    import torch
    import transformers
    from deepseek_vl2.models.configuration_deepseek import DeepseekV2Config
    from deepseek_vl2.models.modeling_deepseek import DeepseekV2ForCausalLM

    torch.set_num_threads(options.threads)
    fewer = {"n_routed_experts": options.experts} if options.experts else {}
    config = DeepseekV2Config(**{**_SHARED, **fewer}, **_SHAPES[options.shape])
    config._attn_implementation = "eager"
    torch.set_default_dtype(getattr(torch, options.variant))
    model = DeepseekV2ForCausalLM(config).eval()
    generator = torch.Generator().manual_seed(0)

    @torch.inference_mode()
    def begin() -> tuple[torch.Tensor, object, float]:
        ids = torch.randint(10, 60000, (1, options.prompt), generator=generator)
        started = time.perf_counter()
        out = model(ids, use_cache=True)
        token = out.logits[:, -1].argmax(-1, keepdim=True)
        return token, out.past_key_values, time.perf_counter() - started

    def prefill() -> Done:
        return Done(begin()[2], options.prompt)

    @torch.inference_mode()
    def decode() -> Done:
        token, cache, _ = begin()
        started = time.perf_counter()
        for _ in range(options.answer):
            out = model(token, past_key_values=cache, use_cache=True)
            token, cache = out.logits[:, -1].argmax(-1, keepdim=True), out.past_key_values
        return Done(time.perf_counter() - started, options.answer)

    name = f"original, transformers {transformers.__version__}, {options.variant}"
    return {"name": name, "torch": torch.__version__}, {"prefill": prefill, "decode": decode}


if __name__ == "__main__":
    serve(prepare)

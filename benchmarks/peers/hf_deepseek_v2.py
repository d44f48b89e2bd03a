"""transformers' own deepseek_v2 with random weights: the nearest model that it has in its tree.

It has no multi-head variant, so for tiny its latent attention stands in, with as many heads.
Variants: bfloat16 with the experts' `grouped_mm` (its default) and bfloat16-eager.
"""

from __future__ import annotations

import time

import torch
import transformers
from protocol import Done, Options, Work, serve
from transformers import DeepseekV2Config, DeepseekV2ForCausalLM

_SHAPES = {
    "tiny": {
        "hidden_size": 1280, "intermediate_size": 6848, "moe_intermediate_size": 896,
        "num_hidden_layers": 12, "num_attention_heads": 10, "vocab_size": 129280,
    },
    "small": {
        "hidden_size": 2048, "intermediate_size": 10944, "moe_intermediate_size": 1408,
        "num_hidden_layers": 27, "num_attention_heads": 16, "vocab_size": 102400,
    },
}  # fmt: skip


@torch.inference_mode()
def prepare(options: Options) -> tuple[dict[str, object], Work]:
    """A model of the shape."""
    torch.set_num_threads(options.threads)
    shape = _SHAPES[options.shape]
    config = DeepseekV2Config(
        **shape,
        num_key_value_heads=shape["num_attention_heads"],
        n_routed_experts=options.experts or 64,
        n_shared_experts=2,
        num_experts_per_tok=6,
        first_k_dense_replace=1,
        q_lora_rank=None,
        kv_lora_rank=512,
        max_position_embeddings=4096,
    )
    with torch.device("meta"):
        model = DeepseekV2ForCausalLM(config)
    model = model.to(torch.bfloat16).to_empty(device="cpu").eval()
    for parameter in model.parameters():
        parameter.fill_(1.0) if parameter.ndim == 1 else parameter.normal_(std=0.02)
    # Buffers (rotary frequencies) are computed, not stored.
    model.model.rotary_emb = type(model.model.rotary_emb)(config)
    if options.variant == "bfloat16-eager":
        model.set_experts_implementation("eager")
    generator = torch.Generator().manual_seed(0)

    @torch.inference_mode()
    def begin() -> tuple[torch.Tensor, object, float]:
        ids = torch.randint(10, 60000, (1, options.prompt), generator=generator)
        started = time.perf_counter()
        out = model(ids, use_cache=True, logits_to_keep=1)
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

    about = {
        "name": f"transformers {transformers.__version__} deepseek_v2, {options.variant}",
        "torch": torch.__version__,
        "experts": model.config._experts_implementation,
    }
    return about, {"prefill": prefill, "decode": decode}


if __name__ == "__main__":
    serve(prepare)

"""vl2 itself, through its engine.

Variants: bfloat16, int8, int4, int4-head4 (the output layer in 4 bits too), and bfloat16-torch:
without the compiled kernels.
"""

from __future__ import annotations

import os
import time

import torch
from protocol import Done, Options, Work, serve

from vl2.engine.core import Core
from vl2.engine.limits import Limits
from vl2.engine.requests import Request
from vl2.engine.sampling import Sampling
from vl2.evals.speed.measure import random_words
from vl2.evals.speed.shapes import processor_for, random_model
from vl2.model.released import released_config
from vl2.ops.kernels.library import VARIABLE, instruction_set
from vl2.quantization.packing import pack
from vl2.quantization.plan import GROUPS, SCHEMES, VL2QuantizationConfig

_PLANS = {
    "bfloat16": None,
    "bfloat16-torch": None,
    "int8": VL2QuantizationConfig.named("int8"),
    "int4": VL2QuantizationConfig.named("int4"),
    "int4-head4": VL2QuantizationConfig({**SCHEMES["int4"], "head": 4}, GROUPS["int4"]),
}


def prepare(options: Options) -> tuple[dict[str, object], Work]:
    """A model of the shape with random weights, behind an engine without a thread."""
    torch.set_num_threads(options.threads)
    if options.variant.endswith("-torch"):
        os.environ[VARIABLE] = "off"
    config = released_config(options.shape)
    language = config.language_config
    language.n_routed_experts = options.experts or language.n_routed_experts
    processor = processor_for(config)
    model = pack(random_model(config, torch.bfloat16, _PLANS[options.variant]))
    context = language.max_position_embeddings
    core = Core(model, processor, Limits(cache_tokens=context, picture_bytes=0))
    core.ends.clear()
    core.settle()
    seed = 0

    def begin(answer: int) -> tuple[float, float]:
        """Seconds to the first token and of the others."""
        nonlocal seed
        seed += 1
        prompt = random_words(processor, options.prompt, seed)
        sequence = core.prepare(Request(prompt, Sampling(max_tokens=answer)), lambda _: None)
        started = time.perf_counter()
        core.add(sequence)
        while core.busy and not sequence.answered:
            core.step()
        first = time.perf_counter()
        while core.busy:
            core.step()
        return first - started, time.perf_counter() - first

    def prefill() -> Done:
        return Done(begin(1)[0], options.prompt)

    def decode() -> Done:
        return Done(begin(1 + options.answer)[1], options.answer)

    @torch.inference_mode()
    def tile() -> Done:
        side = config.vision_config.image_size
        tiles = torch.randn(2, 3, side, side).to(torch.bfloat16)
        started = time.perf_counter()
        model.model.projector(model.model.vision_tower(tiles))
        return Done(time.perf_counter() - started, len(tiles))

    work = {"prefill": prefill, "decode": decode, "tile": tile}
    about = {
        "name": f"vl2, {options.variant}",
        "kernels": instruction_set(),
        "torch": torch.__version__,
        "weight_bytes": sum(p.nbytes for p in model.parameters()),
    }
    return about, work


if __name__ == "__main__":
    serve(prepare)

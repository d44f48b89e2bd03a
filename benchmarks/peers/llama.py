"""llama.cpp through llama-cpp-python, over a file of random weights in the same shape.

    python -m venv VENV && VENV/bin/pip install llama-cpp-python gguf numpy

There is no DeepSeek-VL2 in llama.cpp: the language part of tiny is its `deepseek`, that of small
its `deepseek2`, which runs the latent attention absorbed. Base has 30 layers and no narrow query,
which `deepseek2` does not load. Variants: Q4_0 as `llama-quantize` writes it (the output layer in
Q6_K), Q4_0-pure (that layer in Q4_0 too), Q8_0 and BF16. The file is written once and kept.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator
from pathlib import Path

import gguf
import llama_cpp
import numpy as np
from gguf import GGMLQuantizationType as Kind
from protocol import Done, Options, Work, serve

_SHAPES = {
    "tiny": {
        "arch": "deepseek", "layers": 12, "width": 1280, "heads": 10, "inner": 896, "dense": 6848,
        "words": 129280, "experts": 64, "chosen": 6,
    },
    "small": {
        "arch": "deepseek2", "layers": 27, "width": 2048, "heads": 16, "inner": 1408,
        "dense": 10944, "words": 102400, "experts": 64, "chosen": 6,
    },
}  # fmt: skip
_VARIANTS = {
    "Q4_0": (Kind.Q4_0, Kind.Q6_K),
    "Q4_0-pure": (Kind.Q4_0, Kind.Q4_0),
    "Q8_0": (Kind.Q8_0, Kind.Q8_0),
    "BF16": (Kind.BF16, Kind.BF16),
}
_RANK, _NOPE, _ROTARY, _VALUE, _SHARED = 512, 128, 64, 128, 2


def _random(kind: Kind, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """Bytes of random weights of a size that keeps activations finite."""
    if kind == Kind.F32:
        return random.normal(0, 0.02, shape).astype(np.float32)
    block, size = gguf.GGML_QUANT_SIZES[kind]
    count = int(np.prod(shape)) // block
    if kind == Kind.BF16:
        values = random.normal(0, 0.02, count).astype(np.float32).view(np.uint32) >> 16
        return values.astype(np.uint16).view(np.uint8).reshape(*shape[:-1], -1)
    # The same 64 MB over and over: no cache holds them.
    pool = np.frombuffer(random.bytes(min(count * size, 2**26 + 1)), np.uint8)
    stored = np.resize(pool, (count, size))
    scale = np.frombuffer(np.float16(1 / 2048).tobytes(), np.uint8)
    place = slice(size - 2, size) if kind == Kind.Q6_K else slice(0, 2)
    stored[:, place] = scale
    return stored.reshape(*shape[:-1], -1)


def _layer(shape: dict, index: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    d, h, i, e = shape["width"], shape["heads"], shape["inner"], shape["experts"]
    if shape["arch"] == "deepseek":
        yield from ((f"attn_{part}", (d, d)) for part in ("q", "k", "v", "output"))
    else:
        yield "attn_q", (h * (_NOPE + _ROTARY), d)
        yield "attn_kv_a_mqa", (_RANK + _ROTARY, d)
        yield "attn_k_b", (h, _RANK, _NOPE)
        yield "attn_v_b", (h, _VALUE, _RANK)
        yield "attn_output", (d, h * _VALUE)
    if index == 0:
        wide = shape["dense"]
        yield from (("ffn_gate", (wide, d)), ("ffn_up", (wide, d)), ("ffn_down", (d, wide)))
        return
    yield from (("ffn_gate_exps", (e, i, d)), ("ffn_up_exps", (e, i, d)))
    yield "ffn_down_exps", (e, d, i)
    shared = _SHARED * i
    yield from (("ffn_gate_shexp", (shared, d)), ("ffn_up_shexp", (shared, d)))
    yield "ffn_down_shexp", (d, shared)


def _describe(writer: gguf.GGUFWriter, shape: dict) -> None:
    writer.add_block_count(shape["layers"])
    writer.add_context_length(4096)
    writer.add_embedding_length(shape["width"])
    writer.add_feed_forward_length(shape["dense"])
    writer.add_head_count(shape["heads"])
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10000.0)
    writer.add_expert_count(shape["experts"])
    writer.add_expert_used_count(shape["chosen"])
    writer.add_expert_shared_count(_SHARED)
    writer.add_expert_feed_forward_length(shape["inner"])
    writer.add_expert_weights_scale(1.0)
    writer.add_leading_dense_block_count(1)
    writer.add_vocab_size(shape["words"])
    writer.add_tokenizer_model("none")
    if shape["arch"] == "deepseek":
        writer.add_head_count_kv(shape["heads"])
        writer.add_rope_dimension_count(shape["width"] // shape["heads"])
        return
    writer.add_head_count_kv(1)
    writer.add_rope_dimension_count(_ROTARY)
    writer.add_kv_lora_rank(_RANK)
    writer.add_key_length(_RANK + _ROTARY)
    writer.add_value_length(_RANK)
    writer.add_key_length_mla(_NOPE + _ROTARY)
    writer.add_value_length_mla(_VALUE)
    writer.add_expert_weights_norm(False)
    writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SOFTMAX)


def write(path: Path, shape: dict, variant: str) -> None:
    """Writes a file of random weights."""
    kind, last = _VARIANTS[variant]
    random = np.random.default_rng(0)
    growing = path.with_suffix(".growing")
    writer = gguf.GGUFWriter(growing, shape["arch"], use_temp_file=False)
    _describe(writer, shape)
    width, words = shape["width"], shape["words"]

    def add(name: str, as_kind: Kind, size: tuple[int, ...]) -> None:
        writer.add_tensor(f"{name}.weight", _random(as_kind, size, random), raw_dtype=as_kind)

    def norm(name: str, size: int) -> None:
        writer.add_tensor(f"{name}.weight", np.ones(size, np.float32))

    add("token_embd", kind, (words, width))
    norm("output_norm", width)
    add("output", last, (words, width))
    for index in range(shape["layers"]):
        norm(f"blk.{index}.attn_norm", width)
        norm(f"blk.{index}.ffn_norm", width)
        if shape["arch"] == "deepseek2":
            norm(f"blk.{index}.attn_kv_a_norm", _RANK)
        if index:
            add(f"blk.{index}.ffn_gate_inp", Kind.F32, (shape["experts"], width))
        for name, size in _layer(shape, index):
            add(f"blk.{index}.{name}", kind, size)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    growing.replace(path)


def prepare(options: Options) -> tuple[dict[str, object], Work]:
    """Loads the file, written first if need be."""
    shape = dict(_SHAPES[options.shape])
    some = "" if options.experts is None else f"-{options.experts}-experts"
    shape["experts"] = options.experts or shape["experts"]
    path = options.work / f"{options.shape}{some}-{options.variant}.gguf"
    if not path.is_file():
        write(path, shape, options.variant)
    llama_cpp.llama_backend_init()
    model = llama_cpp.llama_load_model_from_file(
        str(path).encode(), llama_cpp.llama_model_default_params()
    )
    settings = llama_cpp.llama_context_default_params()
    settings.n_ctx = options.prompt + options.answer + 64
    settings.n_batch = settings.n_ubatch = max(512, options.prompt)
    settings.n_threads = settings.n_threads_batch = options.threads
    context = llama_cpp.llama_init_from_model(model, settings)
    if not context:
        raise SystemExit(f"llama.cpp does not load {path}")
    random = np.random.default_rng(1)

    def feed(tokens: list[int]) -> None:
        array = (llama_cpp.llama_token * len(tokens))(*tokens)
        if llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(array, len(tokens))):
            raise SystemExit("llama.cpp failed")

    def likeliest() -> int:
        logits = llama_cpp.llama_get_logits_ith(context, -1)
        return int(np.ctypeslib.as_array(logits, (shape["words"],)).argmax())

    def prefill() -> Done:
        tokens = random.integers(10, 60000, options.prompt).tolist()
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
        started = time.perf_counter()
        feed(tokens)
        likeliest()
        return Done(time.perf_counter() - started, options.prompt)

    def decode() -> Done:
        prefill()
        token = likeliest()
        started = time.perf_counter()
        for _ in range(options.answer):
            feed([token])
            token = likeliest()
        return Done(time.perf_counter() - started, options.answer)

    name = f"llama.cpp (llama-cpp-python {llama_cpp.__version__}), {options.variant}"
    about = {"name": name, "weight_bytes": path.stat().st_size, "gguf": path.name}
    return about, {"prefill": prefill, "decode": decode}


if __name__ == "__main__":
    _silent = llama_cpp.llama_log_callback(lambda *_: None)
    llama_cpp.llama_log_set(_silent, ctypes.c_void_p())
    serve(prepare)

"""Ways in which checkpoint folders are broken in practice.

`BROKEN` gives per name a function that breaks a whole folder, and what the error must name.
"""

import json
from pathlib import Path

from safetensors.torch import load_file, save_file


def cut(file: Path, share: float) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])


def edit(file: Path, **changes: object) -> None:
    values = json.loads(file.read_text(encoding="utf-8"))
    values.update(changes)
    file.write_text(json.dumps(values), encoding="utf-8")


def without_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["image_newline"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 6739516416\n"

BROKEN = {
    "weights half downloaded": (lambda f: cut(f / "model.safetensors", 0.5), "model.safetensors"),
    "weights empty": (lambda f: cut(f / "model.safetensors", 0), "model.safetensors"),
    "weights are a pointer": (
        lambda f: (f / "model.safetensors").write_text(LFS),
        "model.safetensors",
    ),
    "weights absent": (lambda f: (f / "model.safetensors").unlink(), "model.safetensors"),
    "a tensor missing": (without_a_tensor, "image_newline"),
    "an unknown key": (lambda f: edit(f / "config.json", sparkle=3), "sparkle"),
    "config cut off": (lambda f: cut(f / "config.json", 0.5), "config.json"),
    "config of another model": (
        lambda f: edit(f / "config.json", model_type="llama"),
        "'llama'",
    ),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "tokenizer.json"),
    "tokenizer cut off": (lambda f: cut(f / "tokenizer.json", 0.5), "tokenizer"),
    "no special tokens": (
        lambda f: (f / "tokenizer_config.json").unlink(),
        "tokenizer_config.json",
    ),
    "no processor": (lambda f: (f / "processor_config.json").unlink(), "processor_config.json"),
    "processor cut off": (lambda f: cut(f / "processor_config.json", 0.5), "processor_config"),
    "processor empty": (lambda f: cut(f / "processor_config.json", 0), "processor_config"),
    "processor of another shape": (
        lambda f: edit(f / "processor_config.json", candidate_resolutions=[[384]]),
        "processor",
    ),
    "processor without a deviation": (
        lambda f: edit(f / "processor_config.json", image_std=[0, 0, 0]),
        "deviation (above 0)",
    ),
    "processor is a list": (
        lambda f: (f / "processor_config.json").write_text("[]"),
        "processor_config.json must hold a JSON object",
    ),
    "tokenizer is something else": (
        lambda f: (f / "tokenizer.json").write_text('{"model": {"type": "no"}}'),
        "needs a whole tokenizer.json",
    ),
    "tokenizer nested without end": (
        lambda f: (f / "tokenizer.json").write_text("[" * 100_000),
        "tokenizer.json",
    ),
    "tokenizer of a length in words": (
        lambda f: edit(f / "tokenizer_config.json", model_max_length="long"),
        "model_max_length is 'long'",
    ),
    "a chat template of another name": (
        lambda f: (f / "chat_template.json").write_text('{"template": ""}'),
        "chat_template",
    ),
    "generation cut off": (
        lambda f: (f / "generation_config.json").write_text('{"eos'),
        "generation_config.json is not JSON",
    ),
    "quantised by others": (
        lambda f: edit(f / "config.json", quantization_config={"quant_method": "awq", "bits": 4}),
        "run vl2 quantize on it",
    ),
    "config absent": (lambda f: (f / "config.json").unlink(), "config.json"),
}

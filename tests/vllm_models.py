"""Checkpoints of sizes that vLLM's CPU kernels have code for, and what is said to them."""

import base64
import json
import math
import shutil
from pathlib import Path

import torch
from golden import CASES, Case, checkpoint, load_case
from PIL import Image
from safetensors.torch import load_file, save_file

from vl2.model.configuration import config_from_dict
from vl2.model.modeling import DeepseekVLV2ForCausalLM

_TEXTS = ("processor_config.json", "special_tokens_map.json", "tokenizer.json")
_ROLES = {"<|User|>": "user", "<|Assistant|>": "assistant"}

NARROW, WIDE = 80, 96


def widened_tiny(folder: Path) -> Path:
    """The golden `tiny` in 96 dimensions and six heads instead of 80 and five.

    It is the same function: what is added is zero, and the weights and the epsilon of its norms
    make up for the mean over more numbers.
    """
    _copy_texts(checkpoint("tiny"), folder)
    values = json.loads((checkpoint("tiny") / "config.json").read_text())
    language = values["language_config"]
    language |= {"hidden_size": WIDE, "num_attention_heads": 6, "num_key_value_heads": 6}
    language["rms_norm_eps"] = 1e-6 * NARROW / WIDE
    values["projector_config"]["n_embed"] = WIDE
    (folder / "config.json").write_text(json.dumps(values))
    tensors = load_file(checkpoint("tiny") / "model.safetensors")
    wide = {name: _widened(name, tensor) for name, tensor in tensors.items()}
    save_file(wide, folder / "model.safetensors")
    return folder


def random_latent(folder: Path) -> Path:
    """A small random model whose cache holds what that of the released ones does: 512 + 64."""
    _copy_texts(checkpoint("small"), folder)
    values = json.loads((checkpoint("small") / "config.json").read_text())
    values["language_config"] |= {
        "kv_lora_rank": 512,
        "qk_rope_head_dim": 64,
        "qk_nope_head_dim": 32,
        "v_head_dim": 32,
        "initializer_range": 0.1,
    }
    torch.manual_seed(7)
    model = DeepseekVLV2ForCausalLM(config_from_dict(values))
    model.save_pretrained(folder)
    return folder


def _copy_texts(source: Path, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name in (*_TEXTS, "tokenizer_config.json"):
        shutil.copy(source / name, folder / name)


def _widened(name: str, tensor: torch.Tensor) -> torch.Tensor:
    sides = [WIDE if side == NARROW else side for side in tensor.shape]
    wide = torch.zeros(sides, dtype=torch.float32)
    wide[tuple(slice(side) for side in tensor.shape)] = tensor
    is_norm = name.startswith("language.") and "norm" in name
    return wide * math.sqrt(NARROW / WIDE) if is_norm else wide


def pictures_of(case: Case) -> list[Image.Image]:
    """The pictures of a golden case, opened."""
    return [Image.open(path) for said in case.messages for path in said.get("images", [])]


def shortened(case: Case) -> list[int]:
    """The token ids of a golden case with one `<image>` for each picture, as vLLM takes them."""
    ids, mask = case.tensors["input_ids"].tolist(), case.tensors["images_seq_mask"].tolist()
    counts = iter(case.info["num_image_tokens"])
    kept, place = [], 0
    while place < len(ids):
        kept.append(ids[place])
        place += next(counts) if mask[place] else 1
    return kept


def prompts(variant: str) -> list[dict]:
    """All golden cases as prompts of vLLM."""
    made = []
    for name in CASES:
        case = load_case(variant, name)
        pictures = pictures_of(case)
        given = {"multi_modal_data": {"image": pictures}} if pictures else {}
        made.append({"prompt_token_ids": shortened(case), **given})
    return made


def image_part(path: Path) -> dict:
    """A picture in OpenAI's spelling."""
    data = base64.b64encode(path.read_bytes()).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}


def spoken(case: Case) -> list[dict]:
    """A golden case in OpenAI's spelling; its pictures must be followed by a line break each."""
    messages = []
    for said in case.messages:
        if not said["content"]:
            continue
        pictures = iter(said.get("images", []))
        parts: list[dict] = []
        for index, text in enumerate(said["content"].split("<image>\n")):
            if index:
                parts.append(image_part(Path(next(pictures))))
            if text:
                parts.append({"type": "text", "text": text})
        messages.append({"role": _ROLES.get(said["role"], said["role"]), "content": parts})
    return messages

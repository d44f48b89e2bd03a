"""The configurations of the three released models, for questions that need no weights.

They spell the same fields as the released `config.json` files, so what those leave out comes from
the defaults here too.
"""

from typing import Any, Literal

from vl2.errors import InputError
from vl2.model.configuration import DeepseekVLV2Config
from vl2.processing.tiling import CANDIDATE_RESOLUTIONS

ReleasedName = Literal["tiny", "small", "base"]

_SHARED: dict[str, Any] = {
    "bos_token_id": 0,
    "eos_token_id": 1,
    "first_k_dense_replace": 1,
    "max_position_embeddings": 4096,
    "n_group": 1,
    "n_routed_experts": 64,
    "n_shared_experts": 2,
    "num_experts_per_tok": 6,
    "q_lora_rank": None,
    "topk_group": 1,
    "topk_method": "greedy",
    "vocab_size": 129280,
}

_LANGUAGE: dict[str, dict[str, Any]] = {
    "tiny": {
        "hidden_size": 1280,
        "intermediate_size": 6848,
        "kv_lora_rank": None,
        "moe_intermediate_size": 896,
        "num_attention_heads": 10,
        "num_hidden_layers": 12,
        "num_key_value_heads": 10,
        "qk_nope_head_dim": 0,
        "qk_rope_head_dim": 0,
        "use_mla": False,
        "v_head_dim": 0,
    },
    "small": {
        "bos_token_id": 100000,
        "eos_token_id": 100001,
        "hidden_size": 2048,
        "intermediate_size": 10944,
        "moe_intermediate_size": 1408,
        "num_attention_heads": 16,
        "num_hidden_layers": 27,
        "num_key_value_heads": 16,
        "vocab_size": 102400,
    },
    "base": {
        "hidden_size": 2560,
        "intermediate_size": 12288,
        "moe_intermediate_size": 1536,
        "n_routed_experts": 72,
        "norm_topk_prob": True,
        "routed_scaling_factor": 2.0,
        "scoring_func": "sigmoid",
        "topk_method": "noaux_tc",
    },
}

_IMAGE_TOKEN = {"tiny": 128815, "small": 100003, "base": 128815}


def released_config(name: str) -> DeepseekVLV2Config:
    """The configuration of a released model (paper, table 1).

    Args:
        name: `tiny` (3.37 B parameters), `small` (16.1 B) or `base` (27.5 B).

    Raises:
        InputError: no such release.
    """
    if name not in _LANGUAGE:
        raise InputError(f"There is no released model {name!r}; take one of {list(_LANGUAGE)}.")
    language = {**_SHARED, **_LANGUAGE[name]}
    return DeepseekVLV2Config(
        language_config=language,
        projector_config={"n_embed": language["hidden_size"]},
        candidate_resolutions=[list(size) for size in CANDIDATE_RESOLUTIONS],
        image_token_id=_IMAGE_TOKEN[name],
        dtype="bfloat16",
    )

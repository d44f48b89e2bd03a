"""The shape of the embedded model: DeepSeek-VL2 base in everything but size.

Tiles, MLA, shared and routed experts, the sigmoid router with its correction bias, grounding
tokens: all of the architecture, in a few million parameters (docs/decisions/0006).
"""

from __future__ import annotations

from vl2.model.configuration import DeepseekVLV2Config
from vl2.processing.tiling import candidate_resolutions

TILE_SIZE, PATCH_SIZE, MAX_TILES = 96, 12, 4
CONTEXT = 2048


def nano_config(vocab_size: int, bos: int, eos: int, pad: int) -> DeepseekVLV2Config:
    """The configuration of `vl2-nano` for a tokenizer of `vocab_size` tokens."""
    width = 192
    return DeepseekVLV2Config(
        tile_tag="2D",
        global_view_pos="head",
        candidate_resolutions=[list(size) for size in candidate_resolutions(TILE_SIZE, MAX_TILES)],
        vision_config={
            "model_name": "vl2_nano_vit",
            "width": 160,
            "layers": 5,
            "heads": 5,
            "mlp_ratio": 4.0,
            "patch_size": PATCH_SIZE,
            "image_size": TILE_SIZE,
        },
        projector_config={
            "projector_type": "downsample_mlp_gelu",
            "input_dim": 160,
            "n_embed": width,
            "depth": 2,
            "mlp_ratio": 2,
            "downsample_ratio": 2,
        },
        language_config={
            "vocab_size": vocab_size,
            "hidden_size": width,
            "num_hidden_layers": 4,
            "num_attention_heads": 6,
            "num_key_value_heads": 6,
            "intermediate_size": 512,
            "moe_intermediate_size": 128,
            "n_routed_experts": 12,
            "n_shared_experts": 2,
            "num_experts_per_tok": 2,
            "first_k_dense_replace": 1,
            "kv_lora_rank": 96,
            "q_lora_rank": None,
            "qk_nope_head_dim": 32,
            "qk_rope_head_dim": 16,
            "v_head_dim": 32,
            "use_mla": True,
            "topk_method": "noaux_tc",
            "scoring_func": "sigmoid",
            "norm_topk_prob": True,
            "routed_scaling_factor": 2.0,
            "n_group": 1,
            "topk_group": 1,
            "aux_loss_alpha": 1e-4,
            "max_position_embeddings": CONTEXT,
            "bos_token_id": bos,
            "eos_token_id": eos,
            "pad_token_id": pad,
        },
    )

"""The model: the original's tower, projector and token layout over vLLM's language models."""

from __future__ import annotations

import torch
from torch import nn
from vllm.config import VllmConfig
from vllm.model_executor.models import deepseek_v2
from vllm.model_executor.models.deepseek_vl2 import DeepseekVLV2ForCausalLM
from vllm.model_executor.models.utils import init_vllm_registered_model, maybe_prefix
from vllm.multimodal import MULTIMODAL_REGISTRY

from vl2.model.images import encode_tiles, rows_per_image
from vl2.model.projector import DeepseekVLV2Projector
from vl2.model.vision import DeepseekVLV2VisionModel
from vl2.plugins.vllm.attention import FittingAttention
from vl2.plugins.vllm.pictures import LargestPictures, PictureProcessor, Pictures

# Decoder layers take the name from their module; for head sizes with kernels nothing changes.
deepseek_v2.Attention = FittingAttention


@MULTIMODAL_REGISTRY.register_processor(
    PictureProcessor, info=Pictures, dummy_inputs=LargestPictures
)
class VL2ForCausalLM(DeepseekVLV2ForCausalLM):
    """vLLM's class with other pictures: what it does with words, weights and stages stays."""

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        nn.Module.__init__(self)
        config = vllm_config.model_config.hf_config
        self.config = config
        self.text_config = config.text_config
        self.vision_config = config.vision_config
        width = config.projector_config.n_embed
        with self._mark_tower_model(vllm_config, "image"):
            self.vision = DeepseekVLV2VisionModel(config.vision_config)
            self.projector = DeepseekVLV2Projector(config.projector_config)
            self.image_newline = nn.Parameter(torch.empty(width))
            self.view_seperator = nn.Parameter(torch.empty(width))
        with self._mark_language_model(vllm_config):
            self.language_model = init_vllm_registered_model(
                vllm_config=vllm_config,
                hf_config=self.text_config,
                prefix=maybe_prefix(prefix, "language"),
                architectures=["DeepseekV2ForCausalLM"],
            )
        self.make_empty_intermediate_tensors = self.language_model.make_empty_intermediate_tensors

    def _pixel_values_to_embedding(
        self, pixel_values: torch.Tensor, images_spatial_crop: torch.Tensor
    ) -> list[torch.Tensor]:
        """Rows `[r, d]` of each picture; tiles of all are `[n, 3, s, s]`, grids `[images, 2]`."""
        tiles = encode_tiles(self.vision, self.projector, pixel_values)
        return rows_per_image(tiles, images_spatial_crop, self.image_newline, self.view_seperator)

"""Pictures of a request as the tower reads them, and the places that they take among the tokens."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from transformers import BatchFeature
from vllm.config.multimodal import MultiModalDummyOptions
from vllm.inputs import MultiModalDataDict, MultiModalInput
from vllm.multimodal.inputs import MultiModalFieldConfig, MultiModalKwargsItems
from vllm.multimodal.media import MediaWithBytes
from vllm.multimodal.parse import (
    ImageProcessorItems,
    ModalityDataItems,
    MultiModalDataItems,
    MultiModalDataParser,
)
from vllm.multimodal.processing import (
    BaseDummyInputsBuilder,
    BaseMultiModalProcessor,
    BaseProcessingInfo,
    PromptReplacement,
    PromptUpdate,
)
from vllm.multimodal.processing.inputs import ProcessorInputs
from vllm.multimodal.processing.processor import TimingContext

from vl2.processing.images import cut, open_image
from vl2.processing.processor import DeepseekVLV2Processor
from vl2.processing.tiling import Grid, tiles_conversation

_TILED = "tiled"


@functools.cache
def load_processor(model: str, revision: str | None) -> DeepseekVLV2Processor:
    """The processor beside a checkpoint's weights."""
    return DeepseekVLV2Processor.from_pretrained(model, revision=revision or "main")


class PictureOpener(MultiModalDataParser):
    """Opens pictures as `vl2` does: upright, within limits, transparency dropped, not blended."""

    def _parse_image_data(
        self,
        data: Any,  # noqa: ANN401 - whatever a request may hold
    ) -> ModalityDataItems[Any, Any] | None:
        if data is None or self.is_embeddings(data):
            return super()._parse_image_data(data)
        return ImageProcessorItems(
            [_opened(x) for x in (data if isinstance(data, list) else [data])]
        )


class Pictures(BaseProcessingInfo):
    """What vLLM asks about pictures."""

    def get_hf_processor(self, **kwargs: object) -> DeepseekVLV2Processor:
        """Our processor; options of a request do not concern it."""
        model = self.ctx.model_config
        return load_processor(model.model, model.revision)

    def get_data_parser(self) -> PictureOpener:
        """What opens them."""
        return PictureOpener(expected_hidden_size=self._get_expected_hidden_size())

    def get_supported_mm_limits(self) -> Mapping[str, int | None]:
        """Any number of pictures, as far as the context holds them."""
        return {"image": None}


class LargestPictures(BaseDummyInputsBuilder[Pictures]):
    """Requests of the most tokens, by which vLLM measures what it needs."""

    def get_dummy_text(self, mm_counts: Mapping[str, int]) -> str:
        """One `<image>` for each picture."""
        return self.info.get_hf_processor().image_token * mm_counts.get("image", 0)

    def get_dummy_mm_data(
        self,
        seq_len: int,
        mm_counts: Mapping[str, int],
        mm_options: Mapping[str, MultiModalDummyOptions],
    ) -> MultiModalDataDict:
        """Pictures of the shape that takes the most tiles and tokens."""
        tiling = self.info.get_hf_processor().tiling
        width, height = max(tiling.candidates, key=lambda size: tiling.tokens(tiling.grid(*size)))
        pictures = self._get_dummy_images(
            width=width,
            height=height,
            num_images=mm_counts.get("image", 0),
            overrides=mm_options.get("image"),
        )
        return {"image": pictures}


class PictureProcessor(BaseMultiModalProcessor[Pictures]):
    """Cuts pictures into tiles and gives each its places, both by the rules of `vl2.processing`."""

    def apply(self, inputs: ProcessorInputs, timing_ctx: TimingContext) -> MultiModalInput:
        """Processes the pictures of a request.

        Whether they are tiled depends on how many they are. That becomes one of the options, which
        vLLM makes part of a picture's name in all its caches.
        """
        count = inputs.mm_data_items.get_count("image", strict=False)
        options = {**inputs.hf_processor_mm_kwargs, _TILED: tiles_conversation(count)}
        return super().apply(replace(inputs, hf_processor_mm_kwargs=options), timing_ctx)

    def _call_hf_processor(
        self, hf_data: Mapping[str, Any], hf_kwargs: Mapping[str, Any]
    ) -> BatchFeature:
        processor = self.info.get_hf_processor()
        tiling = processor.tiling.limited(hf_kwargs.get("max_tiles"))
        pictures = hf_data["images"]
        grids = [tiling.grid(*picture.size, tiled=hf_kwargs[_TILED]) for picture in pictures]
        tiles = [
            cut(
                picture,
                grid,
                tiling,
                processor.image_mean,
                processor.image_std,
                normalize=processor.normalize,
            )
            for picture, grid in zip(pictures, grids, strict=True)
        ]
        crops = [(grid.columns, grid.rows) for grid in grids]
        return BatchFeature(
            {
                "pixel_values": torch.from_numpy(np.concatenate(tiles)),
                "images_spatial_crop": torch.tensor(crops),
            }
        )

    def _get_mm_fields_config(
        self, hf_inputs: BatchFeature, hf_processor_mm_kwargs: Mapping[str, object]
    ) -> Mapping[str, MultiModalFieldConfig]:
        crops = hf_inputs.get("images_spatial_crop", torch.empty(0, 2, dtype=torch.int64))
        return {
            "pixel_values": MultiModalFieldConfig.flat_from_sizes("image", crops.prod(-1) + 1),
            "images_spatial_crop": MultiModalFieldConfig.batched("image", keep_on_cpu=True),
        }

    def _get_prompt_updates(
        self,
        mm_items: MultiModalDataItems,
        hf_processor_mm_kwargs: Mapping[str, object],
        out_mm_kwargs: MultiModalKwargsItems,
    ) -> Sequence[PromptUpdate]:
        processor = self.info.get_hf_processor()
        token = processor.image_token_id

        def places(index: int) -> list[int]:
            columns, rows = out_mm_kwargs["image"][index].get_data()["images_spatial_crop"].tolist()
            return [token] * processor.tiling.tokens(Grid(columns, rows))

        return [PromptReplacement(modality="image", target=[token], replacement=places)]


def _opened(given: Any) -> Any:  # noqa: ANN401
    """An RGB picture, which caches name by the bytes that it came in, or None for a cached one."""
    if given is None:
        return None
    if isinstance(given, MediaWithBytes):
        return MediaWithBytes(open_image(given.original_bytes), given.original_bytes)
    return open_image(given)

"""Processors of the golden checkpoints, loaded once."""

import pytest
from tests import golden

from vl2.processing.processor import DeepseekVLV2Processor


@pytest.fixture(scope="session", params=golden.VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def processors() -> dict[str, DeepseekVLV2Processor]:
    return {
        name: DeepseekVLV2Processor.from_pretrained(golden.checkpoint(name))
        for name in golden.VARIANTS
    }


@pytest.fixture(scope="session")
def processor(processors: dict[str, DeepseekVLV2Processor]) -> DeepseekVLV2Processor:
    """The processor of the small checkpoint, for what does not depend on the variant."""
    return processors["small"]

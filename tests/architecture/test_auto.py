"""Registration with transformers, in every order of imports that a program may choose."""

import subprocess
import sys

import pytest

CHECK = """
from transformers import AutoConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
config = CONFIG_MAPPING["deepseek_vl_v2"]
assert config.__name__ == "DeepseekVLV2Config"
assert MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING[config].__name__ == "DeepseekVLV2ForCausalLM"
assert PROCESSOR_MAPPING[config].__name__ == "DeepseekVLV2Processor"
import vl2.auto, sys
assert not any(type(f).__module__ == "vl2.auto" for f in sys.meta_path), "still watching"
"""

# Each costs a fresh interpreter several seconds: only orders that go different ways.
ORDERS = {
    "vl2 first, then the trainer": "import vl2\nfrom transformers import Trainer",
    "our processor first": "from vl2.processing.processor import DeepseekVLV2Processor",
    "our model first": "from vl2.model.modeling import DeepseekVLV2ForCausalLM",
    "transformers first, then again by hand": (
        "import transformers\nimport vl2\nvl2.auto.register()\nvl2.auto.register()"
    ),
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS.keys())
def test_auto_classes_know_the_model(order):
    done = subprocess.run(
        [sys.executable, "-c", order + CHECK], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]

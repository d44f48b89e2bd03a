"""Which names are there, and when."""

import importlib
import importlib.util
import subprocess
import sys

import pytest
from transformers import AutoModelForCausalLM

from vl2 import dropin
from vl2.dropin.modeling import DeepseekVLV2ForCausalLM
from vl2.dropin.names import install
from vl2.model import DeepseekVLV2Config


@pytest.mark.parametrize("root", ["deepseek_vl2", "deepseek_vl"])
@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("models", ["DeepseekVLV2Processor", "DeepseekVLV2ForCausalLM"]),
        ("models.conversation", ["Conversation", "get_conv_template", "SeparatorStyle"]),
        ("models.processing_deepseek_vl_v2", ["DeepseekVLV2Processor", "VLChatProcessorOutput"]),
        ("models.modeling_deepseek_vl_v2", ["DeepseekVLV2Config", "DeepseekVLV2ForCausalLM"]),
        ("utils.io", ["load_pil_images", "load_pretrained_model", "load_json"]),
        ("serve.inference", ["load_model", "convert_conversation_to_prompts", "deepseek_generate"]),
        ("serve.app_modules.utils", ["parse_ref_bbox", "strip_stop_words"]),
    ],
)
def test_names_of_the_original(root, module, names):
    found = importlib.import_module(f"{root}.{module}")
    assert all(hasattr(found, name) for name in names)
    assert importlib.util.find_spec(root) is not None


def test_a_module_that_is_not_provided_is_told():
    with pytest.raises(ModuleNotFoundError, match=r"deepseek_vl2\.models\.siglip_vit"):
        importlib.import_module("deepseek_vl2.models.siglip_vit")


def test_the_original_goes_before_unless_replaced(tmp_path, monkeypatch):
    (tmp_path / "deepseek_vl2").mkdir()
    (tmp_path / "deepseek_vl2" / "__init__.py").write_text("ORIGINAL = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.startswith("deepseek_vl2")]:
        monkeypatch.delitem(sys.modules, name)
    assert install() == ("deepseek_vl",)
    assert importlib.import_module("deepseek_vl2").ORIGINAL
    assert install() == ("deepseek_vl",), "a package that has been imported stays"
    assert dropin.install(replace=True) == ("deepseek_vl2", "deepseek_vl")
    assert importlib.import_module("deepseek_vl2.models").DeepseekVLV2ForCausalLM


def test_again_is_harmless():
    before = sys.modules["deepseek_vl2.models.conversation"]
    assert install() == ("deepseek_vl2", "deepseek_vl")
    assert sys.modules["deepseek_vl2.models.conversation"] is before
    kind = AutoModelForCausalLM._model_mapping[DeepseekVLV2Config]
    assert kind is DeepseekVLV2ForCausalLM


def test_in_a_fresh_interpreter_where_transformers_was_imported_first():
    code = (
        "import transformers, vl2.dropin\nfrom transformers import AutoModelForCausalLM as A\n"
        "from vl2.model import DeepseekVLV2Config as C\nprint(A._model_mapping[C].__module__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "vl2.dropin.modeling"

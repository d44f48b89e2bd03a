from golden import checkpoint
from transformers import AutoModelForCausalLM

from vl2.model import DeepseekVLV2ForCausalLM
from vl2.model.registration import register


def test_registering_again_is_harmless(tmp_path):
    for _ in range(2):
        register()
    model = AutoModelForCausalLM.from_pretrained(checkpoint("small"))
    assert type(model) is DeepseekVLV2ForCausalLM
    model.save_pretrained(tmp_path)
    assert AutoModelForCausalLM.from_pretrained(tmp_path).config.language_config.use_mla


def test_attention_and_experts_can_be_chosen_on_loading():
    model = AutoModelForCausalLM.from_pretrained(
        checkpoint("base"), attn_implementation="eager", experts_implementation="batched_mm"
    )
    language, vision = model.config.language_config, model.config.vision_config
    assert language._attn_implementation == vision._attn_implementation == "eager"
    assert language._experts_implementation == "batched_mm"

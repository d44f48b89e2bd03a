import pytest
import torch
from golden import VARIANTS, checkpoint, load_tensors, picture
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor

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


@pytest.mark.parametrize("variant", VARIANTS)
def test_auto_classes_answer_as_the_original(variant):
    processor = AutoProcessor.from_pretrained(checkpoint(variant))
    model = AutoModelForImageTextToText.from_pretrained(checkpoint(variant), dtype=torch.float32)
    content = [
        {"type": "image", "path": str(picture("640x480.png"))},
        {"type": "text", "text": "What is in the picture?"},
    ]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    tokens = model.generate(**inputs, max_new_tokens=10, do_sample=False)
    new = tokens[0, inputs["input_ids"].shape[1] :].tolist()
    assert new == load_tensors(variant)["vqa_one_image.greedy_tokens"].tolist()

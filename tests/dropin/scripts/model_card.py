"""The way of the model card: the first model's names, roles and placeholder."""

import sys

import torch
from deepseek_vl.models import DeepseekVLV2ForCausalLM, DeepseekVLV2Processor
from deepseek_vl.utils.io import load_pil_images
from transformers import AutoModelForCausalLM

path, dtype, content, *pictures = sys.argv[1:]
processor: DeepseekVLV2Processor = DeepseekVLV2Processor.from_pretrained(path)
tokenizer = processor.tokenizer
model: DeepseekVLV2ForCausalLM = AutoModelForCausalLM.from_pretrained(path, trust_remote_code=True)
model = model.to(getattr(torch, dtype)).cuda().eval()

conversation = [
    {"role": "User", "content": content, "images": pictures},
    {"role": "Assistant", "content": ""},
]
inputs = processor(
    conversations=conversation, images=load_pil_images(conversation), force_batchify=True
).to(model.device)
embeddings = model.prepare_inputs_embeds(**inputs)
outputs = model.language_model.generate(
    inputs_embeds=embeddings,
    attention_mask=inputs.attention_mask,
    pad_token_id=tokenizer.eos_token_id,
    bos_token_id=tokenizer.bos_token_id,
    eos_token_id=tokenizer.eos_token_id,
    max_new_tokens=10,
    do_sample=False,
    use_cache=True,
)
answer = tokenizer.decode(outputs[0].cpu().tolist(), skip_special_tokens=False)
print(f"{inputs['sft_format'][0]}", answer)  # noqa: T201

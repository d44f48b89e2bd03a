"""The way of the original's `inference.py` and of the README's third example, without sampling."""

from argparse import ArgumentParser

import torch
from deepseek_vl2.models import DeepseekVLV2ForCausalLM, DeepseekVLV2Processor
from deepseek_vl2.serve.app_modules.utils import parse_ref_bbox
from deepseek_vl2.utils.io import load_pil_images
from transformers import AutoModelForCausalLM


def main(args):
    dtype = getattr(torch, args.dtype)
    processor: DeepseekVLV2Processor = DeepseekVLV2Processor.from_pretrained(args.model_path)
    tokenizer = processor.tokenizer
    model: DeepseekVLV2ForCausalLM = AutoModelForCausalLM.from_pretrained(
        args.model_path, trust_remote_code=True, torch_dtype=dtype
    )
    model = model.cuda().eval()
    conversation = [
        {"role": "<|User|>", "content": args.content, "images": args.pictures},
        {"role": "<|Assistant|>", "content": ""},
    ]
    pictures = load_pil_images(conversation)
    inputs = processor.__call__(
        conversations=conversation, images=pictures, force_batchify=True, system_prompt=""
    ).to(model.device, dtype=dtype)
    prepared = {
        "input_ids": inputs.input_ids,
        "images": inputs.images,
        "images_seq_mask": inputs.images_seq_mask,
        "images_spatial_crop": inputs.images_spatial_crop,
        "attention_mask": inputs.attention_mask,
    }
    with torch.no_grad():
        if args.chunk_size == -1:
            embeddings, past = model.prepare_inputs_embeds(**inputs), None
        else:
            embeddings, past = model.incremental_prefilling(**prepared, chunk_size=args.chunk_size)
        outputs = model.generate(
            inputs_embeds=embeddings,
            past_key_values=past,
            pad_token_id=tokenizer.eos_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            max_new_tokens=10,
            do_sample=False,
            use_cache=True,
            **prepared,
        )
        new = outputs[0][len(inputs.input_ids[0]) :].cpu().tolist()
        answer = tokenizer.decode(new, skip_special_tokens=False)
        print(f"{inputs['sft_format'][0]}", answer)  # noqa: T201
        drawn = parse_ref_bbox(answer, image=pictures[-1])
        if drawn is not None:
            drawn.save("./vg.jpg", format="JPEG", quality=85)


if __name__ == "__main__":
    parser = ArgumentParser()
    parser.add_argument("--model_path", required=True)
    parser.add_argument("--chunk_size", type=int, default=-1)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--content", required=True)
    parser.add_argument("pictures", nargs="+")
    main(parser.parse_args())

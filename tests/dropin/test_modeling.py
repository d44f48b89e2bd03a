"""The model's old calls, also as VLMEvalKit and ms-swift make them."""

import functools
from types import MethodType

import pytest
import torch
from dropin_inputs import model_of, processor_of
from golden import CASES, VARIANTS, checkpoint, load_case, load_tensors, messages
from model_inputs import close, mini_config
from transformers import AutoModelForCausalLM

from vl2.dropin import modeling
from vl2.dropin.io import load_pil_images, load_pretrained_model
from vl2.dropin.modeling import NoGpuWarning
from vl2.dropin.processing import VLChatProcessorOutput
from vl2.errors import InputError

everywhere = pytest.mark.parametrize("variant", VARIANTS)
GREEDY = {"pad_token_id": 423, "max_new_tokens": 10, "do_sample": False}


def batch_of(variant, name):
    return processor_of(variant)(conversations=messages(name))


def named(batch):
    keys = ("input_ids", "images", "images_seq_mask", "images_spatial_crop", "attention_mask")
    return {key: batch[key] for key in keys}


@everywhere
@pytest.mark.parametrize("name", CASES)
def test_embeddings_and_an_answer_from_them(variant, name):
    model, case, batch = model_of(variant), load_case(variant, name), batch_of(variant, name)
    with torch.no_grad():
        embeddings = model.prepare_inputs_embeds(**batch)
    close(embeddings[0, ::37], case.tensors["inputs_embeds_every_37th"])
    mask = batch.attention_mask
    outputs = model.language.generate(inputs_embeds=embeddings, attention_mask=mask, **GREEDY)
    assert outputs[0].tolist() == case.tensors["greedy_tokens"].tolist()


@everywhere
def test_tokens_stand_before_the_answer_where_they_are_given(variant):
    model, batch = model_of(variant), batch_of(variant, "two_images")
    wanted = load_case(variant, "two_images").tensors["greedy_tokens"].tolist()
    with torch.no_grad():
        embeddings = model.prepare_inputs_embeds(**batch)
    whole = model.generate(inputs_embeds=embeddings, past_key_values=None, **named(batch), **GREEDY)
    plain = model.generate(**named(batch), **GREEDY)
    assert whole[0].tolist() == plain[0].tolist() == batch.input_ids[0].tolist() + wanted


@everywhere
def test_a_prefilled_cache_can_be_used_again(variant):
    model, batch = model_of(variant), batch_of(variant, "two_images")
    wanted = load_case(variant, "two_images").tensors["greedy_tokens"].tolist()
    length = batch.input_ids.shape[1]
    embeddings, cache = model.incremental_prefilling(**named(batch), chunk_size=300)
    assert cache.get_seq_length() == length - 1
    for _ in range(2):
        outputs = model.generate(
            inputs_embeds=embeddings, past_key_values=cache, **named(batch), **GREEDY
        )
        assert outputs[0, length:].tolist() == wanted
    _, again = model.incremental_prefilling(inputs_embeds=embeddings, chunk_size=10_000)
    assert again.get_seq_length() == length - 1


@everywhere
def test_a_padded_batch_prefilled_in_chunks_equals_the_golden_one(variant):
    """The original counts positions of a chunk from its start, also over the padding."""
    model, processor = model_of(variant), processor_of(variant)
    rows = [
        processor(conversations=messages(name), force_batchify=False)
        for name in ("vqa_one_image", "text_only")
    ]
    batch = processor.batchify(rows)
    wanted = load_tensors(variant)["batch.greedy_tokens"].tolist()
    length = batch.input_ids.shape[1]
    _, cache = model.incremental_prefilling(**named(batch), chunk_size=256)
    chunked = model.generate(past_key_values=cache, **named(batch), **GREEDY)
    at_once = model.generate(**named(batch), **GREEDY)
    assert chunked[:, length:].tolist() == at_once[:, length:].tolist() == wanted


class KitModel:
    """How VLMEvalKit's class for the original prepares, prefills and decodes."""

    def __init__(self, path):
        from deepseek_vl2.models import DeepseekVLV2Processor

        self.processor = DeepseekVLV2Processor.from_pretrained(path)
        model = AutoModelForCausalLM.from_pretrained(
            path, trust_remote_code=True, torch_dtype=torch.float32
        )
        self.model = model.cuda().eval()

    def generate_inner(self, message):
        from deepseek_vl2.utils.io import load_pil_images

        values = {
            kind: [p["value"] for p in message if p["type"] == kind] for kind in ("image", "text")
        }
        content = "<image>\n" * len(values["image"]) + "".join(values["text"])
        conversation = [
            {"role": "<|User|>", "content": content, "images": values["image"]},
            {"role": "<|Assistant|>", "content": ""},
        ]
        inputs = self.processor(
            conversations=conversation,
            images=load_pil_images(conversation),
            force_batchify=True,
            system_prompt="",
        ).to(self.model.device)
        embeddings, cache = self.model.incremental_prefilling(**named(inputs), chunk_size=512)
        ids = self.processor.tokenizer.eos_token_id
        outputs = self.model.generate(
            inputs_embeds=embeddings,
            past_key_values=cache,
            pad_token_id=ids,
            eos_token_id=ids,
            max_new_tokens=10,
            do_sample=False,
            use_cache=True,
            **named(inputs),
        )
        new = outputs[0][len(inputs.input_ids[0]) :].cpu().tolist()
        return self.processor.tokenizer.decode(new, skip_special_tokens=True).rstrip(".")


@everywhere
@pytest.mark.filterwarnings("ignore::vl2.dropin.modeling.NoGpuWarning")
def test_vlmevalkits_way(variant):
    case = load_case(variant, "vqa_one_image")
    path = case.messages[0]["images"][0]
    kit = KitModel(checkpoint(variant))
    said = kit.generate_inner(
        [{"type": "image", "value": path}, {"type": "text", "value": "What is in the picture?"}]
    )
    wanted = case.tensors["greedy_tokens"].tolist()
    text = processor_of(variant).tokenizer.decode(wanted, skip_special_tokens=True)
    assert said == text.rstrip(".")


def borrowed(function):
    """A function of a submodel in the place of the whole model's."""

    @functools.wraps(function)
    def called(self, *args, **kwargs):
        return function(*args, **kwargs)

    return called


@everywhere
def test_ms_swifts_way(variant):
    """Pictures cut apart, a sample made by hand, functions of the language model borrowed."""
    processor, case = processor_of(variant), load_case(variant, "two_images")
    model = modeling.DeepseekVLV2ForCausalLM.from_pretrained(
        checkpoint(variant), dtype=torch.float32
    ).eval()
    language = model.language
    for name in ("generate", "get_input_embeddings", "gradient_checkpointing_enable", "forward"):
        setattr(model, name, MethodType(borrowed(getattr(language, name)), model))
    model.generation_config = language.generation_config
    pictures = load_pil_images(case.messages)
    _, tiles, _, crops, counts = processor.tokenize_with_images(
        "<image>" * len(pictures), pictures, cropping=len(pictures) <= 2
    )
    assert counts == case.info["num_image_tokens"]
    ids = torch.from_numpy(case.tensors["input_ids"].astype("int64"))
    sample = VLChatProcessorOutput(
        sft_format=None,
        input_ids=ids,
        target_ids=ids,
        images=torch.stack(tiles),
        images_seq_mask=ids == processor.image_token_id,
        images_spatial_crop=torch.tensor(crops),
        num_image_tokens=counts,
    )
    inputs = dict(processor.batchify([sample]))
    inputs["images_seq_mask"] = inputs["images_seq_mask"].to(torch.bool)
    embeddings = model.prepare_inputs_embeds(**inputs)
    outputs = model.generate(
        inputs_embeds=embeddings, attention_mask=inputs["attention_mask"], **GREEDY
    )
    assert outputs[0].tolist() == case.tensors["greedy_tokens"].tolist()
    logits = model(inputs_embeds=embeddings, attention_mask=inputs["attention_mask"]).logits
    close(logits[0, -4:].detach(), case.tensors["logits_last_4"])


def test_a_forward_pass_by_the_old_names():
    model, batch = model_of("base"), batch_of("base", "vqa_one_image")
    with torch.no_grad():
        outputs = model(**named(batch), labels=batch.labels)
        text = model(**named(batch_of("base", "text_only")))
    close(outputs.logits[0, -4:], load_case("base", "vqa_one_image").tensors["logits_last_4"])
    assert outputs.loss.isfinite()
    close(text.logits[0, -4:], load_case("base", "text_only").tensors["logits_last_4"])


@pytest.mark.filterwarnings("ignore:.*checkpointing_enable.*:FutureWarning")
def test_parts_by_the_old_names():
    model = model_of("small")
    assert model.vision is model.model.vision_tower
    assert model.projector is model.model.projector
    assert model.language.model is model.language_model.model is model.get_decoder()
    assert model.language.lm_head is model.lm_head
    assert model.language.get_input_embeddings() is model.get_input_embeddings()
    assert model.language.config is model.config.language_config
    assert (model.language.device, model.language.dtype) == (model.device, model.dtype)
    fresh = modeling.DeepseekVLV2ForCausalLM(mini_config("small"))
    embedding = torch.nn.Embedding(64, 32)
    fresh.set_input_embeddings(embedding)
    assert fresh.language.get_input_embeddings() is embedding
    fresh.set_decoder(fresh.get_decoder())
    fresh.language.gradient_checkpointing_enable()
    assert any(getattr(part, "gradient_checkpointing", False) for part in fresh.modules())


def test_saving_keeps_the_official_names(tmp_path):
    model_of("tiny").save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert again.config.architectures == ["DeepseekVLV2ForCausalLM"]
    for name, tensor in model_of("tiny").state_dict().items():
        assert torch.equal(again.state_dict()[name].float(), tensor), name


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_machine_without_a_gpu_keeps_the_model_and_says_so():
    with pytest.warns(NoGpuWarning, match="stays on cpu"):
        tokenizer, processor, model = load_pretrained_model(checkpoint("tiny"))
    assert (model.device.type, model.dtype, model.training) == ("cpu", torch.bfloat16, False)
    assert processor.tokenizer is tokenizer


def test_casting_after_loading_does_no_harm():
    """The README's `.to(torch.bfloat16)`, which spoils the original's rotary tables."""
    kind, batch = modeling.DeepseekVLV2ForCausalLM, batch_of("small", "vqa_one_image")
    cast = kind.from_pretrained(checkpoint("small"), dtype=torch.float32).to(torch.bfloat16)
    loaded = kind.from_pretrained(checkpoint("small"), dtype=torch.bfloat16)
    with torch.no_grad():
        assert torch.equal(cast(**named(batch)).logits, loaded(**named(batch)).logits)


def test_what_does_not_fit_together_is_told():
    model, batch = model_of("small"), batch_of("small", "vqa_one_image")
    with pytest.raises(InputError, match="chunk_size must be at least 1"):
        model.incremental_prefilling(**named(batch), chunk_size=0)
    with pytest.raises(InputError, match="Give input_ids or inputs_embeds"):
        model.incremental_prefilling()
    batch.images_seq_mask[0, :50] = True
    with pytest.raises(InputError, match="<image> tokens"):
        model.prepare_inputs_embeds(**batch)

"""`deepseek_vl2.serve.inference`: loading, and answers that arrive while they are written."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import torch
from transformers import (
    PreTrainedTokenizerFast,
    StoppingCriteria,
    StoppingCriteriaList,
    TextIteratorStreamer,
)

from vl2.dropin.batch import BatchCollateOutput
from vl2.dropin.conversation import Conversation
from vl2.dropin.modeling import DeepseekVLV2ForCausalLM
from vl2.dropin.processing import DeepseekVLV2Processor


def load_model(
    model_path: str | os.PathLike[str], dtype: torch.dtype = torch.bfloat16
) -> tuple[PreTrainedTokenizerFast, DeepseekVLV2ForCausalLM, DeepseekVLV2Processor]:
    """Loads the tokenizer, the model (on a GPU if there is one) and the processor."""
    processor = DeepseekVLV2Processor.from_pretrained(model_path)
    model = DeepseekVLV2ForCausalLM.from_pretrained(model_path, dtype=dtype)
    return processor.tokenizer, model.cuda().eval(), processor


def convert_conversation_to_prompts(
    conversation: Conversation,
) -> tuple[list[dict[str, Any]], Any]:
    """Turns the history of the web demo into messages.

    Args:
        conversation: its messages are a text, or a pair of text and pictures, by turns of the
            user and of the model.

    Returns:
        The messages, and the last picture (None without one).
    """
    prompts: list[dict[str, Any]] = []
    last_image = None
    for index, (role, said) in enumerate(conversation.messages):
        if index % 2:
            prompts.append({"role": role, "content": said})
            continue
        text, images = said if isinstance(said, tuple) else (said, [])
        last_image = images[-1] if images else last_image
        prompts.append({"role": role, "content": text, "images": images})
    return prompts, last_image


class StoppingCriteriaSub(StoppingCriteria):
    """Ends an answer when one of several rows of tokens stands at its end.

    Args:
        stops: token ids `[t]` each.
        encounters: kept for the signature.
    """

    def __init__(self, stops: Sequence[torch.Tensor] = (), encounters: int = 1) -> None:
        self.stops = [stop.tolist() for stop in stops]

    def __call__(
        self,
        input_ids: torch.Tensor,
        scores: torch.Tensor,
        **kwargs: Any,  # noqa: ANN401
    ) -> torch.Tensor:  # pyrefly: ignore[bad-override]
        ended = [
            any(stop and row[-len(stop) :] == stop for stop in self.stops)
            for row in input_ids.tolist()
        ]
        return torch.tensor(ended, device=input_ids.device)


class _Closed(StoppingCriteria):
    """Ends an answer that nobody listens to any more."""

    def __init__(self) -> None:
        self.event = Event()

    def __call__(
        self,
        input_ids: torch.Tensor,
        scores: torch.Tensor,
        **kwargs: Any,  # noqa: ANN401
    ) -> torch.Tensor:  # pyrefly: ignore[bad-override]
        return torch.full(
            (input_ids.shape[0],), self.event.is_set(), device=input_ids.device, dtype=torch.bool
        )


def deepseek_generate(
    conversations: Sequence[Mapping[str, Any]],
    vl_gpt: DeepseekVLV2ForCausalLM,
    vl_chat_processor: DeepseekVLV2Processor,
    tokenizer: PreTrainedTokenizerFast,
    stop_words: Sequence[str],
    max_length: int = 256,
    temperature: float = 1.0,
    top_p: float = 1.0,
    repetition_penalty: float = 1.1,
    chunk_size: int = -1,
) -> Iterator[str]:
    """Answers a conversation piece by piece.

    Args:
        conversations: messages that hold their pictures in `images`.
        vl_gpt: the model.
        vl_chat_processor: the processor.
        tokenizer: of the processor.
        stop_words: texts that end the answer.
        max_length: tokens of the answer.
        temperature: 0 takes the likeliest token each time.
        top_p: sample among the likeliest tokens of this total probability.
        repetition_penalty: above 1 makes repetitions rarer; not with temperature 0.
        chunk_size: tokens that are prefilled at once; -1 for all.
    """
    batch = vl_chat_processor(conversations=conversations)
    assert isinstance(batch, BatchCollateOutput)
    return generate(
        vl_gpt,
        tokenizer,
        batch.to(vl_gpt.device),
        max_gen_len=max_length,
        temperature=temperature,
        repetition_penalty=repetition_penalty,
        top_p=top_p,
        stop_words=stop_words,
        chunk_size=chunk_size,
    )


def generate(
    vl_gpt: DeepseekVLV2ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    prepare_inputs: BatchCollateOutput,
    max_gen_len: int = 256,
    temperature: float = 0,
    repetition_penalty: float = 1.1,
    top_p: float = 0.95,
    stop_words: Sequence[str] = (),
    chunk_size: int = -1,
) -> Iterator[str]:
    """As `deepseek_generate`, from a batch of one row.

    An error of the model is raised here, and leaving the loop early ends the work.
    """
    streamer = TextIteratorStreamer(tokenizer, skip_prompt=True)
    stops = [torch.tensor(tokenizer.encode(word, add_special_tokens=False)) for word in stop_words]
    closed = _Closed()
    settings: dict[str, Any] = {
        "input_ids": prepare_inputs.input_ids,
        "attention_mask": prepare_inputs.attention_mask,
        "pad_token_id": tokenizer.eos_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "max_new_tokens": max_gen_len,
        "do_sample": temperature > 0,
        "use_cache": True,
        "streamer": streamer,
        "stopping_criteria": StoppingCriteriaList([StoppingCriteriaSub(stops), closed]),
    }
    if temperature > 0:
        settings |= {
            "top_p": top_p,
            "temperature": temperature,
            "repetition_penalty": repetition_penalty,
        }

    def answer() -> None:
        with torch.inference_mode():
            vl_gpt.generate(**settings, **_prefilled(vl_gpt, prepare_inputs, chunk_size))

    with ThreadPoolExecutor(max_workers=1) as pool:
        work = pool.submit(answer)
        work.add_done_callback(lambda _: streamer.end())  # also where it failed
        try:
            yield from streamer
        finally:
            closed.event.set()
        work.result()


def _prefilled(
    vl_gpt: DeepseekVLV2ForCausalLM, batch: BatchCollateOutput, chunk_size: int
) -> dict[str, Any]:
    """The prompt as a cache, or as embeddings where it is not to be prefilled in chunks."""
    pictures = (batch.images, batch.images_seq_mask, batch.images_spatial_crop)
    if chunk_size == -1:
        return {"inputs_embeds": vl_gpt.prepare_inputs_embeds(batch.input_ids, *pictures)}
    _, cache = vl_gpt.incremental_prefilling(
        batch.input_ids, batch.attention_mask, None, *pictures, chunk_size
    )
    return {"past_key_values": cache}

"""The plainest engine: one request at a time, token after token."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import torch
from transformers import Cache

from vl2.engine.detokenizer import Detokenizer
from vl2.engine.requests import Delta, Event, Finish, FinishReason, Request, Usage
from vl2.engine.sampler import Sampler
from vl2.errors import ContextError
from vl2.model.modeling import DeepseekVLV2ForCausalLM
from vl2.processing.processor import DeepseekVLV2Processor
from vl2.processing.prompt import Prompt


class SequentialEngine:
    """Answers requests one after another: the whole prompt in one pass, then a token a pass.

    Args:
        model: the model, on its device.
        processor: what makes the prompts; gives the batch and the tokenizer.
    """

    def __init__(self, model: DeepseekVLV2ForCausalLM, processor: DeepseekVLV2Processor) -> None:
        self._model = model.eval()
        self._processor = processor
        generation = model.generation_config
        self._ends = {processor.tokenizer.eos_token_id, *_ids(generation.eos_token_id)}
        self._never = {processor.image_token_id, *_ids(generation.suppress_tokens)}

    @property
    def context(self) -> int:
        """Tokens that a conversation and its answer may have together."""
        return self._model.config.language_config.max_position_embeddings

    @property
    def device(self) -> str:
        """Where the model runs, e.g. `cpu` or `cuda:0`."""
        return str(self._model.device)

    @property
    def dtype(self) -> str:
        """The type of its weights, e.g. `bfloat16`."""
        return str(self._model.dtype).removeprefix("torch.")

    def generate(self, request: Request) -> Generator[Event, None, None]:
        """Yield the answer as it grows: any number of `Delta`, then one `Finish`.

        Raises:
            ContextError: the prompt fills the whole context, so there is no room for an answer.
        """
        prompt = request.prompt
        room = self.context - len(prompt)
        if room < 1:
            raise ContextError(
                f"The conversation takes {len(prompt)} tokens and leaves no room for an answer in "
                f"the context of {self.context}: use fewer pictures, a smaller max_tiles, or "
                "begin a new conversation."
            )
        detokenizer = Detokenizer(self._processor.tokenizer.decode)
        reason: FinishReason = "length"
        count = 0
        for token in self._tokens(request, min(request.sampling.max_tokens, room)):
            count += 1
            if token in self._ends:
                reason = "stop"
                break
            text = detokenizer.add(token)
            if text:
                yield Delta(text)
        yield Finish(reason, Usage(len(prompt), int(prompt.image_mask.sum()), count))

    def _tokens(self, request: Request, limit: int) -> Iterator[int]:
        """Tokens of the answer, the end included, at most `limit`."""
        sampler = Sampler(request.sampling, self._never)
        logits, cache = self._prefill(request.prompt)
        for _ in range(limit - 1):
            token = sampler.choose(logits)
            yield token
            logits = self._step(token, cache)
        yield sampler.choose(logits)

    @torch.inference_mode()
    def _prefill(self, prompt: Prompt) -> tuple[torch.Tensor, Cache]:
        """Run the whole prompt; returns the logits `[v]` after it and the cache."""
        batch = self._processor.collate([prompt]).to(self._model.device)
        output = self._model(**batch, use_cache=True, logits_to_keep=1)
        return output.logits[0, -1], output.past_key_values

    @torch.inference_mode()
    def _step(self, token: int, cache: Cache) -> torch.Tensor:
        """Run one more token; returns the logits `[v]` after it."""
        ids = torch.tensor([[token]], device=self._model.device)
        output = self._model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return output.logits[0, -1]


def _ids(setting: int | list[int] | None) -> list[int]:
    """A setting of token ids as a list."""
    if setting is None:
        return []
    return [setting] if isinstance(setting, int) else list(setting)

"""Timing a model step by step, as the engine runs it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import PIL.Image
import torch

from vl2.chat import as_conversation
from vl2.engine.core import Core
from vl2.engine.limits import Limits
from vl2.engine.requests import Finish, Request
from vl2.engine.sampling import Sampling
from vl2.errors import InputError
from vl2.evals.speed.machine import Machine
from vl2.model.images import encode_tiles
from vl2.model.modeling import DeepseekVLV2ForCausalLM
from vl2.model.sizes import model_sizes
from vl2.ops.kernels.library import instruction_set
from vl2.processing.processor import DeepseekVLV2Processor
from vl2.processing.prompt import Prompt
from vl2.quantization.modules import QuantisedExperts, QuantisedLinear

PAGE = (1240, 1754)
"""An A4 page at 150 dots an inch, in pixels."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How long a piece of work took, and how long it would at the machine's ceiling.

    Attributes:
        seconds: of one piece: a prompt, a token, a tile or a page; the median of the runs.
        floor: what the piece takes at the least; None where no ceiling was measured.
        pieces: what `seconds` holds: tokens of the prompt, 1 token, 1 tile, 1 page.
    """

    seconds: float
    floor: float | None
    pieces: int = 1

    @property
    def per_second(self) -> float:
        """Pieces a second."""
        return self.pieces / self.seconds

    @property
    def share(self) -> float | None:
        """Share of the ceiling that is reached, 0 to 1."""
        return None if self.floor is None else self.floor / self.seconds

    def as_dict(self) -> dict[str, object]:
        """The rate as JSON shows it."""
        return {**asdict(self), "per_second": self.per_second, "share": self.share}


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that `vl2 bench` tells.

    Attributes:
        kernels: what multiplies by quantised weights: an instruction set, or `torch`.
        weight_bytes: memory of all weights.
        token_bytes: memory that one generated token reads, its context left out.
        prefill: of a prompt of text.
        decode: of one token after it.
        tile: of one tile of a picture.
        page: from a page as a picture to the first token about it.
    """

    kernels: str
    weight_bytes: int
    token_bytes: int
    prefill: Rate
    decode: Rate
    tile: Rate
    page: Rate

    def as_dict(self) -> dict[str, object]:
        """The report as JSON shows it."""
        rates = {name: getattr(self, name) for name in ("prefill", "decode", "tile", "page")}
        return {**asdict(self), **{name: rate.as_dict() for name, rate in rates.items()}}


def measure(
    model: DeepseekVLV2ForCausalLM,
    processor: DeepseekVLV2Processor,
    machine: Machine,
    prompt_tokens: int = 600,
    answer_tokens: int = 32,
    runs: int = 3,
    told: Callable[[str], None] = lambda _: None,
) -> Report:
    """Times a model; every run has a prompt of its own, so nothing is reused.

    Args:
        model: on its device.
        processor: of the model.
        machine: the ceilings of that device.
        prompt_tokens: length of the prompt of text.
        answer_tokens: tokens that are generated after it.
        runs: how often each piece is timed, after one run that is not.
        told: is told what is timed next.

    Raises:
        InputError: prompt and answer do not fit into the context.
    """
    context = model.config.language_config.max_position_embeddings
    if prompt_tokens + answer_tokens > context:
        raise InputError(
            f"{prompt_tokens} and {answer_tokens} tokens do not fit into the context of {context}."
        )
    bench = _Bench(model, processor, answer_tokens)
    told("text")
    texts = [bench.ask(random_words(processor, prompt_tokens, run)) for run in range(runs + 1)][1:]
    told("tiles")
    tiles = [bench.see() for _ in range(runs + 1)][1:]
    told("a page")
    page = [bench.ask(bench.page(run), answer=1)[0] for run in range(runs)]
    floors = _Floors(model, machine)
    reached = prompt_tokens + answer_tokens // 2
    return Report(
        instruction_set(),
        floors.weight_bytes,
        floors.token_bytes,
        Rate(_median(first for first, _ in texts), floors.prompt(prompt_tokens), prompt_tokens),
        Rate(_median(step for _, step in texts), floors.token(reached)),
        Rate(_median(tiles), floors.tiles(1)),
        Rate(_median(page), floors.page(bench.page(0))),
    )


def random_words(processor: DeepseekVLV2Processor, count: int, seed: int) -> Prompt:
    """A prompt of so many random tokens of text."""
    usual = len(processor.tokenizer) // 2
    ids = np.random.default_rng(seed).integers(10, usual, count)
    nothing = np.zeros(count, dtype=bool)
    side = processor.tiling.tile_size
    empty = np.zeros((0, 3, side, side), dtype=np.float32)
    return Prompt(ids.astype(np.int64), nothing, nothing, empty, ())


def _median(values: object) -> float:
    return statistics.median(list(values))  # type: ignore[call-overload]


class _Bench:
    """Drives the engine in this thread, request by request."""

    def __init__(
        self, model: DeepseekVLV2ForCausalLM, processor: DeepseekVLV2Processor, answer: int
    ) -> None:
        context = model.config.language_config.max_position_embeddings
        limits = Limits(cache_tokens=context, picture_bytes=0)  # one at a time
        self._core = Core(model, processor, limits)
        self._core.ends.clear()  # an answer is as long as it was asked to be
        self._core.settle()
        self._model, self._processor, self._answer = model, processor, answer

    def ask(self, prompt: Prompt, answer: int | None = None) -> tuple[float, float]:
        """Seconds to the first token, and then per token."""
        events: list[object] = []
        sampling = Sampling(max_tokens=answer or self._answer)
        sequence = self._core.prepare(Request(prompt, sampling), events.append)
        started = time.perf_counter()
        self._core.add(sequence)
        while self._core.busy and not sequence.answered:
            self._core.step()
        first = time.perf_counter()
        while self._core.busy:
            self._core.step()
        ended = time.perf_counter()
        if not events or not isinstance(events[-1], Finish):
            raise InputError(f"The model cannot answer: {events[-1] if events else 'no events'}")
        more = events[-1].usage.completion_tokens - 1
        return first - started, (ended - first) / max(more, 1)

    @torch.inference_mode()
    def see(self) -> float:
        """Seconds to encode one tile, out of a few at a time."""
        vision = self._model.config.vision_config
        count = Limits().tiles
        model = self._model.model
        weight = model.image_newline
        tiles = torch.randn(count, 3, vision.image_size, vision.image_size, device=weight.device)
        started = time.perf_counter()
        encode_tiles(model.vision_tower, model.projector, tiles)
        if weight.device.type == "cuda":
            torch.cuda.synchronize(weight.device)
        return (time.perf_counter() - started) / count

    def page(self, seed: int) -> Prompt:
        """A page of noise, and a question about it."""
        random = np.random.default_rng(seed)
        small = random.integers(0, 255, (PAGE[1] // 8, PAGE[0] // 8, 3), dtype=np.uint8)
        picture = PIL.Image.fromarray(small).resize(PAGE)
        return self._processor.encode(as_conversation("What does the page say?", [picture]))


class _Floors:
    """Seconds that work takes at the machine's ceilings."""

    def __init__(self, model: DeepseekVLV2ForCausalLM, machine: Machine) -> None:
        self._sizes = model_sizes(model.config)
        self._machine = machine
        language = model.config.language_config
        chosen, experts = language.num_experts_per_tok or 0, language.n_routed_experts or 1
        self.weight_bytes = sum(p.numel() * p.element_size() for p in model.parameters())
        self.token_bytes = sum(
            round(_bytes(module) * (chosen / experts if name.endswith(".experts") else 1))
            for name, module in model.named_modules()
            if _is_read(name)
        )
        width = model.model.image_newline.element_size()
        self._context_bytes = width * self._sizes.cache_values_per_token
        quantised = any(
            isinstance(module, (QuantisedLinear, QuantisedExperts)) and module.scheme.bits < 16
            for module in model.modules()
        )
        kind = str(model.model.image_newline.dtype).removeprefix("torch.")
        self._operations = machine.operations.get("int8" if quantised else kind)

    def token(self, context: int) -> float:
        """One more token after `context` of them."""
        read = self.token_bytes + context * self._context_bytes
        return read / self._machine.read_bytes

    def prompt(self, tokens: int) -> float | None:
        """A prompt of so many tokens; each meets half of them on average."""
        if self._operations is None:
            return None
        each = self._sizes.flops_per_token - 2 * self._head()
        return tokens * each / self._operations

    def tiles(self, count: int) -> float | None:
        """So many tiles of a picture."""
        if self._operations is None:
            return None
        return count * self._sizes.flops_per_tile / self._operations

    def page(self, prompt: Prompt) -> float | None:
        """A page as a picture, up to the first token."""
        tiles, tokens = self.tiles(len(prompt.pixel_values)), self.prompt(len(prompt))
        return None if tiles is None or tokens is None else tiles + tokens

    def _head(self) -> int:
        # Only the last token of a prompt needs it.
        return next(part.active for part in self._sizes.parts if part.name == "output head")


def _is_read(name: str) -> bool:
    inside = name.startswith("model.language_model.") or name == "lm_head"
    return inside and not name.endswith("embed_tokens")


def _bytes(module: torch.nn.Module) -> int:
    return sum(p.numel() * p.element_size() for p in module.parameters(recurse=False))

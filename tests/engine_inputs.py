"""Engines over random miniatures, and requests for them."""

import functools

import numpy as np
import torch
from model_inputs import EOS, IMAGE, PAD, VOCABULARY, mini_model, mini_prompt

from vl2.engine.core import Core
from vl2.engine.limits import Limits
from vl2.engine.requests import Delta, Finish, Request
from vl2.engine.sampling import Sampling
from vl2.processing.prompt import Prompt
from vl2.processing.tiling import Grid, Tiling

WORDS = "".join(chr(ord("0") + number) for number in range(VOCABULARY))
"""The character that each token id stands for."""


class MiniTokenizer:
    """Every token is a character of `WORDS`."""

    eos_token_id = EOS

    @staticmethod
    def decode(ids) -> str:
        return "".join(WORDS[token] for token in ids)

    @staticmethod
    def convert_ids_to_tokens(token) -> str:
        return WORDS[token]


class MiniProcessor:
    """What an engine needs of a processor, for the miniatures."""

    tokenizer = MiniTokenizer()
    image_token_id = IMAGE
    tiling = Tiling(((20, 20), (20, 40), (40, 20)), tile_size=20, patch_size=4, downsample=2)


@functools.cache
def shared_model(variant: str):
    """A miniature that tests must not change."""
    return mini_model(variant)


def core_of(variant: str = "base", model=None, **limits) -> Core:
    """A core without a thread."""
    return Core(model or shared_model(variant), MiniProcessor(), Limits(**limits))


def prompt_of(grids=(), words: int = 6, seed: int = 0) -> Prompt:
    """The prompt of `mini_prompt`, as the processor would make it."""
    made = mini_prompt(list(grids), words, seed)
    ids = made["input_ids"][0].numpy()
    pixels = made.get("pixel_values", torch.zeros(0, 3, 20, 20)).numpy()
    return Prompt(
        ids, ids == IMAGE, np.zeros(len(ids), bool), pixels, tuple(Grid(*grid) for grid in grids)
    )


def request_of(grids=(), words: int = 6, seed: int = 0, **sampling) -> Request:
    """A request that goes on to its limit of tokens."""
    options = {"max_tokens": 8, "ignore_eos": True, **sampling}
    return Request(prompt_of(grids, words, seed), Sampling(**options))


class Listener:
    """Keeps the events of one answer."""

    def __init__(self) -> None:
        self.events = []

    def __call__(self, event) -> None:
        assert not self.ended, f"{event} after the end"
        self.events.append(event)

    @property
    def ended(self) -> bool:
        return bool(self.events) and not isinstance(self.events[-1], Delta)

    @property
    def end(self):
        """The `Finish` or the error that ended the answer."""
        assert self.ended
        return self.events[-1]

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, Delta))


def begin(core: Core, *requests: Request) -> list[Listener]:
    """Queue requests; returns who hears their answers."""
    listeners = []
    for request in requests:
        listeners.append(Listener())
        core.add(core.prepare(request, listeners[-1]))
    return listeners


def run(core: Core, *requests: Request) -> list[Listener]:
    """Answer requests to the end."""
    listeners = begin(core, *requests)
    while core.busy:
        core.step()
    return listeners


def answers(core: Core, *requests: Request) -> list[str]:
    """The texts of requests that all succeed."""
    listeners = run(core, *requests)
    assert all(isinstance(listener.end, Finish) for listener in listeners), listeners[0].events
    return [listener.text for listener in listeners]


def generated(model, request: Request) -> str:
    """Twin of the engine: what transformers' `generate` answers, one request by itself."""
    prompt = request.prompt
    inputs = {"input_ids": torch.from_numpy(prompt.token_ids)[None]}
    if prompt.grids:
        inputs["pixel_values"] = torch.from_numpy(prompt.pixel_values)
        inputs["images_spatial_crop"] = torch.from_numpy(prompt.images_spatial_crop)
    ids = model.generate(
        **inputs,
        max_new_tokens=request.sampling.max_tokens,
        do_sample=False,
        eos_token_id=None if request.sampling.ignore_eos else EOS,
        pad_token_id=PAD,
    )
    return MiniTokenizer.decode(ids[0, len(prompt) :].tolist())


def assert_all_pages_back(core: Core) -> None:
    """Nothing is in work and no page is held."""
    pool = core.scheduler.pool
    assert not core.busy
    assert pool.held == 0
    assert pool.available == pool.count
    assert len(set(pool._free) | set(pool._idle)) == pool.count
    assert set(pool._key_of) == set(pool._idle)
    for layer in core.storage.layers:
        assert not layer[0].any(), "page 0 was written to"
        assert layer.isfinite().all()

"""How the words of an answer are chosen: the settings, checked."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vl2.errors import InputError

MAX_STOPS = 16
MAX_STOP_LENGTH = 256
MAX_TOP_LOGPROBS = 20
MAX_BIASED_TOKENS = 1024
MAX_GRAMMAR_LENGTH = 2**16

# Where any white space is allowed, a model that is at a loss writes it to the end of its limit.
JSON_SPACING = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""How JSON on one line is spaced, in llguidance's words."""

_RANGES: tuple[tuple[str, float, float], ...] = (
    ("temperature", 0, 100),
    ("min_p", 0, 1),
    ("frequency_penalty", -2, 2),
    ("presence_penalty", -2, 2),
    ("top_logprobs", 0, MAX_TOP_LOGPROBS),
    # Of smaller factors float32 would make scores that are not finite.
    ("repetition_penalty", 0.01, 100),
    ("top_k", 0, 2**31 - 1),
    ("no_repeat_ngram", 0, 2**31 - 1),
    ("no_repeat_window", 0, 2**31 - 1),
)
_INTEGERS = ("max_tokens", "top_k", "top_logprobs", "no_repeat_ngram", "no_repeat_window")


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the words of an answer are chosen.

    The scores of the model pass, in this order: logit bias, repetition penalty, frequency and
    presence penalty, the loop guard, the constraint, then temperature, top-k, top-p and min-p.

    Attributes:
        temperature: 0 takes the likeliest token each time; higher values vary more.
        top_p: sample only among the likeliest tokens that together have this probability.
        max_tokens: length limit of the answer in tokens.
        seed: the same seed gives the same answer, whatever else the engine works on; without one
            every answer is drawn anew.
        top_k: sample only among so many likeliest tokens; 0 for all.
        min_p: sample only among tokens of at least this share of the likeliest one's probability.
        repetition_penalty: scores of tokens that stand in the conversation or the answer are
            divided by it if positive, multiplied if negative (arXiv 1909.05858); 1 changes nothing.
        frequency_penalty: taken off a token's score once for each time that the answer holds it.
        presence_penalty: taken off a token's score once if the answer holds it.
        logit_bias: token id to what is added to its score, -100 to 100.
        stop: the answer ends before any of these texts; no part of one that came is ever given.
        logprobs: whether to tell the log-probability of each token, before all of the above.
        top_logprobs: how many of the likeliest tokens to tell beside each, with `logprobs`.
        no_repeat_ngram: the loop guard: no run of so many tokens comes twice within
            `no_repeat_window` tokens of the answer; 0 turns it off.
        no_repeat_window: how far back the loop guard looks, in tokens; 0 for the whole answer.
        json_schema: the answer is JSON on one line that obeys this schema (a mapping or its text);
            `{}` allows any JSON. At most one of the three constraints.
        regex: the answer matches this regular expression.
        grammar: the answer obeys this grammar, written in llguidance's Lark dialect.
        ignore_eos: go on to `max_tokens` where the model would end; for measuring.

    Raises:
        InputError: a value outside its range.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 512
    seed: int | None = None
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    stop: str | Sequence[str] = ()
    logprobs: bool = False
    top_logprobs: int = 0
    no_repeat_ngram: int = 0
    no_repeat_window: int = 0
    json_schema: str | Mapping[str, Any] | None = None
    regex: str | None = None
    grammar: str | None = None
    ignore_eos: bool = False

    def __post_init__(self) -> None:
        _check_integers(self)
        for name, lowest, highest in _RANGES:
            value = getattr(self, name)
            if not _is_number(value) or not lowest <= value <= highest:
                raise InputError(f"{name} must be between {lowest} and {highest}, got {value!r}.")
        if not _is_number(self.top_p) or not 0 < self.top_p <= 1:
            raise InputError(f"top_p must be above 0 and at most 1, got {self.top_p!r}.")
        if self.max_tokens < 1:
            raise InputError(f"max_tokens must be at least 1, got {self.max_tokens}.")
        if self.top_logprobs and not self.logprobs:
            raise InputError(f"top_logprobs={self.top_logprobs} needs logprobs=True.")
        _check_seed(self.seed)
        object.__setattr__(self, "logit_bias", _biases(self.logit_bias))
        object.__setattr__(self, "stop", _stops(self.stop))
        object.__setattr__(self, "json_schema", _schema(self.json_schema))
        _check_constraint(self)

    @property
    def constraint(self) -> tuple[str, str] | None:
        """The one constraint as its kind and its text: `("regex", "[0-9]+")`."""
        for kind in ("json_schema", "regex", "grammar"):
            text = getattr(self, kind)
            if text is not None:
                return kind, text
        return None

    @property
    def is_plain(self) -> bool:
        """Whether the likeliest token of the bare scores is the one to take."""
        return (
            self.temperature == 0
            and not self.logit_bias
            and not self.logprobs
            and not self.no_repeat_ngram
            and self.repetition_penalty == 1
            and not self.frequency_penalty
            and not self.presence_penalty
            and self.constraint is None
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)


def _check_integers(sampling: Sampling) -> None:
    for name in _INTEGERS:
        value = getattr(sampling, name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise InputError(f"{name} must be a whole number, got {value!r}.")


def _check_seed(seed: int | None) -> None:
    if seed is None:
        return
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**64:
        raise InputError(f"The seed must be from 0 to 2**64 - 1, got {seed!r}.")


def _biases(given: Mapping[int, float]) -> dict[int, float]:
    """Token ids as whole numbers; JSON has only texts as keys."""
    if not isinstance(given, Mapping):
        raise InputError(f"logit_bias must map token ids to numbers, got {given!r:.100}.")
    if len(given) > MAX_BIASED_TOKENS:
        raise InputError(
            f"logit_bias may name {MAX_BIASED_TOKENS} tokens at most, got {len(given)}."
        )
    biases = {}
    for key, value in given.items():
        try:
            token = int(key)
        except (TypeError, ValueError) as error:
            raise InputError(f"logit_bias has a key that is no token id: {key!r:.100}.") from error
        if token < 0 or not _is_number(value) or not -100 <= value <= 100:
            raise InputError(
                f"logit_bias must map token ids to numbers between -100 and 100, got "
                f"{token}: {value!r:.100}."
            )
        biases[token] = float(value)
    return biases


def _stops(given: str | Sequence[str]) -> tuple[str, ...]:
    if not isinstance(given, str | Iterable):
        raise InputError(f"stop must be a text or several, got {given!r:.100}.")
    stops = (given,) if isinstance(given, str) else tuple(given)
    if len(stops) > MAX_STOPS:
        raise InputError(f"There may be {MAX_STOPS} stop texts at most, got {len(stops)}.")
    for stop in stops:
        if not isinstance(stop, str) or not 0 < len(stop) <= MAX_STOP_LENGTH:
            raise InputError(
                f"A stop text must have 1 to {MAX_STOP_LENGTH} characters, got {stop!r:.100}."
            )
    return stops


def _schema(given: str | Mapping[str, Any] | None) -> str | None:
    """The schema as text, which must be JSON."""
    if given is None:
        return None
    try:
        if not isinstance(given, str):
            return json.dumps(given)
        json.loads(given)
    except (TypeError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"json_schema is not JSON ({reason}): give a JSON Schema.") from error
    return given


def _check_constraint(sampling: Sampling) -> None:
    given = [k for k in ("json_schema", "regex", "grammar") if getattr(sampling, k) is not None]
    if len(given) > 1:
        raise InputError(f"Give one constraint at most, got {' and '.join(given)}.")
    for kind in given:
        text = getattr(sampling, kind)
        if not isinstance(text, str) or len(text) > MAX_GRAMMAR_LENGTH:
            raise InputError(
                f"{kind} must be a text of at most {MAX_GRAMMAR_LENGTH} characters, "
                f"got {text!r:.100}."
            )

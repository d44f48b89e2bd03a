"""Answers that obey a JSON schema, a regular expression or a grammar, through llguidance."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from vl2.engine.refused_constraints import refuse_endless, refused, said
from vl2.engine.sampling import JSON_SPACING
from vl2.errors import EngineError, MissingExtraError

ITEMS_IN_ROW = 2**15
"""Ways to go on that may be open at once: optional properties of an object make four each, and at
most so many as stand in a schema of the longest text that is taken."""


class Constraints:
    """Makes constraints for one tokenizer.

    Args:
        tokenizer: the tokenizer of the model.
        words: size of the model's vocabulary, which may be larger than the tokenizer's.
        ends: token ids that end an answer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, words: int, ends: Sequence[int]) -> None:
        self._tokenizer, self._words, self._ends = tokenizer, words, list(ends)

    def make(self, kind: str, text: str) -> Constraint:
        """A constraint for one answer.

        Args:
            kind: `json_schema`, `regex` or `grammar`.
            text: the constraint itself.

        Raises:
            InputError: it cannot be understood or followed.
            MissingExtraError: llguidance is not installed.
        """
        library = _library()
        if kind == "json_schema":
            refuse_endless(text)
        limits = library.LLParserLimits(max_items_in_row=ITEMS_IN_ROW)
        made = library.LLMatcher(self._vocabulary, grammar(kind, text), log_level=0, limits=limits)
        if made.is_error():
            raise refused(kind, made.get_error())
        constraint = Constraint(made, self._words)
        constraint.compute()  # some contradictions show only when the first token is asked for
        if made.is_error():
            raise refused(kind, made.get_error())
        return constraint

    @functools.cached_property
    def _vocabulary(self) -> Any:  # noqa: ANN401 - an optional library
        # Takes about a second for a large vocabulary, so only when it is asked for.
        _library()
        from llguidance import hf

        return hf.from_tokenizer(self._tokenizer, n_vocab=self._words, eos_token=self._ends)


def grammar(kind: str, text: str) -> str:
    """A constraint in the form that llguidance reads; most mistakes in it show only when it does.

    Args:
        kind: `json_schema`, `regex` or `grammar`.
        text: the constraint itself.

    Raises:
        InputError: it cannot be understood.
        MissingExtraError: llguidance is not installed.
    """
    matcher = _library().LLMatcher
    compilers = {
        "json_schema": functools.partial(matcher.grammar_from_json_schema, overrides=JSON_SPACING),
        "regex": matcher.grammar_from_regex,
        "grammar": matcher.grammar_from_lark,
    }
    try:
        return compilers[kind](text)
    except ValueError as error:
        raise refused(kind, str(error)) from error


class Constraint:
    """Follows one answer and says which tokens may come next.

    Args:
        matcher: llguidance's matcher.
        words: size of the vocabulary.
    """

    def __init__(self, matcher: Any, words: int) -> None:  # noqa: ANN401 - an optional library
        self._matcher = matcher
        self._mask = torch.zeros((words + 31) // 32, dtype=torch.int32)
        self._bits = torch.arange(32, dtype=torch.int32)

    @property
    def is_complete(self) -> bool:
        """Whether nothing more may come."""
        return self._matcher.is_stopped()

    def ask(self) -> None:
        """Find out which tokens may come next.

        Raises:
            EngineError: none may, or the search took too long.
        """
        self.compute()
        self._check()

    def compute(self) -> None:
        """As `ask`, without a look at what came of it."""
        self._matcher.unsafe_compute_mask_ptr(
            self._mask.data_ptr(), self._mask.numel() * self._mask.element_size()
        )

    def restrict(self, scores: torch.Tensor) -> None:
        """Set the scores `[v]` of all tokens that must not come next to minus infinity."""
        self.ask()
        allowed = (self._mask[:, None] >> self._bits & 1).flatten()[: len(scores)]
        scores.masked_fill_(allowed == 0, -torch.inf)

    def accept(self, token: int) -> None:
        """Take the token that was chosen."""
        self._matcher.consume_token(token)
        self._check()

    def _check(self) -> None:
        if self._matcher.is_error():
            reason = said(self._matcher.get_error())
            raise EngineError(f"The constraint of this answer cannot be followed: {reason}.")


def _library() -> Any:  # noqa: ANN401 - an optional library
    try:
        import llguidance
    except ImportError as error:
        raise MissingExtraError.for_extra("grammar", "An answer under a constraint") from error
    return llguidance

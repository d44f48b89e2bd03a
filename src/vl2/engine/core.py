"""The engine without its thread: requests in, steps, events out.

A fault stays with the request that has it. A step that raises is run again for each of its
conversations alone, which is the same work: it writes the same rows to the same places. Scores that
are not finite end their own answer, and its pages are overwritten before others get them.
"""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import replace

import torch

from vl2.engine.constraints import Constraint, Constraints
from vl2.engine.detokenizer import token_bytes
from vl2.engine.limits import Limits
from vl2.engine.pages import PagePool
from vl2.engine.pictures import PictureEncoder, pictures_of
from vl2.engine.requests import Candidate, Choice, Finish, FinishReason, Request, Usage
from vl2.engine.runner import Runner
from vl2.engine.sampler import Sampler
from vl2.engine.scheduler import Scheduler
from vl2.engine.sequence import Sequence, Sink
from vl2.engine.stats import Stats
from vl2.engine.storage import BLOCK, Storage
from vl2.engine.writer import Writer
from vl2.errors import ContextError, EngineError, InputError, VL2Error
from vl2.model.modeling import DeepseekVLV2ForCausalLM
from vl2.processing.processor import DeepseekVLV2Processor


class Core:
    """Works on many requests at once; one thread only may call `step` and `add`.

    Args:
        model: the model, on its device.
        processor: what makes the prompts.
        limits: how much goes on at once.
    """

    def __init__(
        self,
        model: DeepseekVLV2ForCausalLM,
        processor: DeepseekVLV2Processor,
        limits: Limits,
    ) -> None:
        self.model, self.processor, self.limits = model.eval(), processor, limits
        self._language = model.config.language_config
        generation, tokenizer = model.generation_config, processor.tokenizer
        self.ends = {tokenizer.eos_token_id, *_ids(generation.eos_token_id)} - {None}
        self.never = {processor.image_token_id, *_ids(generation.suppress_tokens)}
        self._never = torch.tensor(sorted(self.never), device=model.device)
        self._constraints = Constraints(tokenizer, self._language.vocab_size, sorted(self.ends))
        self._stats = Stats()
        self._number = 0
        self.reset()

    def reset(self) -> None:
        """Begin anew with an empty cache; nothing must be in work."""
        context = self._language.max_position_embeddings
        tokens = self.limits.cache_tokens or 4 * context
        pages = max(tokens // BLOCK, 1)
        weight = self.model.model.language_model.layers[0].input_layernorm.weight
        self.storage = Storage(self._language, pages, weight.dtype, self.model.device)
        self.scheduler = Scheduler(self.limits, PagePool(pages))
        self._runner = Runner(self.model, self.storage)
        self._encoder = PictureEncoder(self.model.model, self.limits.picture_bytes)

    @property
    def context(self) -> int:
        """Tokens that a conversation and its answer may have together."""
        cached = self.scheduler.pool.count * BLOCK
        return min(self._language.max_position_embeddings, cached)

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.scheduler.running or self.scheduler.waiting)

    def settle(self) -> None:
        """Wait for what goes on beside the first steps, so that all take alike."""
        self._runner.settle()

    # --- requests in --------------------------------------------------------------------------

    def prepare(self, request: Request, sink: Sink) -> Sequence:
        """Check a request and make it ready to be added; any thread may call this.

        Raises:
            ContextError: there is no room for an answer.
            InputError: the settings do not fit the model.
            MissingExtraError: a constraint without llguidance.
        """
        prompt, sampling = request.prompt, request.sampling
        room = self.context - len(prompt)
        if room < 1:
            ways = (
                "use fewer pictures, a smaller max_tiles, or"
                if prompt.grids
                else "use less text, or"
            )
            raise ContextError(
                f"The conversation takes {len(prompt)} tokens and leaves no room for an answer in "
                f"the context of {self.context}: {ways} begin a new conversation."
            )
        unknown = [t for t in sampling.logit_bias if t >= self._language.vocab_size]
        if unknown:
            raise InputError(
                f"logit_bias names token {unknown[0]}, but the model has only "
                f"{self._language.vocab_size}."
            )
        constraint: Constraint | None = None
        if sampling.constraint is not None:
            constraint = self._constraints.make(*sampling.constraint)
        tiling = self.processor.tiling
        pictures = pictures_of(prompt, [tiling.tokens(grid) for grid in prompt.grids])
        return Sequence(
            request,
            pictures,
            min(sampling.max_tokens, room),
            Sampler(sampling, prompt.token_ids.tolist(), constraint),
            Writer(self.processor.tokenizer.decode, sampling.stop),
            sink,
        )

    def add(self, sequence: Sequence) -> None:
        """Take on a prepared request."""
        self._number += 1
        sequence.number = self._number
        self._stats.prompt_tokens += sequence.prompt_tokens
        self.scheduler.add(sequence)

    def stats(self) -> Stats:
        """What there is to do and was done."""
        scheduler, encoder = self.scheduler, self._encoder
        return replace(
            self._stats,
            running=len(scheduler.running),
            waiting=scheduler.waiting,
            pages=scheduler.pool.count,
            pages_held=scheduler.pool.held,
            pages_idle=scheduler.pool.idle,
            preempted=scheduler.preempted,
            pictures_encoded=encoder.encoded,
            pictures_reused=encoder.reused,
        )

    # --- a step -------------------------------------------------------------------------------

    @torch.inference_mode()
    def step(self) -> None:
        """Do the next piece of work for everybody whose turn it is."""
        for sequence in self.scheduler.sequences:
            if sequence.cancelled:
                self._drop(sequence)
                self._stats.cancelled += 1
        work = self.scheduler.plan()
        self._stats.steps += 1
        if work.seeing is not None:
            self._see(work.seeing, work.tiles)
        if work.spans:
            self._compute(work.spans)

    def fail_all(self, error: VL2Error) -> None:
        """End every request with an error."""
        for sequence in self.scheduler.sequences:
            self.scheduler.remove(sequence)
            if not sequence.cancelled:
                self._stats.failed += 1
                sequence.sink(error)

    def _see(self, sequence: Sequence, tiles: int) -> None:
        """Encode more of the next picture of a conversation."""
        picture = sequence.missing_picture()
        assert picture is not None
        rows = self._encoder.find(picture)
        try:
            rows = self._encoder.encode(picture, tiles) if rows is None else rows
        except EngineError as error:
            self._fail(sequence, error)
        except RuntimeError as error:
            self._encoder.forget(picture)
            self._fail(sequence, _as_engine_error(error))
        else:
            if rows is not None:
                sequence.give_rows(picture, rows)

    def _compute(self, spans: Items[tuple[Sequence, int]]) -> None:
        try:
            logits = self._runner.run([sequence.span(count) for sequence, count in spans])
        except RuntimeError as error:
            if len(spans) == 1:
                self._fail(spans[0][0], _as_engine_error(error))
                return
            for alone in spans:
                self._compute([alone])
            return
        logits.index_fill_(1, self._never, -torch.inf)
        best, tokens = (part.tolist() for part in logits.max(dim=-1))
        for row, (sequence, count) in enumerate(spans):
            if not -torch.inf < best[row] < torch.inf:
                self._fail(sequence, _not_finite())
                continue
            self.scheduler.publish(sequence, sequence.computed + count)
            if not sequence.remaining:
                # Those that may be asked about again are the encoder's to keep, within its limit.
                sequence.drop_rows()
                self._continue(sequence, tokens[row], logits[row])

    def _continue(self, sequence: Sequence, likeliest: int, logits: torch.Tensor) -> None:
        """Add the next token to an answer, tell it, and end the answer if it is the last."""
        sampler, writer = sequence.sampler, sequence.writer
        choice = None
        if sampler.sampling.is_plain:
            token = likeliest
        else:
            answer = sequence.tokens[sequence.prompt_tokens :]
            try:
                token = sampler.choose(logits, answer)
            except (EngineError, RuntimeError) as error:
                self._fail(sequence, _as_engine_error(error))
                return
            if sampler.sampling.logprobs:
                choice = self._choice(logits, token, sampler.sampling.top_logprobs)
        sequence.tokens.append(token)
        self._stats.answer_tokens += 1
        ended = token in self.ends and not sampler.sampling.ignore_eos
        delta = None if ended else writer.add(token, choice)
        reason: FinishReason | None = None
        if ended or writer.stopped or (sampler.constraint and sampler.constraint.is_complete):
            reason = "stop"
        elif sequence.answered >= sequence.limit:
            reason = "length"
        if delta is not None:
            sequence.sink(delta)
        if reason is not None:
            self._finish(sequence, reason, choice if ended else None)

    def _finish(self, sequence: Sequence, reason: FinishReason, choice: Choice | None) -> None:
        delta = sequence.writer.end(choice)
        if delta is not None:
            sequence.sink(delta)
        self.scheduler.remove(sequence)
        self._stats.finished += 1
        self._stats.reused_tokens += sequence.reused
        images = int(sequence.request.prompt.image_mask.sum())
        usage = Usage(sequence.prompt_tokens, images, sequence.answered, sequence.reused)
        sequence.sink(Finish(reason, usage))

    def _choice(self, logits: torch.Tensor, token: int, top: int) -> Choice:
        scores = logits.to("cpu", torch.float32).log_softmax(-1)
        values, ids = scores.topk(top)
        return Choice(
            self._candidate(token, float(scores[token])),
            tuple(map(self._candidate, ids.tolist(), values.tolist())),
        )

    def _candidate(self, token: int, logprob: float) -> Candidate:
        tokenizer = self.processor.tokenizer
        text = tokenizer.decode([token])
        spelling = tokenizer.convert_ids_to_tokens(token) or ""
        return Candidate(token, text, token_bytes(text, spelling), logprob)

    def _fail(self, sequence: Sequence, error: VL2Error) -> None:
        """End a request with an error; its own pages may hold anything and are cleared."""
        pool = self.scheduler.pool
        self.storage.clear([page for page in sequence.pages if not pool.is_published(page)])
        self._drop(sequence)
        self._stats.failed += 1
        sequence.sink(error)

    def _drop(self, sequence: Sequence) -> None:
        picture = sequence.missing_picture()
        if picture is not None:
            self._encoder.forget(picture)
        self.scheduler.remove(sequence)


def _ids(setting: int | list[int] | None) -> list[int]:
    """A setting of token ids as a list."""
    if setting is None:
        return []
    return [setting] if isinstance(setting, int) else list(setting)


def _not_finite() -> EngineError:
    return EngineError(
        "The model gave numbers that are not finite for this conversation: use another dtype, such "
        "as float32, or check the checkpoint."
    )


def _as_engine_error(error: EngineError | RuntimeError) -> EngineError:
    if isinstance(error, EngineError):
        return error
    reason = " ".join(str(error).split())[:300]
    if isinstance(error, torch.OutOfMemoryError):
        return EngineError(
            f"The device ran out of memory ({reason}): use fewer or smaller pictures, or a smaller "
            "memory budget for the cache."
        )
    return EngineError(f"This answer could not be computed: {reason}")

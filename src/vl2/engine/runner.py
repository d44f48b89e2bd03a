"""One step of the language model over tokens of many conversations at once.

All tokens of a step form one row `[1, n, d]` for norms, projections and experts; only attention
looks at each conversation by itself, over its pages. The layers are those of the model: their
modules are called, and their weights are read where they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch

from vl2.engine.singles import Singles
from vl2.engine.storage import BLOCK, Storage
from vl2.model.language import DeepseekVLV2Attention, DeepseekVLV2LatentAttention
from vl2.model.modeling import DeepseekVLV2ForCausalLM
from vl2.ops import mla, rope
from vl2.ops.paged import (
    PagedRows,
    last_tokens_mask,
    paged_attention,
    paged_latent_attention,
    seen_rows,
    write_rows,
)

# A group of single tokens is split where filling it up to its longest conversation would more than
# double the rows to read.
_WASTE = 2


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens of one conversation that go through the model in this step.

    Attributes:
        tokens: their ids.
        start: tokens of the conversation that are in the cache already.
        pages: pages of the conversation, at least for all tokens up to these.
        slots: which of these tokens stand for rows of pictures.
        rows: those rows, `[len(slots), d]`; None without.
    """

    tokens: Sequence[int]
    start: int
    pages: Sequence[int]
    slots: Sequence[int] = ()
    rows: torch.Tensor | None = None

    @property
    def end(self) -> int:
        """Tokens in the cache after the step."""
        return self.start + len(self.tokens)


@dataclass(frozen=True, slots=True)
class _Group:
    """Tokens that attend together: some of one conversation, or one each of several.

    Attributes:
        first: where they begin in the step.
        count: how many they are.
        queries: how many each conversation has.
        rows: where their caches lie.
        mask: what they may see of it, `[b, 1, queries, s]`; None for as far as their own token.
        absorbed: whether latent attention takes its absorbed form.
    """

    first: int
    count: int
    queries: int
    rows: PagedRows
    mask: torch.Tensor | None
    absorbed: bool

    def of(self, queries: torch.Tensor) -> torch.Tensor:
        """Its part `[b, h, queries, d]` of `[1, h, n, d]`."""
        part = queries.narrow(2, self.first, self.count)
        return part if self.queries == self.count else part.transpose(0, 2)


@dataclass(frozen=True, slots=True)
class _Step:
    """What the layers of a step need to know beside the hidden states."""

    tables: tuple[torch.Tensor, torch.Tensor]
    slots: torch.Tensor
    groups: list[_Group]
    last: torch.Tensor


class Runner:
    """Runs steps.

    Args:
        model: the model, on its device.
        storage: the paged cache, on the same.
    """

    def __init__(self, model: DeepseekVLV2ForCausalLM, storage: Storage) -> None:
        language = model.model.language_model
        self._embed, self._norm, self._head = language.embed_tokens, language.norm, model.lm_head
        self._layers = list(language.layers)
        self._storage = storage
        self._device = model.device
        config = model.config.language_config
        self._dims, self._latent = config.latent_dims, config.use_mla
        self._attend = self._attend_latent if self._latent else self._attend_heads
        positions = torch.arange(config.max_position_embeddings, device=self._device)[None]
        self._tables = rope.rotary_tables(positions, config.head_dim, config.rope_theta)
        self._singles = Singles.of(model, storage)

    def settle(self) -> None:
        """Wait for what goes on beside the first steps, which it slows down."""
        if self._singles is not None:
            self._singles.settle()

    @torch.inference_mode()
    def run(self, spans: Sequence[Span]) -> torch.Tensor:
        """Put spans of different conversations through the model and into the cache.

        Args:
            spans: the tokens; single ones first, those of short conversations before those of
                long ones, which keeps groups large.

        Returns:
            Logits after the last token of each span, `[len(spans), v]`.
        """
        singles = next((i for i, span in enumerate(spans) if len(span.tokens) > 1), len(spans))
        if self._singles is None or not singles:
            return self._run_layers(spans)
        logits = self._run_singles(self._singles, spans[:singles])
        if singles == len(spans):
            return logits
        return torch.cat((logits, self._run_layers(spans[singles:]).to(logits.dtype)))

    def _run_singles(self, singles: Singles, spans: Sequence[Span]) -> torch.Tensor:
        """A token each of some conversations, by the kernels."""
        (cos, sin), slots = self._places(spans)
        pages, lengths = self._table(spans)
        return singles.run(self._embedded(spans)[0], (cos[0], sin[0]), slots, pages, lengths)

    def _run_layers(self, spans: Sequence[Span]) -> torch.Tensor:
        """Any tokens of some conversations, layer by layer."""
        step = self._prepare(spans)
        hidden = self._embedded(spans)
        last_layer = len(self._layers) - 1
        for index, layer in enumerate(self._layers):
            pool = self._storage.layers[index]
            attended = self._attend(layer.self_attn, pool, layer.input_layernorm(hidden), step)
            hidden = hidden + attended
            if index == last_layer:
                hidden = hidden[:, step.last]
            hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
        return self._head(self._norm(hidden))[0]

    def _embedded(self, spans: Sequence[Span]) -> torch.Tensor:
        """Embeddings of the tokens with the rows of pictures in their places, `[1, n, d]`."""
        ids = torch.tensor([[token for span in spans for token in span.tokens]])
        hidden = self._embed(ids.to(self._device))
        first = 0
        for span in spans:
            if span.rows is not None:
                places = torch.tensor(span.slots, device=self._device) + first
                hidden[0, places] = span.rows.to(hidden.dtype)
            first += len(span.tokens)
        return hidden.to(torch.float32) if hidden.dtype == torch.float16 else hidden

    def _prepare(self, spans: Sequence[Span]) -> _Step:
        last = [end - 1 for end in accumulate(len(span.tokens) for span in spans)]
        tables, slots = self._places(spans)
        return _Step(tables, slots, self._grouped(spans), torch.tensor(last).to(self._device))

    def _places(
        self, spans: Sequence[Span]
    ) -> tuple[tuple[torch.Tensor, torch.Tensor], torch.Tensor]:
        """Rotary tables of all tokens, each `[1, n, p / 2]`, and their places in the cache."""
        positions = [p for span in spans for p in range(span.start, span.end)]
        slots = [
            span.pages[p // BLOCK] * BLOCK + p % BLOCK
            for span in spans
            for p in range(span.start, span.end)
        ]
        index = torch.tensor([positions, slots]).to(self._device)
        cos, sin = self._tables
        return (cos[:, index[0]], sin[:, index[0]]), index[1]

    def _grouped(self, spans: Sequence[Span]) -> list[_Group]:
        groups: list[_Group] = []
        first = done = 0
        while done < len(spans):
            together = _together(spans[done:])
            groups.append(self._group(spans[done : done + together], first))
            first += sum(len(span.tokens) for span in spans[done : done + together])
            done += together
        return groups

    def _group(self, spans: Sequence[Span], first: int) -> _Group:
        table, ends = self._table(spans)
        if len(spans) > 1:
            rows = PagedRows(table, ends)
            mask = None if self._latent else seen_rows(rows, BLOCK)
            return _Group(first, len(spans), 1, rows, mask, absorbed=True)
        count, end = len(spans[0].tokens), spans[0].end
        pages = list(spans[0].pages[: table.shape[1]])
        neighbours = pages == list(range(pages[0], pages[0] + len(pages)))
        rows = PagedRows(table, ends, pages[0] * BLOCK if neighbours else None, end)
        mask = last_tokens_mask(count, end, self._device) if spans[0].start else None
        pays = mask is not None and mla.absorption_pays(count, end, self._dims)
        return _Group(first, count, count, rows, mask, absorbed=count == 1 or pays)

    def _table(self, spans: Sequence[Span]) -> tuple[torch.Tensor, torch.Tensor]:
        """Pages of each conversation, filled up with 0, and its tokens."""
        used = [span.pages[: -(-span.end // BLOCK)] for span in spans]
        width = max(len(pages) for pages in used)
        filled = [[*pages, *[0] * (width - len(pages))] for pages in used]
        ends = [span.end for span in spans]
        return torch.tensor(filled, device=self._device), torch.tensor(ends, device=self._device)

    def _attend_latent(
        self,
        attention: DeepseekVLV2LatentAttention,
        pool: torch.Tensor,
        x: torch.Tensor,
        step: _Step,
    ) -> torch.Tensor:
        q_nope, q_pe, c_kv, k_pe = attention.project(x, step.tables)
        write_rows(pool, step.slots, torch.cat((c_kv, k_pe), dim=-1)[0, 0])
        parts = []
        for group in step.groups:
            queries, weight = (group.of(q_nope), group.of(q_pe)), attention.kv_b_proj.weight
            if group.queries == 1:
                mixed = paged_latent_attention(
                    *queries, pool, group.rows, weight, attention.scaling
                )
            elif group.absorbed:
                latents = group.rows.read(pool)
                mixed = mla.absorbed_attention(
                    *queries, latents, weight, group.mask, attention.scaling
                )
            else:
                latents = group.rows.read(pool)[:, None]
                widths = (self._dims.rank, self._dims.rope)
                key, value = attention.expand_kv(*latents.split(widths, dim=-1))
                query = torch.cat(queries, dim=-1)
                mixed = paged_attention(query, key, value, group.mask, attention.scaling)
            parts.append(mixed.reshape(1, group.count, -1))
        return attention.o_proj(parts[0] if len(parts) == 1 else torch.cat(parts, dim=1))

    def _attend_heads(
        self, attention: DeepseekVLV2Attention, pool: torch.Tensor, x: torch.Tensor, step: _Step
    ) -> torch.Tensor:
        query, key, value = attention.project(x, step.tables)
        rows = torch.stack((key[0], value[0])).permute(2, 0, 1, 3).flatten(1)
        write_rows(pool, step.slots, rows)
        parts = []
        for group in step.groups:
            rows = group.rows.read(pool).unflatten(-1, (2, -1, attention.head_dim))
            cached_key, cached_value = rows.permute(2, 0, 3, 1, 4)
            mixed = paged_attention(
                group.of(query), cached_key, cached_value, group.mask, attention.scaling
            )
            parts.append(mixed.reshape(1, group.count, -1))
        return attention.o_proj(parts[0] if len(parts) == 1 else torch.cat(parts, dim=1))


def _together(spans: Sequence[Span]) -> int:
    """How many of the first spans attend in one group."""
    if len(spans[0].tokens) > 1:
        return 1
    total = count = 0
    for span in spans:
        total += span.end
        if len(span.tokens) > 1 or (count + 1) * span.end > _WASTE * (total + BLOCK):
            break
        count += 1
    return max(count, 1)

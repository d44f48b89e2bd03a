"""All layers of the language model for one new token each of some conversations, in one call.

`describe` tells the kernels once where everything lies, `run` is called for every step. What is
computed stands in `vl2.model.language`; `vl2.engine.runner` does the same with torch.
"""

import ctypes
from dataclasses import dataclass

import torch

from vl2.ops.kernels.library import TYPES, ExpertWeights, PackedWeight, check
from vl2.ops.kernels.products import Experts, Weight
from vl2.ops.router import Routing

MOST_EXPERTS = 512


@dataclass(frozen=True, slots=True)
class Shape:
    """Widths and constants that all layers share.

    Attributes:
        width: `d`.
        groups: heads of keys and values; 1 with latents.
        heads: heads of queries for each of these.
        head_width: of a key and of a value; 0 with latents.
        rank: of the latents, 0 for heads with keys and values of their own.
        nope: position-free part of a head's query.
        rotary: rotated part of it.
        value_width: of a head's value.
        eps: of the norms of the residual stream.
        inner_eps: of the norms inside of the attention.
        scale: factor of the scores.
    """

    width: int
    groups: int
    heads: int
    head_width: int
    rank: int
    nope: int
    rotary: int
    value_width: int
    eps: float
    inner_eps: float
    scale: float


@dataclass(frozen=True, slots=True)
class Attention:
    """The weights of an attention layer; norms may be of any floating type.

    Attributes:
        query: makes the queries, out of the input or of what `query_first` makes.
        key: makes the keys, or latent and rotated part.
        output: back to `[d]`.
        value: makes the values; None with latents.
        query_first: narrows the input for the queries, with `query_norm` after it, or None.
        query_norm: its norm.
        latent_norm: `[r]`, with latents.
        expansion: of latents, `[h * (n + v), r]`.
    """

    query: Weight
    key: Weight
    output: Weight
    value: Weight | None = None
    query_first: Weight | None = None
    query_norm: torch.Tensor | None = None
    latent_norm: torch.Tensor | None = None
    expansion: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class Layer:
    """The weights of one layer; norms and router may be of any floating type.

    Attributes:
        input_norm: `[d]`.
        post_norm: `[d]`.
        attention: the attention.
        feed_forward: experts, or one MLP as a shared one.
        router: `[e, d]`, or None in a layer with one MLP.
        bias: correction for the choice `[e]`, or None.
    """

    input_norm: torch.Tensor
    post_norm: torch.Tensor
    attention: Attention
    feed_forward: Experts
    router: torch.Tensor | None = None
    bias: torch.Tensor | None = None


class _Map(ctypes.Structure):
    _fields_ = (
        ("weight", ctypes.POINTER(PackedWeight)),
        ("n", ctypes.c_int64),
        ("k", ctypes.c_int64),
    )


class _Routing(ctypes.Structure):
    _fields_ = (
        ("experts", ctypes.c_int64),
        ("top_k", ctypes.c_int64),
        ("groups", ctypes.c_int64),
        ("kept_groups", ctypes.c_int64),
        ("bias", ctypes.c_void_p),
        ("sigmoid", ctypes.c_int),
        ("two_best", ctypes.c_int),
        ("normalise", ctypes.c_int),
        ("scale", ctypes.c_float),
    )


class _Layer(ctypes.Structure):
    _fields_ = (
        ("input_norm", ctypes.c_void_p),
        ("post_norm", ctypes.c_void_p),
        ("query_first", _Map),
        ("query_norm", ctypes.c_void_p),
        ("query", _Map),
        ("key", _Map),
        ("value", _Map),
        ("output", _Map),
        ("latent_norm", ctypes.c_void_p),
        ("expansion", ctypes.c_void_p),
        ("expansion_type", ctypes.c_int),
        ("router", ctypes.c_void_p),
        ("routes", _Routing),
        ("experts", ctypes.POINTER(ExpertWeights)),
        ("pages", ctypes.c_void_p),
    )


class _Model(ctypes.Structure):
    _fields_ = (
        ("layers", ctypes.POINTER(_Layer)),
        ("layer_count", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("groups", ctypes.c_int64),
        ("heads", ctypes.c_int64),
        ("head_width", ctypes.c_int64),
        ("rank", ctypes.c_int64),
        ("nope", ctypes.c_int64),
        ("rotary", ctypes.c_int64),
        ("value_width", ctypes.c_int64),
        ("eps", ctypes.c_float),
        ("latent_eps", ctypes.c_float),
        ("query_eps", ctypes.c_float),
        ("scale", ctypes.c_float),
        ("cache_type", ctypes.c_int),
        ("page_stride", ctypes.c_int64),
        ("token_stride", ctypes.c_int64),
        ("page_size", ctypes.c_int64),
        ("norm", ctypes.c_void_p),
        ("head", _Map),
    )


class _Batch(ctypes.Structure):
    _fields_ = (
        ("rows", ctypes.c_int64),
        ("cos", ctypes.c_void_p),
        ("sin", ctypes.c_void_p),
        ("slots", ctypes.c_void_p),
        ("table", ctypes.c_void_p),
        ("table_stride", ctypes.c_int64),
        ("lengths", ctypes.c_void_p),
    )


@dataclass(frozen=True, slots=True)
class Stack:
    """A language model as the kernels see it; keeps alive what it points to.

    Attributes:
        described: what the kernels are handed.
        layers: its layers.
        head: `[v, d]`.
        kept: other tensors and descriptions.
    """

    described: _Model
    layers: list[Layer]
    head: Weight
    kept: tuple[object, ...]


def describe(
    shape: Shape,
    layers: list[Layer],
    routing: Routing,
    norm: torch.Tensor,
    head: Weight,
    pools: list[torch.Tensor],
) -> Stack:
    """Tells the kernels about a model and its cache.

    Args:
        shape: its widths.
        layers: its layers.
        routing: how tokens choose experts.
        norm: the last norm `[d]`.
        head: `[v, d]`.
        pools: pages of the cache, one `[pages, page size, w]` a layer, float32 or bfloat16.
    """
    kept: list[object] = [pools]

    def exact(values: torch.Tensor | None) -> int | None:
        if values is None:
            return None
        copy = values.detach().to(torch.float32).contiguous()
        kept.append(copy)
        return copy.data_ptr()

    array = (_Layer * len(layers))()
    for place, layer, pool in zip(array, layers, pools, strict=True):
        _fill(place, layer, pool, shape)
        place.input_norm, place.post_norm = exact(layer.input_norm), exact(layer.post_norm)
        place.query_norm = exact(layer.attention.query_norm)
        place.latent_norm = exact(layer.attention.latent_norm)
        place.router = exact(layer.router)
        if layer.router is not None:
            place.routes = _routes(routing, len(layer.router), exact(layer.bias))
    pool = pools[0]
    model = _Model(
        array,
        len(layers),
        shape.width,
        shape.groups,
        shape.heads,
        shape.head_width,
        shape.rank,
        shape.nope,
        shape.rotary,
        shape.value_width,
        shape.eps,
        shape.inner_eps,
        shape.inner_eps,
        shape.scale,
        TYPES[pool.dtype],
        pool.stride(0),
        pool.stride(1),
        pool.shape[1],
        exact(norm),
        _map(head, shape.width),
    )
    return Stack(model, layers, head, (array, *kept))


def run(
    loaded: ctypes.CDLL,
    stack: Stack,
    hidden: torch.Tensor,
    tables: tuple[torch.Tensor, torch.Tensor],
    slots: torch.Tensor,
    pages: torch.Tensor,
    lengths: torch.Tensor,
) -> torch.Tensor:
    """Puts one token of each of some conversations through all layers and into the cache.

    Args:
        loaded: the kernels.
        stack: the model.
        hidden: embeddings of the tokens `[b, d]`.
        tables: cosine and sine of their positions, each `[b, p / 2]`.
        slots: their places in the cache (page * page size + offset), int64 `[b]`.
        pages: pages of each conversation in order, int64 `[b, most pages]`.
        lengths: tokens of each with the new one, int64 `[b]`.

    Returns:
        float32 logits `[b, v]`.
    """
    hidden = hidden.to(torch.float32).contiguous()
    cos, sin = (table.to(torch.float32).contiguous() for table in tables)
    slots, pages, lengths = slots.contiguous(), pages.contiguous(), lengths.contiguous()
    assert slots.dtype == pages.dtype == lengths.dtype == torch.int64
    logits = hidden.new_empty((len(hidden), stack.head.rows))
    batch = _Batch(
        len(hidden),
        cos.data_ptr(),
        sin.data_ptr(),
        slots.data_ptr(),
        pages.data_ptr(),
        pages.stride(0),
        lengths.data_ptr(),
    )
    threads = torch.get_num_threads()
    check(
        loaded.vl2_step(
            ctypes.byref(stack.described),
            ctypes.byref(batch),
            hidden.data_ptr(),
            logits.data_ptr(),
            threads,
        )
    )
    return logits


def _fill(place: _Layer, layer: Layer, pool: torch.Tensor, shape: Shape) -> None:
    mixed = shape.groups * shape.heads * (shape.value_width if shape.rank else shape.head_width)
    attention = layer.attention
    first = attention.query_first
    place.query_first = _map(first, shape.width)
    place.query = _map(attention.query, shape.width if first is None else first.rows)
    place.key, place.value = _map(attention.key, shape.width), _map(attention.value, shape.width)
    place.output = _map(attention.output, mixed)
    if attention.expansion is not None:
        assert attention.expansion.is_contiguous()
        place.expansion = attention.expansion.data_ptr()
        place.expansion_type = TYPES[attention.expansion.dtype]
    place.experts = ctypes.pointer(layer.feed_forward.described)
    place.pages = pool.data_ptr()


def _map(weight: Weight | None, columns: int) -> _Map:
    if weight is None:
        return _Map(None, 0, 0)
    return _Map(ctypes.pointer(weight.packed), weight.rows, columns)


def _routes(routing: Routing, experts: int, bias: int | None) -> _Routing:
    grouped = routing.method != "greedy"
    return _Routing(
        experts,
        routing.top_k,
        routing.groups if grouped else 1,
        routing.kept_groups,
        bias,
        routing.scoring == "sigmoid",
        routing.method == "noaux_tc",
        routing.normalise,
        routing.scale,
    )

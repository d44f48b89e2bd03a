"""The latent cache: per token one row `[c_kv | k_pe]` of 576 numbers instead of all heads' keys.

transformers' own layers would hold the two parts in two tensors and copy both whenever a token is
added. Here a layer owns one buffer that grows by half when it is full, and hands out views of it.
"""

import torch
from transformers import Cache, DynamicCache, PreTrainedConfig
from transformers.cache_utils import DynamicLayer

_SPARE_TOKENS = 64


class LatentLayer(DynamicLayer):
    """One decoder layer's latents, `[b, 1, capacity, r + p]`, of which `length` tokens are used.

    `keys` and `values` are views of the used part: the latents `[b, 1, length, r]` and the rotated
    key parts `[b, 1, length, p]`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._buffer = torch.empty(0)
        self._rank = self._length = 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Takes type, device and widths from the first tokens."""
        self.dtype, self.device = key_states.dtype, key_states.device
        self._rank, self._length = key_states.shape[-1], 0
        width = self._rank + value_states.shape[-1]
        self._buffer = key_states.new_empty((*key_states.shape[:2], 0, width))
        self.is_initialized = True

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        *args: object,
        **kwargs: object,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Appends tokens `[b, 1, t, r]` and `[b, 1, t, p]`; returns views of all tokens so far."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        end = self._length + key_states.shape[-2]
        if torch.is_grad_enabled() and key_states.requires_grad:
            # A buffer written in place cannot be differentiated through: a new one each time.
            added = torch.cat((key_states, value_states), dim=-1)
            self._buffer = torch.cat((self._buffer[..., : self._length, :], added), dim=-2)
        else:
            self._reserve(end)
            self._buffer[..., self._length : end, : self._rank] = key_states
            self._buffer[..., self._length : end, self._rank :] = value_states
        return self._show(end)

    def _reserve(self, length: int) -> None:
        capacity = self._buffer.shape[-2]
        if length > capacity:
            capacity = max(length + _SPARE_TOKENS, capacity + capacity // 2)
            *outer, _, width = self._buffer.shape
            grown = self._buffer.new_empty((*outer, capacity, width))
            grown[..., : self._length, :] = self._buffer[..., : self._length, :]
            self._buffer = grown

    def _show(self, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        self._length = length
        used = self._buffer[..., :length, :]
        self.keys, self.values = used[..., : self._rank], used[..., self._rank :]
        return self.keys, self.values

    def _replace(self, buffer: torch.Tensor) -> None:
        self._buffer = buffer
        self._show(self._length)

    @property
    def latents(self) -> torch.Tensor:
        """`[c_kv | k_pe]` of all tokens, `[b, length, r + p]`."""
        return self._buffer[:, 0, : self._length]

    def get_seq_length(self) -> int:
        """Number of tokens held."""
        return self._length

    def crop(self, tokens_to_remove: int) -> None:
        """Forgets the last `-tokens_to_remove` tokens (a number of at most 0)."""
        if tokens_to_remove > 0:
            raise ValueError(f"crop takes a number of at most 0, not {tokens_to_remove}")
        if self.is_initialized:
            self._show(max(self._length + tokens_to_remove, 0))

    def reset(self) -> None:
        """Forgets everything."""
        self.keys = self.values = None
        self._buffer = torch.empty(0)
        self._length, self.is_initialized = 0, False

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        """Row `i` becomes what row `beam_idx[i]` was."""
        self.batch_select_indices(beam_idx)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeats every row `repeats` times."""
        if self.is_initialized:
            self._replace(self._buffer.repeat_interleave(repeats, dim=0))

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keeps the rows `indices`, in that order."""
        if self.is_initialized:
            self._replace(self._buffer[indices.to(self._buffer.device)])

    def offload(self) -> None:
        """Moves the latents to the memory of the CPU."""
        if self.is_initialized:
            self._replace(self._buffer.to("cpu", non_blocking=True))

    def prefetch(self) -> None:
        """Moves the latents back to where they are used."""
        if self.is_initialized and self._buffer.device != self.device:
            self._replace(self._buffer.to(self.device, non_blocking=True))


def make_cache(config: PreTrainedConfig) -> DynamicCache:
    """An empty growing cache that suits the attention of a language config."""
    cache = DynamicCache(config=config)
    use_latent_layers(cache, config)
    return cache


def use_latent_layers(cache: Cache, config: PreTrainedConfig) -> None:
    """Gives a fresh growing cache latent layers, where the attention is latent.

    Static, quantised and filled caches stay as they are: the attention works with any of them.
    """
    fresh = all(type(layer) is DynamicLayer and not layer.is_initialized for layer in cache.layers)
    if isinstance(cache, DynamicCache) and config.use_mla and fresh:
        cache.layers = [LatentLayer() for _ in range(config.num_hidden_layers)]
        cache.layer_class_to_replicate = None


def joined_latents(
    cache: Cache | None, layer: int, c_kv: torch.Tensor, k_pe: torch.Tensor
) -> torch.Tensor:
    """The two parts of all cached tokens side by side, without a copy if the cache holds them so.

    Args:
        cache: what `c_kv` and `k_pe` came out of.
        layer: index of the decoder layer.
        c_kv: `[b, 1, s, r]`.
        k_pe: `[b, 1, s, p]`.

    Returns:
        `[b, s, r + p]`.
    """
    held = cache.layers[layer] if cache is not None else None
    if isinstance(held, LatentLayer):
        return held.latents
    return torch.cat((c_kv, k_pe), dim=-1).squeeze(1)

"""Norm, dense MLP and the mixture of experts (DeepSeekMoE, arXiv 2401.06066).

The routed experts lie in two tensors and run through transformers' experts interface, so that its
kernels, expert parallelism and quantisers find them.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from transformers.activations import ACT2FN
from transformers.integrations import use_experts_implementation
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS, ExpertsInterface

from vl2.model.configuration import DeepseekVLV2LanguageConfig
from vl2.ops import router
from vl2.ops.experts import one_token_experts, sorted_experts
from vl2.ops.gate import gated, product_type, restored
from vl2.ops.norm import rms_norm


class DeepseekVLV2RMSNorm(nn.Module):
    """Root-mean-square norm with float32 statistics."""

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps `[..., d]` to `[..., d]`, in the type of the weight."""
        return rms_norm(x, self.weight, self.eps)


class DeepseekVLV2MLP(nn.Module):
    """Gated MLP; the dense first layer and the shared experts."""

    def __init__(self, config: DeepseekVLV2LanguageConfig, intermediate_size: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, intermediate_size, bias=False)
        self.down_proj = nn.Linear(intermediate_size, config.hidden_size, bias=False)
        self.act_fn = ACT2FN[config.hidden_act]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps `[..., d]` to `[..., d]`; in float16 the result is float32."""
        gate = self.gate_proj(x)
        return restored(self.down_proj(gated(gate, self.up_proj(x), self.act_fn)), gate.dtype)


class DeepseekVLV2Router(nn.Module):
    """Chooses the experts of every token, in float32.

    `e_score_correction_bias` (noaux_tc) has no gradient: training moves it with
    `DeepseekVLV2ForCausalLM.correct_router_biases`. It stays float32 when the model is cast.
    """

    def __init__(self, config: DeepseekVLV2LanguageConfig) -> None:
        super().__init__()
        experts = config.n_routed_experts or 0
        self.weight = nn.Parameter(torch.zeros(experts, config.hidden_size))
        self.routing = config.routing
        bias = torch.zeros(experts) if config.topk_method == "noaux_tc" else None
        self.register_buffer("e_score_correction_bias", bias)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Maps tokens `[n, d]` to logits `[n, e]`, weights `[n, k]` and experts `[n, k]`."""
        logits = router.router_logits(x, self.weight)
        indices, weights = router.choose_experts(logits, self.routing, self.e_score_correction_bias)
        return logits, weights, indices

    def _apply(
        self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True
    ) -> "DeepseekVLV2Router":
        exact = self.e_score_correction_bias
        super()._apply(fn, recurse)
        moved = self.e_score_correction_bias
        if moved is not None and moved.dtype != torch.float32:
            self.e_score_correction_bias = exact.to(moved.device, torch.float32)
        return self


class _OwnExperts(ExpertsInterface):
    """The experts interface, except where our own functions run.

    Under autocast, because the registered functions compute in the type of the weights: it would
    have no effect on the largest part of the model. And for the single token of a decode step on
    the CPU, where arranging tokens by expert takes longer than the experts.
    """

    def get_interface(self, experts_implementation: str, default: Callable) -> Callable:
        if torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
            return default
        usual = ALL_EXPERTS_FUNCTIONS.get_interface(experts_implementation, default)
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return usual
        return partial(_one_or_many, usual)


def _one_or_many(
    many: Callable,
    experts: "DeepseekVLV2Experts",
    x: torch.Tensor,
    indices: torch.Tensor,
    weights: torch.Tensor,
) -> torch.Tensor:
    if x.shape[0] != 1 or x.device.type != "cpu":
        return many(experts, x, indices, weights)
    gate_up, down = experts.gate_up_proj, experts.down_proj
    return one_token_experts(x, indices, weights, gate_up, down, experts._apply_gate)


@use_experts_implementation(experts_interface=_OwnExperts())
class DeepseekVLV2Experts(nn.Module):
    """The routed experts of a layer, in two tensors."""

    def __init__(self, config: DeepseekVLV2LanguageConfig) -> None:
        super().__init__()
        self.num_experts = config.n_routed_experts or 0
        width, inner = config.hidden_size, config.moe_intermediate_size
        self.gate_up_proj = nn.Parameter(torch.empty(self.num_experts, 2 * inner, width))
        self.down_proj = nn.Parameter(torch.empty(self.num_experts, width, inner))
        self.act_fn = ACT2FN[config.hidden_act]

    def _apply_gate(self, gate_up: torch.Tensor) -> torch.Tensor:
        gate, up = gate_up.chunk(2, dim=-1)
        return gated(gate, up, self.act_fn)

    def forward(
        self, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor
    ) -> torch.Tensor:
        """Maps tokens `[n, d]` to `[n, d]`; in float16 the result is divided (`vl2.ops.gate`)."""
        return sorted_experts(
            hidden_states,
            top_k_index,
            top_k_weights,
            self.gate_up_proj,
            self.down_proj,
            self._apply_gate,
        )


class DeepseekVLV2MoE(nn.Module):
    """Routed experts plus the shared ones, which every token visits."""

    def __init__(self, config: DeepseekVLV2LanguageConfig) -> None:
        super().__init__()
        self.experts = DeepseekVLV2Experts(config)
        self.gate = DeepseekVLV2Router(config)
        self.shared_experts = None
        if config.n_shared_experts:
            width = config.moe_intermediate_size * config.n_shared_experts
            self.shared_experts = DeepseekVLV2MLP(config, width)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Maps `[b, t, d]` to `[b, t, d]`; in float16 the result is float32."""
        tokens = hidden_states.flatten(0, -2)
        _, weights, indices = self.gate(tokens)
        routed = self.experts(tokens, indices, weights)
        mixed = restored(routed, product_type(tokens)).view(hidden_states.shape)
        if self.shared_experts is None:
            return mixed
        return mixed + self.shared_experts(hidden_states)

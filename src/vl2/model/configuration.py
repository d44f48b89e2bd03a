"""Configuration of DeepSeek-VL2, as `config.json` of the released models spells it.

The released files leave out whatever the original classes had as a default, so those defaults are
the defaults here. A key that nobody knows is an error that names the nearest known one: a misspelt
`first_k_dense_replace` would otherwise build another model without a word.
"""

from typing import Any, ClassVar, Literal

from huggingface_hub.dataclasses import strict
from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedConfig
from transformers.activations import ACT2FN

from vl2.errors import CheckpointError
from vl2.model.configuration_keys import OfficialConfig
from vl2.ops.mla import LatentDims
from vl2.ops.router import Routing

_MOST_EXPERTS = 2**12
_MOST_THETA = 1e30


@strict
class DeepseekVLV2VisionConfig(OfficialConfig):
    """The SigLIP tower: by default SO400M with 14-pixel patches at 384 pixels.

    `mlp_ratio` times `width`, rounded down, is the width of the MLPs.
    """

    model_type = "vision"
    base_config_key = "vision_config"
    attribute_map: ClassVar = {
        "hidden_size": "width",
        "num_hidden_layers": "layers",
        "num_attention_heads": "heads",
    }
    base_model_fsdp_plan: ClassVar = {"blocks.*": "free_full_weight"}
    # Switches of the original's timm-like class, at their only working value in every release.
    ignored_keys = frozenset(
        [
            "class_token",
            "cls",
            "deterministic",
            "dynamic_img_size",
            "global_pool",
            "ignore_head",
            "num_classes",
            "num_recomputing_layers",
            "params",
            "select_feature",
            "select_layer",
            "use_checkpoint",
            "weight_init",
        ]
    )

    counts = ("width", "layers", "heads", "patch_size", "image_size", "intermediate_size")

    model_name: str = "siglip_so400m_patch14_384"
    width: int = 1152
    layers: int = 27
    heads: int = 16
    mlp_ratio: float | int = 3.7362
    patch_size: int = 14
    image_size: int = 384
    initializer_range: float = 0.02

    @property
    def intermediate_size(self) -> int:
        """Width of the hidden layer of the MLPs."""
        return int(self.width * self.mlp_ratio)

    @property
    def patches_per_side(self) -> int:
        """Patches along a side; pixels that do not fill one are dropped (384 = 27 * 14 + 6)."""
        return self.image_size // self.patch_size

    def validate_architecture(self) -> None:
        """Checks that the heads share the width evenly and that a patch fits a tile."""
        if self.width % self.heads:
            raise ValueError(
                f"vision_config: width {self.width} is not a multiple of heads {self.heads}"
            )
        if self.patch_size > self.image_size:
            raise ValueError(
                f"vision_config: patch_size {self.patch_size} is more than image_size "
                f"{self.image_size}"
            )


@strict
class DeepseekVLV2ProjectorConfig(OfficialConfig):
    """The adaptor between tower and language model: 2x2 fold and a GELU MLP."""

    model_type = "mlp_projector"
    base_config_key = "projector_config"
    ignored_keys = frozenset({"cls", "params", "token_pooling"})
    counts = ("input_dim", "n_embed", "mlp_ratio", "downsample_ratio")

    projector_type: str = "downsample_mlp_gelu"
    input_dim: int = 1152
    n_embed: int = 2048
    depth: int = 2
    mlp_ratio: int = 1
    downsample_ratio: int = 2
    initializer_range: float = 0.02

    def validate_architecture(self) -> None:
        """Checks that the projector is of the one kind that the released models use."""
        if self.projector_type != "downsample_mlp_gelu":
            raise ValueError(
                f"projector_config: projector_type {self.projector_type!r} is not supported; "
                "only 'downsample_mlp_gelu' is"
            )
        if self.depth < 2:
            raise ValueError(f"projector_config: depth must be at least 2, not {self.depth}")


@strict
class DeepseekVLV2LanguageConfig(OfficialConfig):
    """The DeepSeekMoE language model; the defaults are those of the original DeepseekV2Config."""

    model_type = "deepseek_v2"
    base_config_key = "language_config"
    keys_to_ignore_at_inference = ("past_key_values",)
    attribute_map: ClassVar = {
        "num_experts": "n_routed_experts",
        "num_local_experts": "n_routed_experts",
        "router_aux_loss_coef": "aux_loss_alpha",
    }
    ignored_keys = frozenset({"ep_size", "lm_head", "pretraining_tp", "rm_head", "mlp_bias"})
    counts = (
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "moe_intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "moe_layer_freq",
        "max_position_embeddings",
    )
    shares = ("rms_norm_eps", "attention_dropout")
    base_model_tp_plan: ClassVar = {
        "layers.*.self_attn.q_proj": "colwise",
        "layers.*.self_attn.k_proj": "colwise",
        "layers.*.self_attn.v_proj": "colwise",
        "layers.*.self_attn.q_b_proj": "colwise",
        "layers.*.self_attn.kv_a_proj_with_mqa": "mla_kv_a_proj",
        "layers.*.self_attn.kv_b_proj": "colwise",
        "layers.*.self_attn.o_proj": "rowwise",
        "layers.*.mlp.experts.gate_up_proj": "packed_colwise",
        "layers.*.mlp.experts.down_proj": "rowwise",
        "layers.*.mlp.experts": "moe_tp_experts",
        "layers.*.mlp.shared_experts.gate_proj": "colwise",
        "layers.*.mlp.shared_experts.up_proj": "colwise",
        "layers.*.mlp.shared_experts.down_proj": "rowwise",
        "layers.*.mlp.gate_proj": "colwise",
        "layers.*.mlp.up_proj": "colwise",
        "layers.*.mlp.down_proj": "rowwise",
    }
    base_model_ep_plan: ClassVar[Any] = {
        "layers.*.mlp.experts.gate_up_proj": "grouped_gemm",
        "layers.*.mlp.experts.down_proj": "grouped_gemm",
        "layers.*.mlp.experts": "ep_dispatch_experts",
    }
    base_model_pp_plan: ClassVar = {
        "embed_tokens": (["input_ids"], ["inputs_embeds"]),
        "layers": (["hidden_states", "attention_mask"], ["hidden_states"]),
        "norm": (["hidden_states"], ["hidden_states"]),
    }

    vocab_size: int = 102400
    hidden_size: int = 4096
    intermediate_size: int = 11008
    moe_intermediate_size: int = 1407
    num_hidden_layers: int = 30
    num_attention_heads: int = 32
    num_key_value_heads: int | None = None
    n_shared_experts: int | None = None
    n_routed_experts: int | None = None
    num_experts_per_tok: int | None = None
    routed_scaling_factor: float | int = 1.0
    scoring_func: Literal["softmax", "sigmoid"] = "softmax"
    topk_method: Literal["greedy", "group_limited_greedy", "noaux_tc"] = "greedy"
    n_group: int | None = None
    topk_group: int | None = None
    norm_topk_prob: bool = False
    moe_layer_freq: int = 1
    first_k_dense_replace: int = 0
    aux_loss_alpha: float | int = 0.001
    seq_aux: bool = True
    output_router_logits: bool = False
    use_mla: bool = True
    kv_lora_rank: int | None = 512
    q_lora_rank: int | None = 1536
    qk_nope_head_dim: int | None = 128
    qk_rope_head_dim: int | None = 64
    v_head_dim: int | None = 128
    hidden_act: str = "silu"
    max_position_embeddings: int = 2048
    initializer_range: float = 0.02
    rms_norm_eps: float = 1e-6
    use_cache: bool = True
    pad_token_id: int | None = None
    bos_token_id: int | None = 100000
    eos_token_id: int | list[int] | None = 100001
    tie_word_embeddings: bool = False
    rope_parameters: dict | None = None
    attention_bias: bool = False
    attention_dropout: float | int = 0.0

    def __post_init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - JSON
        if self.num_key_value_heads is None:
            self.num_key_value_heads = self.num_attention_heads
        _refuse_rope_theta(
            kwargs.get("rope_theta"), kwargs.get("rope_scaling"), self.rope_parameters
        )
        super().__post_init__(**kwargs)

    @property
    def rope_theta(self) -> float:
        """Base of the rotary frequencies."""
        return float((self.rope_parameters or {}).get("rope_theta", 10000.0))

    @property
    def head_dim(self) -> int:
        """Rotated width of a head."""
        if self.use_mla:
            return self.qk_rope_head_dim or 0
        return self.hidden_size // self.num_attention_heads

    @property
    def qk_head_dim(self) -> int:
        """Width of a head's query and key."""
        if self.use_mla:
            return (self.qk_nope_head_dim or 0) + (self.qk_rope_head_dim or 0)
        return self.head_dim

    @property
    def latent_dims(self) -> LatentDims:
        """Widths of the latent attention."""
        return LatentDims(
            heads=self.num_attention_heads,
            rank=self.kv_lora_rank or 0,
            nope=self.qk_nope_head_dim or 0,
            rope=self.qk_rope_head_dim or 0,
            value=self.v_head_dim or 0,
        )

    @property
    def routing(self) -> Routing:
        """How tokens choose their experts."""
        return Routing(
            top_k=self.num_experts_per_tok or 0,
            scoring=self.scoring_func,
            method=self.topk_method,
            groups=self.n_group or 1,
            kept_groups=self.topk_group or 1,
            normalise=self.norm_topk_prob,
            scale=self.routed_scaling_factor,
        )

    def is_moe_layer(self, layer: int) -> bool:
        """Whether decoder layer `layer` has routed experts instead of one dense MLP."""
        return (
            self.n_routed_experts is not None
            and layer >= self.first_k_dense_replace
            and layer % self.moe_layer_freq == 0
        )

    def to_dict(self) -> dict[str, Any]:
        """As the base class, and `rope_theta` under its official name."""
        return {**super().to_dict(), "rope_theta": self.rope_theta}

    def validate_architecture(self) -> None:
        """Checks what the model classes rely on."""
        if self.use_mla and not all((self.kv_lora_rank, self.qk_rope_head_dim, self.v_head_dim)):
            raise ValueError(
                "language_config: use_mla needs kv_lora_rank, qk_rope_head_dim and v_head_dim; "
                "set them, or use_mla to false"
            )
        heads, kv_heads = self.num_attention_heads, self.num_key_value_heads or 1
        if not self.use_mla and (self.hidden_size % heads or heads % kv_heads):
            raise ValueError(
                f"language_config: hidden_size {self.hidden_size} is not a multiple of "
                f"num_attention_heads {heads}, or that not of num_key_value_heads {kv_heads}"
            )
        if self.hidden_act not in ACT2FN:
            raise ValueError(f"language_config: hidden_act {self.hidden_act!r} is unknown")
        if (self.rope_parameters or {}).get("rope_type", "default") != "default":
            raise ValueError(
                f"language_config: rope_scaling {self.rope_parameters} is not supported; "
                "DeepSeek-VL2 uses plain rotary embeddings"
            )
        self._validate_router()

    def _validate_router(self) -> None:
        experts, top_k = self.n_routed_experts, self.num_experts_per_tok
        if experts is not None and not (top_k and 0 < top_k <= experts <= _MOST_EXPERTS):
            raise ValueError(
                f"language_config: num_experts_per_tok {top_k} does not fit "
                f"n_routed_experts {experts}, of which there may be {_MOST_EXPERTS}"
            )
        groups, kept = self.n_group or 1, self.topk_group or 1
        if experts is not None and experts % groups:
            raise ValueError(
                f"language_config: n_routed_experts {experts} is not a multiple of "
                f"n_group {self.n_group}"
            )
        if not 0 < kept <= groups:
            raise ValueError(f"language_config: topk_group {kept} does not fit n_group {groups}")
        if self.topk_method == "noaux_tc" and groups > 1 and (experts or 0) < 2 * groups:
            raise ValueError(
                f"language_config: noaux_tc needs two experts in each of {groups} groups, "
                f"but n_routed_experts is {experts}"
            )


@strict
class DeepseekVLV2Config(OfficialConfig):
    """The whole model.

    `image_token_id` is the id of `<image>` in the tokenizer. The released files do not have it;
    loading a checkpoint supplies it from the tokenizer beside the weights.
    """

    model_type = "deepseek_vl_v2"
    attribute_map: ClassVar = {"text_config": "language_config"}
    base_model_fsdp_plan: ClassVar = {}  # those of the parts, and the rest as one
    # Parts that are models of their own, with attention to be chosen.
    sub_configs: ClassVar[Any] = {  # pyrefly: ignore[bad-override]
        "vision_config": DeepseekVLV2VisionConfig,
        "language_config": DeepseekVLV2LanguageConfig,
    }
    # All parts; newer versions of the library read it to keep saved files free of their defaults.
    sub_configs_defaults: ClassVar[Any] = {
        "vision_config": DeepseekVLV2VisionConfig,
        "projector_config": DeepseekVLV2ProjectorConfig,
        "language_config": DeepseekVLV2LanguageConfig,
    }

    # Given as tables or configurations; always configurations once built.
    vision_config: Any = None
    projector_config: Any = None
    language_config: Any = None
    tile_tag: str = "2D"
    global_view_pos: str = "head"
    candidate_resolutions: list | tuple = ((384, 384),)
    image_token_id: int | None = None
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - JSON
        for name in self.architectures or ():
            if str(name).startswith("DeepseekOCR"):
                raise CheckpointError(
                    f"This is a {name} checkpoint, which shares its model type with DeepSeek-VL2 "
                    "but is another model; load it with transformers or vLLM."
                )
        for alias, name in self.attribute_map.items():
            if alias in kwargs:
                setattr(self, name, kwargs.pop(alias))
        self.vision_config = _sub_config(DeepseekVLV2VisionConfig, self.vision_config)
        self.language_config = _sub_config(DeepseekVLV2LanguageConfig, self.language_config)
        if self.projector_config is None:
            ends = (self.vision_config.width, self.language_config.hidden_size)
            self.projector_config = dict(zip(("input_dim", "n_embed"), ends, strict=True))
        self.projector_config = _sub_config(DeepseekVLV2ProjectorConfig, self.projector_config)
        tied = self.tie_word_embeddings or self.language_config.tie_word_embeddings
        self.tie_word_embeddings = self.language_config.tie_word_embeddings = tied
        self.candidate_resolutions = [list(pair) for pair in self.candidate_resolutions]
        super().__post_init__(**kwargs)

    def validate_architecture(self) -> None:
        """Checks that the three parts fit each other."""
        for pair in self.candidate_resolutions:
            if len(pair) != 2 or not all(isinstance(side, int) and side > 0 for side in pair):
                raise ValueError(f"candidate_resolutions: {pair} is not a width and a height")
        if (self.tile_tag, self.global_view_pos) != ("2D", "head"):
            raise ValueError(
                f"tile_tag {self.tile_tag!r} with global_view_pos {self.global_view_pos!r} is not "
                "supported; DeepSeek-VL2 uses '2D' and 'head'"
            )
        pairs = (
            ("projector_config.input_dim", self.projector_config.input_dim),
            ("vision_config.width", self.vision_config.width),
            ("projector_config.n_embed", self.projector_config.n_embed),
            ("language_config.hidden_size", self.language_config.hidden_size),
        )
        for (left, a), (right, b) in (pairs[:2], pairs[2:]):
            if a != b:
                raise ValueError(f"{left} {a} differs from {right} {b}")


def _sub_config(config_class: type[PreTrainedConfig], value: object) -> PreTrainedConfig:
    if isinstance(value, PreTrainedConfig):
        return value
    if value is not None and not isinstance(value, dict):
        raise CheckpointError(
            f"{config_class.base_config_key} must be a table of keys, not {value!r}."
        )
    return config_class(**(value or {}))


def _refuse_rope_theta(stated: object, *tables: object) -> None:
    """Refuse a base that gives no frequencies, and two different ones."""
    named = [table.get("rope_theta") for table in tables if isinstance(table, dict)]
    values = [value for value in (stated, *named) if value is not None]
    for value in values:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not (number and 1 <= value <= _MOST_THETA):
            raise CheckpointError(
                f"language_config: rope_theta must be a number from 1 to {_MOST_THETA:g}: "
                f"{value!r:.40}"
            )
    if len(set(values)) > 1:
        raise CheckpointError(
            f"language_config: rope_theta {values[0]} differs from {values[-1]} in the table of "
            "rotary parameters; remove one of them."
        )


def config_from_dict(values: dict[str, Any]) -> DeepseekVLV2Config:
    """Builds a configuration from parsed JSON.

    Raises:
        CheckpointError: on an unknown key, a value of the wrong type or parts that do not fit.
    """
    try:
        return DeepseekVLV2Config(**values)
    except (StrictDataclassError, AttributeError, TypeError, ValueError) as error:
        raise CheckpointError(f"The configuration is not usable: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    cause = error.__cause__ or error
    return " ".join(str(cause).split()).rstrip(".") + "."

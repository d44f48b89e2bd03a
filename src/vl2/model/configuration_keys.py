"""What the configurations share: which keys a file may hold, and how large counts may be."""

import math
from typing import Any, ClassVar

import torch
from transformers import GenerationConfig, PreTrainedConfig

from vl2.errors import CheckpointError, did_you_mean

QUANTIZATION_METHOD = "vl2"
"""`quant_method` of checkpoints whose weights are stored as this package stores them."""

# What the library itself reads and writes, beside the declared fields.
_LIBRARY_KEYS = frozenset(vars(GenerationConfig())) | frozenset(
    [
        "_attn_implementation_autoset",
        "_commit_hash",
        "_name_or_path",
        "attn_implementation",
        "auto_map",
        "experts_implementation",
        "id2label",
        "is_encoder_decoder",
        "label2id",
        "model_type",
        "name_or_path",
        "num_labels",
        "output_attentions",
        "quantization_config",
        "return_dict",
        "rope_scaling",
        "rope_theta",
        "torch_dtype",
        "transformers_version",
    ]
)
# What older versions of the library wrote into every file; nothing reads it.
_LEGACY_KEYS = frozenset(
    [
        "add_cross_attention",
        "cross_attention_hidden_size",
        "finetuning_task",
        "is_decoder",
        "prefix",
        "pruned_heads",
        "sep_token_id",
        "task_specific_params",
        "tf_legacy_loss",
        "tie_encoder_decoder",
        "tie_word_embeddings",
        "tokenizer_class",
        "torchscript",
        "use_bfloat16",
        "decoder_start_token_id",
        "head_dim",
        "qk_head_dim",
    ]
)


_MOST_LAYERS, _MOST = 1000, 2**24
"""More would only keep the machine busy with names and shapes of tensors that no file holds."""


class OfficialConfig(PreTrainedConfig):
    """Shared checks of the four configurations."""

    ignored_keys: ClassVar[frozenset[str]] = frozenset()
    # Fields that must be at least 1 where they are set, or sizes below would divide by zero.
    counts: ClassVar[tuple[str, ...]] = ()
    # Fields that must be from 0 to 1.
    shares: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - JSON
        for alias, name in self.attribute_map.items():
            if alias in kwargs:
                setattr(self, name, kwargs.pop(alias))
        unused = (_LEGACY_KEYS | self.ignored_keys | {"auto_map"}) - self._field_names()
        kwargs = {key: value for key, value in kwargs.items() if key not in unused}
        self._refuse_unknown(kwargs)
        self._refuse_fractions()
        self._refuse_counts()
        for name in ("dtype", "torch_dtype"):
            # The library remarks on every look at its own attribute of the older name.
            stated = kwargs.get(name, self.dtype if name == "dtype" else None)
            if not isinstance(stated, (str, torch.dtype, type(None))):
                where = self.base_config_key or "the configuration"
                raise CheckpointError(f"{where}: {name} must be a name such as bfloat16: {stated}")
        super().__post_init__(**kwargs)

    def _refuse_fractions(self) -> None:
        """Refuse what is no number, or infinite, or outside its range."""
        where = self.base_config_key or "the configuration"
        for name in sorted(self._field_names()):
            value = getattr(self, name, None)
            if isinstance(value, float) and not math.isfinite(value):
                raise CheckpointError(f"{where}: {name} must be a finite number: {value}")
            if name in self.shares and isinstance(value, (int, float)) and not 0 <= value <= 1:
                raise CheckpointError(f"{where}: {name} must be from 0 to 1: {value}")

    def _refuse_counts(self) -> None:
        """Refuse counts below 1, and whole numbers that no model has."""
        where = self.base_config_key or "the configuration"
        for name in sorted(self._field_names() | set(self.counts)):
            value = getattr(self, name, None)
            if not isinstance(value, int):
                continue
            if name in self.counts and value < 1:
                raise CheckpointError(f"{where}: {name} must be at least 1: {value}")
            most = _MOST_LAYERS if name.endswith(("layers", "depth")) else _MOST
            if value > most:
                raise CheckpointError(f"{where}: {name} must be at most {most}: {value}")

    def _refuse_unknown(self, kwargs: dict[str, Any]) -> None:
        unknown = sorted(key for key in kwargs if key not in _LIBRARY_KEYS)
        if unknown:
            known = sorted(self._field_names() | set(self.attribute_map))
            hint = did_you_mean(unknown[0], known) or " Remove it."
            where = self.base_config_key or "the configuration"
            raise CheckpointError(f"Unknown key {unknown[0]!r} in {where}.{hint}")

    @classmethod
    def _field_names(cls) -> set[str]:
        return set(cls.__dataclass_fields__)

"""Official tensor names on disk, transformers' layout in memory.

On disk every expert has its own tensors; in memory the experts of a layer lie in two. The fused
`qkv` and the position table of the vision tower stay as they are: a converter for them, run in
reverse on saving, would also catch the language model's `q_proj`.
"""

from collections.abc import Iterator

from transformers import PreTrainedModel
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.core_model_loading import (
    Concatenate,
    MergeModulelist,
    WeightConverter,
    WeightRenaming,
)

from vl2.model.configuration import DeepseekVLV2Config


def weight_conversions() -> list[WeightRenaming | WeightConverter]:
    """What turns official names into ours; transformers runs it backwards on saving."""
    return [
        *_prefixes(),
        *expert_conversions(),
    ]


def _prefixes() -> list[WeightRenaming]:
    return [
        WeightRenaming(r"^language\.model\.", "model.language_model."),
        WeightRenaming(r"^language\.lm_head\.", "lm_head."),
        WeightRenaming(r"^vision\.", "model.vision_tower."),
        WeightRenaming(r"^projector\.", "model.projector."),
        WeightRenaming(r"^image_newline", "model.image_newline"),
        WeightRenaming(r"^view_seperator", "model.view_seperator"),
    ]


def expert_conversions(companion: str = "") -> list[WeightConverter]:
    """What merges the experts of a layer into two tensors.

    Args:
        companion: ending of a tensor that goes with each weight, e.g. `_scale`.
    """
    # Older versions of transformers would take `weight_scale` for `weight`.
    end = companion or "(?!_scale)"
    gate_and_up = [f"mlp.experts.*.{name}_proj.weight{end}" for name in ("gate", "up")]
    return [
        WeightConverter(
            source_patterns=gate_and_up,
            target_patterns=f"mlp.experts.gate_up_proj{end}",
            operations=[MergeModulelist(dim=0), Concatenate(dim=1)],
        ),
        WeightConverter(
            source_patterns=f"mlp.experts.*.down_proj.weight{end}",
            target_patterns=f"mlp.experts.down_proj{end}",
            operations=[MergeModulelist(dim=0)],
        ),
    ]


def register_conversions() -> None:
    """Makes transformers convert checkpoints of our model type; again is harmless."""
    register_checkpoint_conversion_mapping(
        DeepseekVLV2Config.model_type, weight_conversions(), overwrite=True
    )


_PREFIXES = {
    "model.language_model.": "language.model.",
    "lm_head.": "language.lm_head.",
    "model.vision_tower.": "vision.",
    "model.": "",
}


def official_shapes(model: PreTrainedModel) -> dict[str, tuple[int, ...]]:
    """Names and shapes that a complete checkpoint of `model` has on disk."""
    tied = model.config.tie_word_embeddings
    shapes: dict[str, tuple[int, ...]] = {}
    for name, tensor in model.state_dict().items():
        if tied and name == "lm_head.weight":
            continue
        prefix = next(prefix for prefix in _PREFIXES if name.startswith(prefix))
        official = _PREFIXES[prefix] + name.removeprefix(prefix)
        shapes.update(_on_disk(official, tuple(tensor.shape)))
    return shapes


def _on_disk(name: str, shape: tuple[int, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
    stem, _, leaf = name.rpartition(".")
    if not stem.endswith(".experts"):
        yield name, shape
        return
    # A quantised weight has companions, e.g. `gate_up_proj_scale`: `weight_scale` on disk.
    merged, _, companion = leaf.partition("_proj")
    parts = ("gate_proj", "up_proj") if merged == "gate_up" else ("down_proj",)
    experts, rows, *rest = shape
    for expert in range(experts):
        for part in parts:
            yield f"{stem}.{expert}.{part}.weight{companion}", (rows // len(parts), *rest)

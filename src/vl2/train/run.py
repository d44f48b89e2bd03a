"""The stages of training: what each starts from, what it trains, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import set_seed

from vl2.errors import CheckpointError, InputError
from vl2.model.adapters import add_adapters
from vl2.model.loading import load_config, load_model
from vl2.model.modeling import DeepseekVLV2ForCausalLM
from vl2.model.released import released_config
from vl2.model.sizes import model_sizes
from vl2.model.vision import DeepseekVLV2VisionModel
from vl2.processing.processor import DeepseekVLV2Processor
from vl2.processing.tiling import candidate_resolutions
from vl2.train.attention import use_cpu_training_attention
from vl2.train.claiming import claim, last_whole_checkpoint
from vl2.train.data import Collator, Indexed
from vl2.train.feeding import (
    mixed_rows,
    open_mixture,
    part_names,
    rendered_rows,
    rows_of_a_step,
)
from vl2.train.initial import initialise
from vl2.train.naming import NameTokens, NamingRows
from vl2.train.nano import CONTEXT, MAX_TILES, PATCH_SIZE, TILE_SIZE, nano_config
from vl2.train.optim import DTYPES, check_optimizer
from vl2.train.parallel import load_sharded
from vl2.train.ranks import device_count, is_first, is_sharded, join, wait_for_all
from vl2.train.recipe import Recipe, builtin_recipes
from vl2.train.rows import Lesson
from vl2.train.skipping import SkippedRows
from vl2.train.tokenizer import build_tokenizer, coordinate_tokens
from vl2.train.trainer import run_stage
from vl2.train.vision import (
    DenseNames,
    DensePicture,
    VisionPretraining,
    collate_dense,
)

FINAL = "final"
ADAPTER = "adapter"
ENCODER = "encoder.safetensors"
HEADS = "naming.safetensors"
"""What told characters and edges from image rows in a run with `naming_weight`; for the next."""
FRESH = "nano-scratch"
_LAST_WRITTEN = "processor_config.json"


def fresh_processor(words: Iterable[str], coordinates: Iterable[int]) -> DeepseekVLV2Processor:
    """The processor of the embedded model, with a tokenizer made for these words."""
    return DeepseekVLV2Processor(
        build_tokenizer(words, coordinates, CONTEXT),
        candidate_resolutions=candidate_resolutions(TILE_SIZE, MAX_TILES),
        patch_size=PATCH_SIZE,
        max_position_embeddings=CONTEXT,
    )


def fresh_model(processor: DeepseekVLV2Processor, seed: int) -> DeepseekVLV2ForCausalLM:
    """The embedded model with untrained weights, for a processor."""
    set_seed(seed)
    tokenizer = processor.tokenizer
    config = nano_config(
        len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
    )
    config.image_token_id = processor.image_token_id
    model = DeepseekVLV2ForCausalLM(config)
    initialise(model, coordinate_tokens(tokenizer))
    return model


def train_vision(
    recipe: Recipe,
    folder: Path,
    encoder: DeepseekVLV2VisionModel,
    dense: Callable[[int], DensePicture],
    names: DenseNames,
    tell: Callable[[str], None] = lambda line: None,
) -> Path:
    """Stage `vision`: teach the encoder dense labels.

    Args:
        recipe: the resolved recipe.
        folder: of the run.
        encoder: trained in place.
        dense: the labelled picture at an index.
        names: of the classes of the labels.
        tell: takes a short line for people with each line of the log.

    Returns:
        The file with the encoder's weights.
    """
    if recipe.bf16 and not torch.cuda.is_available():
        use_cpu_training_attention(encoder)
    model = VisionPretraining(encoder, encoder.config.width, names)
    dataset = Indexed(dense, recipe.steps * rows_of_a_step(recipe))
    claim(folder, recipe)
    skipped = SkippedRows(folder, recipe.max_skipped)
    run_stage(recipe, folder, model, dataset, collate_dense, skipped, tell=tell)
    final = folder / FINAL / ENCODER
    if is_first():
        final.parent.mkdir(exist_ok=True)
        _save(encoder.state_dict(), final)
    wait_for_all()
    return final


def train_answers(
    recipe: Recipe,
    folder: Path,
    model: DeepseekVLV2ForCausalLM,
    processor: DeepseekVLV2Processor,
    source: Callable[[int], Lesson] | None,
    names: DenseNames,
    tell: Callable[[str], None] = lambda line: None,
) -> Path:
    """Stages `align`, `pretrain` and `sft`: teach a model to answer.

    Args:
        recipe: the resolved recipe.
        folder: of the run.
        model: trained in place.
        processor: of the model.
        source: the rendered lesson at an index, with its dense labels where `naming_weight` needs
            them; None for the files that the recipe names.
        names: words of the classes of the dense labels.
        tell: takes a short line for people with each line of the log.

    Returns:
        The folder with the model in the official layout.
    """
    if recipe.bf16 and not torch.cuda.is_available():
        use_cpu_training_attention(model)
    model.config.language_config.aux_loss_alpha = recipe.balance_weight
    if recipe.gradient_checkpointing:
        _checkpoint_activations(model)
    learner = _learner(recipe, model, processor, names)
    collate = Collator(processor, packed=recipe.packing, max_tokens=recipe.max_tokens)
    claim(folder, recipe)
    skipped = SkippedRows(folder, recipe.max_skipped)
    if source is None:
        _check_length(recipe, processor)
        mixture = open_mixture(recipe)
        dataset = mixed_rows(mixture, processor, recipe, model.config, folder, skipped)
    else:
        dataset = rendered_rows(source, processor, recipe)
    run_stage(recipe, folder, learner, dataset, collate, skipped, part_names(recipe), tell)
    final = folder / FINAL
    if recipe.naming_weight and is_first():
        _save(learner.heads.state_dict(), folder / HEADS)
    if recipe.lora_rank:
        if is_first():
            learner.save_pretrained(folder / ADAPTER)
        model = learner.merge_and_unload()
    model.bfloat16()
    model.save_pretrained(final, is_main_process=is_first())
    if is_first():
        processor.save_pretrained(final)
    wait_for_all()
    return final


def _learner(
    recipe: Recipe,
    model: DeepseekVLV2ForCausalLM,
    processor: DeepseekVLV2Processor,
    names: DenseNames,
) -> Any:  # noqa: ANN401 - a module that gives a loss
    """What is trained: the model itself, or what the recipe puts around it."""
    if recipe.lora_rank:
        set_seed(recipe.seed)
        return add_adapters(model, recipe.lora_rank, recipe.lora_alpha)
    if not recipe.naming_weight:
        return model
    words, devices = _name_tokens(processor, names), device_count()
    parts = recipe.passes(devices) * devices
    rows = NamingRows(model, words, len(names.characters), recipe.naming_weight, parts)
    earlier = Path(recipe.model).parent / HEADS
    if earlier.is_file():
        rows.heads.load_state_dict(load_file(earlier))
    return rows


def finished(recipe: Recipe, folder: Path) -> Path | None:
    """What a run of this recipe left at its end; None if it has not come to it.

    Raises:
        InputError: the folder holds a run of another recipe.
    """
    final = folder / FINAL
    is_vision = recipe.stage == "vision"
    if not (final / (ENCODER if is_vision else _LAST_WRITTEN)).is_file():
        return None
    claim(folder, recipe)
    return final / ENCODER if is_vision else final


def earlier_stages(recipe: Recipe) -> list[tuple[str, Path]]:
    """The built-in recipes whose results a recipe starts from and which are not there yet.

    Returns:
        The name of each with the folder of its run; the encoder's comes first.
    """
    encoder, model = Path(recipe.vision) / FINAL / ENCODER, Path(recipe.model) / _LAST_WRITTEN
    needed = [encoder, model] if recipe.vision else [model]
    runs = [file.parents[1] for file in needed if file.parent.name == FINAL and not file.is_file()]
    return [(run.name, run) for run in runs if run.name in builtin_recipes()]


def _checkpoint_activations(model: DeepseekVLV2ForCausalLM) -> None:
    """Keep only the inputs of layers, by whichever of its names the library has for it."""
    enable = getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)
    enable()


def starting_point(
    recipe: Recipe, words: Iterable[str], coordinates: Iterable[int], run: Path
) -> tuple[DeepseekVLV2ForCausalLM, DeepseekVLV2Processor]:
    """The model that a recipe starts from, with its processor.

    On several devices each holds its share, and a run that goes on starts from what it has written.

    Args:
        recipe: the resolved recipe.
        words: of the tokenizer of a fresh model.
        coordinates: of the same.
        run: folder of the run.
    """
    join()
    check_optimizer(recipe, divided=is_sharded(recipe))
    begun = last_whole_checkpoint(run)
    if is_sharded(recipe) and (recipe.model == FRESH or (recipe.vision and begun is None)):
        raise InputError(
            "Several devices start from a checkpoint: train one step on one device first "
            "(--set steps=1, with another --output), and name what it leaves as model, without "
            "vision."
        )
    if recipe.model == FRESH:
        processor = fresh_processor(words, coordinates)
        model = fresh_model(processor, recipe.seed)
    else:
        folder = Path(recipe.model)
        if not (folder / "config.json").is_file():
            raise InputError(_no_model(folder))
        _check_shape(recipe, folder)
        processor = DeepseekVLV2Processor.from_pretrained(folder)
        if is_sharded(recipe):
            return load_sharded(Path(begun or folder), recipe, DTYPES[recipe.weights]), processor
        model = load_model(folder, device="cpu", dtype=DTYPES[recipe.weights])
    if recipe.vision:
        model.model.vision_tower.load_state_dict(_encoder_weights(Path(recipe.vision)))
    return model, processor


def _check_length(recipe: Recipe, processor: DeepseekVLV2Processor) -> None:
    context = processor.max_position_embeddings
    if recipe.max_tokens > context:
        raise InputError(
            f"In the recipe, rows may have {recipe.max_tokens} tokens (max_tokens), but the model "
            f"takes {context} at most: --set max_tokens={context}."
        )


def _no_model(folder: Path) -> str:
    """What is told of a model that is not there."""
    return (
        f"The recipe starts from {folder}, which is no folder of a model: name another one "
        "with --set model=..., such as nano (embedded), tiny, small or base (the released ones), "
        "or the folder of a checkpoint."
    )


def _save(state: dict[str, torch.Tensor], path: Path) -> None:
    """Write a file that is whole as soon as it is there."""
    partial = path.with_suffix(".partial")
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, partial)
    partial.replace(path)


def _check_shape(recipe: Recipe, folder: Path) -> None:
    if not recipe.shape:
        return
    found, wanted = load_config(folder), released_config(recipe.shape)
    if model_sizes(found) != model_sizes(wanted):
        raise CheckpointError(
            f"{folder} does not have the shape of {recipe.shape}, which the recipe asks for: "
            "start from another checkpoint, or set shape to ''."
        )


def _name_tokens(processor: DeepseekVLV2Processor, names: DenseNames) -> NameTokens:
    """The tokens of the words of shapes and colours, as they stand inside a sentence."""

    def tokens(words: tuple[str, ...]) -> tuple[int, ...]:
        spelt = [processor.tokenizer.encode(f" {word}", add_special_tokens=False) for word in words]
        if any(len(ids) != 1 for ids in spelt):
            raise InputError("Rows can only name what is one token: set naming_weight to 0.")
        return tuple(ids[0] for ids in spelt)

    return NameTokens(tokens((*names.shapes, "text")), tokens(names.colours))


def _encoder_weights(run: Path) -> dict[str, torch.Tensor]:
    path = run / FINAL / ENCODER
    if not path.is_file():
        raise CheckpointError(
            f"There is no trained vision encoder {path}: run a recipe of stage 'vision' first, "
            "or point 'vision' at the folder of its run."
        )
    return load_file(path)

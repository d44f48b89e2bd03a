"""A recipe: everything that decides a training run, in one readable YAML file."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from vl2.errors import InputError, did_you_mean

BUILTIN = Path(__file__).parent / "recipes"
STAGES = ("vision", "align", "pretrain", "sft")
SCHEDULES = ("cosine", "step", "constant")
SHAPES = ("tiny", "small", "base")
PRECISIONS = ("float32", "bfloat16")
OPTIMIZERS = ("adamw", "muon")
_AT_LEAST_ONE = (
    "steps",
    "batch_size",
    "accumulate",
    "replicas",
    "ep_size",
    "log_every",
    "save_every",
    "level_steps",
)
_NOT_NEGATIVE = (
    "first_picture",
    "distinct",
    "global_batch_size",
    "lora_rank",
    "lora_alpha",
    "max_skipped",
    "warmup_steps",
    "workers",
    "threads",
    "bias_step",
    "balance_weight",
    "naming_weight",
    "vision_multiplier",
    "max_tiles",
    "weight_decay",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One training run. The defaults that the paper states are those of its Table 2.

    Attributes:
        name: names the run's folder.
        stage: `vision` (the encoder learns dense labels of rendered pictures; it stands for
            SigLIP's own pretraining), or one of the paper's three: `align` (everything but the
            language model learns), `pretrain` and `sft` (everything learns).
        model: what to start from: `nano-scratch` (fresh weights), the folder of a checkpoint,
            `nano` for the embedded one, or `tiny`, `small`, `base` for a released one.
        shape: `tiny`, `small` or `base` if the model must have the shape of that release; the
            plan reckons with it while the checkpoint is not there yet.
        vision: folder of a run of stage `vision` whose encoder replaces the model's, or empty.
        data: `synth` (rendered while training), the path of a JSONL file, of a tar shard or of a
            folder of shards, or several paths with their weights.
        pictures_root: folder that the rows' picture paths are relative to; empty for the folder of
            the file that names them.
        max_skipped: rows that may be skipped (broken, a picture missing, too long) before the run
            stops and lists them.
        first_picture: seed of the first rendered picture.
        distinct: rendered pictures before the same ones come again; 0 for a new one each time.
        turns: least and most questions a rendered picture.
        tasks: weights of the kinds of questions; empty for the renderer's own.
        pictures: weights of the kinds of rendered pictures; empty for the renderer's own.
        steps: optimizer steps.
        batch_size: rows of one forward pass on one device: pictures, conversations, or packed rows.
        accumulate: forward passes per optimizer step.
        global_batch_size: rows of an optimizer step over all devices; it decides `accumulate`
            unless it is 0.
        level_steps: consecutive steps whose rows are shared out anew, so that the rows of each cost
            alike; for devices that have only one row of a step each. 1 leaves every step the rows
            that it drew.
        packing: whether a row holds as many whole conversations as fit into `max_tokens`. They do
            not see each other. Rendered ones are put together pass by pass.
        optimizer: `adamw` (paper), or `muon` for the matrices inside layers and AdamW for the rest.
        learning_rate: its peak value.
        vision_multiplier: factor of the learning rate for the vision encoder (paper: 0.1).
        freeze_vision: whether the encoder keeps its weights.
        naming_weight: weight of the loss by which image rows learn to name what they show, beside
            the answers' (rendered data only).
        schedule: `cosine`, `step` (divided by sqrt(10) at 50 % and 75 %) or `constant`.
        final_fraction: fraction of the peak that `cosine` ends at.
        warmup_steps: steps of linear warm-up; the paper does not state its own.
        weight_decay: of either optimizer, on matrices only.
        clip: bound of the gradient's norm.
        balance_weight: weight of the sequence-wise balance loss.
        bias_step: step of the routers' correction bias (aux-loss-free balancing).
        mask_prompt: whether only answers carry a loss.
        max_tokens: of a row. A conversation with more is skipped by name; a rendered one loses the
            turns at its end that do not fit.
        max_tiles: local tiles of a picture at most; 0 for the model's own limit.
        bf16: whether the forward pass computes in bfloat16.
        weights: precision in which the weights are kept and updated.
        moments: precision of the optimizer's moments (paper: `bfloat16` for base).
        gradient_checkpointing: whether layers are computed again in the backward pass instead of
            keeping what they computed.
        lora_rank: rank of low-rank adapters on attention, shared and routed experts, which are
            then all that learns; 0 for none.
        lora_alpha: factor of the adapters, divided by their rank.
        replicas: groups of devices that each hold all weights; within a group they are sharded.
            Every device holds all of them beside adapters and where rows learn names.
        ep_size: devices that share the routed experts between them, where weights are sharded.
        seed: of the weights and the order of the data.
        workers: processes that prepare the data.
        threads: threads for tensor operations; 0 leaves torch's choice.
        log_every: steps between two lines of the log.
        save_every: steps between two checkpoints.
    """

    name: str
    stage: str = "sft"
    model: str = "nano-scratch"
    shape: str = ""
    vision: str = ""
    data: str | dict[str, float] = "synth"
    pictures_root: str = ""
    max_skipped: int = 100
    first_picture: int = 0
    distinct: int = 0
    turns: tuple[int, int] = (6, 10)
    pictures: dict[str, float] = field(default_factory=dict)
    tasks: dict[str, float] = field(default_factory=dict)
    steps: int = 1000
    batch_size: int = 64
    accumulate: int = 1
    global_batch_size: int = 0
    level_steps: int = 1
    packing: bool = False
    optimizer: str = "adamw"
    learning_rate: float = 3e-5
    vision_multiplier: float = 0.1
    freeze_vision: bool = False
    naming_weight: float = 0.0
    schedule: str = "constant"
    final_fraction: float = 0.05
    warmup_steps: int = 0
    weight_decay: float = 0.1
    clip: float = 1.0
    balance_weight: float = 1e-4
    bias_step: float = 0.0
    mask_prompt: bool = True
    max_tokens: int = 4096
    max_tiles: int = 0
    bf16: bool = True
    weights: str = "float32"
    moments: str = "float32"
    gradient_checkpointing: bool = False
    lora_rank: int = 0
    lora_alpha: float = 16.0
    replicas: int = 1
    ep_size: int = 1
    seed: int = 0
    workers: int = 1
    threads: int = 0
    log_every: int = 20
    save_every: int = 500

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            value = getattr(self, name)
            _require(value in known, name, value, f"one of {', '.join(filter(None, known))}")
        for name in _AT_LEAST_ONE:
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in _NOT_NEGATIVE:
            _require(getattr(self, name) >= 0, name, getattr(self, name), "not negative")
        _require(self.learning_rate > 0, "learning_rate", self.learning_rate, "positive")
        knows_patches = self.naming_weight == 0 or self.data == "synth"
        _require(knows_patches, "naming_weight", self.naming_weight, "0 unless data is synth")
        if self.lora_rank and self.bias_step:
            raise InputError(
                f"In the recipe, bias_step is {self.bias_step}, but adapters (lora_rank "
                f"{self.lora_rank}) do not keep biases: set it to 0 (--set bias_step=0)."
            )
        low, high = self.turns
        _require(0 <= low <= high, "turns", self.turns, "two numbers, the lower first")

    @property
    def frozen_parts(self) -> tuple[str, ...]:
        """Parts of the model that keep their weights: of `vision`, `adaptor` and `language`."""
        if self.lora_rank:
            return ("vision", "adaptor", "language")
        vision = ("vision",) if self.freeze_vision else ()
        return (*vision, "language") if self.stage == "align" else vision

    def seed_of(self, index: int) -> int:
        """The seed of the rendered picture at an index of the run."""
        return self.first_picture + (index % self.distinct if self.distinct else index)

    def passes(self, devices: int) -> int:
        """Forward passes of each of `devices` devices per optimizer step.

        Raises:
            InputError: `global_batch_size` cannot be divided among them.
        """
        if not self.global_batch_size:
            return self.accumulate
        at_once = self.batch_size * devices
        passes, rest = divmod(self.global_batch_size, at_once)
        if rest or not passes:
            raise InputError(
                f"In the recipe, global_batch_size {self.global_batch_size} must be a multiple of "
                f"batch_size {self.batch_size} times {devices} devices: change one of them."
            )
        return passes

    def as_yaml(self) -> str:
        """The recipe with every value spelled out, as it is saved beside checkpoints."""
        values = dataclasses.asdict(self)
        values["turns"] = list(self.turns)
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


_CHOICES = {
    "stage": STAGES,
    "schedule": SCHEDULES,
    "shape": ("", *SHAPES),
    "optimizer": OPTIMIZERS,
    "weights": PRECISIONS,
    "moments": PRECISIONS,
}


def load_recipe(source: str, overrides: tuple[str, ...] = ()) -> Recipe:
    """Read a recipe by path or by the name of a built-in one.

    Args:
        source: path of a YAML file, or e.g. `nano-vision`.
        overrides: settings `key=value` that replace what the file says.

    Raises:
        InputError: no such recipe, an unknown key (the nearest known one is named), a value of
            the wrong type.
    """
    values = _read(source)
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator:
            raise InputError(f"--set wants key=value, got {override!r}.")
        try:
            values[key.strip()] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise InputError(f"--set {key}: {text!r} is not a YAML value.") from error
    return _recipe_from(values, source)


def _read(source: str) -> dict[str, Any]:
    path = next((path for path in (Path(source), _builtin(source)) if _is_file(path)), None)
    if path is None:
        known = builtin_recipes()
        raise InputError(
            f"There is no recipe {source!r}.{did_you_mean(source, known)} Give a YAML file or one "
            f"of {', '.join(known)}."
        )
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"The recipe {source} is not valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"The recipe {source} must be a list of 'key: value' lines.")
    return values


def builtin_recipes() -> list[str]:
    """The names of the built-in recipes."""
    return sorted(path.stem for path in BUILTIN.glob("*.yaml"))


def _builtin(name: str) -> Path:
    return BUILTIN / f"{name}.yaml"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long for a name, or a null byte in it
        return False


def _recipe_from(values: dict[str, Any], source: str) -> Recipe:
    types = get_type_hints(Recipe)
    for key in values:
        if key not in types:
            hint = did_you_mean(str(key), types)
            raise InputError(f"The recipe {source} has an unknown key {key!r}.{hint}")
    if "name" not in values:
        raise InputError(f"The recipe {source} needs a name.")
    return Recipe(**{key: _typed(key, value, types[key]) for key, value in values.items()})


def _typed(key: str, value: Any, kind: Any) -> Any:  # noqa: ANN401 - the type is data here
    if key == "turns":
        is_pair = isinstance(value, list | tuple) and len(value) == 2
        _require(is_pair and all(isinstance(v, int) for v in value), key, value, "two integers")
        return tuple(value)
    if key in ("pictures", "tasks") or (key == "data" and isinstance(value, dict)):
        return _weights(key, value)
    kind = str if key == "data" else kind
    if value is None and kind is str:
        return ""
    if kind is float and isinstance(value, int | str) and not isinstance(value, bool):
        try:
            return float(value)
        except ValueError:
            pass
    matches = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    _require(matches, key, value, f"of type {kind.__name__}")
    return value


def _weights(key: str, value: object) -> dict[str, float]:
    if isinstance(value, dict):
        known = [weight for weight in value.values() if isinstance(weight, int | float)]
        if len(known) == len(value) and all(weight >= 0 for weight in known):
            return {str(name): float(weight) for name, weight in value.items()}
    raise InputError(
        f"In the recipe, {key} must be names with weights, such as {{shapes: 1}}, got {value!r}."
    )


def _require(holds: bool, name: str, value: object, wanted: str) -> None:
    if not holds:
        raise InputError(f"In the recipe, {name} must be {wanted}, got {value!r}.")

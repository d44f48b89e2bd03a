"""Several devices, through the distributed configuration of transformers.

Weights are sharded with FSDP2, routed experts divided with expert parallelism, and both together;
transformers places the shards while it loads a checkpoint, and its Trainer recognises such a model.
Processes are started by `torchrun` or `accelerate launch`, one for each device.
"""

from __future__ import annotations

from pathlib import Path

import torch
import transformers
from transformers.distributed import DistributedConfig

from vl2.errors import InputError
from vl2.model.loading import check_tensors, load_config
from vl2.model.modeling import DeepseekVLV2ForCausalLM
from vl2.model.registration import register
from vl2.train.plan import shard_count
from vl2.train.ranks import device_count
from vl2.train.recipe import Recipe


def load_sharded(folder: Path, recipe: Recipe, dtype: torch.dtype) -> DeepseekVLV2ForCausalLM:
    """Load a checkpoint so that each process holds only its share.

    Args:
        folder: of a checkpoint in the official layout, or one that a run of any layout wrote.
        recipe: says among how many devices weights and experts are divided.
        dtype: of the weights.

    Raises:
        InputError: the devices cannot be divided as the recipe says, or transformers is too old.
        CheckpointError: the checkpoint is broken.
    """
    if "dp_replicate_size" not in DistributedConfig.__dataclass_fields__:
        raise InputError(
            "Training on several devices needs transformers 5.23 or newer, found "
            f"{transformers.__version__}: upgrade it."
        )
    config = load_config(folder)
    check_tensors(folder, config)
    shards = shard_count(recipe, config, device_count())
    register()
    layout = DistributedConfig(
        fsdp_size=shards,
        dp_replicate_size=recipe.replicas,
        ep_size=recipe.ep_size,
        # Gathered in bfloat16 and reduced in float32: autocast would keep a cast of every layer.
        fsdp_mixed_precision=recipe.bf16,
    )
    model = DeepseekVLV2ForCausalLM.from_pretrained(
        folder, config=config, dtype=dtype, distributed_config=layout, local_files_only=True
    )
    return model.train()

"""Several processes that train together over gloo, and what they are made to do.

A fork server imports the heavy modules once; processes are forked from it.
"""

import multiprocessing
import os
import socket
import traceback
from pathlib import Path

PRELOADED = ["model_inputs", "vl2.train.run", "vl2.cli.train", "transformers.trainer"]
PATIENCE = 240


def run_ranks(work, count, folder, *arguments):
    """Runs `work(folder, *arguments)` in `count` processes; fails with what the first one says."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = [
        context.Process(target=_rank, args=(work, rank, count, port, folder, arguments))
        for rank in range(count)
    ]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(PATIENCE)
    for rank in ranks:
        if rank.is_alive():
            rank.kill()
    told = "\n".join(file.read_text("utf-8") for file in sorted(Path(folder).glob("failed-*")))
    assert [rank.exitcode for rank in ranks] == [0] * count, told or "a rank hangs"


def _rank(work, rank, count, port, folder, arguments):
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(count),
        LOCAL_WORLD_SIZE=str(count),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        OMP_NUM_THREADS="1",
    )
    import torch

    torch.set_num_threads(1)
    try:
        work(Path(folder), *arguments)
    except BaseException:
        (Path(folder) / f"failed-{rank}").write_text(traceback.format_exc(), encoding="utf-8")
        raise


def gradients_of_layouts(folder, layouts):
    """Loss and whole gradients of one step under each layout, into `grads-N.pt`."""
    import torch
    from torch.distributed.tensor import DTensor

    from vl2.train.parallel import load_sharded
    from vl2.train.ranks import device_count, is_first, join, total
    from vl2.train.recipe import Recipe

    join()
    rank, count = int(os.environ["RANK"]), device_count()
    for number, layout in enumerate(layouts):
        recipe = Recipe(name="x", bf16=False, **layout)
        model = load_sharded(folder / "mini", recipe, torch.float32)
        outputs = model(**step_batch(rank, count))
        (outputs.loss * count).backward()  # gradients are averaged over the ranks
        loss, load = total(outputs.loss.detach()), total(outputs.expert_load)
        whole = {
            name: p.grad.full_tensor() if isinstance(p.grad, DTensor) else p.grad
            for name, p in model.named_parameters()
            if p.grad is not None
        }
        if is_first():
            torch.save({"loss": loss, "load": load, **whole}, folder / f"grads-{number}.pt")


def step_batch(rank, count):
    """The part of a rank: odd ranks have no picture."""
    from model_inputs import IMAGE, mini_prompt

    prompt = mini_prompt([(1, 2)] if rank % 2 == 0 else [], words=9 + rank, seed=rank)
    labels = prompt["input_ids"].clone()
    labels[:, :-6] = -100
    labels[labels == IMAGE] = -100
    shared = {"num_items_in_batch": 6 * count, "balance_share": 1 / count}
    return {**prompt, "labels": labels, "output_router_logits": True, **shared}


def train_commands(folder, commands):
    """Runs command lines of `vl2 train` one after the other."""
    from vl2.cli import main

    for words in commands:
        code = main(["train", *words])
        assert code == 0, f"{words} gave {code}"

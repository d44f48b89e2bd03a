"""Documents read by the machines of a Ray cluster.

Ray Data deals blocks of documents to a pool of actors, one engine each, and streams back what
became of them. Results do not travel: each worker writes them into the folder of results, which
all machines share, so what a lost worker had finished is found there.

Nothing is started here: the cluster is there before, and its owner says who may reach it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import re
import secrets
import socket
import threading
import warnings
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from vl2.documents import files
from vl2.documents.batch.errand import Errand, job_as_dict, outcome_from_dict
from vl2.documents.batch.rounds import Share, in_rounds, share_of
from vl2.documents.batch.station import JOB, SAID, Station
from vl2.documents.desk import DOCUMENTS, Job, Told
from vl2.documents.results import RESULT, Outcome
from vl2.documents.settings import FORMAT
from vl2.errors import EngineError, InputError, MissingExtraError

AUTO = "auto"
_ADDRESS = re.compile(r"(?P<host>[\w.-]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})")
_CONNECT_SECONDS = 5.0
_TALLY_SECONDS = 1.0
_BLOCKS_OF_A_WORKER = 4

_log = logging.getLogger(__name__)


def check_address(address: str) -> None:
    """Refuse what is no address of a cluster, or of one at which nobody answers.

    Raises:
        InputError: it is none, or nobody answers.
        MissingExtraError: Ray is not installed.
    """
    _ray()
    if address == AUTO:
        return
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise InputError(
            f"{address!r} is no address of a Ray cluster: write HOST:PORT, such as "
            "10.0.0.1:6379, on a machine of the cluster, or auto."
        )
    try:
        place = (match["host"].strip("[]"), int(match["port"]))
        socket.create_connection(place, _CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"No Ray cluster answers at {address} ({error}): is it running (ray status)?"
        ) from error


def read_on_cluster(
    address: str,
    errand: Errand,
    jobs: Sequence[Job],
    workers: int | None,
    on_pages: Told,
) -> Generator[Outcome, None, None]:
    """Read documents on a cluster; outcomes come as they are finished.

    Args:
        address: of the cluster, `HOST:PORT` or `auto`; this machine must be one of its own.
        errand: what is read, where to and how.
        jobs: the documents.
        workers: how many; one for each GPU, or without GPUs for each machine, if None.
        on_pages: told of pages found and read, from another thread, with a second's delay.

    Raises:
        EngineError: a machine cannot do its work; the sentence names it.
        InputError: the cluster cannot be reached or has not so many processors.
        MissingExtraError: Ray is not installed.
    """
    check_address(address)
    with _connected(address) as ray, _marked(errand) as mark, _counted(ray, on_pages) as tally:
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        share = share_of(machines, workers, errand.device)
        # A result that is to be replaced must not look as if this run had written it.
        for job in jobs:
            (errand.out / DOCUMENTS / job.folder / RESULT).unlink(missing_ok=True)
        means = {
            "errand": errand.as_text(),
            "form": FORMAT,
            "mark": mark,
            "tally": tally,
        }

        def read_round(some: Sequence[Job], together: int) -> Iterable[Outcome]:
            return _round(ray, share, means, some, together)

        # Large enough to keep a worker's engine busy, small enough to share out evenly.
        even = math.ceil(len(jobs) / (share.workers * _BLOCKS_OF_A_WORKER))
        yield from in_rounds(jobs, read_round, min(4 * errand.parallel, even))


def _ray() -> Any:  # noqa: ANN401 - an optional library
    # What it says on its own account would run through the progress line.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError.for_extra("ray", "--ray") from error
    return ray


@contextlib.contextmanager
def _connected(address: str) -> Iterator[Any]:
    ray = _ray()
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"The Ray cluster at {address} cannot be joined ({reason}): start the run on a machine "
            "of the cluster, with the same versions of Ray and Python."
        ) from error
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1  # what is lost is read in the next round
    try:
        yield ray
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _marked(errand: Errand) -> Iterator[str]:
    """A file in the folder of results, by which other machines know it."""
    mark = f".run-{secrets.token_hex(8)}"
    files.write(errand.out / mark, "")
    try:
        yield mark
    finally:
        (errand.out / mark).unlink(missing_ok=True)


class Tally:
    """Counts the pages of all workers."""

    def __init__(self) -> None:
        self._documents = self._found = self._read = 0

    def add(self, found: int, read: int) -> None:
        """So many more; pages that are found are those of one document."""
        self._documents += found > 0
        self._found += found
        self._read += read

    def total(self) -> tuple[int, int, int]:
        """Documents that were opened, pages found in them, pages read."""
        return self._documents, self._found, self._read


def tell(on_pages: Told, documents: int, found: int, read: int) -> None:
    """Pass on what was counted together, as if every document had been opened by itself."""
    for left in range(documents, 0, -1):
        share = found // left
        found -= share
        on_pages(share, 0)
    if found or read:
        on_pages(found, read)


@contextlib.contextmanager
def _counted(ray: Any, on_pages: Told) -> Iterator[Any]:  # noqa: ANN401
    """An actor on this machine that counts, and a thread that passes on what it counted."""
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    tally = ray.remote(Tally).options(num_cpus=0, scheduling_strategy=here).remote()
    ended = threading.Event()

    def watch() -> None:
        told = (0, 0, 0)
        last = False
        while not last:
            last = ended.wait(_TALLY_SECONDS)
            try:
                total = ray.get(tally.total.remote(), timeout=10)
            except ray.exceptions.RayError:
                continue
            tell(on_pages, *(now - before for now, before in zip(total, told, strict=True)))
            told = total

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield tally
    finally:
        ended.set()
        watcher.join(_CONNECT_SECONDS)


def _round(
    ray: Any,  # noqa: ANN401
    share: Share,
    means: dict[str, Any],
    jobs: Sequence[Job],
    together: int,
) -> Iterator[Outcome]:
    """Let the cluster read; what it loses is missing among the outcomes."""
    rows = [{JOB: json.dumps(_absolute(job))} for job in jobs]
    blocks = math.ceil(len(rows) / together)
    with warnings.catch_warnings():
        # Of `ray_remote_args_fn`, which later versions take out, without another way to say it.
        warnings.simplefilter("ignore", DeprecationWarning)
        said = ray.data.from_items(rows, override_num_blocks=blocks).map_batches(
            Station,
            batch_size=None,
            fn_constructor_kwargs=means,
            compute=ray.data.ActorPoolStrategy(size=min(share.workers, blocks)),
            num_cpus=share.cpus,
            num_gpus=share.gpus,
            ray_remote_args_fn=_one_attempt,
        )
    try:
        for row in said.iter_rows():
            answer = json.loads(row[SAID])
            if "trouble" in answer:
                raise EngineError(answer["trouble"])
            yield outcome_from_dict(answer["outcome"])
    except ray.exceptions.RayError as error:
        _log.warning("A round of the cluster ended early: %s", " ".join(str(error).split())[:500])


def _one_attempt() -> dict[str, Any]:
    """A block that is lost with its worker is for the next round.

    Ray would keep it for the same worker, and wait for a machine that may never come back.
    """
    return {"max_task_retries": 0}


def _absolute(job: Job) -> dict[str, str]:
    return job_as_dict(replace(job, path=job.path.absolute()))

"""Who reads for `vl2 read`: this process, several of this machine, or a Ray cluster."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from vl2.cli import terminal
from vl2.cli.wish import Wish
from vl2.errors import InputError

if TYPE_CHECKING:
    from vl2.cli.pace import Line
    from vl2.documents.batch.errand import Errand
    from vl2.documents.readers import Reader
    from vl2.documents.results import Outcome
    from vl2.documents.run import Plan
    from vl2.documents.settings import Settings
    from vl2.engine import Assistant


def check(wish: Wish) -> None:
    """Refuse a cluster that cannot be used before anything is read."""
    if wish.ray is None:
        return
    from vl2.documents.batch.cluster import check_address

    if wish.offline:
        raise InputError(
            "--offline forbids --ray, for the machines of a cluster talk over the network: "
            "use --workers on this machine."
        )
    check_address(wish.ray)


def work(
    wish: Wish,
    settings: Settings,
    planned: Plan,
    line: Line,
) -> list[Outcome]:
    """Read what is to be read, by whoever was asked for."""
    from vl2.documents.batch.errand import LOCAL
    from vl2.documents.run import gathered, run

    errand = _errand(wish, settings)
    many = wish.ray is not None or (wish.workers is not None and wish.workers > 1)
    lazy = not many and _may_need_no_model(settings, planned)
    if settings.engine == LOCAL and not lazy:
        line.wait()
    if wish.ray is not None:
        from vl2.documents.batch.cluster import read_on_cluster

        finished = read_on_cluster(wish.ray, errand, planned.jobs, wish.workers, line.add)
        with contextlib.closing(finished):
            return gathered(planned, finished, line.finish)
    if wish.workers is not None and wish.workers > 1:
        from vl2.documents.batch.pool import Pool

        workers = min(wish.workers, len(planned.jobs))
        with contextlib.closing(Pool(errand, workers, line.add)) as pool:
            return run(planned, pool.read, workers * wish.parallel, line.finish)
    from vl2.documents.batch.errand import open_desk

    reader = _reader(wish, settings, lazy=lazy)
    with contextlib.closing(open_desk(errand, reader, line.add)) as desk:
        return run(planned, desk.read, wish.parallel, line.finish)


def _may_need_no_model(settings: Settings, planned: Plan) -> bool:
    """Whether all pages may turn out to have a text layer, and nothing else is asked."""
    from vl2.documents.batch.errand import LOCAL

    only_text = settings.text_layer == "prefer" and {t.kind for t in settings.tasks} == {"text"}
    pdfs = any(job.path.suffix.lower() == ".pdf" for job in planned.jobs)
    return settings.engine == LOCAL and only_text and pdfs


def _reader(wish: Wish, settings: Settings, *, lazy: bool) -> Reader:
    """Who reads; a model that may not be needed is loaded when it is."""
    from vl2.documents.batch.errand import LOCAL, open_reader
    from vl2.documents.readers import Identity, LazyReader

    def opened() -> Reader:
        return open_reader(settings, wish.url, lambda: _assistant(wish))

    if lazy:
        identity = Identity(LOCAL, settings.model, None, settings.fingerprint)
        return LazyReader(identity, opened)
    return opened()


def _errand(wish: Wish, settings: Settings) -> Errand:
    from vl2.documents.batch.errand import Errand

    return Errand(
        settings=settings,
        out=wish.out.absolute(),
        limits=wish.limits,
        parallel=wish.parallel,
        copies=wish.report,
        device=wish.device,
        memory=wish.memory,
        url=wish.url,
        offline=wish.offline,
    )


def _assistant(wish: Wish) -> Assistant:
    return terminal.load_assistant(
        wish.model, wish.device, wish.dtype, wish.memory, quiet=wish.quiet
    )

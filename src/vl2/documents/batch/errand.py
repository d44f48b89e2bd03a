"""What a worker must know before it reads its first document, as text that crosses processes."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vl2 import engine
from vl2.documents.desk import Desk, Job, Told
from vl2.documents.offline import no_network
from vl2.documents.pages import PageChoice
from vl2.documents.readers import Identity, LocalReader, Reader, RemoteReader, Usage, check_schema
from vl2.documents.rendering.limits import Limits
from vl2.documents.results import Outcome
from vl2.documents.settings import Settings
from vl2.documents.tasks import Task
from vl2.engine.remote import ChatServer, key_from_environment

if TYPE_CHECKING:
    from vl2.engine import Assistant

LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Errand:
    """What is read, where to, and by what means.

    Attributes:
        settings: what is asked.
        out: folder of the results, absolute.
        limits: what a document may take.
        parallel: pages that a worker reads at once, and documents that it has open.
        copies: whether to keep a small picture of each page.
        device: where a worker's model runs.
        memory: what a worker's model may take, as it was written.
        url: of the server that reads, if one does.
        offline: whether a worker must do without the network.
    """

    settings: Settings
    out: Path
    limits: Limits
    parallel: int = 8
    copies: bool = True
    device: str = "auto"
    memory: str | None = None
    url: str | None = None
    offline: bool = False

    def as_text(self) -> str:
        """The errand as one line of JSON."""
        settings = self.settings
        asked = {name: getattr(settings, name) for name in Settings.__slots__}
        asked |= {
            "tasks": [asdict(task) for task in settings.tasks],
            "pages": str(settings.pages),
        }
        means = {name: getattr(self, name) for name in Errand.__slots__}
        means |= {"settings": asked, "out": str(self.out), "limits": asdict(self.limits)}
        return json.dumps(means)

    @classmethod
    def from_text(cls, text: str) -> Errand:
        """The inverse."""
        means: dict[str, Any] = json.loads(text)
        asked: dict[str, Any] = means["settings"]
        asked["tasks"] = tuple(Task(**task) for task in asked["tasks"])
        asked["pages"] = PageChoice.parse(asked["pages"])
        means["settings"] = Settings(**asked)
        means["limits"] = Limits(**means["limits"])
        means["out"] = Path(means["out"])
        return cls(**means)


def open_reader(settings: Settings, url: str | None, load: Callable[[], Assistant]) -> Reader:
    """Whoever reads by these settings.

    Args:
        settings: which engine, which model, and which schemas it must follow.
        url: of the server, for an engine that is one.
        load: loads the model, for the local engine.

    Raises:
        InputError: the model cannot be loaded or follow a schema, or the URL is none.
        CheckpointError: there is no such model, or it is broken.
        MissingExtraError: llguidance is not installed, and a schema is asked for.
    """
    if settings.engine != LOCAL:
        server = ChatServer(url or "", key_from_environment())
        return RemoteReader(Identity(settings.engine, settings.model, None), server)
    assistant = load()
    for task in settings.tasks:
        if task.schema is not None:
            check_schema(assistant, task.schema)
    identity = Identity(LOCAL, settings.model, assistant.dtype, settings.fingerprint)
    return LocalReader(identity, assistant)


@contextlib.contextmanager
def opened(errand: Errand, on_pages: Told) -> Iterator[Desk]:
    """A desk that reads by an errand, for the length of a `with` block.

    Args:
        errand: what, where to, how.
        on_pages: called when a document is opened and after each page, from any thread.

    Raises:
        VL2Error: as of `open_reader`.
    """
    settings = errand.settings

    def load() -> Assistant:
        return engine.load(settings.model, errand.device, settings.dtype, memory=errand.memory)

    with no_network() if errand.offline else contextlib.nullcontext():
        desk = open_desk(errand, open_reader(settings, errand.url, load), on_pages)
        with contextlib.closing(desk):
            yield desk


def open_desk(errand: Errand, reader: Reader, on_pages: Told) -> Desk:
    """A desk by an errand, for a reader that is open."""
    return Desk(
        reader,
        errand.settings,
        errand.out,
        errand.limits,
        errand.parallel,
        copies=errand.copies,
        on_pages=on_pages,
    )


def device_of(wanted: str, seat: int, gpus: int) -> str:
    """Where the model of a worker runs: workers of one machine take its GPUs in turn.

    Args:
        wanted: what was asked for; a device with a number is taken as it is.
        seat: number of the worker, from 0.
        gpus: that the machine has.
    """
    return f"cuda:{seat % gpus}" if gpus and wanted in ("auto", "cuda") else wanted


def job_as_dict(job: Job) -> dict[str, str]:
    """A document as JSON names it."""
    return {"path": str(job.path), "folder": job.folder, "digest": job.digest}


def job_from_dict(values: dict[str, Any]) -> Job:
    """The inverse."""
    return Job(Path(values["path"]), values["folder"], values["digest"])


def outcome_from_dict(values: dict[str, Any]) -> Outcome:
    """An outcome from the fields that `dataclasses.asdict` gave."""
    named: dict[str, Any] = {**values, "usage": Usage(**values["usage"])}
    return Outcome(**named)

"""What the tests of workers share: documents to read, an errand, and what came of it."""

import contextlib

import PIL.Image
from pdfs import pdf

from vl2.documents.batch.errand import Errand, open_desk, open_reader
from vl2.documents.rendering.limits import Limits
from vl2.documents.run import plan, run
from vl2.documents.settings import Settings
from vl2.documents.tasks import read_text


def errand_of(out, url, parallel=2, **changed):
    settings = Settings(
        (read_text(),), engine="openai", model="pages", dtype="", text_layer="ignore"
    )
    out.mkdir(exist_ok=True)
    return Errand(settings, out, Limits(), parallel, url=url, **changed)


def write_papers(folder, counts):
    """PDFs of so many pages each, no two pages alike."""
    folder.mkdir(exist_ok=True)
    paths = []
    for number, count in enumerate(counts):
        path = folder / f"paper {number}.pdf"
        path.write_bytes(pdf(*[[f"Paper {number}", f"page {page}"] for page in range(count)]))
        paths.append(path)
    return paths


def write_pictures(folder, count):
    folder.mkdir(exist_ok=True)
    paths = []
    for number in range(count):
        path = folder / f"{number:03d}.png"
        PIL.Image.new("RGB", (20, 20), (number, 0, 0)).save(path)
        paths.append(path)
    return paths


def planned(errand, paths):
    return plan(paths, errand.settings, errand.out)


def read_alone(errand, paths):
    """What one process makes of the documents."""
    reader = open_reader(errand.settings, errand.url, lambda: None)
    with contextlib.closing(open_desk(errand, reader, lambda found, read: None)) as desk:
        return sorted_by_path(run(planned(errand, paths), desk.read, errand.parallel))


def sorted_by_path(outcomes):
    return sorted(outcomes, key=lambda outcome: outcome.path)


def contents(out):
    """Every file below a folder of results, but for locks."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }

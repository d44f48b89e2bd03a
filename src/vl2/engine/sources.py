"""Names of models, and the folders that hold them."""

from __future__ import annotations

import importlib.resources
import os
import re
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import (
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)

from vl2.errors import CheckpointError, did_you_mean

EMBEDDED = "nano"

_FILES = ("*.json", "*.safetensors", "*.jinja", "tokenizer*")
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True)
class Release:
    """A released checkpoint: its repository on huggingface.co and what has to be downloaded."""

    repository: str
    gigabytes: float


RELEASES = {
    "tiny": Release("deepseek-ai/deepseek-vl2-tiny", 6.7),
    "small": Release("deepseek-ai/deepseek-vl2-small", 32.3),
    "base": Release("deepseek-ai/deepseek-vl2", 54.9),
}


def find_checkpoint(name_or_path: str | os.PathLike[str]) -> Path:
    """The folder of a model; a released one is downloaded if it is not here yet.

    Args:
        name_or_path: `nano` (inside this package), `tiny`, `small`, `base` (the released
            checkpoints), a folder, or a repository `owner/name` on huggingface.co. A name goes
            before a folder of the same name; write `./tiny` for the folder.

    Raises:
        CheckpointError: nothing by this name is here, nor could it be downloaded.
    """
    name = os.fspath(name_or_path)
    if name == EMBEDDED:
        return _embedded()
    if name in RELEASES:
        return _downloaded(name, RELEASES[name].repository)
    path = _existing(name)
    if path is not None and path.is_dir():
        if not (path / "config.json").is_file():
            raise CheckpointError(
                f"The folder {name!r} holds no model: it has no config.json. "
                "Name the folder of a DeepSeek-VL2 checkpoint."
            )
        return path
    if path is not None:
        raise CheckpointError(
            f"{name!r} is a file, but a model is a folder: name the folder that holds config.json."
        )
    if _REPOSITORY.fullmatch(name) and not name.startswith("."):
        return _downloaded(name, name)
    raise CheckpointError(
        f"There is no model {name!r}.{did_you_mean(name, (EMBEDDED, *RELEASES))} Use {EMBEDDED}, "
        f"{', '.join(RELEASES)}, a folder that holds a checkpoint, or a repository owner/name."
    )


def _existing(name: str) -> Path | None:
    """The path that a name is, if there is something."""
    try:
        path = Path(name).expanduser()
        return path if path.exists() else None
    except (OSError, RuntimeError, ValueError):  # too long, no such user after ~, a null byte
        return None


def _embedded() -> Path:
    folder = Path(str(importlib.resources.files("vl2"))) / "assets" / EMBEDDED
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"The embedded model is missing from this installation ({folder}): install vl2 again."
        )
    return folder


def _downloaded(name: str, repository: str) -> Path:
    """The snapshot of a repository, from the local cache where it is complete."""
    try:
        return Path(huggingface_hub.snapshot_download(repository, allow_patterns=list(_FILES)))
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise CheckpointError(
            f"There is no model {name!r}: neither a folder here nor a repository on "
            "huggingface.co (or it needs a login: hf auth login)."
        ) from error
    except (HTTPError, OSError) as error:
        raise CheckpointError(_how_to_get(name, repository, error)) from error


def _how_to_get(name: str, repository: str, error: Exception) -> str:
    release = RELEASES.get(name)
    size = f" (about {release.gigabytes} GB)" if release else ""
    offline = isinstance(error, LocalEntryNotFoundError)
    reason = "no connection to huggingface.co" if offline else " ".join(str(error).split())[:200]
    return (
        f"The model {name!r} is not on this machine and could not be downloaded ({reason}): "
        f"where there is a network, run hf download {repository} --local-dir FOLDER{size}, from "
        f"https://huggingface.co/{repository}, then give FOLDER as the model."
    )

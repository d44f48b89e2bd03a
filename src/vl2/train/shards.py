"""Rows in tar files, laid out as WebDataset does: neighbours that share a key are one sample.

`0001.json` holds the row of key `0001`, `0001.jpg`, `0001.0.jpg` or `0001.front.png` its pictures.
A row names them by member or by what follows the key; pictures that no row names are taken in the
order of the tar. A sample with a `0001.txt` instead is a picture and its caption. A key that comes
again later, as in shards that were joined, is another sample. Nothing is ever unpacked to disk:
members are read where they lie, so their names cannot lead anywhere.
"""

from __future__ import annotations

import itertools
import json
import os
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vl2.chat import Conversation, Image, Message, Picture, Text, as_conversation
from vl2.errors import InputError
from vl2.train.rows import MAX_ROW_BYTES, BadRowError, Lesson, with_pictures

MAX_PICTURE_BYTES = 128 * 2**20
MAX_MEMBERS = 4_000_000
_PICTURES = ("jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff", "ppm", "avif", "heic")
_TEXTS = ("json", "txt")


@dataclass(frozen=True, slots=True)
class _Member:
    """What follows the key in a member's name, and where its bytes lie."""

    ending: str
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class _Sample:
    """Neighbours in a shard that share a key, which `before` samples of the shard had as well."""

    shard: Path
    key: str
    members: tuple[_Member, ...]
    before: int = 0

    @property
    def name(self) -> str:
        again = f" (number {self.before + 1} of that key)" if self.before else ""
        return f"{self.shard}, sample {self.key}{again}"


class TarRows:
    """The samples of one or more tar shards.

    Args:
        shards: uncompressed tar files; their headers are read, not their content.

    Raises:
        InputError: a file is no tar, is cut off, or holds what a shard may not hold.
    """

    def __init__(self, shards: list[Path]) -> None:
        self._samples = [sample for shard in shards for sample in _index(shard)]
        if not self._samples:
            raise InputError(f"The tar shards {_names(shards)} hold no samples.")

    def __len__(self) -> int:
        return len(self._samples)

    def __call__(self, number: int) -> Lesson:
        """The sample of a number from 0.

        Raises:
            BadRowError: its members make no row.
        """
        sample = self._samples[number]
        try:
            return Lesson(_conversation(sample), name=sample.name)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError) as error:
            raise BadRowError(sample.name, error) from error

    def name(self, number: int) -> str:
        """What the sample of a number is called in messages."""
        return self._samples[number].name


def find_shards(folder: Path) -> list[Path]:
    """The tar files of a folder in the order of their names.

    Raises:
        InputError: there is none.
    """
    shards = sorted(folder.glob("*.tar"))
    if not shards:
        raise InputError(f"The folder {folder} holds no .tar shards.")
    return shards


def _conversation(sample: _Sample) -> Conversation:
    endings = Counter(member.ending for member in sample.members)
    for ending, count in endings.items():
        if count > 1:
            raise InputError(f"it has {count} members .{ending}: give each another key or ending")
    kinds = {member.ending.rpartition(".")[2].lower(): member for member in sample.members}
    pictures = [m for m in sample.members if m.ending.rpartition(".")[2].lower() in _PICTURES]
    if "json" in kinds:
        row = json.loads(_read(sample, kinds["json"], MAX_ROW_BYTES))
        return _from_json(sample, row, pictures)
    if "txt" not in kinds or not pictures:
        raise InputError("a sample needs a .json, or a picture and its caption in a .txt")
    caption = _read(sample, kinds["txt"], MAX_ROW_BYTES).decode()
    images = tuple(Image(_read(sample, member, MAX_PICTURE_BYTES)) for member in pictures)
    return Conversation((Message("user", images), Message("assistant", (Text(caption.strip()),))))


def _from_json(sample: _Sample, row: dict[str, Any], pictures: list[_Member]) -> Conversation:
    by_ending = {member.ending: member for member in pictures}

    def find(source: str) -> Picture:
        ending = source.removeprefix(f"{sample.key}.")
        if ending not in by_ending:
            raise InputError(f"the sample has no picture {source!r}")
        return _read(sample, by_ending[ending], MAX_PICTURE_BYTES)

    named = row.get("images")
    if named is None:
        try:
            conversation = with_pictures(as_conversation(row["messages"]), find)
        except InputError:  # messages that name no pictures take the sample's in order
            named = [member.ending for member in pictures]
        else:
            if pictures and not conversation.images:
                raise InputError("the messages have no place for the sample's pictures")
            return conversation
    return with_pictures(as_conversation(row["messages"], named), find)


def _read(sample: _Sample, member: _Member, limit: int) -> bytes:
    if member.size > limit:
        raise InputError(f".{member.ending} has more than {limit // 2**20} MiB")
    with sample.shard.open("rb") as file:
        file.seek(member.start)
        return file.read(member.size)


def _index(shard: Path) -> list[_Sample]:
    """The samples of a shard, from its headers."""
    samples: list[_Sample] = []
    seen: Counter[str] = Counter()
    for key, found in itertools.groupby(_members(shard), key=lambda pair: pair[0]):
        members = tuple(member for _, member in found if _is_read(member))
        if members:
            samples.append(_Sample(shard, key, members, seen[key]))
            seen[key] += 1
    return samples


def _members(shard: Path) -> Iterator[tuple[str, _Member]]:
    """The files of a shard with their keys, in its order."""
    try:
        size = shard.stat().st_size
        with tarfile.open(shard, "r:") as tar:
            for count, member in enumerate(tar):
                if count >= MAX_MEMBERS:
                    raise InputError(f"The shard {shard} has more than {MAX_MEMBERS} members.")
                if not member.isdir():
                    yield _keyed(shard, member, size)
    except (OSError, tarfile.TarError) as error:
        raise InputError(
            f"The shard {shard} cannot be read ({error}): give an uncompressed tar file."
        ) from error


def _keyed(shard: Path, member: tarfile.TarInfo, size: int) -> tuple[str, _Member]:
    if not member.isreg() or member.issparse():
        raise InputError(
            f"The shard {shard} holds {member.name!r}, which is no plain file: pack files only."
        )
    if member.offset_data + member.size > size:
        raise InputError(f"The shard {shard} is cut off inside {member.name!r}.")
    folder, _, name = member.name.rpartition("/")
    key, _, ending = name.partition(".")
    whole = f"{folder}/{key}" if folder else key
    return whole, _Member(ending, member.offset_data, member.size)


def _is_read(member: _Member) -> bool:
    return member.ending.rpartition(".")[2].lower() in (*_PICTURES, *_TEXTS)


def _names(shards: list[Path]) -> str:
    return ", ".join(os.fspath(shard) for shard in shards[:3]) + (", ..." if shards[3:] else "")

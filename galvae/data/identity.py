"""A digest of what a store is made from: contents count, not where they lie nor when they were written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path

from galvae.data.readers.base import ROWS, Item, Place
from galvae.data.settings import IngestSettings

# How pixels become a field: another number wherever the same inputs would give another one, for parts of both kinds
# would make no store.
MADE = 5
# Of so many the digest is kept: a STAR file and the stacks that it names take turns.
_FILES = 256


def digest_of(items: Iterable[Item], settings: IngestSettings) -> str:
    """SHA-256 of the settings, of how fields are made, and in their order of the ids and contents of all galaxies.

    A file's bytes are read; a member of an archive is known by its place in it, its size and its checksum.
    """
    # What was begun before these keys were there can be gone on with.
    later = {key for key in ("pixels", "invert") if getattr(settings, key) == type(settings).model_fields[key].default}
    digest = hashlib.sha256(f"{MADE} {settings.model_dump_json(exclude=later)}".encode())
    of_file = lru_cache(maxsize=_FILES)(_of_file)  # the rows of a file follow one another
    for item in items:
        digest.update(repr((item.reader, *_told(item, of_file))).encode())
    return digest.hexdigest()


def _told(item: Item, of_file: Callable[[str], str]) -> tuple[object, ...]:
    if item.reader == "unreadable":
        return (Path(item.source).name,)
    if item.reader in ROWS:
        path, row, *where = item.place
        return item.id, of_file(path), row, *(of_file(one) if isinstance(one, str) else one for one in where)
    files = item.place if item.reader == "fits" else [("", *item.place)]
    places = [(band, Place(*where)) for band, *where in files]
    return item.id, [(band, place.span or of_file(place.path)) for band, place in places]


def _of_file(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

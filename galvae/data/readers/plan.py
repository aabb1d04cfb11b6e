"""From what a user names, files, folders, archives, to a list of galaxies in an order that never varies."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator, Sequence
from itertools import islice, takewhile
from pathlib import Path

from galvae.data.readers import hdf5
from galvae.data.readers.bands import group
from galvae.data.readers.base import Item, Place
from galvae.data.readers.content import contents, kind, looks_like_image, members
from galvae.data.settings import IngestSettings

_ENDINGS = re.compile(r"(\.(fits|fit|fts|jpg|jpeg|jpe|png))?(\.fz)?(\.(gz|bz2|xz))?$", re.IGNORECASE)
_NO_IMAGE = ("unknown", "empty", "damaged", "unreadable")
_OURS = ("store.json", "plan.json", "model.safetensors", "figures.json")


def plan(
    sources: Sequence[str | Path],
    settings: IngestSettings,
    *,
    limit: int | None = None,
) -> list[Item]:
    """List the galaxies of some sources.

    Parameters
    ----------
    sources
        Files, folders (walked, in sorted order; those that galvae wrote are passed over) and zip archives (read
        without unpacking).
    settings
        The ``[ingest]`` table.
    limit
        Stop after so many.

    Raises
    ------
    FileNotFoundError
        If a source is not there.
    ValueError
        If there is no image in any of them, or an archive is damaged.
    """
    files = dict(file for source in sources for file in _files(Path(source)))
    found = list(islice(_items(files, settings), limit))
    if not found:
        raise ValueError(
            f"no images in {', '.join(map(str, sources))}; galvae ingest reads FITS, JPEG, PNG, HDF5, and zip "
            f"archives of them"
        )
    return found


def _items(files: dict[Place, str], settings: IngestSettings) -> Iterator[Item]:
    fits = [place for place, what in files.items() if what == "fits"]
    stems = [(os.path.dirname(str(place)), _ENDINGS.sub("", place.name)) for place in fits]
    # An object's place in the order is that of its first file.
    objects = {
        fits[min(numbers.values())]: (name, {band: fits[number] for band, number in numbers.items()})
        for name, numbers in group(stems)
    }
    several = sum(what == "hdf5" for what in files.values()) > 1
    translations = _Translations([place for place, what in files.items() if what == "mapping"])
    for place, what in files.items():
        stem = _ENDINGS.sub("", place.name)
        if what == "fits":
            if place in objects:
                name, bands = objects[place]
                yield Item("fits", name, _together(bands), tuple((band, *at) for band, at in bands.items()))
        elif what == "picture":
            yield Item("pictures", translations.id(place, stem), str(place), place)
        elif what == "mapping":
            continue
        elif what == "hdf5" and not place.member:
            yield from hdf5.plan(place.path, settings, prefix=f"{Path(place.path).stem}_" if several else "")
        else:
            yield Item("unreadable", stem, str(place), (_why(what), place.path))


def _why(what: str) -> str:
    if what in ("hdf5", "zip"):
        return f"{what} inside a zip archive is not read: unpack it first"
    return {
        "empty": "the file is empty",
        "damaged": "damaged or truncated compressed data",
        "unreadable": "the file cannot be opened",
        "unknown": "not an image: neither FITS, JPEG, PNG, HDF5 nor zip by its content",
    }[what]


def _together(bands: dict[str, Place]) -> str:
    """One name for the files of an object, as a shell's braces would write it."""
    names = [str(place) for place in bands.values()]
    if len(names) == 1:
        return names[0]
    start = _common(names)
    end = _common([name[len(start) :][::-1] for name in names])[::-1]
    return f"{start}{{{','.join(name[len(start) : len(name) - len(end)] for name in names)}}}{end}"


def _common(names: Sequence[str]) -> str:
    """The letters with which all names begin."""
    pairs = zip(min(names), max(names), strict=False)
    return "".join(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _files(source: Path) -> Iterator[tuple[Place, str]]:
    """Every file of a source that is an image, or that should be one, and what it is."""
    if source.is_dir():
        for folder, below, names in os.walk(source):
            below[:] = sorted(name for name in below if not name.startswith((".", "__MACOSX")))
            if any(name in names for name in _OURS):
                below.clear()
                continue
            for name in sorted(names):
                if not name.startswith("."):
                    yield from _file(Path(folder, name), named=False)
    elif source.exists():
        yield from _file(source, named=True)
    else:
        raise FileNotFoundError(f"{source}: there is no such file or folder")


def _file(path: Path, *, named: bool) -> Iterator[tuple[Place, str]]:
    """The file itself, or the members of an archive; what is evidently no image only where the user `named` it."""
    place = Place(str(path))
    try:
        what = kind(place)
    except OSError as error:
        if named:
            raise OSError(f"{path}: {error.strerror or error}; it cannot be read") from None
        what = "unreadable"
    if what == "zip":
        for inner in members(str(path)):
            what = "mapping" if _is_mapping(inner.name) else kind(inner)
            if what not in _NO_IMAGE or looks_like_image(inner.member):
                yield inner, what
    elif what not in _NO_IMAGE or named or looks_like_image(path.name):
        yield place, what


class _Translations:
    """Galaxy Zoo 2's ``gz2_filename_mapping.csv``: from the number in a file's name to the survey's objid."""

    def __init__(self, inside: Sequence[Place]) -> None:
        self._inside = {place.path: place for place in inside}
        self._known: dict[str, dict[str, str]] = {}

    def id(self, place: Place, stem: str) -> str:
        """The objid of a picture where a mapping in the archive or beside it has it, else the file's own name."""
        where = place.path if place.member else os.path.dirname(place.path)
        if where not in self._known:
            self._known[where] = self._find(where)
        return self._known[where].get(stem, stem)

    def _find(self, where: str) -> dict[str, str]:
        places = [self._inside[where]] if where in self._inside else []
        for folder in (Path(where).parent, Path(where)):
            if folder.is_dir():
                places += [Place(str(path)) for path in sorted(folder.iterdir()) if _is_mapping(path.name)]
        for place in places:
            rows = csv.DictReader(io.StringIO(contents(place).decode("utf-8-sig", "replace")))
            if {"objid", "asset_id"} <= set(rows.fieldnames or ()):
                return {row["asset_id"].strip(): row["objid"].strip() for row in rows}
        return {}


def _is_mapping(name: str) -> bool:
    return "mapping" in name.lower() and name.lower().endswith(".csv")

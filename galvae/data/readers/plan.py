"""From what a user names, files, folders, archives, to a list of galaxies in an order that never varies."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import islice, takewhile
from pathlib import Path

from galvae.data.readers.bands import beside_images, group
from galvae.data.readers.base import ROWS, Item, Place
from galvae.data.readers.content import contents, kind, looks_like_image, members
from galvae.data.settings import IngestSettings

_ENDINGS = re.compile(r"(\.(fits|fit|fts|jpg|jpeg|jpe|png))?(\.fz)?(\.(gz|bz2|xz))?$", re.IGNORECASE)
_PACKED = re.compile(r"(\.fz)?(\.(gz|bz2|xz))?$", re.IGNORECASE)
_NO_IMAGE = ("unknown", "empty", "damaged", "unreadable", "labels")
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
        Files, folders (walked, in sorted order, links followed; those that galvae wrote are passed over) and zip
        archives (read without unpacking). What is wrong with a file that is not named here makes it unreadable.
    settings
        The ``[ingest]`` table.
    limit
        Stop after so many.

    Raises
    ------
    FileNotFoundError
        If a source is not there.
    ValueError
        If there is no image in any of them, or an archive or HDF5 file that is named cannot be read.
    """
    files = dict(file for source in sources for file in _files(Path(source)))
    named = {str(Path(source)) for source in sources}
    found = [_printable(item) for item in islice(_items(files, settings, named), limit)]
    if not found:
        raise ValueError(
            f"no images in {', '.join(map(str, sources))}; galvae ingest reads FITS, JPEG, PNG, HDF5, MRC stacks, STAR "
            f"and idx files, and zip archives of pictures and FITS"
        )
    return found


def _printable(item: Item) -> Item:
    """Names that are no UTF-8 with their bytes written out, for they go into the store and onto the screen."""
    if item.reader != "unreadable" and item.id.isascii() and item.source.isascii():
        return item
    place = tuple(map(_utf8, item.place)) if item.reader == "unreadable" else item.place
    return item._replace(id=_utf8(item.id), source=_utf8(item.source), place=place)


def _utf8(name: str) -> str:
    return name if name.isascii() else os.fsencode(name).decode(errors="backslashreplace")


def _items(files: dict[Place, str], settings: IngestSettings, named: set[str]) -> Iterator[Item]:
    fits = [place for place, what in files.items() if what == "fits"]
    aside = {fits[index] for index in beside_images([*map(_stem, fits)])} | set(_packed_again(fits))
    fits = [place for place in fits if place not in aside]
    # An object's place in the order is that of its first file.
    objects = {
        fits[min(numbers.values())]: (name, {band: fits[number] for band, number in numbers.items()})
        for name, numbers in group([*map(_stem, fits)])
    }
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
        elif what in ROWS and not place.member:
            try:
                yield from import_module(f"galvae.data.readers.{what}").plan(place.path, settings)
            except (ValueError, OSError, KeyError, RuntimeError) as error:  # h5py raises any of them of a damaged file
                why = " ".join(str(error).split()).removeprefix(f"{place}: ")
                if place.path in named:
                    raise ValueError(f"{place}: {why}") from None
                yield Item("unreadable", stem, str(place), (why,))
        else:
            yield Item("unreadable", stem, str(place), (_why(what),))


def _packed_again(places: Sequence[Place]) -> Iterator[Place]:
    """Files that differ in name from one before in nothing but how they are packed."""
    met = set()
    for place in places:
        if (name := _PACKED.sub("", str(place))) in met:
            yield place
        met.add(name)


def _stem(place: Place) -> tuple[str, str]:
    """Folder, or archive, and name without ending."""
    return os.path.dirname(str(place)), _ENDINGS.sub("", place.name)


def _why(what: str) -> str:
    if what in (*ROWS, "zip"):
        return f"{what} inside a zip archive is not read: unpack it first"
    return {
        "empty": "the file is empty",
        "damaged": "damaged or truncated compressed data",
        "unreadable": "the file cannot be opened",
        "labels": "labels of images (idx1): name the file of the images, they are read beside it",
        "unknown": "not an image: neither FITS, JPEG, PNG, HDF5, MRC nor idx by its content",
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
        walked = set()
        for folder, below, names in os.walk(source, followlinks=True):
            below[:] = sorted(name for name in below if not name.startswith((".", "__MACOSX")))
            real = os.path.realpath(folder)
            if real in walked or any(name in names for name in _OURS):
                below.clear()
                continue
            walked.add(real)
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
        what = _kind(place, named=named)
        inside = members(place.path) if what == "zip" else []
    except OSError as error:
        if named:
            raise OSError(f"{path}: {error.strerror or error}; it cannot be read") from None
        what = "unreadable"
    except ValueError:
        if named:
            raise
        what = "damaged"
    if what == "zip":
        for inner in inside:
            what = "mapping" if _is_mapping(inner.name) else _kind(inner)
            if what not in _NO_IMAGE or (what != "labels" and looks_like_image(inner.member)):
                yield inner, what
    elif named and what == "unknown" and path.suffix.lower() == ".star":
        yield place, "star"  # in a folder the stacks themselves count
    elif what not in _NO_IMAGE or named or (what != "labels" and looks_like_image(path.name)):
        yield place, what


def _kind(place: Place, *, named: bool = False) -> str:
    """As :func:`kind`, but no document or program that merely is a zip archive counts as one, unless it is `named`."""
    what = kind(place)
    return "unknown" if what == "zip" and not named and not place.name.lower().endswith(".zip") else what


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
                whole = (row for row in rows if row["asset_id"] and row["objid"])
                return {row["asset_id"].strip(): row["objid"].strip() for row in whole}
        return {}


def _is_mapping(name: str) -> bool:
    return "mapping" in name.lower() and name.lower().endswith(".csv")

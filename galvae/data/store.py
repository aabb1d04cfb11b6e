"""The image store: a folder of HDF5 parts and a ``store.json``.

Rows are galaxies, in the order of the sources whatever the number of workers. Pixels are ``uint8`` or ``float32`` of
shape ``(field, field, channels)``, **row 0 at the bottom** and x to the right, chunked by galaxy. Part *k* is complete
when ``part-0000k.h5`` exists; the store is complete when ``store.json`` does.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import h5py
import hdf5plugin
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt

from galvae.description import read_description
from galvae.files import whole

SCHEMA = 1
# An older galvae takes all pixels for uint8: it must refuse others.
SCHEMAS = {"uint8": SCHEMA, "float32": 2}
# By benchmarks/compression.py: a fifth smaller than with LZF, and written and read twice as fast. With zstd a seventh
# smaller still but read at 0.6 of the rate; with nothing read at 1.2 to 1.7 of it, but 1.8 times as large.
PACKED: Mapping[str, Any] = hdf5plugin.Blosc(cname="lz4", clevel=1, shuffle=hdf5plugin.Blosc.BITSHUFFLE)
# Keys of ``[ingest]`` that older stores lack, with what they were made with.
_LATER = {"pixels": "colour", "invert": False}
_TEXT = h5py.string_dtype("utf-8")
ROWS = 4096
"""So many galaxies' columns are read at once by what goes through a whole store: memory stays flat."""


def part_path(store: Path, number: int) -> Path:
    """Where part `number` of a store lies."""
    return Path(store) / f"part-{number:05d}.h5"


def write_part(
    path: Path,
    images: Sequence[np.ndarray],
    columns: Mapping[str, Sequence[Any]],
    skipped: Sequence[tuple[str, str]],
) -> None:
    """Write one part under a temporary name and move it into place when it is whole.

    Parameters
    ----------
    path
        The final path.
    images
        Fields, each (field, field, channels) uint8 or float32, row 0 at the bottom.
    columns
        Per-galaxy columns, each of length ``len(images)``; text becomes UTF-8.
    skipped
        (source, reason) of each input of this part that gave no galaxy.
    """
    data = {name: np.asarray(values) for name, values in columns.items()}
    data["skipped"] = np.array(skipped, dtype=object).reshape(-1, 2)
    data = {name: values.astype(object) if values.dtype.kind == "U" else values for name, values in data.items()}
    if len(images):
        data = {"images": np.stack(images), **data}
    with whole(path) as scratch, h5py.File(scratch, "w", track_order=True, rdcc_nbytes=0) as part:
        for name, values in data.items():
            packed = {"chunks": (1, *values.shape[1:]), **PACKED} if name == "images" else {}
            part.create_dataset(name, data=values, dtype=_TEXT if values.dtype == object else None, **packed)
        part.attrs["galaxies"] = len(images)
        part.attrs["digest"] = _digest(data)


def _names(part: h5py.File) -> list[str]:
    """Names of the datasets, the user's own (``table/...``) last."""
    groups = [name for name in part if part.get(name, getclass=True) is h5py.Group]
    return [name for name in part if name not in groups] + [
        f"{name}/{inner}" for name in groups for inner in part[name]
    ]


def _digest(data: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over the names, types and values of a part's datasets: the same whenever its content is."""
    digest = hashlib.sha256()
    for name, values in sorted(data.items()):
        text = values.dtype == object
        digest.update(f"{name} {'text' if text else values.dtype.str} {values.shape}\n".encode())
        digest.update(json.dumps(values.tolist()).encode() if text else np.ascontiguousarray(values))
    return digest.hexdigest()


@contextmanager
def _open_part(path: Path) -> Iterator[h5py.File]:
    try:
        with h5py.File(path) as part:
            yield part
    except (KeyError, OSError, RuntimeError) as error:  # h5py raises any of them of a damaged file
        what = " ".join(str(error).split())
        remedy = "remove it and complete the store with galvae ingest --resume"
        raise OSError(f"{path}: not a whole part of this store ({what}); {remedy}") from None


def part_summary(path: Path) -> dict[str, Any]:
    """What a part holds: how many galaxies and skipped inputs, its digest, names of its columns, why it skipped."""
    with _open_part(path) as part:
        return {
            "galaxies": int(part.attrs["galaxies"]),
            "skipped": len(part["skipped"]),
            "digest": part.attrs["digest"],
            "columns": [name for name in _names(part) if name not in ("images", "skipped")],
            "why": [(source, reason) for source, reason in part["skipped"].asstr()[:]],
        }


class _Part(BaseModel):
    galaxies: NonNegativeInt
    digest: str


class _Ingest(BaseModel):
    oversample: PositiveInt
    crop: Literal["random", "fixed"]


class _Description(BaseModel):
    """What reading a store needs of its store.json."""

    model_config = ConfigDict(strict=True)

    version: Literal[1, 2] = Field(alias="schema")
    dtype: Literal["uint8", "float32"] = "uint8"
    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    ingest: _Ingest
    columns: list[str]
    parts: list[_Part]


class ImageStore:
    """A finished store, read lazily.

    Parameters
    ----------
    path
        The store's folder.

    Raises
    ------
    FileNotFoundError
        If there is no finished store at `path`.
    ValueError
        If it is damaged, foreign or of another schema, or a part is missing; a part that is damaged itself raises an
        OSError when it is read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        path = self.path / "store.json"
        if not path.is_file():
            what = "a run, no image store" if (self.path / "model.json").is_file() else "no image store here"
            raise FileNotFoundError(f"{self.path}: {what} (store.json is missing); make a store with galvae ingest")
        self.description = read_description(path, _Description, remedy="ingest the images again")
        self._lengths = [part["galaxies"] for part in self.description["parts"]]
        self._starts = np.concatenate([[0], np.cumsum(self._lengths)]).astype(int)
        if not len(self):
            raise ValueError(f"{self.path}: a store without galaxies; ingest the images again")
        for number in range(len(self._lengths)):
            if not part_path(self.path, number).is_file():
                raise ValueError(
                    f"{self.path}: {part_path(self.path, number).name} is missing; complete the store with "
                    f"galvae ingest --resume"
                )

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns and channels of a field."""
        return tuple(self.description["shape"])

    @property
    def dtype(self) -> np.dtype:
        """Of pixels: uint8, display values; or float32, normalised ones."""
        return np.dtype(self.description.get("dtype", "uint8"))

    @property
    def ingest(self) -> dict[str, Any]:
        """The ``[ingest]`` table that made the store, resolved."""
        return {**_LATER, **self.description["ingest"]}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the description, which holds a digest of every part's content."""
        kept = {k: self.description[k] for k in ("schema", "shape", "ingest", "parts")}
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()

    @contextmanager
    def _part(self, number: int) -> Iterator[h5py.File]:
        """One part, open; whatever is wrong with it is said in one line."""
        path = part_path(self.path, number)
        with _open_part(path) as part:
            told = self.description["parts"][number]
            same = part.attrs["digest"] == told["digest"] and part.attrs["galaxies"] == told["galaxies"]
            if same and told["galaxies"]:
                same = (part["images"].shape[1:], part["images"].dtype) == (self.shape, self.dtype)
            if not same:
                raise OSError("it is not the part that store.json describes")
            yield part

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        """Names of the per-galaxy columns."""
        return tuple(self.description["columns"])

    def column(self, name: str, rows: slice = slice(None)) -> np.ndarray:
        """One per-galaxy column, of the whole store or of neighbours in it, shape (galaxies, ...); text as str."""
        if name not in self.column_names:
            raise ValueError(f"{self.path}: the store has no column {name!r}; there are {', '.join(self.column_names)}")
        start, stop, _ = rows.indices(len(self))
        first, last = np.searchsorted(self._starts, [start, stop - 1], side="right") - 1
        pieces = []
        for number in range(first, last + 1):
            inside = slice(max(0, start - self._starts[number]), stop - self._starts[number])
            if self._lengths[number]:
                with self._part(number) as part:
                    data = part[name]
                    text = h5py.check_string_dtype(data.dtype)
                    pieces.append(data.asstr()[inside].astype(str) if text else data[inside])
        return np.concatenate(pieces)

    def rows_of(self, ids: Sequence[str | int]) -> np.ndarray:
        """Rows of galaxies by identifier, as typed: text or integers.

        Raises
        ------
        ValueError
            If there is no such galaxy.
        """
        place = {str(identifier): row for row, identifier in enumerate(self.column("id"))}
        for identifier in ids:
            if str(identifier) not in place:
                near = difflib.get_close_matches(str(identifier), place, n=1)
                hint = f"did you mean {near[0]}?" if near else f"its identifiers are like {next(iter(place))}"
                raise ValueError(f"{self.path}: no galaxy {identifier}; {hint}")
        return np.array([place[str(identifier)] for identifier in ids], int)

    @cached_property
    def skipped(self) -> list[tuple[str, str]]:
        """(source, reason) of every input that gave no galaxy."""
        found = []
        for number in range(len(self._lengths)):
            with self._part(number) as part:
                found += [(source, reason) for source, reason in part["skipped"].asstr()[:]]
        return found

    def images(self, rows: Sequence[int] | np.ndarray | slice) -> np.ndarray:
        """Fields of some galaxies, (n, field, field, channels) of :attr:`dtype`, row 0 at the bottom."""
        rows = np.arange(len(self))[rows]
        found = np.empty((len(rows), *self.shape), self.dtype)
        owner = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(owner):
            where = np.flatnonzero(owner == number)
            where = where[np.argsort(rows[where], kind="stable")]
            with self._part(number) as part:
                data = part["images"]
                # Neighbours are read at once, as a slice: h5py takes twenty times as long over a list of rows.
                for run in np.split(where, np.flatnonzero(np.diff(rows[where]) > 1) + 1):
                    inside = rows[run] - self._starts[number]
                    found[run] = data[inside[0] : inside[-1] + 1][inside - inside[0]]
        return found

    def batches(self, size: int = 256) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Rows and fields of the whole store in order, `size` at a time: memory stays flat."""
        for part in spans(len(self), size):
            rows = np.arange(part.start, part.stop)
            yield rows, self.images(rows)


def spans(count: int, size: int) -> Iterator[slice]:
    """So many rows in order, at most `size` at a time."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def cause_of(reason: str) -> str:
    """What many inputs may be skipped for, of the reason of one."""
    return re.split(": |; ", reason)[0]

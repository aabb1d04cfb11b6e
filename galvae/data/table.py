"""A user's table of positions, scales and labels, joined to the images by identifier or file name."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path, PurePosixPath

import numpy as np
from astropy.table import Column, Table

from galvae.data.positions import checked
from galvae.data.readers.base import ROWS, Item
from galvae.data.settings import IngestSettings
from galvae.tableio import read_table

_ID_NAMES = ("id", "objid", "dr7objid", "galaxyid", "asset_id", "name", "filename", "file", "image")


@dataclass
class Matched:
    """Columns of a table, in the order of the images.

    Attributes
    ----------
    columns
        ``table/NAME`` for each column, and ``ra``, ``dec`` (degrees) and ``pixel_scale`` (arcseconds) where
        there are such.
    unmatched
        How many images have no row.
    digest
        SHA-256 of the columns.
    """

    columns: dict[str, np.ndarray]
    unmatched: int
    digest: str


def match_table(path: str | Path, items: Sequence[Item], settings: IngestSettings) -> Matched:
    """Read a table and find the row of each image.

    The column ``ingest.id_column``, or else the first of id, objid, dr7objid, GalaxyID, asset_id, name,
    filename, file and image, in any case, holds the image's id or the name of its file, with or without
    folders and ending. Where two rows name files alike in different folders, the folder decides.

    Parameters
    ----------
    path
        Any table that astropy reads.
    items
        The images.
    settings
        The ``[ingest]`` table.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be read, has no such column, has an id twice, matches no image, or holds positions or
        scales that cannot be ones.
    """
    table = read_table(path)
    if not len(table):
        raise ValueError(f"{path}: the table has no rows")
    key = key_column(table, path, settings.id_column)
    row_of = rows_by_name(table[key], f"{path}: column {key!r}")
    found = np.array([_find(row_of, item) for item in items])
    if not (found >= 0).any():
        raise ValueError(
            f"{path}: no row matches any image; column {key!r} has {table[key][0]!s}, the images have "
            f"{items[0].id}: set "
            f"ingest.id_column to the column that names them"
        )
    columns: dict[str, np.ndarray] = {}
    for known, name in (
        ("ra", settings.ra_column),
        ("dec", settings.dec_column),
        ("pixel_scale", settings.scale_column),
    ):
        column = next((table[c] for c in table.colnames if c.lower() == name.lower()), None)
        if column is not None:
            columns[known] = _take(checked(column, known, f"{path}: column {column.name!r}"), found)
    for name in table.colnames:
        # Times, coordinates and objects have no plain array to store.
        if isinstance(table[name], Column) and table[name].dtype.kind in "biufU":
            columns[f"table/{name.replace('/', '_')}"] = _take(_plain(table[name]), found)
    digest = hashlib.sha256()
    for name, values in columns.items():
        digest.update(f"{name} {values.dtype.str} {values.shape}\n".encode() + np.ascontiguousarray(values).tobytes())
    return Matched(columns, int((found < 0).sum()), digest.hexdigest())


def labels(items: Sequence[Item], settings: IngestSettings) -> dict[str, np.ndarray]:
    """Columns ``table/NAME`` that files of many galaxies hold besides, in the order of `items`; no value elsewhere."""
    rows: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for number, item in enumerate(items):
        if item.reader in ROWS:
            path, row = item.place[:2]
            rows.setdefault((item.reader, path), []).append((number, row))
    columns: dict[str, np.ndarray] = {}
    found: dict[str, np.ndarray] = {}
    for (reader, path), pairs in rows.items():
        numbers, inside = np.array(pairs).T
        for name, values in import_module(f"galvae.data.readers.{reader}").columns(path, settings).items():
            before = columns.get(name, values[:0])
            found.setdefault(name, np.full(len(items), -1))[numbers] = len(before) + inside
            columns[name] = np.concatenate([before, values])
    return {f"table/{name}": _take(values, found[name]) for name, values in columns.items()}


def key_column(
    table: Table, path: str | Path, wanted: str = "", *, remedy: str = "set ingest.id_column to the one that does"
) -> str:  # fmt: skip
    """The column that names the images: `wanted`, or the first of the usual names.

    Raises
    ------
    ValueError
        If there is none, with the `remedy`.
    """
    lower = {name.lower(): name for name in reversed(table.colnames)}
    for name in (wanted,) if wanted else _ID_NAMES:
        if name.lower() in lower:
            return lower[name.lower()]
    raise ValueError(
        f"{path}: no column {wanted or ', '.join(_ID_NAMES)} names the images; it has "
        f"{', '.join(table.colnames[:20])}: {remedy}"
    )


def rows_by_name(column: Column, where: str) -> dict[str, int]:
    """The row of each name, with and without its folder where that is unique; `where` begins what is raised.

    Raises
    ------
    ValueError
        If the names are no integers or text, or one is there twice.
    """
    if column.dtype.kind not in "iuU":
        raise ValueError(
            f"{where} is {column.dtype}; identifiers must be integers or text (18 digits do not survive a float)"
        )
    rows: dict[str, int] = {}
    for number, value in enumerate(column):
        name = "" if value is np.ma.masked else str(value).strip()
        if not name:
            continue
        if rows.setdefault(name, number) != number:
            raise ValueError(f"{where} has {name} twice, in rows {rows[name] + 1} and {number + 1}; keep one row each")
    shorts = Counter(Path(name).name for name in rows)
    return {short: number for name, number in rows.items() if shorts[short := Path(name).name] == 1} | rows


def _find(row_of: dict[str, int], item: Item) -> int:
    """The row of an image: that of its id, else of as much of its path as the table gives; -1 if there is none."""
    return next((row_of[name] for name in _names(item) if name in row_of), -1)


def _names(item: Item) -> Iterator[str]:
    yield item.id
    yield item.source
    if item.reader in ROWS:
        return  # a row's number would fit any file
    path = PurePosixPath(item.source.partition("::")[2] or item.source)
    for start in range(len(path.parts)):
        folder = PurePosixPath(*path.parts[start:-1])
        yield from (str(folder / name) for name in (path.name, path.stem, item.id))


def _plain(column: Column) -> np.ndarray:
    values = np.ma.asarray(column)
    if not np.ma.is_masked(values):
        return np.asarray(values.data)
    if values.dtype.kind == "f":
        return values.filled(np.nan)
    return _with_gap(values.data, np.ma.getmaskarray(values))


def _take(values: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Rows `found` of a column, without a value where it is -1."""
    taken = values[np.maximum(found, 0)]
    gap = np.broadcast_to((found < 0).reshape(-1, *[1] * (taken.ndim - 1)), taken.shape)
    return _with_gap(taken, gap) if gap.any() else taken


def _with_gap(values: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """Values with NaN, or an empty text, where there is none; integers that a float cannot hold become
    text."""
    if values.dtype.kind == "U" or (values.dtype.kind in "iu" and np.abs(values.astype(float)).max() > 2**53):
        return np.where(gap, "", values.astype(str))
    return np.where(gap, np.nan, values.astype(np.float64 if values.dtype.kind != "f" else values.dtype))

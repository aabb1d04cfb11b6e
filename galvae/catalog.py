"""The catalog: an astropy table held to the contract in ``catalogs/galvae.ecsv``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
from astropy.table import Column, QTable, Row, Table

from galvae.flags import MEANING
from galvae.recipe import shipped_data
from galvae.tableio import read_table, write_table

__all__ = ["build_catalog", "check_catalog", "contract", "read_catalog", "write_catalog"]

write_catalog = write_table


def contract() -> Table:
    """The contract: a row per column of the catalog: name, dtype, shape, unit, ucd, when, description."""
    return _contract().copy()


@cache
def _contract() -> Table:
    return Table.read(shipped_data("catalogs") / "galvae.ecsv", format="ascii.ecsv").filled("")


def build_catalog(columns: Mapping[str, np.ndarray], *, meta: Mapping[str, Any]) -> QTable:
    """Turn plain arrays into a catalog with the contract's units, UCDs and descriptions.

    Parameters
    ----------
    columns
        Arrays by contract name, in the contract's units (or Quantities, which are converted): one element per
        galaxy, for ``z``, ``z_err`` and ``texture`` one vector. The columns of ``when = wcs``, and those of
        ``when = scale``, may be left out together where no galaxy has them, ``texture`` alone; they become NaN.
    meta
        What belongs to the whole table: recipe, digests, versions, date. Anything that JSON holds.

    Returns
    -------
    QTable
        Columns in the contract's order.

    Raises
    ------
    ValueError
        If a column is missing, not of the contract, of another length, or does not fit its dtype; or if there
        are no galaxies.
    """
    rows = _contract()
    known = list(rows["name"])
    unknown = [name for name in columns if name not in known]
    if unknown:
        raise ValueError(f"the catalog has no column {unknown[0]!r}; its columns are {', '.join(known)}")
    begun = {"always"} | {row["when"] for row in rows if row["name"] in columns}
    missing = [row["name"] for row in rows if row["when"] in begun and row["name"] not in columns]
    if missing:
        raise ValueError(f"columns of the catalog are missing: {', '.join(missing)}")
    count = len(columns["id"])
    # Through JSON, because plain dicts, lists and numbers are what every format gives back.
    table = QTable(meta=json.loads(json.dumps(meta)))
    for row in rows:
        name = row["name"]
        absent = np.full((count, int(row["shape"])) if row["shape"].isdigit() else count, np.nan)
        table[name] = _values(columns.get(name, absent), row, count)
        table[name].info.description = str(row["description"])
        table[name].info.meta = _column_meta(row)
    check_catalog(table)
    return table


def check_catalog(table: Table, *, exact: bool = True) -> None:
    """Hold a table to the contract; vector columns may be flat (``z_00`` ...).

    Parameters
    ----------
    table
        A catalog.
    exact
        The contract's columns and no others, in its order, with its UCDs and descriptions: as galvae writes
        it. Otherwise further columns are allowed, as after a join.

    Raises
    ------
    ValueError
        If the table does not fulfil the contract, with the first thing that is wrong.
    """
    rows = _contract()
    if not len(table):
        raise ValueError("the catalog is empty")
    vectors = "|".join(rows["name"][rows["shape"] != ""])
    found: dict[str, list[str]] = {}
    for name in table.colnames:
        flat = re.fullmatch(rf"({vectors})_\d+", name)
        stem = flat[1] if flat else name
        if stem in rows["name"]:
            found.setdefault(stem, []).append(name)
        elif exact:
            raise ValueError(f"column {name} is not of the catalog's contract")
    for row in rows:
        if row["name"] not in found:
            raise ValueError(f"column {row['name']} is missing")
        for name in found[row["name"]]:
            _check_column(table[name], name, row, exact=exact)
    if exact and list(found) != list(rows["name"]):
        raise ValueError(f"columns are not in the contract's order: {', '.join(found)}")
    widths: dict[str, set[int]] = {}
    for row in rows[rows["shape"] != ""]:
        width = sum(np.prod(table[name].shape[1:], dtype=int) for name in found[row["name"]])
        widths.setdefault(row["shape"], set()).add(int(width))
    for shape, wide in widths.items():
        if len(wide) > 1 or (shape.isdigit() and wide != {int(shape)}):
            names = " and ".join(rows["name"][rows["shape"] == shape])
            raise ValueError(f"{names} differ in length" if len(wide) > 1 else f"{names} must have {shape} elements")


def read_catalog(path: str | Path) -> QTable:
    """Read a catalog that galvae wrote, alone or joined; equal to what was written, in every format.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a table, or not a galvae catalog.
    """
    table = read_table(path)
    try:
        check_catalog(table, exact=False)
    except ValueError as error:
        raise ValueError(
            f"{path}: not a galvae catalog, or one of another version: {error}; make it with galvae catalog"
        ) from None
    return QTable(table)


def _values(values: np.ndarray, row: Row, count: int) -> np.ndarray | u.Quantity:
    name, dtype = row["name"], row["dtype"]
    try:
        if name == "id":
            values = np.asarray(values)
            values = values.astype(np.int64, casting="safe") if values.dtype.kind in "iu" else _text(values)
        elif row["unit"]:
            values = u.Quantity(values, row["unit"], dtype=dtype)
        else:
            values = np.asarray(values).astype(dtype, casting="same_kind")
    except (TypeError, u.UnitConversionError) as error:
        raise ValueError(f"column {name} of the catalog must be {dtype} {row['unit']}: {error}") from None
    if len(values) != count:
        raise ValueError(f"column {name} has {len(values)} rows where id has {count}")
    return values


def _text(values: np.ndarray) -> np.ndarray:
    if not all(isinstance(value, str) for value in values.flat):
        raise TypeError(f"got {values.dtype}, which does not keep identifiers as they are")
    return values.astype(str)


def _column_meta(row: Row) -> dict[str, Any]:
    meta: dict[str, Any] = {"ucd": str(row["ucd"])}
    if row["name"] == "flags":
        meta["bits"] = {flag.name: {"value": int(flag), "meaning": text} for flag, text in MEANING.items()}
    return meta


def _check_column(column: Column | u.Quantity, name: str, row: Row, *, exact: bool) -> None:
    dtype = "int64 or text" if row["name"] == "id" else row["dtype"]
    right = column.dtype.kind == "U" or column.dtype == np.int64 if row["name"] == "id" else column.dtype == dtype
    if not right:
        raise ValueError(f"column {name} must be {dtype}, got {column.dtype}")
    dimensions = {2, 1} if row["shape"] and name != row["name"] else {2} if row["shape"] else {1}
    if column.ndim not in dimensions:
        raise ValueError(f"column {name} has {column.ndim} dimensions")
    unit = u.Unit(row["unit"])
    if (column.unit or u.dimensionless_unscaled) != unit:
        got = column.unit or "no unit (astropy writes units to HDF5 with serialize_meta=True)"
        raise ValueError(f"column {name} must be in {row['unit'] or 'no unit'}, got {got}")
    if exact and column.info.meta != _column_meta(row):
        raise ValueError(f"column {name}: UCD or other metadata are not the contract's")
    if exact and not (column.info.description or "").startswith(row["description"]):
        raise ValueError(f"column {name}: description is not the contract's")

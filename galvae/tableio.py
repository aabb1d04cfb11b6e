"""Tables on disk in five formats, each giving back what was written: units, descriptions, UCDs, metadata, int64.

What a format cannot hold by itself (nested metadata in FITS and VOTable) goes into one JSON text under
``galvae`` and comes out of it again on reading.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io.registry import IORegistryError
from astropy.table import Column, MaskedColumn, Table
from astropy.table.meta import YamlParseError, get_header_from_yaml
from astropy.table.serialize import represent_mixins_as_columns
from astropy.utils.data_info import serialize_context_as
from astropy.utils.exceptions import AstropyWarning

from galvae.files import check_output, whole

FORMATS = {
    ".ecsv": "ascii.ecsv",
    ".fits": "fits",
    ".fit": "fits",
    ".vot": "votable",
    ".votable": "votable",
    ".xml": "votable",
    ".parquet": "parquet",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
}
# Astropy guesses the first of these only when told to, and does not see the last where it is packed.
_READ = FORMATS | dict.fromkeys(("", ".txt", ".dat", ".tsv", ".tbl", ".cat"), "ascii") | {".csv": "ascii.csv"}
_PACKED = (".gz", ".bz2", ".xz")
EMPTY = "the table is empty, and not every format can hold an empty one; nothing written"
_KEY = "galvae"
_INSTALL = "pip install pandas pyarrow"


def flatten(table: Table) -> Table:
    """A copy with every vector column taken apart into ``name_00``, ``name_01`` ..."""
    flat = type(table)(meta=table.meta)
    for column in table.itercols():
        name = column.info.name
        if column.ndim < 2:
            flat[name] = column
            continue
        width = max(2, len(str(column.shape[1] - 1)))
        for number in range(column.shape[1]):
            part = f"{name}_{number:0{width}d}"
            flat[part] = column[:, number]
            flat[part].info.description = f"{column.info.description or name}; element {number}"
            flat[part].info.meta = column.info.meta
    return flat


def write_table(table: Table, path: str | Path, *, flat: bool = False, overwrite: bool = False) -> None:
    """Write a catalog, or a table joined from one, in the format that the path's ending names.

    The file appears under its name when it is whole.

    Parameters
    ----------
    table
        What to write; not changed.
    path
        Ends in .ecsv, .fits, .vot (.votable, .xml), .parquet or .h5 (.hdf5).
    flat
        Take vector columns apart, for tools without them.
    overwrite
        Replace an existing file.

    Raises
    ------
    ValueError
        If the ending is none of these, the table is empty, or the format cannot hold one of its columns.
    OSError
        If there is a file already and `overwrite` is not given, or no folder to write it in.
    """
    path = Path(path)
    check_output(path, FORMATS, overwrite=overwrite)
    if not len(table):
        raise ValueError(f"{path}: {EMPTY}")
    with writing(path) as (scratch, form):
        write_as(storable(table, form, flat=flat), scratch, form)


@contextmanager
def writing(path: Path) -> Iterator[tuple[Path, str]]:
    """The path to write a table to, and the format; what goes wrong in between is said as a fault of the writing."""
    form = FORMATS[path.suffix.lower()]
    try:
        with whole(path) as scratch:
            yield scratch, form
    except (AttributeError, NotImplementedError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: cannot be written as {form} ({error}); .ecsv holds most") from error


def storable(table: Table, form: str, *, flat: bool = False) -> Table:
    """A copy in columns and types that the format has."""
    # A plain Table holds quantities as columns with units, which every format knows.
    table = Table(flatten(table) if flat else table)
    if form in ("fits", "votable"):
        # Coordinates and times of another table; a time as text, not as two halves of a number.
        with serialize_context_as("ecsv"):
            table = represent_mixins_as_columns(table)
        table.meta.pop("__serialized_columns__", None)
    for name in table.colnames:
        if isinstance(table[name], Column):
            table[name] = _storable(table[name], form)
    return table


def write_as(table: Table, path: Path, form: str) -> None:
    """Write what :func:`storable` gave, which may be changed by it, to a file that is not there."""
    if form == "fits":
        _write_fits(table, path)
    elif form == "votable":
        _write_votable(table, path)
    elif form == "hdf5":
        table.write(path, format=form, path="catalog", serialize_meta=True)
    else:
        table.write(path, format=form)
        if form == "ascii.ecsv":
            _quote_hashes(path)


def _quote_hashes(path: Path) -> None:
    """Quote a row's first value where it begins with '#', which every reader takes for a comment and astropy does not
    quote."""
    before, rows, _ = ECSV.fullmatch(path.read_bytes()).groups()
    if rows.startswith(b"#") or b"\n#" in rows:
        rows = (re.sub(rb"^#[^ \n]*", rb'"\g<0>"', row) for row in _ECSV_ROW.findall(rows))
        path.write_bytes(before + b"".join(rows))


# Of an ECSV file: what comes before the rows, the rows, nothing after them; and a row, whose quoted values have lines.
ECSV = re.compile(rb"((?:#[^\n]*\n)*[^\n]*\n)(.*)()", re.DOTALL)
_ECSV_ROW = re.compile(rb'(?:"(?:[^"]|"")*"|[^"\n])*\n')


def read_table(path: str | Path) -> Table:
    """Read any table that astropy can; absent floating-point numbers are NaN, other absent values masked.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be read as a table.
    """
    path = Path(path)
    if (path / "store.json").is_file():
        raise FileNotFoundError(
            f"{path}: an image store, no table; make a catalog of it with galvae catalog RUN {path}"
        )
    if path.is_dir():
        raise FileNotFoundError(f"{path}: a folder, no table; name a file")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    name = path.with_suffix("") if path.suffix.lower() in _PACKED else path
    form = _READ.get(name.suffix.lower())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)  # of other programs' units, keywords and names
            return _plain(_read(path, form))
    except ImportError as error:
        raise ValueError(f"{path}: needs a package that is not there ({error}); {_INSTALL}") from None
    except IORegistryError:
        raise ValueError(
            f"{path}: cannot be read as a table: of no kind known here; take {', '.join(FORMATS)}, .csv or .txt"
        ) from None
    except Exception as error:  # astropy's readers raise whatever their parsers do
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"{path}: cannot be read as a table ({type(error).__name__}: {reason})") from error


def read_ecsv_meta(path: Path) -> dict[str, Any]:
    """Metadata of an ECSV table, whose rows are not read: nothing if it is none."""
    try:
        with path.open(encoding="utf-8") as lines:
            header = [line[2:].rstrip("\n") for line in takewhile(lambda line: line.startswith("#"), lines)]
        return get_header_from_yaml(header).get("meta", {})
    except (AttributeError, UnicodeDecodeError, YamlParseError):
        return {}


def _write_fits(table: Table, path: Path) -> None:
    table.meta = {_KEY: _json({"meta": table.meta})}
    ucds = {f"TUCD{number}": column.info.meta.get("ucd") for number, column in enumerate(table.itercols(), 1)}
    table.meta |= {key: ucd for key, ucd in ucds.items() if ucd}  # astropy makes header cards of them
    table.convert_unicode_to_bytestring()
    table.write(path, format="fits")


def _write_votable(table: Table, path: Path) -> None:
    from astropy.io import votable

    columns = {c.info.name: {"description": c.info.description, "meta": c.info.meta} for c in table.itercols()}
    packed = votable.tree.Info(name=_KEY, value=_json({"meta": table.meta, "columns": columns}))
    table.meta = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", votable.exceptions.W03)  # another table's names, "RA (deg)", are no XML ids
        file = votable.from_table(table)
        file.get_first_table().infos.append(packed)
        file.to_xml(str(path))


def _json(value: object) -> str:
    # astropy splits long FITS values anywhere, also inside of '' and before &: none of either, then.
    return json.dumps(value, default=str).replace("'", r"\u0027").replace("&", r"\u0026")


_WIDER = {
    "fits": {"b": "i2", "e": "f4"},
    "votable": {"b": "i2", "H": "i4", "I": "i8", "L": "i8", "Q": "i8", "e": "f4"},
}


def _storable(column: Column, form: str) -> Column:
    """A column in a type that the format has.

    Left to itself FITS turns int8 and absent booleans into True, and takes any number that happens to be the
    mask's fill value for an absent one.
    """
    if form == "fits" and isinstance(column, MaskedColumn) and column.dtype.kind == "U":
        return column.filled("")
    if form == "fits" and isinstance(column, MaskedColumn) and column.dtype.kind in "biu":
        column = column.astype("i8")
        column.fill_value = np.iinfo("i8").min
        return column
    to = _WIDER.get(form, {}).get(column.dtype.char)
    return column.astype(to) if to else column


def _without_mark(path: Path) -> Path | str:
    """The text of a file that begins with a byte order mark, as spreadsheets write it, without it; else its path."""
    with path.open("rb") as file:
        marked = file.read(3) == b"\xef\xbb\xbf"
    return path.read_text(encoding="utf-8-sig") if marked else path


def _read(path: Path, form: str | None) -> Table:
    if form == "votable":
        from astropy.io import votable

        first = votable.parse(str(path)).get_first_table()
        table = first.to_table(use_names_over_ids=True)
        packed = next((info.value for info in first.infos if info.name == _KEY), None)
    elif form == "parquet" and _is_foreign_parquet(path):
        return _read_foreign_parquet(path)
    else:
        options = {"mask_invalid": False} if form == "fits" else {}
        table = Table.read(_without_mark(path), format=form, **options)
        packed = table.meta.get(_KEY.upper())
    # What astropy wrote of a catalog says under the same name which version of galvae made it.
    if str(packed).startswith("{"):
        stored = json.loads(packed)
        table.meta = stored["meta"]
        for name, info in stored.get("columns", {}).items():
            table[name].info.description, table[name].info.meta = info["description"], info["meta"]
    return table


def _is_foreign_parquet(path: Path) -> bool:
    import pyarrow.parquet

    return b"table_meta_yaml" not in (pyarrow.parquet.read_schema(path).metadata or {})


def _read_foreign_parquet(path: Path) -> Table:
    """Parquet that astropy did not write; its own reader fails on absent values."""
    import pyarrow.parquet

    table = Table()
    arrow = pyarrow.parquet.read_table(path)
    for name, column in zip(arrow.column_names, arrow.columns, strict=True):
        absent = column.is_null().to_numpy()
        present = column.drop_null().to_numpy()
        values = np.zeros(len(column), present.dtype)
        values[~absent] = present
        if present.dtype.kind == "O":
            values = np.where(absent, None, values)
        table[name] = MaskedColumn(values, mask=absent) if values.dtype.kind != "O" else values
    return table


def _plain(table: Table) -> Table:
    """Text as text, native byte order, NaN for absent floating-point numbers, no masks that hide nothing."""
    for name in table.colnames:
        column = table[name]
        if not isinstance(column, Column):
            continue
        if column.dtype.kind == "S" or (column.dtype.kind == "O" and _is_text(column)):
            column = _as_text(column)
        if isinstance(column, MaskedColumn) and column.dtype.kind == "f":
            column = column.filled(np.nan)
        elif isinstance(column, MaskedColumn) and not column.mask.any():
            column = column.filled()
        table[name] = column.astype(column.dtype.newbyteorder("=")) if not column.dtype.isnative else column
    return table


def _is_text(column: Column) -> bool:
    return all(value is None or isinstance(value, str) for value in column)


def _as_text(column: Column) -> MaskedColumn:
    # Not convert_bytestring_to_unicode: it takes the mask away.
    absent = np.array([value is None or value is np.ma.masked for value in column])
    values = np.where(absent, b"" if column.dtype.kind == "S" else "", np.asarray(column))
    text = np.char.decode(values, "utf-8", "replace") if column.dtype.kind == "S" else values.astype(str)
    return MaskedColumn(text, mask=absent, description=column.description, meta=column.meta)

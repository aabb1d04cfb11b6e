"""Tables written part by part: as many rows as wished, in memory one part.

Each part is written as a file of its own, by what writes whole tables, and its rows are moved to the end of the one
that grows: a format is described in one place, and parts make what would have been written at once.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from astropy.table import Table

from galvae.files import check_output
from galvae.tableio import ECSV, EMPTY, FORMATS, storable, write_as, writing


def write_parts(
    parts: Iterable[Table], path: str | Path, *,
    rows: int, longest: Sequence[int] = (0, 0), flat: bool = False, overwrite: bool = False,
) -> None:  # fmt: skip
    """Write a table that comes in parts: what :func:`galvae.tableio.write_table` would write of all their rows.

    A part is asked for when the one before it is written: where threads work ahead of a generator, they do meanwhile.
    The file appears under its name when it is whole. What the making of a part raises is raised as it is.

    Parameters
    ----------
    parts
        Tables with the same columns and metadata; those of the first are written.
    path, flat, overwrite
        As of :func:`galvae.tableio.write_table`.
    rows
        How many there will be, which FITS and HDF5 say before the first.
    longest
        Of the texts of all parts, as :func:`text_widths` says it, because all rows have columns of one width.

    Raises
    ------
    ValueError
        If the ending is of no format, there are no rows or not so many, the format cannot hold a column, or the types
        of a part's columns are not those of the first.
    OSError
        If there is a file already and `overwrite` is not given, or it cannot be written.
    """
    path = Path(path)
    check_output(path, FORMATS, overwrite=overwrite)
    if not rows:
        raise ValueError(f"{path}: {EMPTY}")
    try:
        with (
            writing(path) as (scratch, form),
            closing(_files(parts, scratch, form, rows, flat, longest)) as files,
        ):
            _GROW[form](files, scratch, rows)
    except _MakingError as error:
        raise error.__cause__ from None


def text_widths(values: np.ndarray) -> tuple[int, int]:
    """Characters of the longest of some texts, and bytes of UTF-8 of that which takes most; nothing of numbers."""
    return (values.itemsize // 4, np.char.encode(values, "utf-8").itemsize) if values.dtype.kind == "U" else (0, 0)


class _MakingError(Exception):
    """Bears what the making of a part raised past those who take an error for the writing's."""


def _made(parts: Iterable[Table]) -> Iterator[Table]:
    try:
        for table in parts:
            yield table
            del table  # the next one is made without this one in memory
    except Exception as error:
        raise _MakingError from error


def _files(
    parts: Iterable[Table], scratch: Path, form: str, rows: int, flat: bool, longest: Sequence[int]
) -> Generator[Path, None, None]:
    """A file of each part, gone when the next is asked for."""
    file = scratch.with_stem(f"{scratch.stem}-part")
    types, number, done = None, 0, 0
    try:
        for table in _made(parts):
            table = _widened(storable(table, form, flat=flat), form, longest)
            types, number, done = types or table.dtype, number + 1, done + len(table)
            if table.dtype != types:
                raise ValueError(f"part {number} has columns of other types than the first")
            write_as(table, file, form)
            del table
            gc.collect()  # astropy leaves cycles behind that hold all of a part's text
            yield file
            file.unlink()
        if done != rows:
            raise ValueError(f"{done} rows came where {rows} were announced")
    finally:
        file.unlink(missing_ok=True)


def _widened(table: Table, form: str, longest: Sequence[int]) -> Table:
    """With each column of text as wide as the longest, in bytes where the format has bytes."""
    kind, width = "U", longest[0]
    if form in ("fits", "hdf5"):
        kind, width = "S", longest[1]
        table.convert_unicode_to_bytestring()
    for name in table.colnames:
        if table[name].dtype.kind == kind:
            table[name] = table[name].astype(np.result_type(table[name].dtype, f"{kind}{width}"))
    return table


def _grow_text(files: Iterator[Path], path: Path, rows: int, *, layout: re.Pattern[bytes]) -> None:
    with path.open("wb") as grown:
        for file in files:
            begin, lines, end = layout.fullmatch(file.read_bytes()).groups()
            grown.write(lines if grown.tell() else begin + lines)
        grown.write(end)


def _grow_fits(files: Iterator[Path], path: Path, rows: int) -> None:
    from astropy.io import fits

    with path.open("wb") as grown:
        for file in files:
            with fits.open(file) as hdus:
                header, place = hdus[1].header, hdus[1].fileinfo()
            begin, size = place["datLoc"], header["NAXIS1"] * header["NAXIS2"]
            content = file.read_bytes()
            if not grown.tell():
                header["NAXIS2"] = rows
                grown.write(content[: place["hdrLoc"]] + header.tostring().encode())
            grown.write(content[begin : begin + size])
        grown.write(bytes(-grown.tell() % 2880))  # FITS files are made of such blocks


def _grow_hdf5(files: Iterator[Path], path: Path, rows: int) -> None:
    import h5py

    def rows_in(file: h5py.File) -> h5py.h5d.DatasetID:
        return file["catalog"].id

    # The rows get their place at once, and are written there as bytes: where a disk is full HDF5 ends the process.
    early = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    early.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    early.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    first = next(files)
    with h5py.File(first) as part, h5py.File(path, "w") as grown:
        h5py.h5d.create(grown.id, b"catalog", rows_in(part).get_type(), h5py.h5s.create_simple((rows,)), early)
        begin = rows_in(grown).get_offset()
        for name in part:
            if name not in grown:
                part.copy(name, grown)
    with path.open("r+b") as grown:
        grown.seek(begin)
        for file in chain([first], files):
            with h5py.File(file) as part:
                begin, size = rows_in(part).get_offset(), rows_in(part).get_storage_size()
            grown.write(file.read_bytes()[begin : begin + size])


def _grow_parquet(files: Iterator[Path], path: Path, rows: int) -> None:
    from pyarrow import parquet

    first = next(files)
    with parquet.ParquetWriter(path, parquet.read_schema(first), version="2.4") as grown:
        for file in chain([first], files):
            grown.write_table(parquet.ParquetFile(file).read())


# Of the formats of text: what comes before the rows, the rows, what comes after them.
_VOTABLE = re.compile(rb"(.*?<TABLEDATA>\n)(.*\n)( *</TABLEDATA>.*)", re.DOTALL)
_GROW: dict[str, Callable[[Iterator[Path], Path, int], None]] = {
    "ascii.ecsv": partial(_grow_text, layout=ECSV),
    "votable": partial(_grow_text, layout=_VOTABLE),
    "fits": _grow_fits,
    "hdf5": _grow_hdf5,
    "parquet": _grow_parquet,
}

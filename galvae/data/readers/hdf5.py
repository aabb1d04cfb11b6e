"""HDF5: a dataset of pictures, one galaxy a row (Galaxy10 SDSS, Galaxy10 DECaLS, and others by the
recipe)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import h5py
import numpy as np

from galvae.data.readers.base import Cutout, Item
from galvae.data.settings import IngestSettings


@lru_cache(maxsize=2)
def _open(path: str) -> h5py.File:
    return h5py.File(path)


def plan(path: str, settings: IngestSettings) -> Iterator[Item]:
    """One item for each row of the dataset named by ``ingest.images``.

    Where ``ingest.id_column`` names no ids, they are the file's name, without its ending, and the row's number:
    those of one file are never those of another.

    Raises
    ------
    ValueError
        If there is no such dataset, or it does not hold pictures, or the ids do not fit it, or the positions or
        scales cannot be ones.
    """
    try:
        file = _open(path)
    except OSError as error:
        yield Item("unreadable", path, path, (f"damaged or truncated HDF5 file ({error})",))
        return
    images = file.get(settings.images)
    if not isinstance(images, h5py.Dataset):
        raise ValueError(
            f"{path}: no dataset {settings.images!r}; there are {', '.join(file)}: set ingest.images in the recipe"
        )
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3)):
        raise ValueError(
            f"{path}: dataset {settings.images!r} has shape {images.shape}, expected (galaxies, ny, nx) or "
            f"(galaxies, ny, nx, 3)"
        )
    ids = _ids(file, len(images), settings.id_column, path)
    _check_positions(path, settings)
    for row in range(len(images)):
        name = f"{Path(path).stem}_{row}" if ids is None else ids[row]
        yield Item("hdf5", name, f"{path}::{row}", (path, row))


def _check_positions(path: str, settings: IngestSettings) -> None:
    from astropy.table import Column

    from galvae.data.positions import checked

    file = _open(path)
    rows = len(file[settings.images])
    for known, name in _positions(settings).items():
        data = file.get(name)
        if not isinstance(data, h5py.Dataset):
            continue
        # One number for all can be nothing but the scale of their pixels.
        if not _is_column(data, rows) and (known, data.size) != ("pixel_scale", 1):
            option = {"pixel_scale": "scale"}.get(known, known)
            raise ValueError(
                f"{path}: dataset {name!r} has shape {data.shape}, expected {(rows,)}, a number for each galaxy; set "
                f"ingest.{option}_column to another, or to an empty text"
            )
        if data.size:
            checked(Column(_values(data)), known, f"{path}: dataset {name!r}")


def _is_column(data: object, rows: int) -> bool:
    return isinstance(data, h5py.Dataset) and data.shape in ((rows,), (rows, 1))


def _values(data: h5py.Dataset, *, errors: str = "replace") -> np.ndarray:
    """Those of a dataset, texts as texts, shape (N,)."""
    if h5py.check_string_dtype(data.dtype):
        return np.asarray(data.asstr(errors=errors)[()]).astype(str).reshape(-1)
    return np.asarray(data[()]).reshape(-1)


def _positions(settings: IngestSettings) -> dict[str, str]:
    return {"ra": settings.ra_column, "dec": settings.dec_column, "pixel_scale": settings.scale_column}


def _ids(file: h5py.File, rows: int, name: str, path: str) -> list[str] | None:
    if not name:
        return None
    if name not in file:
        raise ValueError(f"{path}: no dataset {name!r} for ingest.id_column; there are {', '.join(file)}")
    data = file[name]
    if not _is_column(data, rows) or data.dtype.kind == "f":
        what = f"{data.dtype} of shape {data.shape}" if isinstance(data, h5py.Dataset) else "a group"
        raise ValueError(
            f"{path}: dataset {name!r} is {what}, expected {rows} integers or texts; "
            f"set ingest.id_column to another or to an empty text for row numbers"
        )
    return [str(value) for value in _values(data, errors="strict")]


def columns(path: str, settings: IngestSettings) -> dict[str, np.ndarray]:
    """What else a file says of its galaxies: every dataset of one number or one text for each of them, by name."""
    file = _open(path)
    rows = len(file[settings.images])
    return {
        name: _values(data)
        for name, data in file.items()
        if _is_column(data, rows) and (h5py.check_string_dtype(data.dtype) or data.dtype.kind in "biuf")
    }


def load(place: tuple[str, int], settings: IngestSettings) -> Cutout:
    """Read one row.

    The first row of each picture is its top, as every viewer of these sets shows it. Pictures that are not
    uint8 are read as flux whose planes nothing names, unless ``ingest.cube_bands`` names them.

    Raises
    ------
    ValueError, OSError
        If it cannot be read.
    """
    path, row = place
    file = _open(path)
    pixels = np.atleast_3d(file[settings.images][row])[::-1]
    place_and_scale = {known: _value(file, name, row) for known, name in _positions(settings).items()}
    if pixels.dtype == np.uint8:
        pixels = np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))
        return Cutout(pixels=pixels, **place_and_scale)
    bands = settings.cube_bands if len(settings.cube_bands) == pixels.shape[2] else ()
    return Cutout(pixels=pixels.astype(np.float32), bands=bands, **place_and_scale)


def _value(file: h5py.File, name: str, row: int) -> float:
    """One galaxy's value of a column, NaN where there is no such dataset."""
    data = file.get(name)
    if not isinstance(data, h5py.Dataset):
        return float("nan")
    return float(np.squeeze(data[()] if data.size == 1 else data[row]))

"""MRC: stacks of electron micrographs, each section an image, their headers as they are met.

Header and types are mrcfile's. Sections are read by themselves, for the largest stacks do not fit in memory, and packed
ones, of which mrcfile decompresses all, are read on from one image to the next.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mrcfile.dtypes import HEADER_DTYPE
from mrcfile.utils import byte_order_from_machine_stamp, dtype_from_mode

from galvae.data.readers.base import Cutout, Item
from galvae.data.readers.content import mrc_orders, read_at, unpacked_name, unpacked_size
from galvae.data.settings import FLOATS, IngestSettings
from galvae.progress import say

_MODES = {0: "int8", 1: "int16", 2: "float32", 6: "uint16", 12: "float16"}
_HEADER = HEADER_DTYPE.itemsize
_ORDER = {"<": "little-endian", ">": "big-endian"}
# Angstrom along a pixel.
_SIZES = (0.01, 1000.0)
_ABSURD = 1e30


class Layout(NamedTuple):
    """Where the images of a stack lie in its file.

    Attributes
    ----------
    count, ny, nx
        Images; rows and columns of each.
    dtype
        Of their pixels.
    start
        Bytes before the first.
    pixel_size
        Angstrom along a side of a pixel; NaN where the header does not say, or nothing that can be.
    """

    count: int
    ny: int
    nx: int
    dtype: str
    start: int
    pixel_size: float

    @property
    def bytes_each(self) -> int:
        """Of an image."""
        return self.ny * self.nx * np.dtype(self.dtype).itemsize


def plan(path: str, settings: IngestSettings) -> Iterator[Item]:
    """One item for each section, called as RELION does: ``000001@NAME.mrcs``, counted from 1.

    Raises
    ------
    ValueError
        If it is no stack that can be read, or the settings want colours.
    """
    found = layout(path)
    check_settings(path, settings)
    name = unpacked_name(Path(path).name)
    for row in range(found.count):
        yield Item("mrc", f"{row + 1:06d}@{name}", f"{row + 1:06d}@{path}", (path, row, found))


def check_settings(path: str, settings: IngestSettings) -> None:
    """Refuse settings that want display colours.

    Raises
    ------
    ValueError
        If they do.
    """
    if settings.pixels not in FLOATS:
        raise ValueError(
            f"{path}: micrographs are measured densities, which have no display values, but ingest.pixels = "
            f"{settings.pixels}; take the recipe em-negative-stain, or --set ingest.pixels=normalised"
        )


def columns(path: str, settings: IngestSettings) -> dict[str, np.ndarray]:
    """The size of a pixel, Angstrom."""
    found = layout(path)
    return {"pixel_size_angstrom": np.full(found.count, found.pixel_size)}


def load(place: tuple[str, int, Layout], settings: IngestSettings) -> Cutout:
    """Read one section; its first row is its bottom.

    Raises
    ------
    ValueError, OSError
        If it cannot be read, or a pixel has no value.
    """
    path, row, found = place
    data = read_at(path, found.start + row * found.bytes_each, found.bytes_each)
    if len(data) < found.bytes_each:
        raise ValueError("the file ends before this image; copy it again")
    pixels = np.frombuffer(data, found.dtype).reshape(found.ny, found.nx, 1).astype(np.float32)
    finite = np.isfinite(pixels)
    largest = np.abs(pixels, where=finite, out=np.zeros_like(pixels)).max()
    if largest > _ABSURD or 0 < largest < 1 / _ABSURD:
        raise ValueError(f"the largest value is {largest:.1g}: are the bytes in another order than the header says?")
    if not finite.all():
        raise ValueError(
            f"{np.count_nonzero(~finite)} of {finite.size} pixels are NaN or infinite; mend the image, or leave it out"
        )
    return Cutout(pixels, complete=True)


def layout(path: str) -> Layout:
    """Where the images of a stack lie, by its header, held to the size of the file.

    A header without the letters ``MAP`` or without a machine stamp, as older programs write, is read in the byte order
    in which it makes sense.

    Raises
    ------
    ValueError
        If nothing can be read by it, with what is wrong.
    """
    found = os.stat(path)
    return _layout(path, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=64)
def _layout(path: str, size: int, changed: int) -> Layout:
    header = _header(path)
    nx, ny, nz, mode = (int(header[name]) for name in ("nx", "ny", "nz", "mode"))
    if nx < 1 or ny < 1:
        raise ValueError(f"{path}: images of {nx} x {ny} pixels by its header; nothing to read, copy it again")
    if nz < 1:
        raise ValueError(f"{path}: {nz} images by its header; nothing to read, copy it again")
    if max(nx, ny) > 2**16 or nz > 2**24:
        raise ValueError(
            f"{path}: {nz} images of {nx} x {ny} pixels by its header, which can be true in neither byte order; is it "
            f"another file?"
        )
    if mode not in _MODES:
        read = ", ".join(f"{number} {name}" for number, name in _MODES.items())
        raise ValueError(
            f"{path}: mode {mode} by its header; the modes that are read are {read}: write it in one of them"
        )
    _check_stack(path, header)
    start = _HEADER + int(header["nsymbt"])
    dtype = dtype_from_mode(mode).newbyteorder(header.dtype["mode"].byteorder)
    got, each = unpacked_size(path), ny * nx * dtype.itemsize
    if not _HEADER <= start <= got:
        raise ValueError(f"{path}: an extended header of {header['nsymbt']} bytes in a file of {got:,}; copy it again")
    if got < start + nz * each:
        raise ValueError(
            f"{path}: holds {(got - start) // each} of the {nz} images that its header claims ({got:,} of "
            f"{start + nz * each:,} bytes): truncated? Copy it again"
        )
    if got > start + nz * each:
        say(f"warning: {path}: {got - start - nz * each:,} bytes after the last of the {nz} images are not read")
    return Layout(nz, ny, nx, dtype.str, start, _pixel_size(header))


def _header(path: str) -> np.void:
    """The header, in the byte order of its machine stamp, else in that in which it makes sense.

    Raises
    ------
    ValueError
        If it is too short, or the stamp is of the other order than the numbers.
    """
    data = read_at(path, 0, _HEADER)
    if len(data) < _HEADER:
        raise ValueError(f"{path}: {len(data)} bytes are no MRC file, whose header has {_HEADER}; copy it again")
    sensible = mrc_orders(data)
    try:
        order = byte_order_from_machine_stamp(data[212:216])
    except ValueError:
        order = sensible[:1] or "<"
    if sensible and order not in sensible:
        nx, ny, nz = np.frombuffer(data, f"{sensible}i4", 3)
        raise ValueError(
            f"{path}: wrong byte order: its machine stamp says {_ORDER[order]}, but its header makes sense as "
            f"{_ORDER[sensible]} only ({nz} images of {nx} x {ny} pixels), and nothing says which the pixels are; "
            f"write it again, or mend the stamp (bytes 213 to 216)"
        )
    return np.frombuffer(data, HEADER_DTYPE.newbyteorder(order))[0]


def _check_stack(path: str, header: np.void) -> None:
    """Refuse 3-D maps, and axes in another order.

    Of a file that ends ``.mrcs`` or ``.st`` each section is an image. Headers of stacks call themselves maps as often
    as not (ISPG 1, mz = nz): of other files only those that are cubes are taken at their word.
    """
    sides, ispg = [int(header[name]) for name in ("nx", "ny", "nz")], int(header["ispg"])
    stack = unpacked_name(path).lower().endswith((".mrcs", ".st")) or (ispg == 0 and header["mz"] == 1)
    if ispg >= 401 or (not stack and len({*sides}) == 1 and sides[2] > 1):
        size = " x ".join(map(str, sides))
        raise ValueError(
            f"{path}: a 3-D map of {size} voxels (ISPG {ispg}), of which a section is no image of a particle; "
            f"if it is a stack, call it .mrcs"
        )
    axes = tuple(int(header[name]) for name in ("mapc", "mapr"))
    if axes not in ((1, 2), (0, 0)):
        raise ValueError(f"{path}: columns and rows lie along axes {axes[0]} and {axes[1]}, not along x and y; turn it")


def _pixel_size(header: np.void) -> float:
    size, cells = float(header["cella"]["x"]), int(header["mx"])
    found = size / cells if cells > 0 else float("nan")
    return found if _SIZES[0] <= found <= _SIZES[1] else float("nan")

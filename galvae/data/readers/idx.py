"""idx: the format of MNIST, many grey pictures in one file, their labels in another beside it."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from galvae.data.readers.base import Cutout, Item
from galvae.data.readers.content import read_at, unpacked_name, unpacked_size
from galvae.data.settings import IngestSettings

_HEADER = {3: 16, 1: 8}
_NAME = re.compile(r"[-.]idx3-ubyte$")


class Layout(NamedTuple):
    """Rows and columns of each picture."""

    ny: int
    nx: int


def plan(path: str, settings: IngestSettings) -> Iterator[Item]:
    """One item for each picture, called by the file's name, without ``-idx3-ubyte``, and its number from 0.

    Raises
    ------
    ValueError
        If the file holds fewer pictures than its header claims, or none, or its labels are of other pictures.
    """
    count, ny, nx = _sides(path, 3)
    labels = _labels_of(path)
    if labels and (there := _sides(labels, 1)[0]) != count:
        raise ValueError(
            f"{path}: {count} pictures but {there} labels in {labels}; put the labels that belong beside it"
        )
    stem = _NAME.sub("", unpacked_name(Path(path).name))
    besides = (labels,) if labels else ()
    for row in range(count):
        yield Item("idx", f"{stem}_{row}", f"{path}::{row}", (path, row, Layout(ny, nx), *besides))


def pictures(path: str) -> np.ndarray:
    """All pictures, uint8, shape (N, ny, nx), the first row of each its top.

    Raises
    ------
    ValueError
        As of :func:`plan`.
    """
    sides = _sides(path, 3)
    return np.frombuffer(read_at(path, _HEADER[3], int(np.prod(sides))), np.uint8).reshape(sides)


def columns(path: str, settings: IngestSettings) -> dict[str, np.ndarray]:
    """The labels of all pictures, if there are any."""
    labels = _labels_of(path)
    if not labels:
        return {}
    count = _sides(labels, 1)[0]
    return {"label": np.frombuffer(read_at(labels, _HEADER[1], count), np.uint8).astype(np.int64)}


def load(place: tuple[str, int, Layout, str], settings: IngestSettings) -> Cutout:
    """Read one picture; its first row is its top.

    Raises
    ------
    ValueError, OSError
        If it cannot be read.
    """
    path, row, (ny, nx) = place[:3]
    data = read_at(path, _HEADER[3] + row * ny * nx, ny * nx)
    if len(data) < ny * nx:
        raise ValueError("the file ends before this picture")
    grey = np.frombuffer(data, np.uint8).reshape(ny, nx, 1)[::-1]
    return Cutout(np.ascontiguousarray(np.broadcast_to(grey, (ny, nx, 3))))


def _labels_of(path: str) -> str:
    """The file of labels beside one of pictures, packed or not; an empty text if there is none."""
    here = Path(path)
    name = unpacked_name(here.name)
    if "images" not in name or "idx3" not in name:
        return ""
    name = name.replace("images", "labels").replace("idx3", "idx1")
    there = (here.with_name(f"{name}{ending}") for ending in ("", ".gz", ".bz2", ".xz"))
    return next((str(one) for one in there if one.is_file()), "")


def _sides(path: str, dimensions: int) -> tuple[int, ...]:
    """How many there are along each dimension.

    Raises
    ------
    ValueError
        If the file is not of so many dimensions, or holds less than its header claims.
    """
    start = _HEADER[dimensions]
    head = read_at(path, 0, start)
    if len(head) < start or head[:4] != bytes((0, 0, 8, dimensions)):
        raise ValueError(f"{path}: not an idx file of bytes in {dimensions} dimensions; take the original file again")
    sides = struct.unpack(f">{dimensions}I", head[4:])
    each = int(np.prod(sides[1:], dtype=object))
    if not each or not sides[0]:
        raise ValueError(
            f"{path}: {sides[0]} of {' x '.join(map(str, sides[1:]))} pixels by its header; nothing to read"
        )
    got, claimed = unpacked_size(path), start + sides[0] * each
    if got < claimed:
        raise ValueError(
            f"{path}: holds {max(0, got - start) // each} of the {sides[0]} that its header claims ({got:,} of "
            f"{claimed:,} bytes): truncated? Copy it again"
        )
    return sides

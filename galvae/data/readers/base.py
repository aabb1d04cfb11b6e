"""What every reader gives: a plan of items, and one cutout for each item."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

# Readers of files that hold many galaxies, and perhaps something to be said of each: their items' places begin with
# (path, row), and ``columns(path, settings)`` gives a value for each row.
ROWS = ("hdf5", "idx", "mrc", "star")


class Item(NamedTuple):
    """One galaxy to be read: small, and picklable, for it travels to a worker process.

    Attributes
    ----------
    reader
        Name of the module in :mod:`galvae.data.readers` whose ``load`` reads it.
    id
        The survey's identifier, as text.
    source
        What it is read from, in words that a user recognises.
    place
        What ``load`` needs to find it.
    """

    reader: str
    id: str
    source: str
    place: tuple[Any, ...]


class Place(NamedTuple):
    """Where some bytes lie: a file, or a member of a zip archive.

    Attributes
    ----------
    path
        The file.
    member
        Name of the member, or an empty text.
    span
        Where the member lies in the archive: offset of its header, compressed size, method, CRC-32.
    """

    path: str
    member: str = ""
    span: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.path}::{self.member}" if self.member else self.path

    @property
    def name(self) -> str:
        """The last part of the path."""
        return os.path.basename(self.member or self.path)


@dataclass
class Cutout:
    """One galaxy as it was observed.

    Attributes
    ----------
    pixels
        Flux, float32 (ny, nx, bands), NaN where there is no value; or display colours, uint8 (ny, nx, 3).
        **Row 0 at the bottom**, x to the right.
    bands
        Name of each plane of flux; empty for display colours, and for planes that nothing names.
    reference
        Index of the plane whose grid and noise stand for the object.
    wcs
        FITS header, as text, of the celestial WCS of the pixels; empty where there is none.
    pixel_scale
        Arcseconds along a side of a pixel; NaN where it is not known.
    unit
        Physical unit of the flux as the file writes it.
    doubtful_wcs
        Whether the bands' WCSs contradict the bands' pixels.
    ra, dec
        Where the source says that the galaxy is, ICRS degrees; NaN where it does not.
    shrunk
        Pixels of the original along a side of one of `pixels`; it divides both sides of the original.
    complete
        Whether every pixel has a value: blocks of exact zeros, where flux has negative pixels, are else taken for
        what was not seen.
    """

    pixels: np.ndarray
    bands: tuple[str, ...] = ()
    reference: int = 0
    wcs: str = ""
    pixel_scale: float = float("nan")
    unit: str = ""
    doubtful_wcs: bool = False
    ra: float = float("nan")
    dec: float = float("nan")
    shrunk: int = 1
    complete: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """(ny, nx) of the original."""
        ny, nx = self.pixels.shape[:2]
        return ny * self.shrunk, nx * self.shrunk

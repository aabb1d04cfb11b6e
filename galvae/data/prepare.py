"""From a cutout to its field: centred, padded, downsampled without aliasing, and the map back."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import sparse

from galvae.data.settings import IngestSettings

_BITS = 11  # as much as 32 bits hold of the sum over a picture, 255 times its square


@dataclass(frozen=True)
class Frame:
    """How a field lies on its cutout.

    Attributes
    ----------
    side
        Field pixels along a side.
    covers
        Original pixels that a side of the field covers.
    size
        (ny, nx) of the cutout.
    """

    side: int
    covers: int
    size: tuple[int, int]

    @property
    def affine(self) -> np.ndarray:
        """Original pixel (x, y) = affine @ (x_field, y_field, 1), both from 0 with y up, shape (2, 3)."""
        step = self.covers / self.side
        ny, nx = self.size
        first = (self.side - 1) / 2 * step
        return np.array([[step, 0.0, (nx - 1) / 2 - first], [0.0, step, (ny - 1) / 2 - first]])


def frame(size: tuple[int, int], settings: IngestSettings) -> Frame:
    """The frame of a cutout of (ny, nx) pixels: all of its shorter side, never magnified, centred on its
    centre."""
    return Frame(settings.field * settings.oversample, max(settings.field, min(size)), size)


def to_field(pixels: np.ndarray, where: Frame) -> np.ndarray:
    """Lay a picture, or one channel of floats, on its field.

    Parameters
    ----------
    pixels
        uint8 or float32, shape (ny, nx, C), row 0 at the bottom; at a fraction of its size, larger than the field, or
        whole.
    where
        The frame of the whole picture.

    Returns
    -------
    ndarray
        The same type, shape (side, side, C), row 0 at the bottom. What the picture does not cover is the median of its
        border.
    """
    floats, channels = pixels.dtype.kind == "f", pixels.shape[2]
    shrunk = where.size[0] // len(pixels)
    pads = [max(0, -(-(where.covers - n) // 2)) for n in where.size]
    if any(pads):
        padded = np.empty((where.size[0] + 2 * pads[0], where.size[1] + 2 * pads[1], channels), pixels.dtype)
        level = np.median(border_of(pixels), axis=0)
        padded[:] = level if floats else np.rint(level)
        padded[pads[0] : pads[0] + where.size[0], pads[1] : pads[1] + where.size[1]] = pixels
        pixels = padded
    weights = _shares if floats else _weights
    rows, columns = (weights(n, where.covers / shrunk, where.side) for n in pixels.shape[:2])
    # Beforehand: scipy is slow in making it of other numbers, and of what is not contiguous.
    values = pixels.astype(np.float64 if floats else np.int32).reshape(len(pixels), -1)
    values = columns @ _turned(rows @ values, channels)
    if not floats:
        values += 1 << 2 * _BITS - 1
        values >>= 2 * _BITS
    return _turned(values.astype(pixels.dtype), channels).reshape(where.side, where.side, channels)


def _turned(colours: np.ndarray, channels: int) -> np.ndarray:
    """Rows for columns, (ny, nx * C) to (nx, ny * C): colours move as one, for numpy is slow with three at a time."""
    return np.ascontiguousarray(colours.view(f"V{channels * colours.itemsize}").T).view(colours.dtype)


@lru_cache(maxsize=64)
def _weights(length: int, covers: float, side: int) -> sparse.csr_array:
    """The filter in whole numbers, rows adding to ``2**_BITS``, because their sums are exact in any order.

    Pillow rounds between rows and columns, and a turned picture would not give exactly the turned field.
    """
    shares = np.cumsum(_triangle(length, covers, side), axis=1)
    whole = np.diff(np.rint(shares * 2 ** (_BITS - 1)), axis=1, prepend=0).astype(np.int32)
    return sparse.csr_array(whole + whole[::-1, ::-1])


@lru_cache(maxsize=64)
def _shares(length: int, covers: float, side: int) -> sparse.csr_array:
    """The filter for floats, of which a turned image gives the turned field to rounding."""
    return sparse.csr_array(_triangle(length, covers, side))


def _triangle(length: int, covers: float, side: int) -> np.ndarray:
    """The anti-aliased triangle filter (Pillow's ``BILINEAR``) as a matrix of shape (side, length)."""
    step = covers / side
    centres = (length - 1) / 2 + (np.arange(side) - (side - 1) / 2) * step
    weights = np.clip(1 - np.abs(np.arange(length) - centres[:, None]) / max(step, 1.0), 0, None)
    return weights / weights.sum(axis=1, keepdims=True)


def normalised(field: np.ndarray, where: Frame, *, background: bool = False) -> tuple[np.ndarray, float, float]:
    """A field of floats less the mean of its pixels over their standard deviation; and both.

    They are those of the pixels that the cutout covers, all of them: where an object ends is not known yet, and what
    lies around it may be a mask of one value, without any spread. They are taken after downsampling, so that what the
    model sees has unit variance whatever the noise of the original's pixels.

    Parameters
    ----------
    field
        Shape (side, side, 1).
    where
        Its frame.
    background
        The mean alone is that of what lies outside the ellipse that just fits into what is covered: of a mask, too.

    Raises
    ------
    ValueError
        If all pixels have the same value.
    """
    inside = [_covered(n, where) for n in where.size]
    own = field[np.ix_(*inside)].astype(np.float64)
    mean, std = float(own.mean()), float(own.std())
    if not std > 1e-6 * abs(mean):
        raise ValueError("every pixel has the same value")
    if background:
        y, x = (np.linspace(1 / n - 1, 1 - 1 / n, n) for n in own.shape[:2])
        mean = float(own[np.hypot(y[:, None], x) > 1].mean())
    return ((field - mean) / std).astype(np.float32), mean, std


def _covered(length: int, where: Frame) -> np.ndarray:
    """Which field pixels along a side have their centres on the cutout, of so many pixels."""
    at = (np.arange(where.side) - (where.side - 1) / 2) * (where.covers / where.side)
    return np.abs(at) <= length / 2 + 1e-6


def border_width(size: tuple[int, int]) -> int:
    """How many pixels wide the border of a picture of (ny, nx) is."""
    return max(1, min(size) // 20)


def border(size: tuple[int, int]) -> np.ndarray:
    """Which pixels of a picture of (ny, nx) are its outermost ones."""
    width, found = border_width(size), np.ones(size, bool)
    found[width:-width, width:-width] = False
    return found


def border_of(pixels: np.ndarray) -> np.ndarray:
    """The outermost pixels of a picture, a twentieth of its shorter side wide, shape (n, channels)."""
    return pixels[border(pixels.shape[:2])]


def fixed_window(name: str, settings: IngestSettings) -> tuple[int, int]:
    """Offset (x right, y up) of a galaxy's one window from the centre of the field, in field pixels.

    Normal with ``ingest.crop_sigma`` model pixels, keyed by the seed and the galaxy's id, and kept inside
    the field.
    """
    key = hashlib.sha256(f"window {settings.seed} {name}".encode()).digest()
    drawn = np.random.default_rng(int.from_bytes(key[:16], "big")).normal(0, settings.crop_sigma, 2)
    room = max(0, (settings.field - settings.window) * settings.oversample // 2)
    x, y = np.clip(np.rint(drawn * settings.oversample), -room, room).astype(int)
    return int(x), int(y)

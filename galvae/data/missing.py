"""Pixels without a value: found, counted, and filled with what lies around the galaxy."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import label

from galvae.data.prepare import border_of

_MOST_MISSING = 0.5
_BLOCK = 0.01
_ABSURD = 1e30
# Of a picture: what is missing fills a square in a corner, at least so wide and a twentieth of the side. Of the border
# a good part is left, of which hardly any is of that colour, and the median is off it by some levels.
_CORNER, _LEFT, _ELSEWHERE, _STEP = 8, 0.25, 0.05, 4


def filled(pixels: np.ndarray) -> tuple[np.ndarray, float]:
    """As :func:`fill_missing`, where not too much is.

    Raises
    ------
    ValueError
        If more than half of the pixels have no value.
    """
    planes, missing = fill_missing(pixels)
    if missing > _MOST_MISSING:
        raise ValueError(
            f"too many pixels without a value: {missing:.0%} are NaN, blank or in blocks of one value, more than 50%"
        )
    return planes, missing


def fill_missing(pixels: np.ndarray) -> tuple[np.ndarray, float]:
    """Fill what has no value with the median of the plane's border.

    Of flux NaN, infinity and what exceeds 1e30 are missing and, in a plane that has negative pixels, as noisy sky
    does, blocks of exact zeros of more than a hundredth of the plane. Of a picture (uint8) a block of one colour, of
    more than a hundredth, in a corner, where the rest of the border is of another: beyond the edge of a survey. A sky
    without noise, or one that is clipped at black, is so all around.

    Parameters
    ----------
    pixels
        Shape (ny, nx, bands).

    Returns
    -------
    filled
        The same shape; of flux float32.
    fraction
        Of the pixels, missing in any band.
    """
    missing = _beyond_the_edge(pixels) if pixels.dtype == np.uint8 else _without_value(pixels)
    if not missing.any():
        return pixels, 0.0
    fraction = float(missing.any(axis=2).mean())
    if fraction > _MOST_MISSING:
        return pixels, fraction
    filled = pixels.copy()
    for band, gaps in enumerate(np.moveaxis(np.broadcast_to(missing, pixels.shape), 2, 0)):
        border = border_of(np.dstack([pixels[:, :, band], gaps]))
        seen = border[border[:, 1] == 0, 0]
        level = np.median(seen if len(seen) else pixels[:, :, band][~gaps])
        filled[:, :, band][gaps] = np.rint(level) if pixels.dtype == np.uint8 else level
    return filled, fraction


def _without_value(flux: np.ndarray) -> np.ndarray:
    missing = ~(np.abs(flux) < _ABSURD)
    for band in range(flux.shape[2]):
        zero = flux[:, :, band] == 0
        if zero.mean() > _BLOCK and (flux[:, :, band] < 0).any():
            blocks, _ = label(zero)
            large = np.bincount(blocks.ravel()) > _BLOCK * zero.size
            large[0] = False
            missing[:, :, band] |= large[blocks]
    return missing


def _beyond_the_edge(colours: np.ndarray) -> np.ndarray:
    side = max(_CORNER, min(colours.shape[:2]) // 20)
    ends = {0: slice(side), -1: slice(-side, None)}
    corners = [((row, column), colours[ends[row], ends[column]]) for row in ends for column in ends]
    blocks = [_block(colours, at) for at, corner in corners if (corner == corner[0, 0]).all()]
    return np.any(blocks, axis=0)[..., None] if blocks else np.zeros((1, 1, 1), bool)


def _block(colours: np.ndarray, at: tuple[int, int]) -> np.ndarray:
    """Where the block of one colour about a pixel is, shape (ny, nx); nowhere, if that is no edge."""
    alike = (colours == colours[at]).all(axis=2)
    blocks, _ = label(alike)
    block = blocks == blocks[at]
    border = border_of(np.dstack([colours, alike, block]))
    rest = border[border[:, -1] == 0, :-1]
    if block.mean() <= _BLOCK or len(rest) < _LEFT * len(border) or rest[:, -1].mean() > _ELSEWHERE:
        return np.zeros_like(block)
    return block & (np.abs(np.median(rest[:, :-1], axis=0) - colours[at]).max() >= _STEP)

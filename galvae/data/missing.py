"""Pixels without a value: found, counted, and filled with what lies around the galaxy."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_dilation, label

from galvae.data.prepare import border, border_width

_MOST_MISSING = 0.5
_BLOCK = 0.01
_ABSURD = 1e30
# So much of a border says what lies around the galaxy.
_ENOUGH = 0.2
# Of a picture: lines of which nearly all pixels are within three grey levels of one colour, eight at least from a side
# on. Within as many behind them, and what JPEG's rounding spoils, the picture has begun nearly everywhere.
_ALIKE, _LEVELS, _LINES, _SPOILT, _ABRUPT, _FLAT = 0.95, 3, 8, 2, 0.8, 0.9
# Or so many of them of exactly black or white, behind which the picture has begun nearly everywhere within two lines,
# and is noise: so many of its pixels differ from the next one.
_EXACTLY, _NOISY = 0.999, 0.15
# A channel that is lost is of one value but for so many of its pixels, and for a share of what another shows: JPEG
# rounds; what shows something reaches so far. In a grey picture channels differ by no more than so many grey levels.
_BUT_FOR, _ROUNDED, _SOMETHING, _COLOURLESS = 1e-3, 1 / 15, 30, 2


def filled(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As :func:`fill_missing`, where not too much is; and which pixels are, shape (ny, nx, bands) or broadcast to it.

    Raises
    ------
    ValueError
        If more than half of the pixels have no value.
    """
    planes, missing = fill_missing(pixels)
    if (most := share(missing)) > _MOST_MISSING:
        raise ValueError(
            f"too many pixels without a value: {most:.1%} are NaN, blank or in blocks of one value; at most half may be"
        )
    return planes, missing


def share(missing: np.ndarray) -> float:
    """Of the pixels, missing in any band."""
    return float(missing.any(axis=2).mean())


def lost_or_grey(colours: np.ndarray) -> tuple[bool, bool]:
    """Whether a channel of a picture, (ny, nx, 3), is of one value where another shows something; and if it is grey."""
    step = max(1, min(colours.shape[:2]) // 40)  # by so few of their pixels nearly all pictures are neither
    sample = np.ascontiguousarray(colours[::step, ::step].reshape(-1, 3).T)
    spread, apart = np.ptp(sample, axis=1), np.ptp(sample, axis=0).max()
    lost = bool(spread.min() <= spread.max() / 5 and _lost(colours))
    return lost, bool(spread.max() > 2 * _COLOURLESS and apart <= _COLOURLESS and _grey(colours))


def _lost(colours: np.ndarray) -> bool:
    channels = np.ascontiguousarray(colours.reshape(-1, 3).T, np.int16)
    off = np.abs(channels - np.median(channels, axis=1, keepdims=True).astype(np.int16))
    last = int(_BUT_FOR * off.shape[1])
    reach = np.sort(np.partition(off, -1 - last, axis=1)[:, -1 - last])
    return bool(reach[2] > _SOMETHING and reach[0] <= _ROUNDED * reach[2])


def _grey(colours: np.ndarray) -> bool:
    red, green, blue = np.moveaxis(colours, 2, 0)
    least, most = np.minimum(np.minimum(red, green), blue), np.maximum(np.maximum(red, green), blue)
    return bool((most - least).max() <= _COLOURLESS)


def outermost(missing: np.ndarray) -> np.ndarray:
    """The border of (ny, nx) pixels, those that have a value; where few have, what lies as near to a side's gaps."""
    outside = border(missing.shape)
    seen = outside & ~missing
    if seen.sum() >= _ENOUGH * outside.sum():
        return seen
    beyond, _ = label(np.pad(missing, 1, constant_values=True))
    beyond = beyond == beyond[0, 0]  # gaps within a galaxy have no sky around them
    near = binary_dilation(beyond, np.ones((3, 3), bool), iterations=border_width(missing.shape))
    return near[1:-1, 1:-1] & ~missing


def fill_missing(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fill what has no value with the median of the plane's border.

    Of flux NaN, infinity and what exceeds 1e30 are missing and, in a plane that has negative pixels, as noisy sky
    does, blocks of exact zeros of more than a hundredth of the plane. Of a picture (uint8) rows or columns of one
    colour, eight at least from a side on, behind which the picture begins all at once: beyond the edge of a survey.
    Where all four sides have such it is a frame, and nothing is missing. A plane of zeros alone, beside others, is; of
    pictures see :func:`lost_or_grey`.

    Parameters
    ----------
    pixels
        Shape (ny, nx, bands).

    Returns
    -------
    filled
        The same shape; of flux float32.
    missing
        Which pixels are, shape (ny, nx, bands) or broadcast to it.
    """
    missing = _beyond_the_edge(pixels) if pixels.dtype == np.uint8 else _without_value(pixels)
    if not 0 < share(missing) <= _MOST_MISSING:
        return pixels, missing
    filled = pixels.copy()
    for band, gaps in enumerate(np.moveaxis(np.broadcast_to(missing, pixels.shape), 2, 0)):
        level = np.median(pixels[:, :, band][outermost(gaps)])
        filled[:, :, band][gaps] = np.rint(level) if pixels.dtype == np.uint8 else level
    return filled, missing


def _without_value(flux: np.ndarray) -> np.ndarray:
    missing = ~(np.abs(flux) < _ABSURD)
    for band in range(flux.shape[2]):
        zero = flux[:, :, band] == 0
        if (zero | missing[:, :, band]).all():
            missing[:, :, band] = np.nan_to_num(flux).any()
        elif zero.mean() > _BLOCK and (flux[:, :, band] < 0).any():
            blocks, _ = label(zero)
            large = np.bincount(blocks.ravel()) > _BLOCK * zero.size
            large[0] = False
            missing[:, :, band] |= large[blocks]
    return missing


def _beyond_the_edge(colours: np.ndarray) -> np.ndarray:
    depths = [_depth(np.rot90(colours, side)) for side in range(4)]
    if not any(depths) or all(depths):
        return np.zeros((1, 1, 1), bool)
    missing = np.zeros((*colours.shape[:2], 1), bool)
    for side, depth in enumerate(depths):
        np.rot90(missing, side)[:depth] = True
    return missing


def _depth(picture: np.ndarray) -> int:
    """How many rows, from the first on, have no value."""
    first = picture[0].astype(np.int16)
    near = np.abs(first - first[len(first) // 2]) <= _LEVELS
    # Most pictures end here; numpy is slow where it goes along three at a time.
    if np.count_nonzero(np.logical_and.reduce(near.T)) < _ALIKE * len(first):
        return 0
    colour = np.median(first, axis=0)
    off = _off(picture, colour)
    depth = _begins(off > _LEVELS, _ALIKE, _SPOILT + _LINES)
    # No slope begins there.
    if depth and (off[: depth - 2 * _SPOILT][-_SPOILT:] <= 1).mean() < _FLAT:
        depth = 0
    if (colour == 0).all() or (colour == 255).all():
        # A sky within three grey levels of black goes on from what is black, but is not exactly that.
        exactly = _begins(off > 0, _EXACTLY, _SPOILT)
        if exactly and (np.diff(off[exactly:][:_LINES]) != 0).mean() >= _NOISY:
            depth = max(depth, exactly)
    return depth


def _begins(shown: np.ndarray, alike: float, within: int) -> int:
    """Before which row, behind rows of which so many pixels are not shown, a picture begins all at once, or 0."""
    blank = shown.mean(axis=1) <= 1 - alike
    depth = len(blank) if blank.all() else int(blank.argmin())
    at_once = depth >= _LINES and shown[depth:][:within].any(axis=0).mean() >= _ABRUPT
    return depth + _SPOILT if at_once else 0


def _off(rows: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """How far pixels are from a colour, in the channel where most, grey levels."""
    return np.abs(rows - colour).max(axis=2)

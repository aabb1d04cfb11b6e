"""One band's pixels on the grid of another."""

from __future__ import annotations

import numpy as np
from astropy.wcs import WCS
from astropy.wcs.utils import pixel_to_pixel, proj_plane_pixel_scales
from scipy.ndimage import map_coordinates

_SAME = 0.01
_STALE = 1.0
_SCALES = 0.05


def onto(
    base: np.ndarray, base_wcs: WCS | None, plane: np.ndarray, plane_wcs: WCS | None, name: str
) -> tuple[np.ndarray, bool]:
    """Resample a plane onto the grid of the reference plane.

    Parameters
    ----------
    base, plane
        The reference plane and the one to be moved, each (ny, nx).
    base_wcs, plane_wcs
        Their celestial WCS, or None.
    name
        The band, for errors.

    Returns
    -------
    moved
        The plane on the reference grid, float32, NaN where it has no value there; untouched where the grids
        are the same to 0.01 pixel.
    stale
        Whether the WCSs say that the planes lie more than a pixel apart while the pixels agree better as
        they are: cut out by a tool that left CRPIX alone. The planes are then taken as they are.

    Raises
    ------
    ValueError
        If the planes have different sizes and a WCS is missing, their pixels' sizes differ by more than 5%, or
        they do not overlap.
    """
    same_shape = base.shape == plane.shape
    if base_wcs is None or plane_wcs is None:
        if same_shape:
            return plane, False
        raise ValueError(
            f"{name} band: {plane.shape[1]}x{plane.shape[0]} pixels, the reference band "
            f"{base.shape[1]}x{base.shape[0]}, "
            f"and no WCS to align them by"
        )
    here, there = (float(np.sqrt(np.prod(proj_plane_pixel_scales(wcs)))) * 3600 for wcs in (base_wcs, plane_wcs))
    if abs(there / here - 1) > _SCALES:
        # Sampling it would alias a finer band, and change the flux in a pixel of either.
        raise ValueError(
            f"{name} band: pixels of {there:.3g} arcsec, the reference band's are of {here:.3g}; bring the bands of an "
            f"object to one pixel scale first"
        )
    y, x = np.indices(base.shape, dtype=float)
    there_x, there_y = pixel_to_pixel(base_wcs, plane_wcs, x, y)
    offset = float(np.max(np.nan_to_num(np.hypot(there_x - x, there_y - y), nan=np.inf)))
    if same_shape and offset < _SAME:
        return plane, False
    moved = _sample(plane, there_x, there_y)
    seen = np.isfinite(moved).mean()
    if not seen:
        raise ValueError(f"{name} band: does not overlap the reference band on the sky")
    # Two galaxies, each in the middle of its cutout, are alike too: they do not overlap.
    may_be_stale = same_shape and offset > _STALE and seen > 0.5
    if may_be_stale and _likeness(base, plane, moved) > _likeness(base, moved, moved):
        return plane, True
    return moved, False


def _sample(plane: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    missing = ~np.isfinite(plane)
    filled = np.where(missing, np.median(plane[~missing]) if (~missing).any() else 0, plane)
    moved = map_coordinates(filled, [y, x], order=3, mode="mirror", output=np.float32)
    # A pixel of grace: the outermost row of a dithered band is there, a fraction of a pixel further in.
    outside = (x < -1) | (y < -1) | (x > plane.shape[1]) | (y > plane.shape[0]) | ~np.isfinite(x + y)
    if missing.any():
        outside |= map_coordinates(missing.astype(np.float32), [y, x], order=1, mode="nearest") > 0.01
    moved[outside] = np.nan
    return moved


def _likeness(base: np.ndarray, plane: np.ndarray, seen: np.ndarray) -> float:
    """Correlation of two planes where `seen` has values, the brightest hundredth cut so that no star
    decides it."""
    both = np.isfinite(base) & np.isfinite(plane) & np.isfinite(seen)
    if both.sum() < 16:
        return -1.0
    pair = [np.clip(values[both], *np.percentile(values[both], [1, 99])) for values in (base, plane)]
    return float(np.corrcoef(pair)[0, 1]) if all(values.std() > 0 for values in pair) else -1.0

"""One band's pixels on the grid of another."""

from __future__ import annotations

import numpy as np
from astropy.wcs import WCS
from astropy.wcs.utils import pixel_to_pixel, proj_plane_pixel_scales
from scipy.ndimage import gaussian_filter, map_coordinates

_SAME = 0.01
_STALE = 2.0  # the bands of one exposure, or of one drift scan, lie less far apart
_CLEAR = 0.2
_ALIKE = 0.999999  # where Fisher's z is still finite
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
        Whether the WCSs say that the planes lie more than two pixels apart while the pixels agree clearly better
        as they are: cut out by a tool that left CRPIX alone. The planes are then taken as they are. Where noise
        leaves a doubt, the WCS stands.

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
    if same_shape and offset > _STALE and seen > 0.5 and _contradicts(base, plane, moved):
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


def _contradicts(base: np.ndarray, plane: np.ndarray, moved: np.ndarray) -> bool:
    """Whether two planes are alike as they are, and clearly less so once one has been moved by the WCS."""
    both = np.isfinite(base) & np.isfinite(plane) & np.isfinite(moved)
    if not both.any():
        return False
    reference, as_is, as_told = (_detail(values, both) for values in (base, plane, moved))
    if not (reference.std() and as_is.std() and as_told.std()):
        return False
    # Fisher's z, so that a gain means the same whether the planes are much alike or little.
    likeness = [np.arctanh(np.clip(np.corrcoef(reference, other)[0, 1], -_ALIKE, _ALIKE)) for other in (as_is, as_told)]
    # Smoothed so, 14 pixels of noise count as one: the gain that noise alone gives has a width of 5 / sqrt(pixels).
    return bool(likeness[0] - likeness[1] > max(_CLEAR, 25 / np.sqrt(both.sum())))


def _detail(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    """What a plane shows at the scale of a few pixels: the light of a large galaxy is alike wherever it lies.

    The brightest hundredth is cut so that no star decides.
    """
    inside = values[where]
    clipped = np.clip(np.where(where, values, np.median(inside)), *np.percentile(inside, [1, 99]))
    return (gaussian_filter(clipped, 1.5) - gaussian_filter(clipped, 5.0))[where]

"""Positions and pixel scales as users write them: checked before any galaxy is given one."""

from __future__ import annotations

import numpy as np
from astropy import units as u
from astropy.table import Column

_UNITS = {"ra": (u.deg,), "dec": (u.deg,), "pixel_scale": (u.arcsec, u.arcsec / u.pix)}
_RANGES = {"ra": (0, 360), "dec": (-90, 90), "pixel_scale": (1e-6, 3600)}


def checked(column: Column, known: str, where: str) -> np.ndarray:
    """Values of a column in degrees, or in arcseconds.

    Parameters
    ----------
    column
        Numbers; without a unit they are in the unit that is wanted.
    known
        What they are: ``ra``, ``dec`` (degrees) or ``pixel_scale`` (arcseconds along a side of a pixel).
    where
        The file and the column, for errors.

    Returns
    -------
    ndarray
        float64, NaN where there is none.

    Raises
    ------
    ValueError
        If they cannot be that.
    """
    if column.dtype.kind not in "iuf":
        raise ValueError(
            f"{where} is text ({column[0]}), as of hours or of sexagesimal angles; decimal degrees are wanted"
        )
    wanted = _UNITS[known][0]
    factor = 1.0
    if column.unit not in (None, u.dimensionless_unscaled):
        unit = next((unit for unit in _UNITS[known] if column.unit.is_equivalent(unit)), None)
        if unit is None:
            raise ValueError(f"{where} has the unit {column.unit}, which is not an angle; {wanted} is wanted")
        factor = column.unit.to(unit)
    values = np.ma.filled(np.ma.asarray(column).astype(float), np.nan) * factor
    low, high = _RANGES[known]
    wrong = np.flatnonzero((values < low) | (values > high))
    if len(wrong):
        raise ValueError(
            f"{where} has {values[wrong[0]]:g} in row {wrong[0] + 1}, outside {low:g} to {high:g} {wanted}; is it "
            f"another quantity? The recipe's ingest.ra_column, dec_column and scale_column name the columns"
        )
    return values

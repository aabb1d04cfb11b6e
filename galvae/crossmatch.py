"""Join a catalog with any other table, by identifier or by separation on the sky.

Joins are inner: a row of the result is a galaxy of the catalog with a row of the other table, in the order of
the catalog. What stays without a partner is counted.
"""

from __future__ import annotations

import difflib
from typing import Any

import astropy.units as u
import numpy as np
from astropy.coordinates import Angle, SkyCoord
from astropy.table import Column, Table

POSITIONS = (
    ("ra", "dec"),
    ("ra_deg", "dec_deg"),
    ("raj2000", "dej2000"),
    ("raj2000", "decj2000"),
    ("_raj2000", "_dej2000"),
    ("ra_j2000", "dec_j2000"),
    ("ra_icrs", "de_icrs"),
    ("ra_icrs", "dec_icrs"),
    ("ra2000", "dec2000"),
    ("right_ascension", "declination"),
    ("alpha_j2000", "delta_j2000"),
    ("alphawin_j2000", "deltawin_j2000"),
    ("ramean", "decmean"),
    ("rastring", "decstring"),
)
_EXACT = 2**53


def join(
    catalog: Table, other: Table, *, on: str | None = None, radius: float | None = None
) -> tuple[Table, dict[str, Any]]:
    """Join a catalog with another table.

    Parameters
    ----------
    catalog
        A galvae catalog.
    other
        Any table.
    on
        Identifier column of `other`; in the catalog the column of this name, else ``id``. Identifiers are
        compared as text, so int64 matches digits. Every row of `other` with the identifier makes a row.
    radius
        Instead of `on`: the nearest row of `other` within so many arcsec is the galaxy's partner. Positions
        are taken as ICRS, in degrees unless the unit says hours or the text is sexagesimal.

    Returns
    -------
    Table
        The catalog's columns, then the other's, those with a name of the catalog's (in any case) ending in
        ``_other``; by separation also ``separation`` in arcsec. Units and descriptions stay.
    dict
        ``matched_rows``; of each side (``catalog_``, ``other_``) ``rows``, ``unmatched``, and ``repeated``:
        how many of its rows have more than one partner; ``renamed`` columns.

    Raises
    ------
    ValueError
        If not exactly one of `on` and `radius` is given, a column is missing, identifiers are floating-point
        numbers too large to be exact, or nothing matches.
    """
    if (on is None) == (radius is None):
        raise ValueError("join needs either --on COLUMN or --radius ARCSEC, and not both")
    if on is not None:
        left, right = _by_id(catalog, other, on)
        separation, kept = (
            None,
            [name for name in other.colnames if name != on or name not in catalog.colnames],
        )
    else:
        left, right, separation = _by_sky(catalog, other, radius)
        kept = other.colnames
    joined = Table(catalog[left])
    if separation is not None:
        name = _free("separation", joined.colnames)
        joined[name] = Column(separation, unit="arcsec", description="distance on the sky of the joined row")
        joined[name].info.meta = {"ucd": "pos.angDistance"}
    renamed = {}
    for name in kept:
        new = _free(name, joined.colnames)
        if new != name:
            renamed[name] = new
        joined[new] = other[name][right]
    summary = {"matched_rows": len(left)}
    for side, table, rows in (("catalog", catalog, left), ("other", other, right)):
        used, times = np.unique(rows, return_counts=True)
        summary[f"{side}_rows"] = len(table)
        summary[f"{side}_unmatched"] = len(table) - len(used)
        summary[f"{side}_repeated"] = int((times > 1).sum())
    summary["renamed"] = renamed
    joined.meta["join"] = {"on": on, "radius_arcsec": radius, **summary}
    return joined, summary


def _by_id(catalog: Table, other: Table, on: str) -> tuple[np.ndarray, np.ndarray]:
    if on not in catalog.colnames and "id" not in catalog.colnames:
        raise ValueError(f"the catalog has neither column {on} nor id; its columns are {', '.join(catalog.colnames)}")
    if on not in other.colnames:
        near = difflib.get_close_matches(on.lower(), [name.lower() for name in other.colnames], 1, 0.5)
        near = [name for name in other.colnames if name.lower() in near]
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ValueError(f"OTHER has no column {on!r}{hint}; its columns are {', '.join(other.colnames)}")
    mine, theirs = _identifiers(catalog, on if on in catalog.colnames else "id"), _identifiers(other, on)
    _, codes = np.unique(np.concatenate([mine, theirs]), return_inverse=True)
    left_codes, right_codes = codes[: len(mine)], codes[len(mine) :]
    order = np.argsort(right_codes, kind="stable")
    first = np.searchsorted(right_codes[order], left_codes, side="left")
    count = np.searchsorted(right_codes[order], left_codes, side="right") - first
    count[mine == ""] = 0
    left = np.repeat(np.arange(len(mine)), count)
    if not len(left):
        raise ValueError(
            f"no identifier of the catalog (such as {mine[0]}) is in column {on} of OTHER"
            + (f" (such as {theirs[0]})" if len(theirs) else ", which has no rows")
        )
    within = np.arange(len(left)) - np.repeat(np.cumsum(count) - count, count)
    return left, order[np.repeat(first, count) + within]


def _identifiers(table: Table, name: str) -> np.ndarray:
    """Identifiers as text; '' where there is none."""
    column = table[name]
    absent = np.array(getattr(column, "mask", np.zeros(len(column), bool)))
    values = np.asarray(column)
    if values.dtype.kind == "f":
        absent = absent | np.isnan(values)
        whole = values[~absent]
        if (np.abs(whole) >= _EXACT).any() or (whole != np.round(whole)).any():
            raise ValueError(
                f"column {name} holds floating-point numbers, which cannot keep long identifiers apart "
                f"(they are exact only below {_EXACT}); write it as int64 or text"
            )
        values = np.where(absent, 0, values).astype(np.int64)
    if values.dtype.kind not in "iuUSO" or values.ndim != 1:
        raise ValueError(f"column {name} holds {values.dtype} of shape {values.shape}, which are no identifiers")
    text = np.char.strip(np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values.astype(str))
    return np.where(absent, "", text)


def _by_sky(catalog: Table, other: Table, radius: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if not (np.isfinite(radius) and radius > 0):
        raise ValueError(f"--radius must be a positive number of arcsec, got {radius}")
    mine, theirs = _positions(catalog, "the catalog"), _positions(other, "OTHER")
    known, known_other = np.flatnonzero(np.isfinite(mine).all(0)), np.flatnonzero(np.isfinite(theirs).all(0))
    for who, rows in (("the catalog", known), ("OTHER", known_other)):
        if not len(rows):
            raise ValueError(f"no row of {who} has a position on the sky; join by identifier, with --on COLUMN")
    sky = SkyCoord(*mine[:, known], unit="deg")
    nearest, separation, _ = sky.match_to_catalog_sky(SkyCoord(*theirs[:, known_other], unit="deg"))
    close = separation.arcsec <= radius
    if not close.any():
        raise ValueError(
            f"no galaxy of the catalog has a row of OTHER within {radius:g} arcsec; the nearest is "
            f"{separation.arcsec.min():.3g} arcsec away"
        )
    return known[close], known_other[nearest[close]], separation.arcsec[close]


def _positions(table: Table, who: str) -> np.ndarray:
    """RA and Dec in degrees, shape (2, rows), NaN where absent."""
    lower = {name.lower(): name for name in reversed(table.colnames)}
    names = next(([lower[a], lower[b]] for a, b in POSITIONS if a in lower and b in lower), None)
    names = names or [_with_ucd(table, "pos.eq.ra"), _with_ucd(table, "pos.eq.dec")]
    if None in names:
        raise ValueError(
            f"{who} has no columns of right ascension and declination; call them ra and dec, in degrees "
            f"(it has {', '.join(table.colnames)})"
        )
    ra, dec = (_degrees(table[name], hours=hours) for name, hours in zip(names, (True, False), strict=True))
    if (np.abs(dec) > 90).any():
        raise ValueError(f"column {names[1]} of {who} goes beyond 90 degrees, which no declination does")
    return np.stack([ra, dec])


def _with_ucd(table: Table, ucd: str) -> str | None:
    found = [c.info.name for c in table.itercols() if str((c.info.meta or {}).get("ucd", "")).split(";")[0] == ucd]
    return found[0] if found else None


def _degrees(column: Column, *, hours: bool) -> np.ndarray:
    """A coordinate in degrees; text with separators is sexagesimal, in hours if it is a right ascension."""
    absent = np.array(getattr(column, "mask", np.zeros(len(column), bool)))
    values = np.asarray(column)
    if values.dtype.kind in "fiu":
        unit = u.Unit(column.unit or "deg")
        if not unit.is_equivalent(u.deg):
            raise ValueError(f"column {column.info.name} is in {unit}, which is no angle")
        return np.where(absent, np.nan, u.Quantity(values.astype(float), unit).to_value(u.deg))
    degrees = np.full(len(values), np.nan)
    text = values[~absent].astype(str)
    try:
        sexagesimal = any(":" in angle or " " in angle.strip() or "h" in angle for angle in text)
        unit = u.hourangle if hours and sexagesimal else u.deg
        degrees[~absent] = Angle(text, unit=unit).deg if len(text) else []
    except (ValueError, u.UnitsError) as error:
        raise ValueError(f"column {column.info.name} cannot be read as an angle ({error})") from None
    return degrees


def _free(name: str, taken: list[str]) -> str:
    """The name with ``_other`` until nothing of the same name, in any case, is there."""
    lower = {other.lower() for other in taken}
    while name.lower() in lower:
        name += "_other"
    return name

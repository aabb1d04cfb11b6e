"""The truth table of the synthetic survey: what is known of each galaxy, from its field alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy.table import Table
from scipy.special import i0e

from galvae.data.galaxies import BANDS, pixels_per_arcsec
from galvae.data.survey import REFERENCE, SIZE, Field, signal_to_noise

WINDOW = 64
"""Side of the central square in which neighbours and stars are counted, pixels."""

COLUMNS: dict[str, tuple[str, str]] = {
    "id": ("", "name of the galaxy; its files are {id}_g.fits, {id}_r.fits, {id}_i.fits"),
    "kind": ("", "elliptical (a Sersic profile), disk (bulge and disk), spiral (bulge, disk and two arms)"),
    "ra": ("deg", "right ascension of the galaxy's centre, ICRS"),
    "dec": ("deg", "declination of the galaxy's centre, ICRS"),
    "x": ("pix", "the centre in the r-band file, right, 0 at the centre of the pixel at the lower left"),
    "y": ("pix", "the centre in the r-band file, up, 0 at the centre of the pixel at the lower left"),
    "dx": ("pix", "x minus the cutout's centre, (width - 1) / 2"),
    "dy": ("pix", "y minus the cutout's centre, (height - 1) / 2"),
    "orientation": (
        "deg",
        "major axis as displayed (row 0 at the bottom), counter-clockwise from +x, [0, 180)",
    ),
    "pa": ("deg", "position angle of the major axis, East of North, [0, 180)"),
    "axis_ratio": (
        "",
        "minor over major axis of the outer isophotes (disk or elliptical) before the PSF",
    ),
    "inclination": (
        "deg",
        "of the disk, 0 face-on: cos^2 i = (q^2 - 0.15^2)/(1 - 0.15^2); else NaN",
    ),
    "r_half": (
        "arcsec",
        "semi-major axis that encloses half the r-band light before the PSF, each component in its own ellipses",
    ),
    "sersic": ("", "Sersic index of the elliptical, or of the bulge; every disk's is 1"),
    "bulge_fraction": ("", "bulge's share of the r-band light; 1 for an elliptical"),
    "winding": (
        "",
        "Z or S, the letter that the arms draw as displayed in the file: followed outwards they turn "
        "counter-clockwise (Z) or clockwise (S); none without arms",
    ),
    "winding_sky": ("", "Z or S in the same sense, as seen with North up and East left; none without arms"),
    "pitch": ("deg", "angle between an arm and the circle, in the disk's plane; NaN without arms"),
    "arm_contrast": (
        "",
        "(maximum - minimum) / (maximum + minimum) of the disk's r-band light along a circle well outside "
        "the arms' inner ends; 0 without arms",
    ),
    "mag": ("mag", "total r magnitude, 22.5 - 2.5 log10(flux in nanomaggies)"),
    "g_r": ("mag", "total colour g - r"),
    "r_i": ("mag", "total colour r - i"),
    "snr": (
        "",
        "r-band signal to noise: half the total flux over the noise of sky and photons in the ellipse of "
        "semi-major axis r_half and axis ratio axis_ratio",
    ),
    "parity": ("", "sign of det(CD): -1 is the usual sky; +1 a mirrored one, where the two windings differ"),
    "rotation": ("deg", "position angle of the image's up at the galaxy, East of North, [0, 360)"),
    "pixel_scale": ("arcsec/pix", "side of a pixel at the galaxy"),
    "psf_fwhm": ("arcsec", "full width at half maximum of the core of the r-band PSF"),
    "neighbours": ("", f"other galaxies centred in the cutout's central {WINDOW} x {WINDOW} pixels"),
    "stars": ("", f"stars centred in the cutout's central {WINDOW} x {WINDOW} pixels"),
    "nearest": ("pix", "distance to the nearest neighbour or star in the cutout; NaN without any"),
    "nearest_flux_ratio": ("", "r-band flux of that nearest one over the galaxy's; NaN without any"),
}
"""Name of each column -> (unit, description)."""


def name_of(seed: int, number: int) -> str:
    """The identifier of galaxy `number` of the survey `seed`; no two surveys share one."""
    return f"sim_s{seed}_{number:06d}"


def truth_of(field: Field) -> dict[str, Any]:
    """One row of the truth table; after :meth:`Field.turned` it is the truth of the turned cutout."""
    galaxy, wcs, outer = field.galaxy, field.frames[REFERENCE], field.galaxy.components[0]
    bulge, arms = galaxy.components[-1], outer.arms
    g, r, i = (galaxy.flux(band) for band in BANDS)
    [place] = wcs.wcs_world2pix([[galaxy.ra, galaxy.dec]], 0)
    jacobian = pixels_per_arcsec(wcs, galaxy.ra, galaxy.dec)
    angle = np.radians(outer.pa)
    along = jacobian @ [np.sin(angle), np.cos(angle)]
    up = np.linalg.solve(jacobian, [0, 1])
    parity = int(np.sign(np.linalg.det(jacobian)))
    sense = 0 if arms is None else arms.sense
    return {
        "id": name_of(*field.key),
        "kind": field.kind,
        "ra": galaxy.ra,
        "dec": galaxy.dec,
        "x": place[0],
        "y": place[1],
        "dx": place[0] - (SIZE - 1) / 2,
        "dy": place[1] - (SIZE - 1) / 2,
        "orientation": np.degrees(np.arctan2(along[1], along[0])) % 180,
        "pa": outer.pa,
        "axis_ratio": outer.axis_ratio,
        "inclination": field.inclination,
        "r_half": field.r_half,
        "sersic": bulge.index,
        "bulge_fraction": bulge.flux[BANDS.index(REFERENCE)] / r,
        "winding": _letter(-parity * sense),
        "winding_sky": _letter(sense),
        "pitch": np.nan if arms is None else arms.pitch,
        "arm_contrast": 0.0 if arms is None else _contrast(arms.share[BANDS.index(REFERENCE)], arms.width),
        "mag": _magnitude(r),
        "g_r": _magnitude(g) - _magnitude(r),
        "r_i": _magnitude(r) - _magnitude(i),
        "snr": signal_to_noise(r, field.r_half, outer.axis_ratio),
        "parity": parity,
        "rotation": np.degrees(np.arctan2(up[0], up[1])) % 360,
        "pixel_scale": 1 / np.sqrt(abs(np.linalg.det(jacobian))),
        "psf_fwhm": field.fwhm[REFERENCE],
        **_surroundings(field, place),
    }


def truth_table(rows: Sequence[dict[str, Any]], meta: dict[str, Any]) -> Table:
    """The truth table with units and descriptions, and `meta` as its metadata."""
    table = Table({name: [row[name] for row in rows] for name in COLUMNS}, meta=meta)
    for name, (unit, description) in COLUMNS.items():
        table[name].unit = unit or None
        table[name].description = description
    return table


def _surroundings(field: Field, place: np.ndarray) -> dict[str, Any]:
    if not field.others:
        return {"neighbours": 0, "stars": 0, "nearest": np.nan, "nearest_flux_ratio": np.nan}
    where = field.frames[REFERENCE].wcs_world2pix([[other.ra, other.dec] for other in field.others], 0)
    star = np.array([other.components[0].radius == 0 for other in field.others])
    near = (abs(where - (SIZE - 1) / 2) < WINDOW / 2).all(axis=1)
    distance = np.hypot(*(where - place).T)
    flux = field.others[distance.argmin()].flux(REFERENCE)
    return {
        "neighbours": int((near & ~star).sum()),
        "stars": int((near & star).sum()),
        "nearest": distance.min(),
        "nearest_flux_ratio": flux / field.galaxy.flux(REFERENCE),
    }


def _letter(sense: int) -> str:
    # Not "": an empty text does not survive ECSV, which reads it back as masked.
    return {-1: "S", 0: "none", 1: "Z"}[sense]


def _contrast(share: float, width: float) -> float:
    brightest, faintest = 1 - share + share * np.array([1, np.exp(-2 * width)]) / i0e(width)
    return float((brightest - faintest) / (brightest + faintest))


def _magnitude(flux: float) -> float:
    return 22.5 - 2.5 * np.log10(flux)

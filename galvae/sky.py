"""From pixels and angles in an image to the sky and back, through each galaxy's own WCS.

Pixels are counted from 0, row 0 at the bottom; angles run counter-clockwise from +x as displayed. On the sky
everything is ICRS, and angles run from North through East. Directions go through the WCS's local Jacobian, so
either parity, any rotation, PC or CD, SIP and unequal pixels need no case of their own. (Where pixels are not square
the direction of an ellipse's major axis in the image is not that of the ellipse on the sky: a position angle is of the
former.)
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from astropy.coordinates import ICRS, BarycentricMeanEcliptic, BaseCoordinateFrame, SkyCoord
from astropy.io.fits import Header
from astropy.time import Time
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS, WcsError
from astropy.wcs.utils import wcs_to_celestial_frame

from galvae.angles import wrap
from galvae.covariance import carried, widths

Headers = str | Sequence[str] | np.ndarray
Values = np.ndarray | float

# What some programs write for FITS' names of frames.
_RADESYS = {"ICRF": "ICRS", "J2000": "FK5", "J2000.0": "FK5", "FK5/ICRS": "ICRS"}
_STENCIL = np.array([[0, 0], [0.5, 0], [-0.5, 0], [0, 0.5], [0, -0.5]])
_ARCSEC = np.degrees(1) * 3600


@dataclass(frozen=True)
class LocalSky:
    """The sky around one pixel position per galaxy; NaN where there is no celestial WCS.

    Parameters
    ----------
    ra, dec
        ICRS position in degrees, shape (...).
    jacobian
        Arcseconds towards (East, North) per pixel (right, up): shape (..., 2, 2), rows East and North.
    """

    ra: np.ndarray
    dec: np.ndarray
    jacobian: np.ndarray

    def position_angle(self, angle: Values, *, axial: bool = False) -> np.ndarray:
        """Position angle, degrees East of North, of a direction in the image.

        Parameters
        ----------
        angle
            Degrees counter-clockwise from +x as displayed.
        axial
            An axis rather than a direction: the result is in [0, 180), else in [0, 360).
        """
        angle = np.radians(angle)
        east, north = _apply(self.jacobian, np.cos(angle), np.sin(angle))
        return wrap(np.degrees(np.arctan2(east, north)), 180 if axial else 360)

    def angle_in_image(self, pa: Values) -> np.ndarray:
        """Angle in the image, degrees counter-clockwise from +x in [0, 360), of a position angle; the inverse."""
        pa = np.radians(pa)
        (a, b), (c, d) = np.moveaxis(self.jacobian, (-2, -1), (0, 1))
        # The adjugate times the determinant's sign points where the inverse does, and bears NaN.
        sign = np.sign(a * d - b * c)
        right = sign * (d * np.sin(pa) - b * np.cos(pa))
        up = sign * (a * np.cos(pa) - c * np.sin(pa))
        return wrap(np.degrees(np.arctan2(up, right)), 360)

    def errors(self, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Errors towards East and North in arcsec, of a covariance of (x, y) in pixels squared, shape (..., 2, 2)."""
        east, north = np.moveaxis(widths(carried(covariance, self.jacobian)), -1, 0)
        return east, north


def local_sky(headers: Headers, x: Values, y: Values) -> LocalSky:
    """Position and Jacobian at one pixel position per galaxy; each WCS is parsed once.

    Parameters
    ----------
    headers
        Text of a FITS header with a celestial WCS, one for all or one per galaxy; ``''`` where there is none.
    x, y
        Pixel position, from 0, row 0 at the bottom; broadcast with `headers`.

    Returns
    -------
    LocalSky
        NaN where the header holds no usable celestial WCS.
    """
    headers, x, y = np.broadcast_arrays(np.array(headers, dtype=object), np.asarray(x, float), np.asarray(y, float))
    points = np.stack([x.ravel(), y.ravel()], -1)[:, None] + _STENCIL
    lonlat = np.full(points.shape, np.nan)
    galaxies, frames = defaultdict(list), {}
    for number, header in enumerate(headers.ravel()):
        galaxies[header].append(number)
    in_frame = defaultdict(list)
    for header, rows in galaxies.items():
        wcs = _celestial_wcs(header)
        frame = None if wcs is None else _frame(wcs)
        if frame is None:
            continue
        world = wcs.all_pix2world(points[rows].reshape(-1, 2), 0)[:, [wcs.wcs.lng, wcs.wcs.lat]]
        lonlat[rows] = world.reshape(-1, len(_STENCIL), 2)
        frames[repr(frame)] = frame
        in_frame[repr(frame)] += rows
    for name, rows in in_frame.items():
        lonlat[rows] = _icrs(lonlat[rows], frames[name])
    ra, dec, jacobian = _differences(lonlat)
    return LocalSky(ra.reshape(x.shape), dec.reshape(x.shape), jacobian.reshape(*x.shape, 2, 2))


def _celestial_wcs(header: str) -> WCS | None:
    if not header:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)  # repairs of old keywords; ingest is where they are said
        try:
            wcs = WCS(Header.fromstring(header, sep="\n" if "\n" in header else ""))
            wcs = wcs if wcs.naxis == 2 else wcs.celestial
            usable = wcs.has_celestial and np.linalg.det(wcs.pixel_scale_matrix) != 0
        except (WcsError, ValueError):
            return None
    return wcs if usable else None


def _frame(wcs: WCS) -> BaseCoordinateFrame | None:
    """The frame of a WCS, also where its keywords are those of programs that wrote none of FITS' names."""
    said = wcs.wcs.radesys.strip().upper()
    wcs.wcs.radesys = _RADESYS.get(said, said)
    if wcs.wcs.lngtyp == "ELON":  # of which astropy takes RADESYS, ICRS, for the frame
        equinox = wcs.wcs.equinox
        return BarycentricMeanEcliptic(equinox=Time(equinox if np.isfinite(equinox) else 2000.0, format="jyear"))
    try:
        frame = wcs_to_celestial_frame(wcs)
    except (TypeError, ValueError):
        return None
    return frame if frame.is_transformable_to(ICRS()) else None


def _icrs(lonlat: np.ndarray, frame: BaseCoordinateFrame) -> np.ndarray:
    if frame.name == "icrs":
        return lonlat
    icrs = SkyCoord(lonlat[..., 0], lonlat[..., 1], unit="deg", frame=frame).icrs
    return np.stack([icrs.ra.deg, icrs.dec.deg], -1)


def _differences(lonlat: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre and Jacobian of stencils (N, 5, 2) of ra, dec in degrees; unit vectors bear the poles."""
    lon, lat = np.radians(np.moveaxis(lonlat, -1, 0))
    vectors = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], -1)
    ra, dec = lon[:, 0], lat[:, 0]
    east = np.stack([-np.sin(ra), np.cos(ra), np.zeros_like(ra)], -1)
    north = np.stack([-np.sin(dec) * np.cos(ra), -np.sin(dec) * np.sin(ra), np.cos(dec)], -1)
    steps = np.stack([vectors[:, 1] - vectors[:, 2], vectors[:, 3] - vectors[:, 4]], -1)
    jacobian = np.stack([east, north], 1) @ steps * _ARCSEC
    return wrap(lonlat[:, 0, 0], 360), lonlat[:, 0, 1], jacobian


def _apply(matrix: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return matrix[..., 0, 0] * x + matrix[..., 0, 1] * y, matrix[..., 1, 0] * x + matrix[..., 1, 1] * y

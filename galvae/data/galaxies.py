"""Light of simulated galaxies and stars, defined on the sky and drawn through a WCS."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.modeling.models import Sersic1D
from astropy.wcs import WCS
from scipy.fft import next_fast_len
from scipy.special import gamma, gammaincinv, i0e

BANDS = ("g", "r", "i")
PSF_WEIGHTS = ((0.9, 1.0), (0.1, 2.5))
"""Share and relative width of the two Gaussians of the PSF."""

_FWHM = 2 * np.sqrt(2 * np.log(2))
_CORES = ((20, 3), (6, 6), (1, 32))
_REACH = 12
_PSF_REACH = 24
_MARGIN = 8


@dataclass(frozen=True)
class Arms:
    """Two logarithmic arms in a disk's plane; light moves along circles only, so profiles do not change.

    Parameters
    ----------
    sense
        +1: followed outwards they turn counter-clockwise on the sky with North up and East left (the
        letter Z); -1: clockwise (the letter S).
    pitch
        Angle between an arm and the circle, degrees.
    phase
        Where an arm crosses `start`, radians from the major axis.
    width
        Concentration of the von Mises profile across the arms: the larger, the narrower.
    start
        Radius inside which the arms fade, arcsec.
    share
        Share of the disk's light in the arms, well outside `start`, in g, r, i.
    """

    sense: int
    pitch: float
    phase: float
    width: float
    start: float
    share: tuple[float, float, float]

    def modulation(self, radius: np.ndarray, azimuth: np.ndarray, share: float) -> np.ndarray:
        """Factor on the disk's light, of mean 1 along every circle."""
        turn = self.sense * np.log(np.maximum(radius, 1e-9) / self.start) / np.tan(np.radians(self.pitch))
        arm = np.exp(self.width * (np.cos(2 * (azimuth - self.phase - turn)) - 1)) / i0e(self.width)
        return 1 + share * -np.expm1(-((radius / self.start) ** 2)) * (arm - 1)


@dataclass(frozen=True)
class Component:
    """One Sersic profile on concentric ellipses, or a point where `radius` is 0.

    Parameters
    ----------
    flux
        Total flux in g, r, i, nanomaggies.
    radius
        Semi-major axis that encloses half the light, arcsec.
    index
        Sersic index.
    axis_ratio
        Minor over major axis.
    pa
        Position angle of the major axis, degrees East of North.
    """

    flux: tuple[float, float, float]
    radius: float = 0.0
    index: float = 1.0
    axis_ratio: float = 1.0
    pa: float = 0.0
    arms: Arms | None = None

    def brightness(self, east: np.ndarray, north: np.ndarray, band: str) -> np.ndarray:
        """Surface brightness at offsets from the centre in arcsec, nanomaggies per square arcsec."""
        angle = np.radians(90 + self.pa)
        major = -east * np.cos(angle) + north * np.sin(angle)
        minor = (east * np.sin(angle) + north * np.cos(angle)) / self.axis_ratio
        radius = np.hypot(major, minor)
        b, twice = gammaincinv(2 * self.index, 0.5), 2 * self.index
        total = np.pi * twice * np.exp(b) * b**-twice * gamma(twice) * self.radius**2 * self.axis_ratio
        amplitude = self.flux[BANDS.index(band)] / total
        light = Sersic1D.evaluate(radius, amplitude, self.radius, self.index)
        if self.arms is not None:
            share = self.arms.share[BANDS.index(band)]
            light = light * self.arms.modulation(radius, np.arctan2(minor, major), share)
        return light


@dataclass(frozen=True)
class Source:
    """A galaxy or star: concentric components at a place on the sky (ICRS, degrees)."""

    ra: float
    dec: float
    components: tuple[Component, ...]

    def flux(self, band: str) -> float:
        """Total flux in nanomaggies."""
        return sum(component.flux[BANDS.index(band)] for component in self.components)


def pixels_per_arcsec(wcs: WCS, ra: float, dec: float) -> np.ndarray:
    """Local Jacobian of a WCS: columns are the pixel steps (x, y) of one arcsec East and one North."""
    step = 1 / 3600
    east = step / np.cos(np.radians(dec))
    ra_dec = np.array([[ra + east, dec], [ra - east, dec], [ra, dec + step], [ra, dec - step]])
    ahead_e, behind_e, ahead_n, behind_n = wcs.wcs_world2pix(ra_dec, 0)
    return np.column_stack([ahead_e - behind_e, ahead_n - behind_n]) / 2


def render(source: Source, wcs: WCS, *, band: str, fwhm: float, shape: tuple[int, int]) -> np.ndarray:
    """Draw one source without noise.

    The profile is averaged over pixels on a grid that has the source's centre on a pixel's centre, so that
    symmetry keeps the centroid exact however steep the cusp. The PSF, which leaves next to nothing at the
    Nyquist frequency, and the shift to the true place are then one multiplication in Fourier space.

    Parameters
    ----------
    source
        What to draw.
    wcs
        Celestial WCS of the image.
    band
        ``g``, ``r`` or ``i``.
    fwhm
        Full width at half maximum of the PSF's core, arcsec.
    shape
        Rows and columns of the image.

    Returns
    -------
    numpy.ndarray
        Nanomaggies per pixel, float64 of shape `shape`, row 0 at the bottom.
    """
    place = wcs.wcs_world2pix([[source.ra, source.dec]], 0)[0]
    jacobian = pixels_per_arcsec(wcs, source.ra, source.dec)
    scale = 1 / np.sqrt(abs(np.linalg.det(jacobian)))
    nearest = np.rint(place).astype(int)
    extent = np.array(shape[::-1])
    cover = int(max(abs(nearest).max(), abs(extent - nearest).max())) + 2 * _MARGIN
    reach = int(_REACH * max(c.radius for c in source.components) / scale) + _PSF_REACH
    half = next_fast_len(min(cover, reach), real=True)
    stamp = _convolved(source, np.linalg.inv(jacobian), band, fwhm / scale, half, place - nearest)

    image = np.zeros(shape)
    low = np.clip(nearest - half, 0, extent)
    high = np.clip(nearest + half, 0, extent)
    first, last = low - nearest + half, high - nearest + half
    image[low[1] : high[1], low[0] : high[0]] = stamp[first[1] : last[1], first[0] : last[0]]
    return image


def _convolved(source: Source, arcsec: np.ndarray, band: str, fwhm: float, half: int, shift: np.ndarray) -> np.ndarray:
    kx, ky = np.fft.rfftfreq(2 * half), np.fft.fftfreq(2 * half)
    spectrum = np.zeros((len(ky), len(kx)), complex)
    for component in source.components:
        if component.radius > 0:
            spectrum += np.fft.rfft2(np.fft.ifftshift(_pixels(component, arcsec, band, half)))
        else:
            spectrum += component.flux[BANDS.index(band)] * np.outer(np.sinc(ky), np.sinc(kx))
    psf = sum(w * np.outer(_blur(ky, s * fwhm), _blur(kx, s * fwhm)) for w, s in PSF_WEIGHTS)
    spectrum *= psf * np.outer(np.exp(-2j * np.pi * shift[1] * ky), np.exp(-2j * np.pi * shift[0] * kx))
    spectrum[half] = spectrum[:, half] = 0  # a shift is not defined at the Nyquist frequency
    return np.fft.fftshift(np.fft.irfft2(spectrum, s=(2 * half, 2 * half)))


def _blur(frequency: np.ndarray, fwhm: float) -> np.ndarray:
    return np.exp(-2 * (np.pi * frequency * fwhm / _FWHM) ** 2)


def _pixels(component: Component, arcsec: np.ndarray, band: str, half: int) -> np.ndarray:
    area = abs(np.linalg.det(arcsec))
    image = area * component.brightness(*_sky(np.arange(-half, half), arcsec), band)
    for size, times in _CORES:
        count = 2 * size + 1
        fine = (np.arange(count * times) + 0.5) / times - 0.5 - size
        light = area * component.brightness(*_sky(fine, arcsec), band)
        block = slice(half - size, half + size + 1)
        image[block, block] = light.reshape(count, times, count, times).mean((1, 3))
    # A dark margin, as wide on either side of the centre, so that the PSF carries no light around the edge.
    framed = np.zeros_like(image)
    bright = slice(_MARGIN + 1, -_MARGIN)
    framed[bright, bright] = image[bright, bright]
    return framed


def _sky(steps: np.ndarray, arcsec: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y = steps[None, :], steps[:, None]
    return arcsec[0, 0] * x + arcsec[0, 1] * y, arcsec[1, 0] * x + arcsec[1, 1] * y

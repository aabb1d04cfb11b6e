"""Light of simulated galaxies and stars, defined on the sky and drawn through a WCS."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS
from scipy.fft import fftfreq, hfft, ifftshift, irfft2, next_fast_len, rfft, rfftfreq
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

    def excess(self, radius: np.ndarray, azimuth: np.ndarray) -> np.ndarray:
        """What arms of share 1 add to the disk's light, relative to it; of mean 0 along every circle."""
        turn = self.sense * np.log(np.maximum(radius, 1e-9) / self.start) / np.tan(np.radians(self.pitch))
        arm = np.exp(self.width * (np.cos(2 * (azimuth - self.phase - turn)) - 1)) / i0e(self.width)
        return -np.expm1(-((radius / self.start) ** 2)) * (arm - 1)


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

    @property
    def weights(self) -> np.ndarray:
        """Flux of each of the `patterns` in nanomaggies, of shape (bands, patterns)."""
        return np.stack([self.flux] if self.arms is None else [self.flux, np.multiply(self.flux, self.arms.share)], 1)

    def patterns(self, east: np.ndarray, north: np.ndarray) -> np.ndarray:
        """Surface brightness at offsets from the centre in arcsec, per square arcsec and unit flux.

        First the smooth profile, then, where there are arms, what they add to it. Both are the same in all bands,
        and after half a turn.
        """
        angle = np.radians(90 + self.pa)
        major = -east * np.cos(angle) + north * np.sin(angle)
        minor = (east * np.sin(angle) + north * np.cos(angle)) / self.axis_ratio
        square, twice = major**2 + minor**2, 2 * self.index
        b = gammaincinv(twice, 0.5)
        total = np.pi * twice * b**-twice * gamma(twice) * self.radius**2 * self.axis_ratio
        smooth = np.exp(-b * (square / self.radius**2) ** (1 / twice)) / total
        if self.arms is None:
            return smooth[None]
        return np.stack([smooth, smooth * self.arms.excess(np.sqrt(square), np.arctan2(minor, major))])


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


def render(
    source: Source, frames: dict[str, WCS], *, fwhm: dict[str, float], shape: tuple[int, int]
) -> dict[str, np.ndarray]:
    """Draw one source without noise, in all bands.

    The profile is averaged over pixels on a grid that has the source's centre on a pixel's centre, so that
    symmetry keeps the centroid exact however steep the cusp. The PSF, which leaves next to nothing at the
    Nyquist frequency, and the shift to the true place are then one multiplication in Fourier space.

    Parameters
    ----------
    source
        What to draw.
    frames
        Celestial WCS of the image in each of `BANDS`; they differ by a few pixels' shift at most.
    fwhm
        Full width at half maximum of the PSF's core in each band, arcsec.
    shape
        Rows and columns of the image.

    Returns
    -------
    dict of numpy.ndarray
        Nanomaggies per pixel by band, float64 of shape `shape`, row 0 at the bottom.
    """
    places = np.array([frames[band].wcs_world2pix([[source.ra, source.dec]], 0)[0] for band in BANDS])
    jacobian = pixels_per_arcsec(frames[BANDS[0]], source.ra, source.dec)
    scale = 1 / np.sqrt(abs(np.linalg.det(jacobian)))
    nearest = np.rint(places).astype(int)
    extent = np.array(shape[::-1])
    cover = int(max(abs(nearest).max(), abs(extent - nearest).max())) + 2 * _MARGIN
    reach = int(_REACH * max(c.radius for c in source.components) / scale) + _PSF_REACH
    half = next_fast_len(min(cover, reach), real=True)
    arcsec = np.linalg.inv(jacobian)
    spectra = sum(np.tensordot(part.weights, _spectra(part, arcsec, half), 1) for part in source.components)

    images = {}
    for band, spectrum, place, middle in zip(BANDS, spectra, places, nearest, strict=True):
        seen = spectrum * _camera(fwhm[band] / scale, place - middle + half, half)
        stamp = irfft2(seen, (2 * half, 2 * half), overwrite_x=True)
        low, high = (np.clip(middle + side, 0, extent) for side in (-half, half))
        first, last = low - middle + half, high - middle + half
        images[band] = np.zeros(shape)
        images[band][low[1] : high[1], low[0] : high[0]] = stamp[first[1] : last[1], first[0] : last[0]]
    return images


def _camera(fwhm: float, shift: np.ndarray, half: int) -> np.ndarray:
    """Spectrum of the PSF, moved by `shift` (x, y) pixels."""
    share, width = np.array(PSF_WEIGHTS).T
    x, y = (
        np.exp(-2 * (np.pi * k * fwhm / _FWHM * width[:, None]) ** 2 - 2j * np.pi * k * step)
        for k, step in zip((rfftfreq(2 * half), fftfreq(2 * half)), shift, strict=True)
    )
    x[:, half] = y[:, half] = 0  # a shift is not defined at the Nyquist frequency
    return (share * y.T) @ x


def _spectra(component: Component, arcsec: np.ndarray, half: int) -> np.ndarray:
    """Of the component's patterns on 2 `half` x 2 `half` pixels, centred on the first one."""
    if component.radius == 0:
        return np.outer(np.sinc(fftfreq(2 * half)), np.sinc(rfftfreq(2 * half)))[None]
    # Only the upper half, as the lower one is the same; and a dark margin, as wide on either side of the centre,
    # so that the PSF carries no light around the edge.
    image = np.zeros((component.weights.shape[1], half + 1, 2 * half))
    bright = half - _MARGIN - 1
    for size, times in ((bright, 1), *_CORES):
        size = min(size, bright)
        x = (np.arange((2 * size + 1) * times) + 0.5) / times - 0.5 - size
        east, north = (step[0] * x + step[1] * x[size * times :, None] for step in arcsec)
        light = component.patterns(east, north).reshape(-1, size + 1, times, 2 * size + 1, times)
        image[:, : size + 1, half - size : half + size + 1] = light.mean(2).mean(3)
    image *= abs(np.linalg.det(arcsec))
    return hfft(rfft(ifftshift(image, axes=-1)), 2 * half, axis=1)

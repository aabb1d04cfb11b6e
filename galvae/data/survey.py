"""The synthetic sky: what galaxy number k of a seed looks like, where it lies, and how it is seen."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from astropy.wcs import WCS
from scipy.optimize import brentq
from scipy.special import gammainc, gammaincinv

from galvae.data.galaxies import BANDS, Arms, Component, Source, render
from galvae.data.settings import SimulateSettings

SIZE = 128
PIXEL_SCALE = 0.396
REFERENCE = "r"
SKY_NOISE = {"g": 0.017, "r": 0.028, "i": 0.049}
"""Standard deviation of the sky per pixel, nanomaggies: the medians of SDSS cutouts."""
ELECTRONS = 960.0
"""Photo-electrons per nanomaggy (SDSS, r)."""

_SEEING = {"g": 1.05, "r": 1.0, "i": 0.95}
_DISK_THICKNESS, _BULGE_THICKNESS = 0.15, 0.6
_FLATTEST = {"elliptical": 0.35, "spiral": 0.3, "disk": 0.0}


@dataclass(frozen=True)
class Field:
    """One cutout of the survey before pixels: everything that is on it, and how each band sees it.

    Parameters
    ----------
    key
        (seed, number) of the galaxy; the noise depends on nothing else.
    kind
        ``elliptical``, ``disk`` or ``spiral``.
    galaxy
        The galaxy; its first component carries the outer isophotes.
    r_half
        Semi-major axis that encloses half the galaxy's light in r, each component in its own ellipses,
        arcsec.
    inclination
        Of the disk, degrees; NaN for an elliptical.
    others
        Neighbours and stars.
    frames
        Celestial WCS of each band.
    fwhm
        PSF of each band, arcsec.
    """

    key: tuple[int, int]
    kind: str
    galaxy: Source
    r_half: float
    inclination: float
    others: tuple[Source, ...]
    frames: dict[str, WCS]
    fwhm: dict[str, float]

    def turned(self, angle: float = 0.0, move: tuple[float, float] = (0.0, 0.0), *, mirror: bool = False) -> Field:
        """The same sky seen by a camera that was turned and moved, so that no pixel is resampled.

        Parameters
        ----------
        angle
            What is seen turns by so many degrees, counter-clockwise about the cutout's centre.
        move
            It then moves by so many pixels right and up.
        mirror
            Left and right are exchanged first.
        """
        cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        turn = np.array([[cos, -sin], [sin, cos]]) @ np.diag([-1.0 if mirror else 1.0, 1.0])
        centre = (SIZE + 1) / 2
        frames = {}
        for band, old in self.frames.items():
            frames[band] = old.deepcopy()
            frames[band].wcs.crpix = centre + turn @ (old.wcs.crpix - centre) + np.array(move)
            frames[band].wcs.cd = old.wcs.cd @ turn.T
            frames[band].wcs.set()
        return replace(self, frames=frames)

    def draw(
        self,
        *,
        alone: bool = False,
        exposure: int | None = None,
        shape: tuple[int, int] = (SIZE, SIZE),
    ) -> dict[str, np.ndarray]:
        """Image in each band, nanomaggies per pixel, float64, row 0 at the bottom.

        Parameters
        ----------
        alone
            Leave out neighbours and stars.
        exposure
            Add sky and photon noise, different for every number; None adds none.
        shape
            Rows and columns.
        """
        sources = (self.galaxy,) if alone else (self.galaxy, *self.others)
        drawn = [render(source, self.frames, fwhm=self.fwhm, shape=shape) for source in sources]
        images = {band: sum(image[band] for image in drawn) for band in BANDS}
        if exposure is not None:
            for number, (band, image) in enumerate(images.items()):
                noise = _stream(*self.key, 1, number, exposure).standard_normal(shape)
                image += noise * np.sqrt(SKY_NOISE[band] ** 2 + np.maximum(image, 0) / ELECTRONS)
        return images


def field(number: int, *, seed: int, settings: SimulateSettings) -> Field:
    """Draw galaxy `number` of the survey `seed`; it depends on no other galaxy."""
    stream = _stream(seed, number, 0)
    frames = _frames(stream, settings)
    centre = np.array([(SIZE - 1) / 2] * 2)
    ra, dec = _on_sky(frames[REFERENCE], centre + settings.offset * stream.standard_normal(2))
    kinds = np.cumsum([settings.ellipticals, settings.spirals])
    kind = ("elliptical", "spiral", "disk")[np.searchsorted(kinds, stream.random(), side="right")]
    low, high = settings.axis_ratio
    axis_ratio = stream.uniform(max(low, min(_FLATTEST[kind], high)), high)
    r_half = _log_uniform(stream, settings.size)
    flux = _flux(_log_uniform(stream, settings.snr), r_half, axis_ratio)
    shape = (flux, r_half, axis_ratio, stream.uniform(0, 180))
    face_on = (axis_ratio**2 - _DISK_THICKNESS**2) / (1 - _DISK_THICKNESS**2)
    inclination = np.nan if kind == "elliptical" else np.degrees(np.arccos(np.sqrt(max(face_on, 0.0))))
    smooth = kind == "elliptical"
    parts = _elliptical(stream, *shape) if smooth else _disk(stream, settings, kind, inclination, *shape)
    fwhm = stream.uniform(*settings.psf)
    return Field(
        key=(seed, number), kind=kind, galaxy=Source(ra, dec, parts), r_half=r_half, inclination=inclination,
        others=_others(stream, settings, frames[REFERENCE], np.array([ra, dec]), r_half),
        frames=frames, fwhm={band: fwhm * factor for band, factor in _SEEING.items()},
    )  # fmt: skip


def signal_to_noise(flux: float, r_half: float, axis_ratio: float) -> float:
    """Of half the r-band `flux` in nanomaggies, in the ellipse that encloses it, against sky and photons."""
    pixels = np.pi * axis_ratio * (r_half / PIXEL_SCALE) ** 2
    return flux / 2 / np.sqrt(pixels * SKY_NOISE[REFERENCE] ** 2 + flux / 2 / ELECTRONS)


def _flux(snr: float, r_half: float, axis_ratio: float) -> float:
    sky = np.pi * axis_ratio * (r_half / PIXEL_SCALE * SKY_NOISE[REFERENCE]) ** 2
    photons = snr**2 / ELECTRONS
    return photons + np.sqrt(photons**2 + 4 * snr**2 * sky)


def _stream(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))


def _log_uniform(stream: np.random.Generator, ends: tuple[float, float]) -> float:
    return float(np.exp(stream.uniform(*np.log(ends))))


def _frames(stream: np.random.Generator, settings: SimulateSettings) -> dict[str, WCS]:
    """Per band a TAN WCS with its reference point somewhere in a frame of SDSS's size, not on the cutout."""
    ra, dec = stream.uniform(0, 360), np.degrees(np.arcsin(stream.uniform(-0.94, 0.94)))
    turn = np.radians(stream.uniform(*settings.rotation))
    cos, sin = np.cos(turn), np.sin(turn)
    handed = 1 if stream.random() < settings.mirrored else -1
    reference = stream.uniform([-880, -600], [1010, 730])
    frames = {}
    for band in BANDS:
        away, angle = 0.6 * np.sqrt(stream.random()), stream.uniform(0, 2 * np.pi)
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.cunit = ["deg", "deg"]
        wcs.wcs.radesys = "ICRS"
        wcs.wcs.crval = [ra, dec]
        wcs.wcs.crpix = reference + away * np.array([np.cos(angle), np.sin(angle)])
        wcs.wcs.cd = PIXEL_SCALE / 3600 * np.array([[handed * cos, sin], [-handed * sin, cos]])
        wcs.wcs.set()
        frames[band] = wcs
    return frames


def _on_sky(wcs: WCS, place: np.ndarray) -> tuple[float, float]:
    ra, dec = wcs.wcs_pix2world([place], 0)[0]
    return float(ra), float(dec)


def _colours(stream: np.random.Generator, flux: float, g_r: float, r_i: float) -> tuple[float, float, float]:
    """Fluxes in g, r, i of something with these colours in magnitudes, give or take a tenth."""
    both = stream.standard_normal() * 0.08
    return flux * 10 ** (-0.4 * (g_r + both)), flux, flux * 10 ** (0.4 * (r_i + both / 2))


def _elliptical(
    stream: np.random.Generator, flux: float, r_half: float, axis_ratio: float, pa: float
) -> tuple[Component, ...]:
    return (Component(_colours(stream, flux, 0.9, 0.4), r_half, stream.uniform(2, 5), axis_ratio, pa),)


def _disk(
    stream: np.random.Generator, settings: SimulateSettings, kind: str, inclination: float,
    flux: float, r_half: float, axis_ratio: float, pa: float,
) -> tuple[Component, ...]:  # fmt: skip
    share, index, ratio = stream.uniform(*settings.bulge), stream.uniform(2, 4), stream.uniform(0.15, 0.4)

    def excess(radius: float) -> float:
        return share * _within(radius / ratio, index) + (1 - share) * _within(radius, 1.0) - 0.5

    disk_radius = r_half / brentq(excess, 1e-3, 1.5)
    arms, colours = None, (0.65, 0.3)
    if kind == "spiral":
        colours = (0.45, 0.2)
        arms = Arms(
            sense=int(stream.choice([-1, 1])),
            pitch=stream.uniform(*settings.pitch),
            phase=stream.uniform(0, np.pi),
            width=stream.uniform(1, 3),
            start=disk_radius * stream.uniform(0.3, 0.6),
            share=tuple(stream.uniform(*settings.arms) * np.array([1.0, 0.9, 0.8])),
        )
    face_on = np.cos(np.radians(inclination)) ** 2
    bulge_ratio = float(np.sqrt(_BULGE_THICKNESS**2 + (1 - _BULGE_THICKNESS**2) * face_on))
    disk = Component(_colours(stream, (1 - share) * flux, *colours), disk_radius, 1.0, axis_ratio, pa, arms)
    bulge = Component(_colours(stream, share * flux, 0.95, 0.42), ratio * disk_radius, index, bulge_ratio, pa)
    return disk, bulge


def _within(radius: float, index: float) -> float:
    """Share of a Sersic profile's light inside `radius` half-light radii."""
    return float(gammainc(2 * index, gammaincinv(2 * index, 0.5) * radius ** (1 / index)))


def _others(
    stream: np.random.Generator, settings: SimulateSettings, wcs: WCS, galaxy: np.ndarray, r_half: float
) -> tuple[Source, ...]:
    """Small galaxies and stars, as many more of them as they are fainter, nowhere on the galaxy's core."""
    [place] = wcs.wcs_world2pix([galaxy], 0)
    nearest = np.clip(r_half / PIXEL_SCALE, 6.0, SIZE / 4)
    found = []
    stars = [False] * stream.poisson(settings.neighbours) + [True] * stream.poisson(settings.stars)
    for star in stars:
        where = stream.uniform(-0.5, SIZE - 0.5, 2)
        while np.hypot(*(where - place)) < nearest:
            where = stream.uniform(-0.5, SIZE - 0.5, 2)
        magnitude = 22 - stream.exponential(1.6 if star else 1.1)
        flux = 10 ** (0.4 * (22.5 - max(magnitude, 15.0 if star else 17.0)))
        if star:
            red = stream.uniform(0.2, 1.4)
            parts = (Component(_colours(stream, flux, red, 0.05 + red**3 / 2.2)),)
        else:
            radius, index, ratio = stream.uniform(0.6, 1.8), stream.uniform(1, 2.5), stream.uniform(0.3, 1)
            colours = _colours(stream, flux, stream.uniform(0.4, 1.1), 0.35)
            parts = (Component(colours, radius, index, ratio, stream.uniform(0, 180)),)
        found.append(Source(*_on_sky(wcs, where), parts))
    return tuple(found)

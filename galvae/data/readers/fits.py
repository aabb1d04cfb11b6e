"""FITS: one file for each band, on any grid, or a cube of bands; compressed in any of the usual ways."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS, InvalidTransformError
from astropy.wcs.utils import proj_plane_pixel_scales

from galvae.data.readers.align import onto
from galvae.data.readers.bands import band_in_header, bands_of_cube, red_green_blue
from galvae.data.readers.base import Cutout, Place
from galvae.data.readers.content import contents
from galvae.data.settings import IngestSettings

_NOT_SKY = {
    "WGT", "WHT", "WEIGHT", "IVAR", "INVVAR", "ERR", "ERROR", "VAR", "VARIANCE", "RMS", "DQ", "MASK", "CON", "PSF",
}  # fmt: skip
_MANY = 64


class _TooDeep(ValueError):
    """A cube of more planes than there are bands."""


@dataclass
class _Image:
    planes: np.ndarray
    header: fits.Header
    wcs: WCS | None


def load(place: Sequence[tuple[str, str, str]], settings: IngestSettings) -> Cutout:
    """Read the bands of one object and lay them on one grid.

    Parameters
    ----------
    place
        (band in the file's name or an empty text, path, member of a zip) of each file.
    settings
        The ``[ingest]`` table.

    Raises
    ------
    ValueError, OSError
        If a file is truncated, has no image, or a band that the recipe asks for is not there.
    """
    with warnings.catch_warnings():
        # Headers in the wild are full of small sins; those that matter raise.
        warnings.simplefilter("ignore", AstropyWarning)
        try:
            if len(place) == 1:
                band, *where = place[0]
                return _one_file(_read(Place(*where)), band, settings)
            return _many_files({band: Place(*where) for band, *where in place}, settings)
        except fits.VerifyError as error:
            raise ValueError(f"damaged FITS header: {error}") from None


def _one_file(image: _Image, band: str, settings: IngestSettings) -> Cutout:
    count = image.planes.shape[2]
    if count == 1:
        bands = (band or band_in_header(image.header),)
    elif settings.cube_bands:
        if len(settings.cube_bands) != count:
            raise ValueError(f"a cube of {count} planes, but ingest.cube_bands names {len(settings.cube_bands)}")
        bands = settings.cube_bands
    else:
        bands = bands_of_cube(image.header, count)
    chosen = red_green_blue(bands, settings.bands)
    if chosen:
        image.planes = image.planes[:, :, [bands.index(name) for name in chosen]]
    return _cutout(image, chosen, _reference(chosen, settings))


def _many_files(places: dict[str, Place], settings: IngestSettings) -> Cutout:
    chosen = red_green_blue(tuple(places), settings.bands)
    reference = _reference(chosen, settings)
    images = []
    for name in chosen:
        try:
            images.append(_read(places[name]))
        except (ValueError, OSError) as error:
            raise ValueError(f"{error}; {name} band") from None
        if images[-1].planes.shape[2] != 1:
            raise ValueError(f"{name} band: a cube of {images[-1].planes.shape[2]} planes among files of one band each")
    base = images[reference]
    doubtful = False
    for number, image in enumerate(images):
        if number != reference:
            image.planes, stale = onto(base.planes[:, :, 0], base.wcs, image.planes[:, :, 0], image.wcs, chosen[number])
            doubtful |= stale
    base.planes = np.dstack([image.planes for image in images])
    return _cutout(base, chosen, reference, doubtful=doubtful)


def _reference(bands: Sequence[str], settings: IngestSettings) -> int:
    return bands.index(settings.reference_band) if settings.reference_band in bands else 0


def _cutout(image: _Image, bands: tuple[str, ...], reference: int, *, doubtful: bool = False) -> Cutout:
    scale = float("nan")
    if image.wcs is not None:
        scale = float(np.sqrt(np.prod(proj_plane_pixel_scales(image.wcs))) * 3600)
    return Cutout(
        pixels=image.planes,
        bands=bands,
        reference=reference,
        wcs=image.wcs.to_header(relax=True).tostring() if image.wcs is not None else "",
        pixel_scale=scale,
        unit=str(image.header.get("BUNIT", "")).strip(),
        doubtful_wcs=doubtful,
    )


def _read(place: Place) -> _Image:
    """The first image of a file, as float32 planes (ny, nx, bands), row 0 at the bottom."""
    data = contents(place)
    try:
        # Unsigned integers would be left as they are, their blanks too.
        with fits.open(io.BytesIO(data), uint=False) as file:
            for hdu in file:
                if not hdu.is_image or hdu.name.upper() in _NOT_SKY or hdu.header.get("NAXIS", 0) < 2:
                    continue
                pixels = hdu.data
                if pixels is None:
                    continue
                while pixels.ndim > 2 and len(pixels) == 1:
                    pixels = pixels[0]
                if pixels.ndim in (2, 3):
                    # Band and unit may be said of the whole file; but sky coordinates are one header's alone.
                    header = hdu.header
                    if hdu is not file[0]:
                        header = hdu.header.copy()
                        header.extend(file[0].header, unique=True)
                    own = hdu.header if "CTYPE1" in hdu.header else header
                    return _Image(_planes(pixels), header, _celestial(own))
    except _TooDeep:
        raise
    except Exception as error:  # astropy's parsers raise whatever they stumble over
        raise ValueError(f"damaged or truncated FITS data: {error}") from None
    raise ValueError("no image in this FITS file, only tables or one-dimensional data")


def _planes(pixels: np.ndarray) -> np.ndarray:
    if pixels.ndim == 2:
        pixels = pixels[None]
    if len(pixels) > _MANY:
        raise _TooDeep(f"a cube of {len(pixels)} planes is not a galaxy in a few bands")
    with np.errstate(over="ignore"):  # too large is infinite, and that is missing
        return np.ascontiguousarray(np.moveaxis(pixels, 0, 2), dtype=np.float32)


def _celestial(header: fits.Header) -> WCS | None:
    """The sky coordinates of the first two axes, or None where the header has none that work."""
    if header.get("EQUINOX") == 0:  # not known; wcslib would make FK4 of the year 0 of it, 27 degrees off
        header = header.copy()
        header.remove("EQUINOX")
    try:
        try:
            wcs = WCS(header, naxis=2)
        except InvalidTransformError:  # units like 'degrees', which astropy mends in a whole header alone
            wcs = WCS(header).sub([1, 2])
        if not wcs.has_celestial or not np.all(proj_plane_pixel_scales(wcs) > 0):
            return None
        return wcs if np.all(np.isfinite(wcs.pixel_to_world_values(0.0, 0.0))) else None
    except Exception:  # wcslib's own errors share no base class
        return None

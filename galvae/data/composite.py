"""Colour composites of flux, by Lupton et al. 2004, with what was done recorded."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.stats import sigma_clip
from astropy.visualization import LuptonAsinhStretch, ManualInterval
from astropy.visualization.lupton_rgb import RGBImageMappingLupton

from galvae.data.missing import filled, outermost, share
from galvae.data.readers.base import Cutout
from galvae.data.settings import IngestSettings
from galvae.flags import Flag

_USUAL = ("i", "r", "g")
_MOST_CLIPPED = 0.6
_NANOMAGGY_STRETCH = 0.5
_STRETCH_IN_NOISE = 20.0
_SAME = 0.3


def _scatter(values: np.ndarray) -> float:
    """Of a sky about 0: by its median, or by its deviation where many pixels are the same, as counts, or cut at 0."""
    _, same = np.unique(values, return_counts=True)
    if same.max() > _SAME * len(values):
        return float(sigma_clip(values.astype(np.float64), sigma=5).std())
    return 1.4826 * float(np.median(np.abs(values)))


def compose(cutout: Cutout, settings: IngestSettings) -> tuple[np.ndarray, dict[str, Any], Flag]:
    """Turn flux into display colours at the cutout's own resolution.

    Parameters
    ----------
    cutout
        Flux; its bands, where named, are those of R, G, B, of R and B, or one.
    settings
        The ``[ingest]`` table.

    Returns
    -------
    colours
        uint8, shape (ny, nx, 3).
    told
        ``bands``, ``stretch``, ``missing`` and ``clipped`` of the store.
    flags
        What is odd about it.

    Raises
    ------
    ValueError
        If more than half of the pixels have no value, or all have the same.
    """
    flags = Flag.DOUBTFUL_WCS if cutout.doubtful_wcs else Flag(0)
    planes, gaps = filled(cutout.pixels)
    missing = share(gaps)
    if missing:
        flags |= Flag.MISSING
    border = planes[outermost(gaps.any(axis=2))]
    sky = np.median(border, axis=0)
    noise = _scatter((border - sky)[:, cutout.reference])
    if "nanomagg" in cutout.unit.lower():
        stretch = _NANOMAGGY_STRETCH
    else:
        planes = planes - sky
        top = float(np.percentile(planes[:, :, cutout.reference], 99.5))
        stretch = max(_STRETCH_IN_NOISE * noise, top / 1000) or 1.0  # a drawn galaxy has no noise
    if settings.stretch != "auto":
        stretch = settings.stretch
    if planes.shape[2] == 1 or len(cutout.bands) < 2:
        flags |= Flag.GREY
        red = green = blue = planes.mean(axis=2)
    else:
        if cutout.bands != (settings.bands or _USUAL):
            flags |= Flag.OTHER_BANDS
        red, blue = planes[:, :, 0] * settings.band_scales[0], planes[:, :, -1] * settings.band_scales[2]
        green = (planes[:, :, 1] if len(cutout.bands) == 3 else (red + blue) / 2) * settings.band_scales[1]
    mapping = RGBImageMappingLupton(ManualInterval(vmin=0, vmax=None), LuptonAsinhStretch(stretch, settings.Q))
    # astropy divides before it looks for zeros.
    with np.errstate(invalid="ignore", divide="ignore"):
        colours = mapping.make_rgb_image(red, green, blue, output_dtype=np.uint8)
    clipped = float(np.mean(red + green + blue <= 0))
    if clipped > _MOST_CLIPPED:
        flags |= Flag.CLIPPED
    told = {
        "bands": ",".join(cutout.bands),
        "stretch": np.float32(stretch),
        "missing": np.float32(missing),
        "clipped": np.float32(clipped),
    }
    return colours, told, flags

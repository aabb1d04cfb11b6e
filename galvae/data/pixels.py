"""What of a cutout a store keeps: display colours, one grey channel, or one channel of floats to be normalised."""

from __future__ import annotations

from typing import Any

import numpy as np

from galvae.data.missing import filled, lost_or_grey, share
from galvae.data.readers.base import Cutout
from galvae.data.settings import FLOATS, IngestSettings
from galvae.flags import Flag


def pixels_of(cutout: Cutout, settings: IngestSettings) -> tuple[np.ndarray, dict[str, Any], Flag]:
    """The pixels of a cutout as ``ingest.pixels`` wants them, at its own resolution.

    ``colour``: display colours, composed where the cutout is flux. ``grey``: their channel mean. What is kept as floats
    (``normalised``, ``background-subtracted``): flux as it is, of the reference plane, or the channel mean of display
    colours; what remains is done on the field (:func:`galvae.data.prepare.normalised`).

    Returns
    -------
    pixels
        uint8, shape (ny, nx, 3); grey, of one channel; normalised, float32 of one channel.
    told
        ``bands``, ``stretch``, ``missing`` and ``clipped`` of the store.
    flags
        What is odd about it.

    Raises
    ------
    ValueError
        If more than half of the pixels have no value, or all have the same.
    """
    told = {"bands": "", "stretch": np.float32("nan"), "missing": np.float32(0), "clipped": np.float32(0)}
    pixels = cutout.pixels
    if pixels.dtype == np.uint8:
        # Black is a value of micrographs and digits.
        flags = Flag(0)
        if settings.pixels == "colour":
            pixels, gaps = filled(pixels)
            told["missing"], signs = np.float32(share(gaps)), (gaps.any(), *lost_or_grey(pixels))
            for sign, flag in zip(signs, (Flag.MISSING, Flag.LOST_CHANNEL, Flag.GREY), strict=True):
                flags |= flag if sign else Flag(0)
    elif settings.pixels in FLOATS:
        pixels, flags = _flux(cutout, told)
    else:
        from galvae.data.composite import compose

        pixels, told, flags = compose(cutout, settings)
    if settings.pixels == "grey":
        # Of three whole numbers the mean is never halfway between two.
        pixels = ((pixels.sum(axis=2, keepdims=True, dtype=np.uint16) + 1) // 3).astype(np.uint8)
    elif settings.pixels in FLOATS and pixels.dtype == np.uint8:
        pixels = pixels.mean(axis=2, keepdims=True, dtype=np.float32)
    if settings.pixels != "colour":
        flags &= ~Flag.GREY  # nothing odd where all are
    if settings.invert:
        pixels = 255 - pixels if pixels.dtype == np.uint8 else -pixels
    return pixels, told, flags


def _flux(cutout: Cutout, told: dict[str, Any]) -> tuple[np.ndarray, Flag]:
    """The reference plane, what is missing filled; says in `told` which it is, and how much was missing."""
    flags = Flag.DOUBTFUL_WCS if cutout.doubtful_wcs else Flag(0)
    plane = cutout.pixels[:, :, cutout.reference : cutout.reference + 1]
    told["bands"] = cutout.bands[cutout.reference] if cutout.bands else ""
    if cutout.complete:
        return plane, flags
    plane, gaps = filled(plane)
    told["missing"] = np.float32(share(gaps))
    return plane, flags | (Flag.MISSING if gaps.any() else Flag(0))

"""What can be odd about a galaxy, one bit each, or about its field: shared by the store and the catalog."""

from __future__ import annotations

from enum import IntFlag


class Flag(IntFlag):
    """Bits of the ``flags`` column; their meanings are in :data:`MEANING`."""

    PADDED = 1
    MISSING = 2
    CLIPPED = 4
    GREY = 8
    OTHER_BANDS = 16
    DOUBTFUL_WCS = 32
    TRAINED_ON = 256
    AXIS_UNDEFINED = 512
    NO_MOMENTS = 1024
    OUTSIDE = 2048
    TWO_RIVALS = 4096
    POORLY_FITTED = 8192
    UNUSUAL = 16384
    AT_EDGE = 32768
    OFF_CENTRE = 65536
    TRAIL = 131072
    LOST_CHANNEL = 262144


MEANING: dict[Flag, str] = {
    Flag.PADDED: "the cutout is smaller than the field; the rest is its border's median",
    Flag.MISSING: "pixels without a value (NaN, blank, beyond a survey's edge) were filled with the border's median",
    Flag.CLIPPED: "more than 60% of the pixels were clipped at black in making the composite",
    Flag.GREY: "one band, a cube that does not name its bands, or a picture without colour",
    Flag.OTHER_BANDS: "the composite is not made from the store's usual bands",
    Flag.DOUBTFUL_WCS: "the bands' WCSs contradict their pixels: the position may be wrong, angles hold",
    Flag.TRAINED_ON: "a galaxy of this identifier was used in training the run",
    Flag.AXIS_UNDEFINED: "axis ratio above 0.9 or orientation_err above 30 deg: the axis means little",
    Flag.NO_MOMENTS: "no moments could be measured on the decoded image: orientation, axis_ratio, dx, dy are NaN",
    Flag.OUTSIDE: "the inferred centre lies outside the model's window",
    Flag.TWO_RIVALS: "another direction is nearly as probable as theta: p_alt above 0.1",
    Flag.POORLY_FITTED: "the reconstruction explains less of a channel's light than in 99% of the galaxies held out",
    Flag.UNUSUAL: "z lies farther from the mean than that of 99% of the galaxies held out",
    Flag.AT_EDGE: "the galaxy, to two standard deviations of its light, reaches beyond the model's window",
    Flag.OFF_CENTRE: "the cutout's middle lies outside of it, more than 3 window pixels away, or more than a quarter "
    "of the way to the window's edge: is it the galaxy meant?",
    Flag.TRAIL: "a straight line of light crosses the cutout from side to side: a satellite's trail or a star's spike",
    Flag.LOST_CHANNEL: "a channel of the picture is of one value where another shows something",
}

TEXTURE = (
    "noise", "sharp", "flat", "white", "uneven", "step", "streaked", "smooth", "misregistered", "parted"
)  # fmt: skip
"""Names of the numbers of column ``texture``, in their order; see :func:`galvae.texture.texture`."""

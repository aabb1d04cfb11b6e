"""The recipe's ``[ingest]`` and ``[simulate]`` tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from galvae.settings import List, Seed, Settings

# Kinds of ``ingest.pixels`` that are no display values, and what an image is less, in units of its standard deviation.
FLOATS: Mapping[str, str] = {"normalised": "its mean", "background-subtracted": "its background's mean"}
# Pixels along a side of which those in the corners lie outside the circle.
LEAST = 4


class IngestSettings(Settings):
    """How cutouts become fields of one size, and where a source keeps what.

    Fields and windows are square; sizes are in pixels of the model's scale, at which one pixel covers
    ``max(1, shorter side of the cutout / field)`` original pixels: the whole cutout, never magnified.

    ``pixels`` is what a field keeps: display colours of three channels; ``grey``, one such channel; or ``normalised``,
    one channel of floats, each image less the mean of its pixels over their standard deviation; or
    ``background-subtracted``, less the mean of those outside the circle (the ellipse) that just fits instead. With
    ``invert`` what is dark becomes bright in all but colours: a model looks for objects brighter than what is around
    them.
    """

    pixels: Literal["colour", "grey", "normalised", "background-subtracted"] = "colour"
    invert: bool = False
    field: PositiveInt = 128
    window: PositiveInt = 64
    oversample: PositiveInt = 1
    crop: Literal["random", "fixed"] = "random"
    crop_sigma: float = Field(8.0, ge=0)
    seed: Seed = 0
    bands: Annotated[tuple[str, ...], List] = ()
    reference_band: str = "r"
    cube_bands: Annotated[tuple[str, ...], List] = ()
    stretch: PositiveFloat | Literal["auto"] = "auto"
    Q: PositiveFloat = 10.0
    band_scales: Annotated[tuple[PositiveFloat, PositiveFloat, PositiveFloat], List] = (0.8, 1.0, 1.6)
    images: str = "images"
    id_column: str = ""
    ra_column: str = "ra"
    dec_column: str = "dec"
    scale_column: str = "pxscale"
    north_up: bool = False

    @property
    def channels(self) -> int:
        """Of a field."""
        return 3 if self.pixels == "colour" else 1

    @property
    def dtype(self) -> str:
        """Of a field's pixels."""
        return "float32" if self.pixels in FLOATS else "uint8"

    @model_validator(mode="after")
    def _has_a_negative(self) -> Self:
        if self.invert and self.pixels == "colour":
            raise ValueError("invert = true is for one channel; set pixels to grey or normalised")
        if self.pixels == "background-subtracted" and self.field * self.oversample < LEAST:
            raise ValueError(f"a field of fewer than {LEAST} pixels along a side shows no background; set field higher")
        return self


def _ascending(pair: tuple[float, float]) -> tuple[float, float]:
    if not pair[0] <= pair[1]:
        raise ValueError("expected [low, high] with low <= high")
    return pair


Range = Annotated[tuple[float, float], List, AfterValidator(_ascending)]
PositiveRange = Annotated[tuple[PositiveFloat, PositiveFloat], List, AfterValidator(_ascending)]
Share = Annotated[float, Field(ge=0, le=1)]
AxisRatio = Annotated[float, Field(ge=0.05, le=1)]
AxisRatios = Annotated[tuple[AxisRatio, AxisRatio], List, AfterValidator(_ascending)]
ShareRange = Annotated[tuple[Share, Share], List, AfterValidator(_ascending)]


class SimulateSettings(Settings):
    """How the synthetic survey is drawn; pairs are the low and high end of a distribution.

    ``galaxies`` is how many ``galvae run`` simulates, 0 for none.
    ``size`` (half-light semi-major axis, arcsec) and ``snr`` (r band, within the half-light ellipse; about that of
    Galaxy Zoo 2's galaxies, brighter than r = 17) are drawn evenly in the logarithm, ``axis_ratio``, ``bulge`` (share
    of the light), ``pitch`` (deg), ``arms`` (share of the disk's light), ``psf`` (FWHM, arcsec) and ``rotation`` (of
    the field, deg) evenly.
    ``spirals`` and ``ellipticals`` are fractions of the galaxies, the rest being plain disks, and
    ``mirrored`` of the fields; ``neighbours`` and ``stars`` are mean numbers per cutout; ``offset`` (pixels)
    is the standard deviation, in x and in y, of the galaxy's place about the cutout's centre.
    """

    galaxies: NonNegativeInt = 0
    spirals: Share = 0.5
    ellipticals: Share = 0.25
    size: PositiveRange = (2.0, 7.0)
    axis_ratio: AxisRatios = (0.2, 1.0)
    snr: PositiveRange = (100.0, 600.0)
    bulge: ShareRange = (0.05, 0.4)
    arms: ShareRange = (0.1, 0.35)
    pitch: PositiveRange = (12.0, 30.0)
    psf: PositiveRange = (1.1, 1.6)
    offset: float = Field(3.0, ge=0)
    neighbours: float = Field(3.0, ge=0)
    stars: float = Field(1.0, ge=0)
    rotation: Range = (0.0, 360.0)
    mirrored: Share = 0.3

    @model_validator(mode="after")
    def _kinds_fit(self) -> Self:
        if self.spirals + self.ellipticals > 1:
            raise ValueError("spirals + ellipticals is more than 1; they are fractions of all galaxies")
        return self

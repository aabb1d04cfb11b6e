"""JPEG and PNG: ready-made colours, as any viewer shows them."""

from __future__ import annotations

import io
import math
import re

import numpy as np
from PIL import ExifTags, Image, ImageOps
from simplejpeg import decode_jpeg, decode_jpeg_header

from galvae.data.errorpage import may_be_page
from galvae.data.readers.base import Cutout, Place
from galvae.data.readers.content import contents
from galvae.data.settings import IngestSettings

# With as many pixels more than the field has, the field of a shrunk picture is that of the whole one within 0.9 grey
# levels rms on Galaxy Zoo's; with none more, 1.4. An eighth is not used: small letters of error pages are lost in it.
_LEFT = 1.25
_FORMATS = ("JPEG", "PNG")
# What libjpeg says where bytes have changed: it goes astray from there on, of which Pillow says nothing.
_ASTRAY = re.compile("premature end of data segment|bad Huffman code")


def load(place: Place, settings: IngestSettings) -> Cutout:
    """Read one picture, a JPEG at a half or a quarter of its size where its field needs no more.

    Raises
    ------
    ValueError
        If it is truncated or damaged.
    """
    data = contents(place)
    pixels, shrunk = _decode(data, least=_LEFT * settings.field * settings.oversample)
    if shrunk > 1 and may_be_page(pixels):
        pixels, shrunk = decode(data), 1
    return Cutout(pixels, shrunk=shrunk)


def decode(data: bytes) -> np.ndarray:
    """Pixels of a JPEG or PNG as displayed, uint8 (ny, nx, 3), **row 0 at the bottom**.

    EXIF orientation is applied, grey becomes three equal channels, CMYK becomes RGB, 16 bits become 8, and
    what is transparent shows black.

    Raises
    ------
    ValueError
        If the data are truncated or damaged.
    """
    return _decode(data, least=math.inf)[0]


def _decode(data: bytes, *, least: float) -> tuple[np.ndarray, int]:
    """As :func:`decode`, and how many times smaller: no side below `least` for it."""
    try:
        rgb, shrunk = _plain_jpeg(data, least)
        if rgb is None:
            with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
                rgb = np.asarray(_display(ImageOps.exif_transpose(picture)))
    except Image.DecompressionBombError:
        raise ValueError("a picture of more than 179 million pixels is no cutout") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ValueError(f"damaged or truncated picture: {error}") from None
    return rgb[::-1], shrunk


def _plain_jpeg(data: bytes, least: float) -> tuple[np.ndarray | None, int]:
    """An ordinary JPEG by simplejpeg: Pillow's own pixels in half of the time. None for what Pillow must judge.

    libjpeg makes half a picture from half of each block's frequencies. Only where that many divides the sides, so that
    the centre of what it makes is the centre of the original.

    Raises
    ------
    ValueError
        If bytes have changed so that libjpeg loses its way.
    """
    try:
        ny, nx, colours, _ = decode_jpeg_header(data)
        if colours not in ("YCbCr", "RGB", "Gray") or nx * ny > (Image.MAX_IMAGE_PIXELS or 0) or not _upright(data):
            return None, 1
        shrunk = next((n for n in (4, 2) if nx % n == ny % n == 0 and min(nx, ny) >= n * least), 1)
        return decode_jpeg(data, min_height=ny // shrunk, min_width=nx // shrunk), shrunk
    except ValueError as error:  # also of what Pillow can read
        if _ASTRAY.search(str(error)):
            raise
        return None, 1


def _upright(data: bytes) -> bool:
    """Whether a JPEG is displayed as it is stored: only EXIF and XMP can say otherwise, each with a word of its own."""
    if b"Exif" not in data and b"rientation" not in data:
        return True
    with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
        return picture.getexif().get(ExifTags.Base.Orientation, 1) == 1


def _display(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):
        wide = np.asarray(picture, dtype=np.float64)
        return Image.fromarray(np.rint(wide / 257).astype(np.uint8)).convert("RGB")
    if "A" in picture.getbands() or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba).convert("RGB")
    return picture.convert("RGB")

"""JPEG and PNG: ready-made colours, as any viewer shows them."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageOps

from galvae.data.readers.base import Cutout, Place
from galvae.data.readers.content import contents
from galvae.data.settings import IngestSettings


def load(place: Place, settings: IngestSettings) -> Cutout:
    """Read one picture.

    Raises
    ------
    ValueError
        If it is truncated or damaged.
    """
    return Cutout(pixels=decode(contents(place)))


def decode(data: bytes) -> np.ndarray:
    """Pixels of a JPEG or PNG as displayed, uint8 (ny, nx, 3), **row 0 at the bottom**.

    EXIF orientation is applied, grey becomes three equal channels, CMYK becomes RGB, 16 bits become 8, and
    what is transparent shows black.

    Raises
    ------
    ValueError
        If the data are truncated or damaged.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as picture:
            upright = ImageOps.exif_transpose(picture)
            rgb = _display(upright)
    except Image.DecompressionBombError:
        raise ValueError("a picture of more than 179 million pixels is no cutout") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ValueError(f"damaged or truncated picture: {error}") from None
    return np.ascontiguousarray(np.asarray(rgb)[::-1])


def _display(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):
        wide = np.asarray(picture, dtype=np.float64)
        return Image.fromarray(np.rint(wide / 257).astype(np.uint8)).convert("RGB")
    if "A" in picture.getbands() or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba).convert("RGB")
    return picture.convert("RGB")

"""Pictures out of a model: prior draws and interpolations, as arrays and as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from galvae.files import check_output, whole

if TYPE_CHECKING:
    from galvae.inference.model import Model


def interpolate(
    model: Model, start: np.ndarray, end: np.ndarray, *, steps: int = 8, size: int | None = None
) -> np.ndarray:
    """Canonical images along the straight line between two content vectors (Bepler et al. 2019, Fig. 6).

    Parameters
    ----------
    model
        The model.
    start, end
        Content vectors, shape (Z,).
    steps
        Images, both ends included, at least 2.
    size
        Pixels along a side; the window's where not given.

    Returns
    -------
    ndarray
        float32, shape (steps, size, size, C), row 0 at the bottom, theta = 0 and shift = 0.

    Raises
    ------
    ValueError
        If `steps` is below 2.
    """
    if steps < 2:
        raise ValueError(f"interpolation in {steps} steps; it takes at least 2, the two ends")
    share = np.linspace(0, 1, steps)[:, None]
    return model.canonical((1 - share) * np.asarray(start) + share * np.asarray(end), size=size)


def save_images(
    path: str | Path, images: np.ndarray, *, columns: int | None = None, display: bool = True
) -> None:  # fmt: skip
    """Write images (N, n, n, C), row 0 at the bottom: a PNG of their grid, or the array as FITS or NPY.

    Where they are no display values, in [0, 1], a PNG spans theirs (:func:`displayed`); the array is kept as it is.
    FITS has axes (x, y, channel, image), so that any viewer shows them upright; NPY keeps the array as it is. The file
    appears under its name when it is whole.

    Raises
    ------
    ValueError
        If the path ends in none of .png, .fits and .npy.
    OSError
        If it cannot be written.
    """
    check_output(path, IMAGES, overwrite=True)
    with whole(path) as scratch:
        shown = images if display or scratch.suffix != ".png" else displayed(images)
        IMAGES[scratch.suffix](scratch, shown, columns)


def displayed(images: np.ndarray, like: np.ndarray | None = None) -> np.ndarray:
    """Images as display values in [0, 1]: uint8 ones over 255; of floats all but a hundredth of the pixels span it.

    Parameters
    ----------
    images
        Of any shape.
    like
        Other floats of which those pixels are, so that several images are shown alike.
    """
    if images.dtype == np.uint8:
        return images / 255
    low, high = np.percentile(images if like is None else like, [0.5, 99.5])
    return np.clip((images - low) / max(high - low, 1e-30), 0, 1)


def as_rgb(images: np.ndarray) -> np.ndarray:
    """Images (..., C) in [0, 1] as they are shown, (..., 3): grey where there are not three channels."""
    images = np.clip(images, 0, 1)
    return images if images.shape[-1] == 3 else np.repeat(images.mean(-1, keepdims=True), 3, -1)


def contact_sheet(images: np.ndarray, *, columns: int | None = None, gap: int = 2) -> np.ndarray:
    """One picture of many, row 0 at the **top**, as a viewer shows it, uint8 (rows, columns, 3); white between them."""
    count, n = images.shape[:2]
    columns = columns or int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    sheet = np.full((rows * (n + gap) - gap, columns * (n + gap) - gap, 3), 255, np.uint8)
    for number, image in enumerate(np.round(as_rgb(images) * 255).astype(np.uint8)):
        y, x = (number // columns) * (n + gap), (number % columns) * (n + gap)
        sheet[y : y + n, x : x + n] = image[::-1]
    return sheet


def _write_png(path: Path, images: np.ndarray, columns: int | None) -> None:
    from PIL import Image

    Image.fromarray(contact_sheet(images, columns=columns)).save(path)


def _write_fits(path: Path, images: np.ndarray, columns: int | None) -> None:
    from astropy.io import fits

    fits.PrimaryHDU(np.ascontiguousarray(np.moveaxis(images, 3, 1), np.float32)).writeto(path)


def _write_npy(path: Path, images: np.ndarray, columns: int | None) -> None:
    np.save(path, images)


IMAGES = {".png": _write_png, ".fits": _write_fits, ".npy": _write_npy}
"""What writes images, by the ending of the file's name."""

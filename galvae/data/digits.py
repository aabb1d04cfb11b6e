"""Digits that are turned and moved by known amounts (Bepler et al. 2019, 4.2)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.table import Table
from scipy.ndimage import affine_transform

from galvae.data.particles import stream
from galvae.files import check_output, whole

COLUMNS: dict[str, tuple[str, str]] = {
    "id": ("", "number of the digit"),
    "theta": (
        "deg",
        "by which the digit is turned about its image's centre, counter-clockwise as displayed (row 0 at the bottom)",
    ),
    "x": ("pix", "by which it is moved then, right"),
    "y": ("pix", "by which it is moved then, up"),
}
"""Name of each column -> (unit, description)."""


def moved_digits(
    images: np.ndarray,
    *,
    turn_sigma: float,
    move_sigma: float,
    canvas: int | None = None,
    seed: int = 0,
    first: int = 0,
) -> tuple[np.ndarray, Table]:
    """Digits turned by N(0, turn_sigma^2) about their images' centres, then moved by N(0, move_sigma^2) in x and in y.

    Both at once, with one interpolation, by cubic splines: linear ones blur, by as much as pixels are missed, and take
    12% (standard deviation 3%) of a digit's squared light, cubic ones 5% (1%), so that turned digits are as sharp as
    others. Their ringing is a fifth of a grey level in the mean. What leaves the canvas is lost; the rest is 0.

    Parameters
    ----------
    images
        uint8, shape (N, n, n), row 0 at the bottom.
    turn_sigma
        Degrees; 45 in the paper.
    move_sigma
        Pixels; in the paper 1.4, or 14.
    canvas
        Pixels along a side of the new images; n if None.
    seed, first
        Digit k of the images is number ``first + k`` of the set `seed`, and turns and moves as that one does whatever
        the others.

    Returns
    -------
    ndarray, astropy.table.Table
        Images, uint8, shape (N, canvas, canvas), row 0 at the bottom, and the truth, :data:`COLUMNS`.

    Raises
    ------
    ValueError
        If the images are not square uint8 ones, or a sigma or the seed is below 0.

    Notes
    -----
    Of MNIST's 10,000 test digits (those of the training set are alike), turned by N(0, 45^2) degrees and moved by N(0,
    14^2) pixels, a canvas of 28 pixels holds 8% wholly, and half the ink or more of 44%; 21% leave it without a trace,
    and the centres of 52% do. A canvas of 108 pixels holds 99.7% of them wholly, one of 112 pixels 99.8%, of 96 99.0%.
    """
    if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1] != images.shape[2]:
        raise ValueError(f"digits are {images.dtype} of shape {images.shape}; expected uint8 of (N, n, n)")
    if turn_sigma < 0 or move_sigma < 0 or seed < 0:
        raise ValueError(
            f"digits: got turn_sigma = {turn_sigma}, move_sigma = {move_sigma}, seed = {seed}; none may be below 0"
        )
    size = canvas or images.shape[1]
    moved, rows = np.empty((len(images), size, size), np.uint8), np.empty((len(images), 3))
    for number, image in enumerate(images):
        normal = stream("digits", seed, first + number).standard_normal(3)
        rows[number] = normal * [turn_sigma, move_sigma, move_sigma]
        moved[number] = _moved(image, *rows[number], size)
    numbers = [f"{first + number:06d}" for number in range(len(images))]
    truth = Table(dict(zip(COLUMNS, (numbers, *rows.T), strict=True)))
    for name, (unit, description) in COLUMNS.items():
        truth[name].unit, truth[name].description = unit or None, description
    truth.meta.update(turn_sigma=turn_sigma, move_sigma=move_sigma, canvas=size, seed=seed)
    return moved, truth


def write_digits(
    path: str | Path, images: np.ndarray, truth: Table, *, label: np.ndarray | None = None, overwrite: bool = False
) -> None:
    """Write digits as HDF5 that ``galvae ingest`` takes: ``images`` and a dataset for each column, and ``label``.

    Parameters
    ----------
    path
        ``*.h5`` or ``*.hdf5``.
    images
        uint8, shape (N, ny, nx), row 0 at the bottom; stored with the top row first, as such files are.
    truth
        A row for each.
    label
        Which digit each is, shape (N,).
    overwrite
        Replace an earlier file.

    Raises
    ------
    ValueError, OSError
        If the numbers of images, rows and labels differ, or it cannot be written.
    """
    import h5py

    if not len(images) == len(truth) == (len(images) if label is None else len(label)):
        raise ValueError(
            f"{path}: {len(images)} images, {len(truth)} rows" + ("" if label is None else f", {len(label)} labels")
        )

    check_output(path, (".h5", ".hdf5"), overwrite=overwrite)
    with whole(path) as scratch, h5py.File(scratch, "w") as file:
        chunk = min(64, len(images)), *images.shape[1:]
        file.create_dataset("images", data=images[:, ::-1], chunks=chunk, compression="gzip", compression_opts=4)
        file.attrs.update(truth.meta)
        for name in truth.colnames:
            column = truth[name]
            file[name] = [text.encode() for text in column] if column.dtype.kind == "U" else np.asarray(column)
            file[name].attrs.update(unit=str(column.unit or ""), description=column.description or "")
        if label is not None:
            file["label"] = label


def _moved(image: np.ndarray, theta: float, x: float, y: float, size: int) -> np.ndarray:
    # Where each new pixel, row and column, comes from.
    cos, sin = np.cos(np.radians(theta)), np.sin(np.radians(theta))
    back = np.array([[cos, -sin], [sin, cos]])
    centre = np.full(2, (len(image) - 1) / 2)
    start = centre - back @ ((size - 1) / 2 + np.array([y, x]))
    new = affine_transform(image.astype(float), back, start, output_shape=(size, size), mode="grid-constant")
    return np.rint(new).clip(0, 255).astype(np.uint8)

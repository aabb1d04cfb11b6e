"""Simulated particles: a stack of images as electron microscopes give them, and beside it a table of the truth."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from threadpoolctl import threadpool_limits

from galvae.cores import cores
from galvae.data.ahead import ahead
from galvae.files import check_output, whole
from galvae.progress import Progress
from galvae.version import version


def stream(kind: str, seed: int, number: int) -> np.random.Generator:
    """Random numbers of image `number` of the set `kind` made with `seed`: they depend on no other image."""
    key = int.from_bytes(hashlib.sha256(kind.encode()).digest()[:4], "big")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((key, seed, number))))


def check_stack(path: str | Path, n: int, seed: int, *, overwrite: bool) -> Path:
    """Refuse, before work is done, what :func:`write_stack` could not write; the path it is to be given.

    Raises
    ------
    ValueError
        If the file is to be named otherwise than ``*.mrcs``, `n` is below 1 or `seed` below 0.
    OSError
        If one of the two files exists and `overwrite` is not given, or cannot be written.
    """
    path = Path(path)
    if n < 1 or seed < 0:
        raise ValueError(f"{path}: got n = {n}, seed = {seed}; give at least 1 image and a seed of at least 0")
    check_output(path, (".mrcs",), overwrite=overwrite)
    check_output(path.with_suffix(".ecsv"), (".ecsv",), overwrite=overwrite)
    return path


def simulate_stack(
    path: Path, kind: str, n: int, one: Callable[[np.random.Generator], tuple[Sequence[float], np.ndarray]], *,
    columns: Mapping[str, tuple[str, str]], size: int, pixel_size: float, meta: Mapping[str, Any], seed: int,
    quiet: bool,
) -> Table:  # fmt: skip
    """Write `n` images with white normal noise of standard deviation 1, and beside them the truth.

    Parameters
    ----------
    path
        The stack, as :func:`check_stack` gave it.
    kind, seed
        Which set; image k is the same whatever `n`.
    n
        Number of images.
    one
        From an image's random numbers what is known of it, and the image without noise, shape (size, size).
    columns
        Of what is known: name of each column, unit and description.
    size
        Pixels along a side.
    pixel_size
        Angstrom.
    meta
        What else the images are made with.
    quiet
        Show no progress.

    Returns
    -------
    astropy.table.Table
        The truth, as written.
    """
    images, rows = np.empty((n, size, size), np.float32), np.empty((n, len(columns)))

    def make(number: int) -> None:
        draw = stream(kind, seed, number)
        rows[number], image = one(draw)
        images[number] = image + draw.standard_normal((size, size), np.float32)

    # Images side by side: one is too small for a matrix product in several threads, which would wait for each other.
    with Progress("simulate", n, quiet=quiet) as progress, threadpool_limits(1, "blas"):
        for _ in ahead(make, range(n), count=2 * cores(), threads=cores()):
            progress.advance(1)
    meta = {**meta, "n": n, "size": size, "seed": seed, "pixel_size": pixel_size}
    truth = truth_table(path, columns, rows, meta)
    write_stack(path, images, truth, pixel_size=pixel_size)
    return truth


def truth_table(path: Path, columns: Mapping[str, tuple[str, str]], rows: np.ndarray, meta: Mapping[str, Any]) -> Table:
    """The truth of the images in `path`: their names, and what is known of each.

    Parameters
    ----------
    path
        The stack.
    columns
        Name of each column: unit and description.
    rows
        Values, shape (N, number of columns).
    meta
        What the images were made with.
    """
    table = Table({"id": image_names(path, len(rows))}, meta={**meta, "galvae": version()})
    table["id"].description = "name of the image as in RELION: its number in the stack, from 1, and the stack"
    for (name, (unit, description)), values in zip(columns.items(), rows.T, strict=True):
        table[name] = values
        table[name].unit, table[name].description = unit or None, description
    return table


def image_names(path: Path, count: int) -> list[str]:
    """Names that RELION gives to the images of a stack, ``000001@NAME.mrcs`` first."""
    return [f"{number:06d}@{path.name}" for number in range(1, count + 1)]


def write_stack(path: Path, images: np.ndarray, truth: Table, *, pixel_size: float) -> None:
    """Write ``NAME.mrcs`` and ``NAME.ecsv``, each of which is either absent, or as before, or whole.

    Parameters
    ----------
    path
        The stack.
    images
        Shape (N, ny, nx), float32 (mode 2), row 0 at the bottom, as MRC stores it.
    truth
        A row for each.
    pixel_size
        Angstrom.

    References
    ----------
    Cheng et al. 2015, J. Struct. Biol. 192, 146 (MRC2014): an image stack has space group 0 and one section a volume.
    """
    import mrcfile

    # The table is moved into place first: a stack is never without it.
    with whole(path) as scratch, whole(path.with_suffix(".ecsv")) as table:
        truth.write(table, format="ascii.ecsv")
        with mrcfile.new(scratch, overwrite=True) as mrc:
            mrc.set_data(images.astype(np.float32, copy=False))
            mrc.set_image_stack()
            mrc.voxel_size = pixel_size
            # In place of one with the time of day: the same images are the same file.
            mrc.header.label[0] = f"galvae {version()}: simulated particles"

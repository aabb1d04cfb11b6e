"""Contact sheets of a catalog's galaxies, de-rotated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from astropy.table import Table

from galvae.data.store import ImageStore
from galvae.inference.derotated import derotated
from galvae.plots import save
from galvae.uses.figures import sheet

COLUMNS = 8


def save_sheet(
    path: Path, store: ImageStore, catalog: Table, rows: np.ndarray, titles: Sequence[str], *,
    heading: str, columns: int = COLUMNS,
) -> None:  # fmt: skip
    """Write a PNG of some galaxies of a catalog; see :func:`galvae.inference.derotated.derotated`.

    Parameters
    ----------
    path
        The file.
    store
        What the catalog was made of.
    catalog, rows
        The galaxies; a row of -1 leaves its place empty.
    titles
        What is written below each, its identifier apart.
    heading
        What they are.
    columns
        Galaxies in a row.
    """
    there = rows >= 0
    pictures = derotated(store, catalog, rows[there])
    images = np.ones((len(rows), *pictures.shape[1:]), pictures.dtype)
    images[there] = pictures
    names = np.asarray(catalog["id"])[rows]
    told = [f"{name}\n{title}" if known else "" for name, title, known in zip(names, titles, there, strict=True)]
    save(sheet(images, told, columns=columns, heading=f"{heading}; turned by θ, centred"), path)

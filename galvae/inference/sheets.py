"""Contact sheets of a catalog's galaxies, de-rotated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from astropy.table import Table

from galvae.data.store import ImageStore
from galvae.inference.derotated import derotated, whole
from galvae.plots import save
from galvae.uses.figures import sheet

COLUMNS = 8
# Of a frame outside whole fields: pixels, and how bright.
FRAME, GREY = 2, 0.6


def save_sheet(
    path: Path, store: ImageStore, catalog: Table, rows: np.ndarray, titles: Sequence[str], *,
    heading: str, columns: int = COLUMNS, fields: np.ndarray | None = None,
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
    fields
        Of which of them to show the whole field as it is, framed; boolean, shape (N,); of none if not given. All are
        then drawn as fine as the fields are.
    """
    there = rows >= 0
    shown = there & (False if fields is None else fields)
    pictures = derotated(store, catalog, rows[there], side=store.shape[0] + 2 * FRAME if shown.any() else None)
    images = np.ones((len(rows), *pictures.shape[1:]), pictures.dtype)
    images[there] = pictures
    turned = "turned by θ, centred"
    if shown.any():
        inner = slice(FRAME, -FRAME)
        framed = np.full_like(images[shown], GREY)
        framed[:, inner, inner] = whole(store, catalog, rows[shown])
        images[shown] = framed
        turned += "; framed: whole fields, as they are"
    names = np.asarray(catalog["id"])[rows]
    told = [f"{name}\n{title}" if known else "" for name, title, known in zip(names, titles, there, strict=True)]
    save(sheet(images, told, columns=columns, heading=f"{heading}; {turned}"), path)

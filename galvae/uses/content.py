"""What a catalog says of the content of its galaxies: the latents with their errors, each galaxy once."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table

if TYPE_CHECKING:
    from galvae.data.store import ImageStore

_NORMAL = 1.4826  # standard deviations of a normal distribution in its median absolute deviation


@dataclass(frozen=True)
class Content:
    """Content of N galaxies of a catalog.

    Parameters
    ----------
    rows
        Their rows in the catalog, shape (N,).
    ids
        Their identifiers, shape (N,).
    z, z_err
        Content latents and their errors, float64, shape (N, Z).
    left_out
        Galaxies of the catalog without content: something of z or z_err is NaN, or an error is not positive.
    """

    rows: np.ndarray
    ids: np.ndarray
    z: np.ndarray
    z_err: np.ndarray
    left_out: int

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def width(self) -> np.ndarray:
        """The population's width in each latent, shape (Z,).

        That is the root of the squares of its spread (from the median absolute deviation) and of its typical error
        (the median). Of a latent that tells galaxies apart this is its spread; one that carries nothing, of which
        spread alone would make as much, is measured by its error and hardly counts. Not each galaxy's own errors: by
        those what the model makes nothing of would be near to everything.
        """
        spread = _NORMAL * np.median(np.abs(self.z - np.median(self.z, 0)), 0)
        return np.hypot(spread, np.median(self.z_err, 0))

    @cached_property
    def scaled(self) -> np.ndarray:
        """z with each latent in units of the population's width, shape (N, Z)."""
        return self.z / self.width


def content_of(catalog: Table) -> Content:
    """Content of a catalog's galaxies; of one that has several rows, as after a join, the first counts.

    Parameters
    ----------
    catalog
        From :func:`galvae.read_catalog`; its vectors may be flat (``z_00`` ...).
    """
    _, first = np.unique(np.asarray(catalog["id"]), return_index=True)
    first.sort()
    z, z_err = (vectors(catalog, name)[first] for name in ("z", "z_err"))
    known = (np.isfinite(z) & np.isfinite(z_err) & (z_err > 0)).all(1)
    rows = first[known]
    return Content(rows, np.asarray(catalog["id"])[rows], z[known], z_err[known], int((~known).sum()))


def vectors(catalog: Table, name: str) -> np.ndarray:
    """A column of vectors, which may be flat, float64, shape (rows, D)."""
    if name in catalog.colnames:
        return np.asarray(catalog[name], float)
    flat = [column for column in catalog.colnames if re.fullmatch(rf"{name}_\d+", column)]
    return np.stack([np.asarray(catalog[column], float) for column in sorted(flat, key=_number)], 1)


def _number(column: str) -> int:
    return int(column.rpartition("_")[2])


def rows_of(catalog: Table, ids: Iterable[object]) -> np.ndarray:
    """The first row of each of these galaxies in a catalog, by identifier or its text."""
    names = np.asarray(catalog["id"]).astype(str)
    place = {name: row for row, name in reversed(list(enumerate(names.tolist())))}
    return np.array([place[str(identifier)] for identifier in ids], int)


def numbers(catalog: Table, name: str, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
    """Values of a column without its unit, as they are, of some rows or of all."""
    return np.asarray(getattr(catalog[name], "value", catalog[name]))[rows]


def usual_where_unknown(values: np.ndarray) -> np.ndarray:
    """Values with the median of those that are known where they are NaN; 0 where none is known."""
    known = np.isfinite(values)
    return np.where(known, values, np.median(values[known]) if known.any() else 0)


def check_count(k: int, others: int, whose: str) -> None:
    """Refuse to list more galaxies than there are.

    Raises
    ------
    ValueError
        If there are fewer than `k`.
    """
    if others < 1:
        raise ValueError(f"there are no {whose} with content to list")
    if not 1 <= k <= others:
        raise ValueError(f"-k {k}: there are {others} {whose} with content; choose 1 to {others}")


def check_same_store(store: ImageStore, catalog: Table) -> None:
    """Refuse another store than the one that a catalog was made of, where the catalog says of which.

    Raises
    ------
    ValueError
        If it is another one.
    """
    told = catalog.meta.get("store_digest")
    if told is not None and told != store.digest:
        raise ValueError(
            f"{store.path}: is not the store that the catalog was made of (digest {store.digest[:12]}, the catalog "
            f"says {str(told)[:12]}); give that one, or make the catalog again with galvae catalog"
        )


def listed(catalog: Table, rows: np.ndarray, **scores: tuple[np.ndarray, str]) -> Table:
    """A table of some galaxies in order: rank, identifier, scores, and what the catalog says of place and oddities.

    Parameters
    ----------
    catalog, rows
        Which galaxies, in the order wanted.
    scores
        By name, numbers of these galaxies without unit, and what they are.
    """
    table = Table(meta={key: value for key, value in catalog.meta.items() if key.endswith("_digest")})
    table["rank"] = np.arange(1, len(rows) + 1)
    table["rank"].info.description, table["rank"].info.meta = "place in this list, from 1", {"ucd": "stat.rank"}
    chosen = Table(catalog[["id", "ra", "dec", "flags"]][rows])
    table["id"] = chosen["id"]
    for name, (values, description) in scores.items():
        table[name] = values
        table[name].info.description, table[name].info.meta = description, {"ucd": "stat.value"}
    for name in ("ra", "dec", "flags"):
        table[name] = chosen[name]
    return table

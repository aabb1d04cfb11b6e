"""The galaxies most like a given one: the nearest in z, in units of the errors."""

from __future__ import annotations

import difflib

import numpy as np
from astropy.table import Table

from galvae.uses.content import Content, check_count, content_of, listed

# Of more identifiers, near misses take seconds to find.
SPELLED = 50_000
_DISTANCE = (
    "distance in z from the galaxy asked about, in errors: root of the sum over latents of difference^2 / (the two "
    "z_err^2 summed); two exposures of one galaxy are about sqrt({latents}) = {scale:.1f} apart"
)


def distances(content: Content, number: int) -> np.ndarray:
    """How many errors apart galaxies lie in z from one of them, shape (N,).

    ``d^2(a, b) = sum_k (z_ak - z_bk)^2 / (z_err_ak^2 + z_err_bk^2)``: symmetric, and the same in whatever units a
    latent is measured. A latent that carries nothing, which is near its prior's mean with an error of its prior's
    width whatever the galaxy, adds hardly anything. If errors are right, d^2 of two exposures of the same galaxy
    follows chi^2 with Z degrees of freedom, so d near sqrt(Z), or below, means not told apart. It is no metric, and
    does not punish ignorance: a galaxy with large errors is near to many.

    Parameters
    ----------
    content
        Of N galaxies.
    number
        Which of them.
    """
    square = (content.z - content.z[number]) ** 2 / (content.z_err**2 + content.z_err[number] ** 2)
    return np.sqrt(square.sum(1))


def similar(catalog: Table, identifier: str | int, *, k: int = 10) -> Table:
    """The `k` galaxies of a catalog that are nearest to one of them in z; see :func:`distances`.

    Parameters
    ----------
    catalog
        From :func:`galvae.read_catalog`.
    identifier
        Of the galaxy; text that is typed counts for an int64.
    k
        How many.

    Returns
    -------
    Table
        ``rank, id, distance, ra, dec, flags``, the nearest first, of equally near ones by identifier; the galaxy itself
        is not among them. Its metadata have the ``query`` and the number of ``latents``.

    Raises
    ------
    ValueError
        If there is no such galaxy, or it has no content, or there are fewer than `k` others.
    """
    content = content_of(catalog)
    number = _find(content, catalog, str(identifier))
    check_count(k, len(content) - 1, "other galaxies")
    apart = distances(content, number)
    apart[number] = np.inf  # whatever is as near as the galaxy itself comes after it
    nearest = np.lexsort((content.ids, apart))[:k]
    latents = content.z.shape[1]
    told = _DISTANCE.format(latents=latents, scale=np.sqrt(latents))
    table = listed(catalog, content.rows[nearest], distance=(apart[nearest], told))
    table.meta |= {"query": str(identifier), "latents": latents, "left_out": content.left_out}
    return table


def _find(content: Content, catalog: Table, identifier: str) -> int:
    found = np.flatnonzero(content.ids.astype(str) == identifier)
    if len(found):
        return int(found[0])
    names = np.asarray(catalog["id"]).astype(str)
    if identifier in names:
        raise ValueError(
            f"galaxy {identifier} has no content (NaN in z or z_err): nothing can be near it; ask of another"
        )
    near = difflib.get_close_matches(identifier, names.tolist(), n=1) if len(names) <= SPELLED else []
    hint = f"did you mean {near[0]}?" if near else f"its identifiers are like {names[0]}"
    raise ValueError(f"no galaxy {identifier} in the catalog; {hint}")

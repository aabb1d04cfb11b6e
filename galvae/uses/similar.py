"""The galaxies most like a given one: the nearest in z."""

from __future__ import annotations

import difflib

import numpy as np
from astropy.table import Table

from galvae.uses.content import Content, check_count, content_of, listed

# Of more identifiers, near misses take seconds to find.
SPELLED = 50_000
_DISTANCE = (
    "distance in z from the galaxy asked about, each latent in units of the population's width (its spread and typical "
    "error in quadrature)"
)
_APART = (
    "how many errors apart they are in z, root mean square over latents: two exposures of one galaxy are about 1 apart"
)


def distances(content: Content, number: int) -> np.ndarray:
    """How far galaxies lie in z from one of them, shape (N,): Euclidean, in units of the population's width.

    See :attr:`galvae.uses.content.Content.scaled`. It is the same in whatever units a latent is measured, and a
    latent that carries nothing adds hardly anything.

    Parameters
    ----------
    content
        Of N galaxies.
    number
        Which of them.
    """
    z = content.scaled
    return np.sqrt(np.square(z - z[number]).sum(1))


def apart(content: Content, number: int) -> np.ndarray:
    """How many errors apart galaxies are in z from one of them, root mean square over latents, shape (N,).

    ``d^2(a, b) = mean_k (z_ak - z_bk)^2 / (z_err_ak^2 + z_err_bk^2)``. If errors are right, Z d^2 of two exposures of
    the same galaxy follows chi^2 with Z degrees of freedom, so d near 1, or below, means not told apart. It is no
    distance to look for neighbours by: a galaxy of which the model knows little is near to many.
    """
    square = (content.z - content.z[number]) ** 2 / (content.z_err**2 + content.z_err[number] ** 2)
    return np.sqrt(square.mean(1))


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
        ``rank, id, distance, apart, ra, dec, flags``, the nearest first, of equally near ones by identifier; the
        galaxy itself is not among them. Its metadata have the ``query`` and the number of ``latents``.

    Raises
    ------
    ValueError
        If there is no such galaxy, or it has no content, or there are fewer than `k` others.
    """
    content = content_of(catalog)
    number = _find(content, catalog, str(identifier))
    check_count(k, len(content) - 1, "other galaxies")
    far = distances(content, number)
    far[number] = np.inf  # whatever is as near as the galaxy itself comes after it
    nearest = np.lexsort((content.ids, far))[:k]
    table = listed(
        catalog, content.rows[nearest],
        distance=(far[nearest], _DISTANCE), apart=(apart(content, number)[nearest], _APART),
    )  # fmt: skip
    table.meta |= {"query": str(identifier), "latents": content.z.shape[1], "left_out": content.left_out}
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

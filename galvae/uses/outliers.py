"""The most unusual galaxies of a catalog, by its columns alone."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress

import numpy as np
from astropy.table import Table
from sklearn.covariance import MinCovDet
from sklearn.metrics import pairwise_distances_chunked

from galvae.data.split import identifier_hashes
from galvae.flags import TEXTURE, Flag
from galvae.uses.content import check_count, content_of, listed, numbers, usual_where_unknown, vectors

# Odd galaxies that are all alike do not hide each other while they are fewer than this share of the catalog.
NEIGHBOURS = 0.05
# Neighbours are looked for among so many galaxies at most.
REFERENCE = 2000
FEWEST = 20
# How latents go together is told by the share of galaxies that go together best, of so many for each latent at least.
USUAL, FOR_EACH = 0.95, 5
# In no direction do they vary by less than this, in the latents' widths (with their errors).
NARROWEST = 0.02
# As odd as one that is so many times as common in z: most galaxies that the catalog doubts have a bright neighbour, and
# many are large or small on the sky (docs/uses.md).
COUNTS = {"z": 1, "fit": 1, "texture": 0.5, "place": 4, "large": 2, "small": 2, "image": 0.5}
COUNTED = ", ".join(f"{count} ({name})" for name, count in COUNTS.items())
# Respects of which more is to be seen in the whole field than in the window about the galaxy.
OF_FIELDS = "texture", "image", "place"
# What may have been found odd about an image itself.
OF_IMAGES = Flag.PADDED, Flag.MISSING, Flag.CLIPPED, Flag.GREY, Flag.OTHER_BANDS, Flag.LOST_CHANNEL, Flag.TRAIL
_MEGABYTES = 64


def outliers(catalog: Table, *, k: int = 20) -> Table:
    """The `k` most unusual galaxies of a catalog, the most unusual first.

    A galaxy can be unusual in seven respects, and is as unusual as in the one in which it is most:

    - ``z``: far from others in content (:func:`isolation`);
    - ``fit``: its image is not what z says, for of one channel the reconstruction explains little of the light
      (``explained``): what the model cannot draw, an artifact say, may well have a usual z;
    - ``texture``: the whole field looks like few others (:func:`galvae.texture.texture`, from the catalog): artifacts
      of cameras, pipelines and transfers, beside the galaxy too, of which neither z nor the fit knows;
    - ``place``: it lies far from the cutout's middle, of which z by construction knows nothing. Only galaxies that the
      catalog itself doubts to be the ones meant count (flag ``OFF_CENTRE``): in a survey cut at random places the list
      would otherwise fill with whatever lies outermost;
    - ``large``, ``small``: it is larger, or smaller, than most, in pixels of the original: a cutout of the wrong scale,
      say, of which the model, if its windows are as wide as their galaxies, knows nothing;
    - ``image``: it is flagged for what its image is, and few others so (``PADDED``, ``MISSING``, ``CLIPPED``, ``GREY``,
      ``OTHER_BANDS``, ``LOST_CHANNEL``, ``TRAIL``).

    In each respect a galaxy's *rarity* is the share of galaxies that are at least as unusual. What counts for the order
    is the least of them, of place four times that, of large and of small galaxies twice, and of texture and of flagged
    images half: a neighbour is soon taken for the galaxy, galaxies are of many sizes, and an image that looks like no
    other is seldom a good one. Shares can be compared where the quantities, of which one has heavier tails than the
    other, cannot: what is among the first per cent in z or in fit is among the first five and a quarter of the list
    (and those flagged), whatever the others have in store. Of a sum or a product
    this is not true: what is moderately unusual in both comes before what is extremely so in one.

    Parameters
    ----------
    catalog
        From :func:`galvae.read_catalog`.
    k
        How many.

    Returns
    -------
    Table
        ``rank, id, rarity, why, detail, isolation, explained, texture, displacement, size, ra, dec, flags``; ``why`` is
        one of these respects; ``detail``, else empty, is the number of texture in which the field is rarest, or the
        rarest flag of the image.

    Raises
    ------
    ValueError
        If there are fewer than `k` galaxies, or so few that none can be unusual among them.
    """
    content = content_of(catalog)
    if len(content) < FEWEST:
        raise ValueError(
            f"{len(content)} galaxies with content, too few to call any of them unusual; expected at least {FEWEST}"
        )
    check_count(k, len(content), "galaxies")
    apart = isolation(content.scaled, content.ids)
    dx, dy, scale, explained, flags, major, ratio = (
        numbers(catalog, name, content.rows)
        for name in ("dx", "dy", "scale", "explained", "flags", "semimajor_sigma", "axis_ratio")
    )
    away = np.hypot(dx, dy) / scale
    doubted = np.where(flags & Flag.OFF_CENTRE, np.nan_to_num(away), 0)
    flagged, flag = _rarest([each.name.lower() for each in OF_IMAGES], [(flags & each) > 0 for each in OF_IMAGES])
    fields = _texture(catalog, content.rows)
    _, number = _rarest(TEXTURE, np.abs(fields - np.median(fields, 0)).T)
    size = major * np.sqrt(ratio)
    known = usual_where_unknown(size)
    respects = {
        "z": apart,
        "fit": -np.nan_to_num(explained, nan=-np.inf),
        "texture": isolation(fields, content.ids),
        "place": doubted,
        "large": known,
        "small": -known,
        "image": -flagged,
    }
    rarities = np.stack([rarity(values) for values in respects.values()])
    # What is at least as unusual in all others is no reason.
    counts = np.where(rarities < 1, rarities * np.array([COUNTS[name] for name in respects])[:, None], np.inf)
    order = np.lexsort((content.ids, *np.sort(counts, 0)[::-1]))[:k]
    why = counts.argmin(0)[order]
    whys = np.array(list(respects))[why]
    table = listed(
        catalog, content.rows[order],
        rarity=(rarities[why, order],
                "share of galaxies that are at least as unusual in that respect; the list's order is of it times "
                + COUNTED),
        why=(whys,
             "z (far from others), fit (badly explained), texture (the field looks like few others), place (off the "
             "middle, doubted), large, small (than most), "
             "image (flagged for what it is)"),
        detail=(np.select([whys == "texture", whys == "image"], [number[order], flag[order]], ""),
                "of texture the number in which it is rarest, of image the rarest flag"),
        isolation=(apart[order], f"Mahalanobis' distance in z within which {NEIGHBOURS:.0%} of the others lie"),
        explained=(explained[order], "R^2 of the reconstruction in the channel where least, from the catalog"),
        texture=(respects["texture"][order], "Mahalanobis' distance in texture, likewise"),
        displacement=(away[order], "galaxy's centre from the cutout's middle, in half-widths of the model's window"),
        size=(size[order], "root of major times minor axis' standard deviation of the light, pixels of the original"),
    )  # fmt: skip
    table.meta |= {"galaxies": len(content), "left_out": content.left_out}
    return table


def isolation(values: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """How far from each galaxy one has to go to have met one in twenty of the others, shape (N,).

    Distances are Mahalanobis': Euclidean where numbers are uncorrelated and of one width, so that what is usual in
    each, but not in them together, is far, too. How they go together is told by the minimum covariance determinant of
    nineteen in twenty (Rousseeuw & Van Driessen 1999, Technometrics 41, 212); in catalogs of fewer than five galaxies
    for each number, where that cannot be told, they are Euclidean as given.

    Medians, and one in twenty, do not mind a few per cent of galaxies that are odd, however far, nor, as the nearest
    neighbour would, that they are odd all in the same way. Beyond 2,000 galaxies neighbours are looked for among
    2,000, chosen by their identifiers.

    Parameters
    ----------
    values
        Of each galaxy, each number in units of its width, shape (N, D): z so by
        :attr:`galvae.uses.content.Content.scaled`. Not in units of their own errors: bright galaxies would all be
        unusual.
    ids
        Identifiers, shape (N,).
    """
    chosen = np.argsort(identifier_hashes(ids), kind="stable")[:REFERENCE]  # whatever the order of the rows
    values = uncorrelated(values, chosen)
    place = np.full(len(values), -1)
    place[chosen] = np.arange(len(chosen))
    near = max(1, round(NEIGHBOURS * (len(chosen) - 1)))

    def reached(distances: np.ndarray, start: int) -> np.ndarray:
        own = place[start : start + len(distances)]
        distances[np.flatnonzero(own >= 0), own[own >= 0]] = np.inf  # nobody is their own neighbour
        distances.partition(near - 1, 1)
        return distances[:, near - 1].copy()  # a view would keep them all

    return np.concatenate(
        list(pairwise_distances_chunked(values, values[chosen], reduce_func=reached, working_memory=_MEGABYTES))
    )


def uncorrelated(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Values (N, D) of which, for what is usual among some galaxies (M,), columns are uncorrelated and of one width.

    Also those that carry nothing, and hardly vary: of what the model has never seen they may say something.
    """
    if len(chosen) < FOR_EACH * values.shape[1]:
        return values
    covariance = np.zeros((values.shape[1],) * 2)
    with warnings.catch_warnings(), suppress(ValueError):  # what is usual does not vary at all
        warnings.simplefilter("ignore")  # of columns that do not vary, or do as others
        covariance = MinCovDet(support_fraction=USUAL, random_state=0).fit(values[chosen]).covariance_
    return values @ np.linalg.cholesky(np.linalg.inv(covariance + NARROWEST**2 * np.eye(values.shape[1])))


def _texture(catalog: Table, rows: np.ndarray) -> np.ndarray:
    """How fields look, each number in units of its standard deviation; usual where it is not known."""
    told = np.stack([usual_where_unknown(column) for column in vectors(catalog, "texture")[rows].T], 1)
    spread = told.std(0)
    return told / np.where(spread > 0, spread, 1)


def _rarest(names: Sequence[str], values: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """How rare each galaxy is in what it is rarest in, and the name of that, shape (N,), of values (D, N)."""
    rarities = np.stack([rarity(each) for each in values])
    return rarities.min(0), np.array(names)[rarities.argmin(0)]


def rarity(values: np.ndarray) -> np.ndarray:
    """Share of the values that are at least as large as each, from 1 / N to 1, shape (N,)."""
    return 1 - np.searchsorted(np.sort(values), values, "left") / len(values)

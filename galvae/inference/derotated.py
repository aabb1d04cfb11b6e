"""Pictures of galaxies with their pose taken off: turned upright by theta, centred on the galaxy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from astropy.table import Table

from galvae.data.store import ImageStore
from galvae.geometry import Pose, pixel_grid, to_image
from galvae.inference.model import Posterior
from galvae.sampling import displayed
from galvae.uses.content import check_same_store, numbers
from galvae.windows import View


def canonical_images(fields: np.ndarray, posterior: Posterior, *, window: int, oversample: int = 1) -> np.ndarray:
    """Images carried into the canonical frame: the pose inferred is taken off by resampling them.

    Parameters
    ----------
    fields
        uint8, or floats; shape (N, F, F, C), row 0 at the bottom.
    posterior
        What was inferred of them.
    window, oversample
        Pixels along a side of the window, field pixels per window pixel.

    Returns
    -------
    ndarray
        Display values in [0, 1], or floats as they are; shape (N, window, window, C), row 0 at the bottom; what the
        field does not hold is its border's.
    """
    pose = Pose(torch.from_numpy(-np.radians(posterior.theta)).float(), torch.from_numpy(posterior.shift).float())
    return resample(fields, to_image(pixel_grid(window), pose), window, oversample, seen=posterior)


def derotated(store: ImageStore, catalog: Table, rows: np.ndarray, *, side: int | None = None) -> np.ndarray:
    """Pictures of some galaxies of a catalog, each turned by its theta about its centre, and as wide as the window.

    Their +x is the canonical one and the galaxy's centre is in the middle; without a centre, which could not be
    measured, the cutout's is.

    Parameters
    ----------
    store
        What the catalog was made of.
    catalog, rows
        The galaxies.
    side
        Pixels along a side of a picture; if not given, as many as the window has of the field's.

    Returns
    -------
    ndarray
        Display values in [0, 1], shape (N, side, side, C), row 0 at the bottom. What the field does not hold is its
        border's.

    Raises
    ------
    ValueError
        If a galaxy is not in the store, or the catalog was made of another.
    """
    where = _rows_in(store, catalog, rows)
    theta, dx, dy, scale = (numbers(catalog, name, rows).astype(float) for name in ("theta", "dx", "dy", "scale"))
    affine, size = store.column("affine")[where], store.column("size")[where]
    linear, half = affine[:, :, :2], (store.shape[0] - 1) / 2
    centre = (size[:, ::-1] - 1) / 2 + np.nan_to_num(np.stack([dx, dy], 1)) - affine[:, :, 2]
    centre = np.linalg.solve(linear, centre[..., None])[..., 0] / half - 1
    wide = scale / np.sqrt(np.abs(np.linalg.det(linear)))  # half the window, in pixels of the field
    n = side or round(2 * float(np.median(wide))) + 1
    turn = Pose(torch.from_numpy(-np.radians(theta)).float(), torch.zeros(len(where), 2))
    place, stretch = (torch.from_numpy(value).float() for value in (centre[:, None], wide[:, None, None] / half))
    images = resample(store.images(where), to_image(pixel_grid(n), turn) * stretch + place, store.shape[0])
    return images if store.dtype == np.uint8 else displayed(images)


def whole(store: ImageStore, catalog: Table, rows: np.ndarray) -> np.ndarray:
    """The fields of some galaxies of a catalog as they are, neither turned nor centred.

    Display values in [0, 1], shape (N, F, F, C), row 0 at the bottom; errors as of :func:`derotated`.
    """
    fields = store.images(_rows_in(store, catalog, rows))
    if store.dtype == np.uint8:
        return fields / np.float32(255)
    return np.concatenate([displayed(field[None]) for field in fields])  # one may be much brighter than the next


def _rows_in(store: ImageStore, catalog: Table, rows: np.ndarray) -> np.ndarray:
    """Where the store that a catalog was made of has its galaxies."""
    check_same_store(store, catalog)
    return store.rows_of(np.asarray(catalog["id"])[rows].tolist())


def resample(
    fields: np.ndarray, points: torch.Tensor, window: int, oversample: int = 1, *, seen: Posterior | None = None
) -> np.ndarray:
    """Square images of the values at points (N, P, 2) or (P, 2), grid units of the central window of each field.

    Or of those that a model looked at, where what it inferred from them is given.
    """
    view = View.central(torch.from_numpy(fields), window, oversample)
    if seen is not None:
        place, width = (torch.from_numpy(value).float() for value in (seen.place * oversample, seen.width))
        view = replace(view, offset=place, width=width)
    values = view.sample(points.expand(len(fields), -1, -1))
    side = round(values.shape[1] ** 0.5)
    return values.reshape(len(fields), side, side, -1).numpy()

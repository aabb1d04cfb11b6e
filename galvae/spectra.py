"""Power spectra of images and of rings about galaxies."""

from __future__ import annotations

import numpy as np

# Cycles along an image about whose octaves its power is averaged.
CYCLES = (4, 8, 16)
# Azimuthal orders whose power is added up, from and to.
ORDERS = {"0": (0, 0), "1": (1, 1), "2": (2, 2), "3-4": (3, 4), "5-8": (5, 8)}


def radial_power(images: np.ndarray) -> np.ndarray:
    """Mean power of images in the octaves about :data:`CYCLES`, each tapered by a Hann window.

    Parameters
    ----------
    images
        Shape (N, n, n, C).

    Returns
    -------
    ndarray
        Shape (N, C, len(CYCLES)); 0 of what images of so few pixels do not show.
    """
    n = images.shape[1]
    taper = np.hanning(n + 2)[1:-1]
    waves = np.fft.rfft2((images - images.mean((1, 2), keepdims=True)) * np.outer(taper, taper)[..., None], axes=(1, 2))
    radius = np.hypot(np.fft.fftfreq(n, 1 / n)[:, None], np.fft.rfftfreq(n, 1 / n))
    power = np.abs(waves) ** 2
    bands = [(radius > k / np.sqrt(2)) & (radius <= k * np.sqrt(2)) for k in CYCLES]
    return np.stack([power[:, band].sum(1) / max(1, band.sum()) for band in bands], 2)


def azimuthal_power(rings: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Power of what lies on rings by azimuthal order, each ring counted by its radius: the mean square over the disc.

    Parameters
    ----------
    rings
        Values at equally spaced angles, shape (N, R, A), A above 16.
    radii
        Of the rings, equally spaced, shape (R,).

    Returns
    -------
    ndarray
        Of :data:`ORDERS`, shape (N, len(ORDERS)).
    """
    waves = np.abs(np.fft.rfft(rings, axis=2) / rings.shape[2]) ** 2
    waves[..., 1:] *= 2  # those of negative order are alike
    mean = np.einsum("nrm,r->nm", waves, radii / radii.sum())
    return np.stack([mean[:, first : last + 1].sum(1) for first, last in ORDERS.values()], 1)

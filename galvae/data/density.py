"""Points in a plane to an image of Gaussians."""

from __future__ import annotations

import numpy as np


def gaussians(points: np.ndarray, *, size: int, sigma: float, weights: np.ndarray | None = None) -> np.ndarray:
    """Sum of circular Gaussians, sampled at the pixels' centres, float32, shape (size, size), row 0 at the bottom.

    Each is a product of one in x and one in y, so that the sum over points is a matrix product.

    Parameters
    ----------
    points
        Pixels right and up of the image's centre, shape (A, 2).
    size
        Pixels along a side; the centre is that of a pixel for odd ones, and a corner of four for even ones.
    sigma
        Standard deviation, pixels. Below about 0.7 the pixels would alias it.
    weights
        Integral of each, shape (A,); 1 if None.
    """
    centres = np.arange(size) - (size - 1) / 2
    exponent = (points.T[:, :, None] - centres).astype(np.float32)
    exponent *= exponent
    exponent *= np.float32(-0.5 / sigma**2)
    # Beyond 7.7 sigma all is 1e-13 as well: smaller numbers than float32's normal ones make a processor slow.
    x, y = np.exp(np.maximum(exponent, np.float32(-30)))
    if weights is not None:
        x *= weights.astype(np.float32)[:, None]
    return (y.T @ x) * np.float32(0.5 / np.pi / sigma**2)


def turned(points: np.ndarray, angle: float) -> np.ndarray:
    """Points (A, 2) turned about the origin by `angle` degrees, counter-clockwise as displayed."""
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return points @ np.array([[cos, sin], [-sin, cos]])

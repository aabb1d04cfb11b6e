"""Covariances of a point in the plane, through linear maps."""

from __future__ import annotations

import numpy as np


def carried(covariance: np.ndarray, linear: np.ndarray) -> np.ndarray:
    """Covariance of ``linear @ v`` where that of v is `covariance`; shapes (..., 2, 2)."""
    return linear @ covariance @ np.swapaxes(linear, -1, -2)


def widths(covariance: np.ndarray) -> np.ndarray:
    """Roots of the diagonal, shape (..., 2, 2) -> (..., 2); full correlation may leave a tiny negative square."""
    return np.sqrt(np.maximum(np.diagonal(covariance, axis1=-2, axis2=-1), 0))

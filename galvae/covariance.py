"""Covariances of a point in the plane: from draws, and through linear maps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def robust_covariance(x: np.ndarray, y: np.ndarray, width: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Covariance of draws of (x, y) by any measure of width, shape (S, B) -> (B, 2, 2); NaN where a width is.

    The correlation is that of the widths of sum and difference in units of each: it cannot exceed one.

    References
    ----------
    Gnanadesikan & Kettenring 1972, Biometrics 28, 81.
    """
    sx, sy = width(x), width(y)
    larger = _or_one(np.maximum(sx, sy))
    plus, minus = (width(x * (sy / larger) + sign * y * (sx / larger)) for sign in (1, -1))
    largest = _or_one(np.maximum(plus, minus))
    plus, minus = (plus / largest) ** 2, (minus / largest) ** 2
    product = sx * sy * (plus - minus) / _or_one(plus + minus)
    return np.stack([np.stack([sx**2, product], -1), np.stack([product, sy**2], -1)], -2)


def _or_one(divisor: np.ndarray) -> np.ndarray:
    return np.where(divisor > 0, divisor, 1.0)


def carried(covariance: np.ndarray, linear: np.ndarray) -> np.ndarray:
    """Covariance of ``linear @ v`` where that of v is `covariance`; shapes (..., 2, 2)."""
    return linear @ covariance @ np.swapaxes(linear, -1, -2)


def widths(covariance: np.ndarray) -> np.ndarray:
    """Roots of the diagonal, shape (..., 2, 2) -> (..., 2); full correlation may leave a tiny negative square."""
    return np.sqrt(np.maximum(np.diagonal(covariance, axis1=-2, axis2=-1), 0))

"""Angles into one turn."""

from __future__ import annotations

import numpy as np


def wrap(angle: np.ndarray | float, period: float) -> np.ndarray:
    """An angle into [0, period): a tiny negative one must not round up to the period itself."""
    wrapped = np.mod(angle, period)
    return np.where(wrapped == period, 0.0, wrapped)


def difference(a: np.ndarray | float, b: np.ndarray | float, period: float) -> np.ndarray:
    """What leads from angle `b` to `a`, in [-period / 2, period / 2)."""
    return wrap(np.asarray(a) - b + period / 2, period) - period / 2

"""Angles into one turn."""

from __future__ import annotations

import numpy as np


def wrap(angle: np.ndarray | float, period: float) -> np.ndarray:
    """An angle into [0, period): a tiny negative one must not round up to the period itself."""
    wrapped = np.mod(angle, period)
    return np.where(wrapped == period, 0.0, wrapped)

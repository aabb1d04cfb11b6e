"""Whether objects are brighter than what is around them, as centre and axis are looked for."""

from __future__ import annotations

import numpy as np

from galvae.data.store import ImageStore

_IMAGES = 1000
# By so many standard errors of the mean contrast: that of noise alone is beyond it once in some millions of stores.
_CLEAR = 5.0


def darker_inside(store: ImageStore) -> bool:
    """Whether the middles of a store's fields are clearly darker than their borders, in the mean of some of them."""
    side = store.shape[0]
    away = np.hypot(*np.mgrid[:side, :side] - (side - 1) / 2)
    inside, outside = away < side / 6, away > side * 0.45
    rows = np.linspace(0, len(store) - 1, min(_IMAGES, len(store))).astype(int)
    found = []
    for part in np.array_split(rows, -(-len(rows) // 256)):
        grey = store.images(part).mean(axis=3, dtype=float)
        found.append(grey[:, inside].mean(axis=1) - grey[:, outside].mean(axis=1))
    contrast = np.concatenate(found)
    return len(contrast) > 10 and contrast.mean() < -_CLEAR * contrast.std() / np.sqrt(len(contrast))

"""Which galaxies are held out of training: a property of the galaxy's identifier, not of its place in a store."""

from __future__ import annotations

import hashlib

import numpy as np


def held_out(ids: np.ndarray, fraction: float, *, seed: int) -> np.ndarray:
    """Whether each galaxy is held out, shape (N,): a hash of its identifier falls below `fraction`."""
    digests = (hashlib.sha256(f"{seed}:{identifier}".encode()).digest()[:8] for identifier in ids)
    return np.array([int.from_bytes(digest, "big") < fraction * 2**64 for digest in digests], bool)

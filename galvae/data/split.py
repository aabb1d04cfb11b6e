"""Which galaxies are held out of training: a property of the galaxy's identifier, not of its place in a store."""

from __future__ import annotations

import hashlib

import numpy as np


def held_out(ids: np.ndarray, fraction: float, *, seed: int) -> np.ndarray:
    """Whether each galaxy is held out, shape (N,): a hash of its identifier falls below `fraction`."""
    return identifier_hashes(ids, seed=seed) < np.uint64(min(fraction * 2**64, 2**64 - 1))


def identifier_hashes(ids: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """64 bits of SHA-256 of the seed and each identifier, uint64, shape (N,): how a run remembers what it saw."""
    digests = (hashlib.sha256(f"{seed}:{identifier}".encode()).digest()[:8] for identifier in ids)
    return np.array([int.from_bytes(digest, "big") for digest in digests], np.uint64)

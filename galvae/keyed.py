"""Random numbers keyed by (seed, step, galaxy): the same whatever the batch, the process or the resumption.

A counter-based generator: each number is a hash of its key, by the finalizer of SplitMix64 (Steele, Lea & Flood 2014),
in wrapping 64-bit integer arithmetic that is the same on every device.
"""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache

import torch
from torch import Tensor

# Of how many places of a store a pool of galaxies is made.
RUNS = 64

_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_GOLDENS_INVERSE = pow(_GOLDEN, -1, 2**64) - 2**64
_FIRST = 0xBF58476D1CE4E5B9 - 2**64
_SECOND = 0x94D049BB133111EB - 2**64


def _mix(x: Tensor) -> Tensor:
    # Signed shifts drag the sign along; the masks make them logical.
    x = (x ^ ((x >> 30) & (2**34 - 1))) * _FIRST
    x = (x ^ ((x >> 27) & (2**37 - 1))) * _SECOND
    return x ^ ((x >> 31) & (2**33 - 1))


def stream(name: str) -> int:
    """The part of a key that says what numbers are for."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)


def uniform(name: str, galaxy: Tensor, count: int, *, seed: int, step: int | Tensor) -> Tensor:
    """Uniform numbers in the open interval (0, 1), shape (B, count), float32.

    Parameters
    ----------
    name
        What they are for: different names give independent numbers.
    galaxy
        What tells galaxies apart, int64, shape (B,): the index in a store, or a hash of the identifier.
    count
        Numbers per galaxy.
    seed, step
        The other two parts of the key; the step may be a tensor, int64 of shape ().
    """
    key = torch.zeros((), dtype=torch.int64, device=galaxy.device)
    for part in (stream(name), seed, step):
        key = _mix((key ^ part) + _GOLDEN)
    key = _mix((key ^ galaxy) + _GOLDEN)[:, None]
    counter = torch.arange(1, count + 1, device=galaxy.device)
    # 23 bits and a half are what float32 holds: one more would round up to 1.
    # key + counter * _GOLDEN: written so, torch.compile would work out the product of constants without wrapping it.
    bits = (_mix((key * _GOLDENS_INVERSE + counter) * _GOLDEN) >> 41) & (2**23 - 1)
    return (bits.float() + 0.5) / 2**23


def normal(name: str, galaxy: Tensor, count: int, *, seed: int, step: int | Tensor) -> Tensor:
    """Standard normal numbers by Box-Muller, shape (B, count), float32; see :func:`uniform`."""
    radius, angle = uniform(name, galaxy, 2 * count, seed=seed, step=step).chunk(2, dim=1)
    return torch.sqrt(-2 * torch.log(radius)) * torch.cos(2 * math.pi * angle)


def permutation(count: int, *, seed: int, epoch: int, name: str = "epoch") -> Tensor:
    """The order of an epoch, int64, shape (count,)."""
    key = hashlib.sha256(f"{name} {seed} {epoch}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(key[:8], "big", signed=True))
    return torch.randperm(count, generator=generator)


def shuffled(count: int, *, pool: int, seed: int, epoch: int) -> Tensor:
    """The order of an epoch for data of which only `pool` galaxies are in memory at a time, int64, shape (count,).

    Neighbours are dealt out together, in runs of ``pool // RUNS``: the runs are shuffled, laid end to end and cut into
    pools, and each pool's galaxies come in the order that they have among all in :func:`permutation`. With one pool it
    *is* that permutation.

    Guaranteed: every galaxy comes once; any run is as likely in any pool; within a pool every order is equally likely.
    Not guaranteed: that any two galaxies may be as far apart as any other two. Those of a run come within one pool of
    each other (two, where the pools' bounds cut the run), so two neighbours share a batch about ``count / pool`` times
    as often as two others do. A batch smaller than a pool mixes up to ``RUNS`` places of the data.
    """
    order = permutation(count, seed=seed, epoch=epoch)
    if pool >= count:
        return order
    run = max(1, pool // RUNS)
    place = permutation(-(-count // run), seed=seed, epoch=epoch, name="runs")
    dealt = place[torch.arange(count) // run].argsort(stable=True)
    which_pool = torch.empty_like(dealt)
    which_pool[dealt] = torch.arange(count) // pool
    return order[which_pool[order].argsort(stable=True)]


@lru_cache(maxsize=4)
def sheet_of_noise(size: int, channels: int, *, seed: int) -> Tensor:
    """White noise (channels, 3 size, 3 size), of which images of `size` pixels get a piece each: see :func:`cut`."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(channels, 3 * size, 3 * size, generator=generator)


def cut(sheet: Tensor, place: Tensor, size: int) -> Tensor:
    """Pieces (B, C, size, size) of a sheet at places in [0, 1), shape (B, 2)."""
    y, x = (place.double() * (sheet.shape[-1] - size + 1)).long().unbind(1)
    return sheet.unfold(1, size, 1).unfold(2, size, 1)[:, y, x].transpose(0, 1)

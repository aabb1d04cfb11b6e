"""A generator's hidden layers made wider inside: a GPU multiplies matrices faster whose sides are multiples of 64."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from galvae.model.generator import SpatialGenerator
from galvae.model.precision import fastest

MULTIPLE = 64


def widened(generator: SpatialGenerator, units: int) -> dict[str, Tensor]:
    """A generator's parameters with hidden layers of `units`; called with them it gives the same, but for rounding.

    The units that are added have no weights: they are ``tanh(0) = 0`` everywhere, and nothing comes of them. What is
    trained and saved stays as narrow as it was, for gradients pass through to it.

    An inference network's layers are not widened: in a step they see a batch of images where the generator sees as
    many times its pixels, so that their time is that of reading their weights, which would become more.

    Parameters
    ----------
    generator
        Whose parameters.
    units
        At least as many as it has.
    """
    more = units - generator.output.in_features
    found = {}
    for name, value in generator.named_parameters():
        layer, _, kind = name.rpartition(".")
        rows = 0 if layer == "output" else more
        columns = more if kind == "weight" and layer not in ("coordinates", "content") else 0
        found[name] = functional.pad(value, (0, columns, 0, rows) if kind == "weight" else (0, rows))
    return found


def wider(units: int, *, device: torch.device, precision: torch.dtype | None, pixels: int = 65536) -> int | None:
    """The next multiple of 64 where the device multiplies such matrices faster, which a GPU is asked; None if not."""
    padded = -(-units // MULTIPLE) * MULTIPLE
    if device.type != "cuda" or padded == units:
        return None
    dtype = precision or torch.float32

    def taken(width: int) -> float:
        hidden = torch.ones(pixels, width, device=device, dtype=dtype)
        weight = torch.ones(width, width, device=device, dtype=dtype)
        return fastest(lambda: torch.mm(torch.mm(hidden, weight).mT, hidden), device)  # forward and backward

    return padded if taken(padded) < taken(units) else None

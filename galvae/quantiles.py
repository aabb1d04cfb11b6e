"""Quantiles of tensors: on processors by NumPy, which takes a small part of the time that torch does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def quantiles(values: Tensor, shares: Sequence[float]) -> list[Tensor]:
    """What such shares of values (..., N) lie below, linearly between neighbours, each of shape (...)."""
    every = torch.from_numpy(np.sort(values.numpy())) if _is_plain(values) else values.sort().values
    last, found = values.shape[-1] - 1, []
    for share in shares:
        below, between = divmod(share * last, 1)
        found.append(torch.lerp(every[..., int(below)], every[..., min(int(below) + 1, last)], between))
    return found


def lower_median(values: Tensor) -> Tensor:
    """The median of finite values (..., N), of an even number the lower of the two, as torch's, shape (..., 1)."""
    if not _is_plain(values):
        return values.median(-1, keepdim=True).values
    middle = (values.shape[-1] - 1) // 2
    # Filled, not made from the array: recorded training steps take nothing from the host.
    found = values.new_empty(*values.shape[:-1], 1)
    found.numpy()[:] = np.partition(values.numpy(), middle)[..., middle : middle + 1]
    return found


def _is_plain(values: Tensor) -> bool:
    """Numbers in a processor's memory and nothing else: none that a derivative or a compiler is to follow."""
    known = values.dtype in (torch.float32, torch.float64) and values.device.type == "cpu"
    return known and not values.requires_grad and not torch.compiler.is_compiling()

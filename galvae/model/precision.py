"""Networks whose inner layers may compute in bfloat16, where the processor multiplies such numbers natively."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache, partial

import torch
from torch import nn


class Mixed(nn.Module):
    """A module that may compute its inner layers in ``precision``; parameters, inputs and outputs keep theirs."""

    precision: torch.dtype | None = None

    def mixed(self, device: torch.device) -> torch.autocast:
        """Around what may be computed so."""
        return torch.autocast(device.type, self.precision, enabled=self.precision is not None)

    def mixed_on_a_gpu(self, device: torch.device) -> AbstractContextManager[None]:
        """Around what may be computed so on a GPU alone, because on a processor it does not pay or was not measured."""
        return self.mixed(device) if device.type == "cuda" else nullcontext()


def native_precision(device: torch.device) -> torch.dtype | None:
    """bfloat16 where the device has instructions for it and is the faster with them, else None.

    Emulated it would be slower and no better. A CPU is asked for a matrix product of each kind, once in a process.
    """
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
        native = device.type == "cpu" and has is not None and has() and _is_faster()
    return torch.bfloat16 if native else None


@lru_cache(maxsize=1)
def _is_faster(size: int = 512) -> bool:
    taken = []
    for dtype in (torch.bfloat16, torch.float32):
        matrix = torch.ones(size, size, dtype=dtype)
        taken.append(fastest(partial(torch.mm, matrix, matrix), torch.device("cpu")))
    return taken[0] < taken[1]


def fastest(work: Callable[[], object], device: torch.device, *, runs: int = 8) -> float:
    """Seconds of the fastest of several runs of `work` on a device."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    taken = []
    for _ in range(runs):
        wait()
        start = time.perf_counter()
        work()
        wait()
        taken.append(time.perf_counter() - start)
    return min(taken)

"""A store as training sees it: fields on the device where they fit, read galaxy by galaxy where they do not."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from galvae.data.store import ImageStore


class Fields:
    """uint8 fields of some galaxies of a store.

    Parameters
    ----------
    store
        Where they are.
    rows
        Which ones, indices into the store.
    device
        Where batches are wanted.
    """

    def __init__(self, store: ImageStore, rows: np.ndarray, *, device: torch.device) -> None:
        self.store, self.rows, self.device = store, rows, device
        self.index = torch.from_numpy(rows).to(device)
        self._held: Tensor | None = None
        if len(rows) * int(np.prod(store.shape)) <= _room(device):
            self._held = torch.empty((len(rows), *store.shape), dtype=torch.uint8, device=device)
            for start in range(0, len(rows), 512):
                part = store.images(rows[start : start + 512])
                self._held[start : start + 512] = torch.from_numpy(part).to(device)

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, which: Tensor) -> Tensor:
        """Fields of shape (B, F, F, C) on the device, for positions `which` (B,) among our galaxies."""
        if self._held is not None:
            return self._held[which]
        return torch.from_numpy(self.store.images(self.rows[which.cpu().numpy()])).to(self.device)


def _room(device: torch.device) -> int:
    """Half of the memory that is free, in bytes."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] // 2
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) * 1024 // 2
    except (OSError, StopIteration):  # not Linux: take half of all as free
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4

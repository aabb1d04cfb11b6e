"""What is measured, not learned, of a store's galaxies."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from galvae.data.store import ImageStore
from galvae.structure import structure
from galvae.windows import View


def structure_of(store: ImageStore, rows: np.ndarray, *, device: torch.device | str = "cpu") -> Tensor:
    """The structure of some galaxies of a store (:func:`galvae.structure.structure`), shape (N, 16), on the device."""
    parts = (torch.from_numpy(store.images(part)) for part in np.array_split(rows, -(-len(rows) // 64)))
    return torch.cat([structure(View.central(fields.to(device), fields.shape[1])) for fields in parts])

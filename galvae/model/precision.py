"""Networks whose inner layers may compute in bfloat16, where the processor multiplies such numbers natively."""

from __future__ import annotations

import torch
from torch import nn


class Mixed(nn.Module):
    """A module that may compute its inner layers in ``precision``; parameters, inputs and outputs keep theirs."""

    precision: torch.dtype | None = None

    def mixed(self, device: torch.device) -> torch.autocast:
        """Around what may be computed so."""
        return torch.autocast(device.type, self.precision, enabled=self.precision is not None)


def native_precision(device: torch.device) -> torch.dtype | None:
    """bfloat16 where the device has instructions for it, else None: emulated it would be slower and no better."""
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
        native = device.type == "cpu" and has is not None and has()
    return torch.bfloat16 if native else None

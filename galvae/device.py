"""Where to compute, and how much at once."""

from __future__ import annotations

import os

import torch

from galvae.cores import cores


def choose_device(name: str = "auto") -> torch.device:
    """The device called `name`; ``auto`` is CUDA where there is one, else the CPU.

    On a CPU torch takes no more cores than this process may use, unless OMP_NUM_THREADS says how many.

    Raises
    ------
    ValueError
        If there is no such device here.
    """
    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        if reason.startswith("Expected one of"):  # every kind that torch has ever heard of
            reason = "torch knows no kind of device called so"
        raise ValueError(f"--device {name}: not to be had here ({reason}); use auto or cpu") from None
    if device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(torch.get_num_threads(), cores()))  # torch knows nothing of control groups
    return device


def activations(device: torch.device) -> int:
    """Of one of a network's layers, how many to compute at once: as many as its memory holds that is fast enough.

    That is a processor's caches, or a sixth of what is free on a GPU, where a step keeps some ten such tensors of two
    bytes each, and its recording as many once more while it is compared; beyond 2^29 nothing is gained.
    """
    if device.type != "cuda":
        return 2**22
    free, _ = torch.cuda.mem_get_info(device)
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return min(free // 128, 2**29)

"""What follows the gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from galvae.training.settings import TrainSettings

# Coordinates go in and answers come out here: their scales mean something.
_ENDS = ("generator.coordinates", "generator.output", "encoder.output")


def optimizers(vae: nn.Module, settings: TrainSettings) -> list[torch.optim.Optimizer]:
    """Optimizers that fit all parameters of a model between them; their step takes the place of one's.

    With ``muon`` the weights of all layers but those, a convolution's as a matrix of one row an output, take steps of
    which every singular value counts alike (Jordan et al. 2024), as large as Adam's would be (Liu et al. 2025,
    arXiv:2502.16982, section 2.2); the rest takes Adam's (Kingma & Ba 2015).

    Parameters
    ----------
    vae
        On the device where it is trained.
    settings
        The optimizer's name and the learning rate.
    """
    inner = [
        parameter
        for name, parameter in vae.named_parameters()
        if settings.optimizer == "muon" and parameter.ndim > 1 and not name.startswith(_ENDS)
    ]
    apart = set(map(id, inner))
    rest = [parameter for parameter in vae.parameters() if id(parameter) not in apart]
    adam = torch.optim.Adam(rest, settings.learning_rate, fused=True)
    return [_muon(inner, settings.learning_rate), adam] if inner else [adam]


def _muon(parameters: list[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
    """torch's, which knows matrices only: it is given each parameter's own memory as one."""
    matrices = [parameter.detach().view(len(parameter), -1) for parameter in parameters]
    muon = torch.optim.Muon(matrices, learning_rate, weight_decay=0, adjust_lr_fn="match_rms_adamw")

    def follow(*_: Any) -> None:
        for matrix, parameter in zip(matrices, parameters, strict=True):
            matrix.grad = None if parameter.grad is None else parameter.grad.flatten(1)

    muon.register_step_pre_hook(follow)
    return muon

"""What follows the gradient."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from galvae.model.precision import native_precision
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
    if not inner:
        return [adam]
    precision = native_precision(inner[0].device) or torch.float32
    return [Muon(inner, settings.learning_rate, precision=precision), adam]


class Muon(torch.optim.Optimizer):
    """``torch.optim.Muon`` (Jordan et al. 2024) of tensors of any shape, in a precision that the device is fast with.

    Torch's computes in bfloat16 everywhere; where a processor has no instructions for that, its part of a step takes
    ten times as long as all else.

    Parameters
    ----------
    parameters
        Each a matrix of one row for each index of its first dimension.
    learning_rate
        Steps are as large as Adam's would be with this one.
    precision
        Of the iteration that makes singular values alike.
    momentum
        Nesterov's.
    """

    def __init__(
        self, parameters: Sequence[nn.Parameter], learning_rate: float, *, precision: torch.dtype,
        momentum: float = 0.95,
    ) -> None:  # fmt: skip
        super().__init__(parameters, {"lr": learning_rate, "momentum": momentum})
        self.precision = precision

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Follow the gradients; a parameter that has none stays."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(parameter)
                kept = state["momentum_buffer"]
                kept.lerp_(parameter.grad, 1 - group["momentum"])
                matrix = parameter.grad.lerp(kept, group["momentum"]).flatten(1)
                size = group["lr"] * 0.2 * max(matrix.shape) ** 0.5
                parameter.add_(orthogonal(matrix.to(self.precision)).view_as(parameter), alpha=-size)


def orthogonal(matrix: Tensor, *, steps: int = 5) -> Tensor:
    """A matrix with its singular values brought near one, by Newton and Schulz's iteration (Jordan et al. 2024)."""
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonal(matrix.mT, steps=steps).mT
    matrix = matrix / matrix.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram = matrix @ matrix.mT
        matrix = torch.addmm(matrix, torch.addmm(gram, gram, gram, beta=-4.7750, alpha=2.0315), matrix, beta=3.4445)
    return matrix

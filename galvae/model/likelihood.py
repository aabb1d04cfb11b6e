"""Distributions of a pixel's value given the generator's outputs."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from galvae.model.settings import ModelSettings


class Likelihood(Protocol):
    """What a likelihood offers; ``outputs`` is the generator's number of outputs per channel."""

    outputs: int

    def log_prob(self, parameters: Tensor, values: Tensor, noise: Tensor | None = None) -> Tensor:
        """Log density of each pixel, summed over channels: (B, P, outputs * C), (B, P, C), (B, C) -> (B, P)."""
        ...

    def mean(self, parameters: Tensor) -> Tensor:
        """Mean value of each pixel: (..., outputs * C) -> (..., C)."""
        ...


class Bernoulli:
    """Independent Bernoulli channels from logits.

    On values between 0 and 1 it is not a normalised density: what a VAE then maximises is a pseudo-ELBO.
    """

    outputs = 1

    def log_prob(self, parameters: Tensor, values: Tensor, noise: Tensor | None = None) -> Tensor:
        """See :class:`Likelihood`; of any noise."""
        return -functional.binary_cross_entropy_with_logits(parameters, values, reduction="none").sum(-1)

    def mean(self, parameters: Tensor) -> Tensor:
        """See :class:`Likelihood`."""
        return torch.sigmoid(parameters)


class ContinuousBernoulli(Bernoulli):
    """The normalised density on [0, 1] with Bernoulli shape (Loaiza-Ganem & Cunningham 2019).

    ``log p = log Bernoulli + log C``, with ``C = 2 artanh(1 - 2 lam) / (1 - 2 lam)`` and ``lam`` the sigmoid of the
    logit ``l``; in terms of ``l`` it is ``C = l / tanh(l / 2)``.
    """

    def log_prob(self, parameters: Tensor, values: Tensor, noise: Tensor | None = None) -> Tensor:
        """See :class:`Likelihood`; of any noise."""
        size = parameters.abs()
        near = size < 0.1
        safe = torch.where(near, torch.ones_like(size), size)
        log_c = torch.where(
            near, math.log(2) + size.square() / 12 - size.pow(4) * (7 / 1440), torch.log(safe / torch.tanh(safe / 2))
        )
        return super().log_prob(parameters, values) + log_c.sum(-1)

    def mean(self, parameters: Tensor) -> Tensor:
        """``1 / (1 - exp(-l)) - 1 / l``, which is not the sigmoid."""
        near = parameters.abs() < 0.1
        safe = torch.where(near, torch.ones_like(parameters), parameters)
        return torch.where(near, 0.5 + parameters / 12 - parameters.pow(3) / 720, -1 / torch.expm1(-safe) - 1 / safe)


class Gaussian:
    """Independent normal channels.

    Parameters
    ----------
    noise
        Standard deviation of every pixel, or ``"learned"``: one per pixel and channel, by the generator; or ``"sky"``:
        that of each image's sky in each channel.
    nonnegative
        Hold the mean at or above zero with a softplus (proposed in Bepler et al. 2019, section 4.4).
    """

    def __init__(self, noise: float | str = 1.0, *, nonnegative: bool = False) -> None:
        self.noise, self.nonnegative = noise, nonnegative
        self.outputs = 2 if noise == "learned" else 1

    def log_prob(self, parameters: Tensor, values: Tensor, noise: Tensor | None = None) -> Tensor:
        """See :class:`Likelihood`."""
        mean = self.mean(parameters)
        if self.noise == "learned":
            log_std = parameters[..., parameters.shape[-1] // 2 :]
        elif self.noise == "sky":
            log_std = noise.log()[:, None].expand_as(mean)
        else:
            log_std = torch.full_like(mean, math.log(self.noise))
        scaled = (values - mean) * torch.exp(-log_std)
        return -(0.5 * scaled.square() + log_std + 0.5 * math.log(2 * math.pi)).sum(-1)

    def mean(self, parameters: Tensor) -> Tensor:
        """See :class:`Likelihood`."""
        mean = parameters[..., : parameters.shape[-1] // self.outputs]
        return functional.softplus(mean) if self.nonnegative else mean


def likelihood(settings: ModelSettings) -> Likelihood:
    """The likelihood that a recipe names."""
    if settings.likelihood == "gaussian":
        return Gaussian(settings.noise, nonnegative=settings.nonnegative)
    return Bernoulli() if settings.likelihood == "bernoulli" else ContinuousBernoulli()

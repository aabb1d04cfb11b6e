"""Kullback-Leibler divergences of the approximate posterior from the priors (Bepler et al. 2019, 2.2-2.3)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from galvae.geometry import pixels_to_grid
from galvae.model.posterior import Posterior
from galvae.model.settings import ModelSettings


def kl_normal(mean: Tensor, std: Tensor, prior_std: float = 1.0) -> Tensor:
    """KL of N(mean, std^2) from N(0, prior_std^2), elementwise, in nats."""
    return kl_spread(std, prior_std) + 0.5 * (mean / prior_std).square()


def kl_spread(std: Tensor, prior_std: float) -> Tensor:
    """KL that leaves the mean free (eq. 3): ``-log std + log s + std^2 / (2 s^2) - 1/2``, in nats."""
    return -std.log() + math.log(prior_std) + 0.5 * (std / prior_std).square() - 0.5


@dataclass(frozen=True)
class Divergence:
    """KL of content and of pose, nats per image, each of shape (B,)."""

    content: Tensor
    pose: Tensor


def divergence(posterior: Posterior, settings: ModelSettings, window: int) -> Divergence:
    """KL divergence from the priors of a recipe; a latent that is not inferred contributes nothing (eq. 5).

    The hypothesis is a latent too, uniform over its K values under the prior: ``KL = sum_k w_k (log(K w_k) + KL_k)``.
    Each owns a K-th of the circle, so its angle's divergence is eq. 3 with ``s / K``: with K = 1 it is the paper's, and
    hypotheses that cover the circle evenly have none. An inferred scale is log-normal under the prior, about the
    ordinary window's width, and log-normal under each hypothesis.

    Parameters
    ----------
    posterior
        Of B images.
    settings
        Priors; ``shift_sigma`` is in pixels of a window of `window` pixels.
    window
        Pixels along a side.
    """
    weight, count = posterior.log_weight.exp(), posterior.log_weight.shape[1]
    pose = posterior.log_weight + math.log(count)
    if settings.infer_rotation and settings.theta_prior == "uniform":
        pose = pose + kl_spread(posterior.theta_std, settings.theta_sigma / count)
    elif settings.infer_rotation:
        pose = pose + kl_normal(posterior.theta, posterior.theta_std, settings.theta_sigma)
    if settings.scale == "inferred":
        pose = pose + kl_normal(posterior.zoom - posterior.zoom_prior, posterior.zoom_std, settings.scale_sigma)
    if settings.infer_translation:
        sigma = pixels_to_grid(settings.shift_sigma, window)
        pose = pose + kl_normal(posterior.shift, posterior.shift_std, sigma).sum(2)
    return Divergence(content_by_latent(posterior).sum(1), (weight * pose).sum(1))


def content_by_latent(posterior: Posterior) -> Tensor:
    """The part of the divergence that each latent of content has, nats, shape (B, Z)."""
    return (posterior.log_weight.exp()[..., None] * kl_normal(posterior.content, posterior.content_std)).sum(1)

"""Errors under the mixture of hypotheses, in closed form."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from galvae.geometry import rotation
from galvae.model.posterior import Posterior


def circular_std(posterior: Posterior) -> Tensor:
    """Circular standard deviation of theta under the mixture, ``sqrt(-2 ln R)``, radians, at most pi, shape (B,)."""
    length = (posterior.log_weight - 0.5 * posterior.theta_std.square()).exp()
    cos = (length * torch.cos(posterior.theta)).sum(1)
    sin = (length * torch.sin(posterior.theta)).sum(1)
    return torch.sqrt(-2 * torch.log(torch.hypot(cos, sin).clamp(1e-6, 1))).clamp(max=math.pi)


def content_error(posterior: Posterior) -> Tensor:
    """Standard deviation of z under the mixture, shape (B, Z)."""
    off = posterior.content - posterior.content_mean()[:, None]
    square = posterior.content_std.square() + off.square()
    return (posterior.log_weight.exp()[..., None] * square).sum(1).sqrt()


def shift_error(posterior: Posterior, centre: Tensor) -> Tensor:
    """Root mean square of the shift, under the mixture, about that of the best hypothesis, shape (B, 2).

    Each hypothesis has an object frame of its own, turned by its own theta. What is compared is where it puts the
    galaxy's centre in the image, said as the shift with which the *best* hypothesis, its theta kept, would put it
    there too. Under one hypothesis this is the standard deviation of its shift.

    Parameters
    ----------
    posterior
        Of B images.
    centre
        The galaxy's centre in the object frame, grid units, shape (B, 2). Its origin would not do: where that is not
        the centre, hypotheses half a turn apart that agree about the galaxy do not agree about it.

    Returns
    -------
    Tensor
        Grid units along the axes of the best hypothesis' object frame.
    """
    best, _ = posterior.draw(posterior.best())
    # Its place in the image is (c - s) R(theta)^T exp(zoom); with theta and zoom of the best it is there for
    # s = c - place R(best) exp(-zoom of the best).
    turn = rotation(best.theta[:, None] - posterior.theta)
    if best.zoom is not None:
        turn = turn * (posterior.zoom - best.zoom[:, None]).exp()[..., None, None]
    arm = ((centre[:, None] - posterior.shift)[:, :, None] @ turn)[:, :, 0]
    variance = (posterior.shift_std.square()[:, :, None] @ turn.square())[:, :, 0]
    square = variance + (arm - (centre - best.shift)[:, None]).square()
    return (posterior.log_weight.exp()[..., None] * square).sum(1).sqrt()

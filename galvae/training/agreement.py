"""Two views of a galaxy agree: on its axis, its centre and its content."""

from __future__ import annotations

import torch
from torch import Tensor

from galvae.geometry import Pose, to_image
from galvae.model.posterior import Posterior
from galvae.windows import View


def disagreement(posterior: Posterior, view: View) -> Tensor:
    """How much two views of each galaxy contradict each other, in what a pseudo-Bernoulli's nats are worth, (B,).

    With weights w, w' of their hypotheses and D the differences of the angles, which the upright fields share,

        20 sum w w' (1 - cos D) + 2 sum [w w'] log(1 + 1000 (1 - cos D)) + 1000 |c - c'|^2 + |z - z'|^2

    where ``[.]`` passes no gradient, c is where the object's origin lies in the field (grid units) and z the content,
    both means over hypotheses. The logarithm rewards the last tenth of a degree. Where a scale is inferred c has a
    third element, the zoom; a galaxy's views are equally wide.

    Parameters
    ----------
    posterior
        Of 2 B views: all first ones, then all second ones.
    view
        The views.
    """
    weight, weight_ = posterior.log_weight.exp().chunk(2)
    theta, theta_ = posterior.theta.chunk(2)
    pair = weight[:, :, None] * weight_[:, None]
    apart = 1 - torch.cos(theta[:, :, None] - theta_[:, None])
    angle = 20 * pair * apart + 2 * pair.detach() * torch.log1p(1000 * apart)
    placed = _origin(posterior, view)
    if posterior.zoom is not None:
        placed = torch.cat([placed, posterior.zoom[..., None]], 2)
    centre, centre_ = _mean(posterior, placed).chunk(2)
    content, content_ = posterior.content_mean().chunk(2)
    return angle.sum((1, 2)) + 1000 * (centre - centre_).square().sum(1) + (content - content_).square().sum(1)


def exchanged(posterior: Posterior) -> Tensor:
    """The mean content of the other view of each galaxy, shape (2 B, Z)."""
    return posterior.content_mean().roll(len(posterior.content) // 2, 0)


def _mean(posterior: Posterior, values: Tensor) -> Tensor:
    return (posterior.log_weight.exp()[..., None] * values).sum(1)


def _origin(posterior: Posterior, view: View) -> Tensor:
    """The object's origin under each hypothesis, from the field's centre, grid units of the window, (B, K, 2)."""
    count = posterior.theta.shape[1]
    zoom = None if posterior.zoom is None else posterior.zoom.flatten()
    pose = Pose(posterior.theta.flatten(), posterior.shift.flatten(0, 1), zoom)
    return to_image(torch.zeros_like(pose.shift[:1]), pose).view(-1, count, 2) + view.middle[:, None]

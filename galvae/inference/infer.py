"""What a model says about images, as every command asks it."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from galvae.geometry import Pose
from galvae.inference.register import register
from galvae.model.posterior import Posterior
from galvae.model.vae import SpatialVAE
from galvae.windows import View

LOOKS = 3


class Inferred(NamedTuple):
    """About B galaxies.

    Parameters
    ----------
    posterior
        Of the last look.
    pose, content
        The most probable hypothesis; where it was refined the pose is that which fits the pixels best.
    covariance
        Of theta (radians) and of the galaxy's place in the object frame (grid units), shape (B, 3, 3); None where
        the pose was not refined.
    """

    posterior: Posterior
    pose: Pose
    content: Tensor
    covariance: Tensor | None


def infer(vae: SpatialVAE, view: View, *, refine: bool = True) -> Inferred:
    """Infer pose and content of the upright windows of a view.

    Parameters
    ----------
    vae
        The model.
    view
        The windows.
    refine
        Let the inference network look again about the pose that it inferred, until what it says hardly depends on how
        the galaxy was turned and placed; then fit the pose to the pixels, content held. A model that infers no pose, or
        decodes none, is not refined.
    """
    posterior = vae.encode(view)
    pose, content = posterior.draw(posterior.best())
    settings = vae.settings
    if not refine or settings.generator == "vanilla" or not (settings.infer_rotation or settings.infer_translation):
        return Inferred(posterior, pose, content, None)
    for _ in range(LOOKS - 1):
        posterior = vae.encode(view.about(pose))
        pose, content = posterior.draw(posterior.best())
    pose, covariance = register(vae, view, pose, content)
    return Inferred(posterior, pose, content, covariance)


def rival(posterior: Posterior) -> tuple[Tensor, Tensor]:
    """The most probable other angle, more than 45 degrees off, and how probable it is.

    Returns
    -------
    theta, probability
        The angle in radians, and the weight of all hypotheses within 45 degrees of it, shape (B,); NaN and 0 where
        there is no other hypothesis.
    """
    best = posterior.theta.gather(1, posterior.best())
    far = torch.cos(posterior.theta - best) < math.cos(math.pi / 4)
    weight = posterior.log_weight.exp()
    theta = posterior.theta.gather(1, torch.where(far, weight, -1).argmax(1, keepdim=True))
    near = torch.cos(posterior.theta - theta) >= math.cos(math.pi / 4)
    found = far.any(1)
    probability = torch.where(found, (weight * (near & far)).sum(1), 0)
    return torch.where(found, theta[:, 0], math.nan), probability

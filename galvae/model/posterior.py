"""The approximate posterior of content and pose: a mixture of K hypotheses about the pose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from galvae.geometry import Pose
from galvae.windows import View

# No inferred zoom is beyond this, far from where they are: at a bound scales cannot differ, nor be said about another
# mean.
FARTHEST = 3.0


@dataclass(frozen=True)
class Posterior:
    """Mixture of K independent normal posteriors; with K = 1 that of Bepler et al. 2019, section 2.2.

    Parameters
    ----------
    log_weight
        Log probability of each hypothesis, shape (B, K).
    content, content_std
        Mean and standard deviation of z, shape (B, K, Z).
    theta, theta_std
        Of the rotation angle in radians, shape (B, K).
    shift, shift_std
        Of the object-frame offset in grid units, shape (B, K, 2).
    zoom, zoom_std
        Of the zoom of a pose, shape (B, K); None where no scale is inferred.
    zoom_prior
        Its mean under the prior: minus ln of the window's width over the ordinary one's, shape (B, K).
    """

    log_weight: Tensor
    content: Tensor
    content_std: Tensor
    theta: Tensor
    theta_std: Tensor
    shift: Tensor
    shift_std: Tensor
    zoom: Tensor | None = None
    zoom_std: Tensor | None = None
    zoom_prior: Tensor | None = None

    @property
    def parts(self) -> dict[str, Tensor]:
        """The fields that are there, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}

    @property
    def noise_size(self) -> int:
        """How many numbers of noise a draw takes: Z + 3, and one more where a scale is inferred."""
        return self.content.shape[2] + (3 if self.zoom is None else 4)

    def choose(self, uniform: Tensor, count: int) -> Tensor:
        """Draw `count` different hypotheses of each image by their weights (Gumbel top-k), indices of shape (B, count).

        Parameters
        ----------
        uniform
            Uniform numbers in (0, 1), shape (B, K).
        count
            At most K.
        """
        return (self.log_weight.detach() - torch.log(-torch.log(uniform))).topk(count, dim=1).indices

    def best(self) -> Tensor:
        """The most probable hypothesis in the more probable half of the circle of each image, indices (B, 1)."""
        top = self.theta.gather(1, self.log_weight.argmax(1, keepdim=True))
        far = torch.cos(self.theta - top) < 0
        behind = torch.where(far, self.log_weight.exp(), 0).sum(1, keepdim=True) > 0.5
        return torch.where(far == behind, self.log_weight, -torch.inf).argmax(1, keepdim=True)

    @staticmethod
    def joined(posteriors: Sequence[Posterior]) -> Posterior:
        """Several posteriors of the same images as one mixture, each weighted alike."""
        parts = zip(*(one.parts.values() for one in posteriors), strict=True)
        found = Posterior(*(torch.cat(values, 1) for values in parts))
        return replace(found, log_weight=found.log_weight - math.log(len(posteriors)))

    def draw(self, which: Tensor, noise: Tensor | None = None) -> tuple[Pose, Tensor]:
        """Reparametrised draws of pose and content under chosen hypotheses; their means without `noise`.

        Parameters
        ----------
        which
            Hypotheses, shape (B, D).
        noise
            Standard normal, shape (B, D, :attr:`noise_size`).

        Returns
        -------
        Pose, Tensor
            Of B * D images, those of an image together; content of shape (B * D, Z).
        """
        theta, shift, content = self._at(which, self.theta, self.shift, self.content)
        if noise is not None:
            theta_std, shift_std, content_std = self._at(which, self.theta_std, self.shift_std, self.content_std)
            n = content.shape[-1]
            content = content + content_std * noise[..., :n]
            theta = theta + theta_std * noise[..., n]
            shift = shift + shift_std * noise[..., n + 1 : n + 3]
        zoom = None
        if self.zoom is not None:
            zoom, zoom_std = (value.flatten(0, 1) for value in self._at(which, self.zoom, self.zoom_std))
            zoom = zoom if noise is None else zoom + zoom_std * noise[..., n + 3].flatten(0, 1)
        return Pose(theta.flatten(0, 1), shift.flatten(0, 1), zoom), content.flatten(0, 1)

    def content_mean(self) -> Tensor:
        """Mean of z over the hypotheses, shape (B, Z).

        What views of a galaxy agree on (:mod:`galvae.training.agreement`). Under one hypothesis z jumps where it and
        its rival change places; their mean does not.
        """
        return (self.log_weight.exp()[..., None] * self.content).sum(1)

    def _at(self, which: Tensor, *values: Tensor) -> list[Tensor]:
        rows = torch.arange(len(which), device=which.device)[:, None]
        return [value[rows, which] for value in values]


def scale_fields(mean: Tensor, log_std: Tensor, view: View) -> tuple[Tensor, Tensor, Tensor]:
    """The last three fields of a posterior of windows, of a network's outputs (B, K): no zoom is beyond 3."""
    prior = mean.new_zeros(len(mean)) if view.width is None else -view.width.log()
    return mean.clamp(-FARTHEST, FARTHEST), (log_std - 3).exp(), prior[:, None].expand_as(mean)

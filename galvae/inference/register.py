"""The pose made exact: the decoded galaxy is laid over the image by least squares."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from galvae.geometry import Pose, rotation, to_image
from galvae.inference.background import Sky
from galvae.model.settings import ModelSettings
from galvae.windows import View

# Pixels within this of the galaxy's origin count, grid units.
REACH = 0.8


class Registered(NamedTuple):
    """Poses of B galaxies, fitted to the pixels within a square about each.

    Parameters
    ----------
    pose
        Theta and shift that fit best.
    covariance
        Of theta (radians) and the place of the square's middle in the object frame (grid units), from the noise of the
        pixels alone, shape (B, 3, 3).
    """

    pose: Pose
    covariance: Tensor


def register(
    canonical: Tensor, view: View, pose: Pose, around: Sky, *, settings: ModelSettings, steps: int = 6
) -> Registered:  # fmt: skip
    """Fit theta and shift to the pixels about each galaxy by Levenberg-Marquardt, content held.

    The model is the canonical image, decoded once: with ``u = x R(theta) + shift`` its two slopes at u are the
    derivatives by the shift, and their product with u's own by theta is the third. Poses of which the model infers a
    part only keep the rest, and what a fit would turn by more than 45 degrees keeps all: the inference network chooses
    between rivals.

    Parameters
    ----------
    canonical
        Canonical images of B galaxies, shape (B, n, n, C).
    view
        Their windows.
    pose
        What was inferred about them.
    around
        Their sky.
    settings
        What of the pose the model infers.
    steps
        How many steps are tried.
    """
    half = (view.window - 1) / 2
    disc, inside = _square(half, device=canonical.device)
    middle = _nearest_pixel(to_image(torch.zeros_like(pose.shift[:1]), pose)[:, 0], half)
    if not settings.infer_translation:
        middle = torch.zeros_like(middle)  # theta turns about the window's centre
    points = middle[:, None] + disc
    values = view.sample(points).mT
    free = canonical.new_tensor([settings.infer_rotation, settings.infer_translation, settings.infer_translation])
    fit = _Fit(with_slopes(canonical), values, disc, inside, free[:, None, None])
    # About the middle of what is fitted theta and place are nearly independent.
    state = torch.cat([pose.theta[:, None], pose.shift + (middle[:, None] @ rotation(pose.theta))[:, 0]], 1)
    damping = torch.full_like(pose.theta, 1e-3)
    residual, jacobian = fit(state)
    cost = residual.square().sum((1, 2))
    for _ in range(steps):
        curvature, score = _normal(residual, jacobian)
        lifted = curvature + torch.diag_embed(damping[:, None] * curvature.diagonal(dim1=1, dim2=2))
        tried = state + torch.linalg.solve(lifted, score)
        new_residual, new_jacobian = fit(tried)
        new_cost = new_residual.square().sum((1, 2))
        better = new_cost < cost
        state, cost = torch.where(better[:, None], tried, state), torch.where(better, new_cost, cost)
        residual = torch.where(better[:, None, None], new_residual, residual)
        jacobian = torch.where(better[:, None, None, None], new_jacobian, jacobian)
        damping = torch.where(better, damping / 5, damping * 10)
    theta, place = state[:, 0], state[:, 1:]
    shift = place - (middle[:, None] @ rotation(theta))[:, 0]
    # What was turned by more fits something else: a nearly round galaxy, anyhow.
    near = torch.cos(theta - pose.theta) > math.cos(math.pi / 4)
    fitted = Pose(torch.where(near, theta, pose.theta), torch.where(near[:, None], shift, pose.shift))
    left = around.left_at(view, points)[:, None, None]
    inverse = torch.linalg.inv(_normal(residual, jacobian)[0])
    noisy = (jacobian * (around.noise[:, None, :, None] * left)).flatten(2)
    return Registered(fitted, inverse @ (noisy @ noisy.mT) @ inverse)


def _square(half: float, *, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Pixels of a square about 0, an even number to a side, grid units, shape (P, 2); 1 within reach, else 0, (P,)."""
    side = 2 * (int(REACH * half) + 1)
    axis = (torch.arange(side, device=device) - (side - 1) / 2) / half
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    points = torch.stack([x.reshape(-1), y.reshape(-1)], 1)
    return points, (points.square().sum(1) <= REACH**2).to(points.dtype)


def with_slopes(canonical: Tensor) -> Tensor:
    """Canonical images (B, n, n, C) and their slopes by grid units along x and y, shape (B, 3 C, n, n)."""
    image = canonical.permute(0, 3, 1, 2)
    along_y, along_x = torch.gradient(image, spacing=2 / (image.shape[-1] - 1), dim=(2, 3))
    return torch.cat([image, along_x, along_y], 1)


def sampled(light: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Image and slopes of :func:`with_slopes` at points of the object frame (B, P, 2), each of shape (B, C, P)."""
    found = functional.grid_sample(light, points[:, :, None], padding_mode="border", align_corners=True)
    return found[..., 0].chunk(3, 1)


class _Fit:
    """Residuals (B, C, P) of the pixels of a square within reach, and the model's derivatives (B, 3, C, P)."""

    def __init__(self, light: Tensor, values: Tensor, disc: Tensor, inside: Tensor, free: Tensor) -> None:
        self.light, self.values, self.disc, self.inside, self.free = light, values, disc, inside, free

    def __call__(self, state: Tensor) -> tuple[Tensor, Tensor]:
        arm = self.disc @ rotation(state[:, 0])
        image, along_x, along_y = sampled(self.light, arm + state[:, None, 1:])
        x, y = arm.mT[:, :, None].unbind(1)
        slopes = torch.stack([along_y * x - along_x * y, along_x, along_y], 1)
        return (self.values - image) * self.inside, slopes * (self.inside * self.free)


def _nearest_pixel(place: Tensor, half: float) -> Tensor:
    """So that the square's pixels, an even number to a side, are the window's: what lies between is not invented."""
    off = (half + 0.5) % 1
    return ((place * half - off).round() + off) / half


def _normal(residual: Tensor, jacobian: Tensor) -> tuple[Tensor, Tensor]:
    """Curvature (B, 3, 3) and score (B, 3); a direction that nothing depends on is left alone."""
    flat = jacobian.flatten(2)
    curvature = flat @ flat.mT
    return curvature + 1e-9 * torch.eye(3, device=flat.device), (flat @ residual.flatten(1)[..., None])[..., 0]

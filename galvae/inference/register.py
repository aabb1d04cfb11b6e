"""The pose made exact: the decoded galaxy is laid over the image by least squares."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from galvae.geometry import Pose, rotation, to_image
from galvae.inference.canonical import decode_canonical
from galvae.model.vae import SpatialVAE
from galvae.windows import View

# Pixels within this of the galaxy count, grid units; neighbouring residuals are correlated over blocks of so many.
REACH, BLOCK = 0.8, 4


class Registered(NamedTuple):
    """Poses of B galaxies and how well they are known.

    Parameters
    ----------
    pose
        Theta and shift that fit best.
    covariance
        Of theta (radians) and of the place of the galaxy's middle in the object frame (grid units), shape (B, 3, 3).
    """

    pose: Pose
    covariance: Tensor


def register(vae: SpatialVAE, view: View, pose: Pose, content: Tensor, *, steps: int = 6) -> Registered:
    """Fit theta and shift to the pixels about each galaxy by Levenberg-Marquardt, content held.

    The model is the canonical image, decoded once: with ``u = x R(theta) + shift`` its two slopes at u are the
    derivatives by the shift, and their product with u's own by theta is the third. Poses of which the model infers a
    part only keep the rest.

    The covariance is the sandwich ``H^-1 S H^-1`` (Huber 1967), H the curvature and S the sum, over blocks of 4 x 4
    pixels, of the outer products of the blocks' scores: residuals are not noise, and neighbours are correlated.

    Parameters
    ----------
    vae
        The model; its generator is the spatial one.
    view
        Windows of B galaxies.
    pose, content
        What was inferred about them.
    steps
        How many steps are tried.
    """
    half = (view.window - 1) / 2
    disc, inside = _disc(half, device=content.device)
    middle = _nearest_pixel(to_image(torch.zeros_like(pose.shift[:1]), pose)[:, 0], half)
    if not vae.settings.infer_translation:
        middle = torch.zeros_like(middle)  # theta turns about the window's centre
    values = view.sample(middle[:, None] + disc).mT
    fit = _Fit(_light(vae, content), values, disc, inside, _free(vae, content))
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
    return Registered(Pose(theta, shift), _sandwich(residual, jacobian))


class _Fit:
    """Residuals (B, C, P) of the pixels of a disc, and the model's derivatives (B, 3, C, P)."""

    def __init__(self, light: Tensor, values: Tensor, disc: Tensor, inside: Tensor, free: Tensor) -> None:
        self.light, self.values, self.disc, self.inside, self.free = light, values, disc, inside, free

    def __call__(self, state: Tensor) -> tuple[Tensor, Tensor]:
        arm = self.disc @ rotation(state[:, 0])
        found = functional.grid_sample(
            self.light, (arm + state[:, None, 1:])[:, :, None], padding_mode="border", align_corners=True
        )
        image, along_x, along_y = found[..., 0].chunk(3, 1)
        x, y = arm.mT[:, :, None].unbind(1)
        slopes = torch.stack([along_y * x - along_x * y, along_x, along_y], 1)
        return (self.values - image) * self.inside, slopes * (self.inside * self.free)


def _light(vae: SpatialVAE, content: Tensor) -> Tensor:
    """Canonical images, a quarter finer than the window, and their slopes by grid units, shape (B, 3 C, n, n)."""
    size = round(1.25 * vae.window)
    image = decode_canonical(vae, content, size=size).permute(0, 3, 1, 2)
    along_y, along_x = torch.gradient(image, spacing=2 / (size - 1), dim=(2, 3))
    return torch.cat([image, along_x, along_y], 1)


def _disc(half: float, *, device: torch.device) -> tuple[Tensor, Tensor]:
    """Pixels of a square about 0, whole blocks of them, shape (P, 2), grid units; 1 for those within reach, (P,)."""
    side = 2 * BLOCK * (int(REACH * half) // BLOCK + 1)
    axis = (torch.arange(side, device=device) - (side - 1) / 2) / half
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    disc = torch.stack([x.reshape(-1), y.reshape(-1)], 1)
    return disc, (disc.square().sum(1) <= REACH**2).to(disc.dtype)


def _nearest_pixel(place: Tensor, half: float) -> Tensor:
    """So that the disc's pixels, an even number to a side, are the window's: what lies between is not invented."""
    off = (half + 0.5) % 1
    return ((place * half - off).round() + off) / half


def _free(vae: SpatialVAE, content: Tensor) -> Tensor:
    """1 for what of theta, x and y is inferred, else 0, shape (3, 1, 1)."""
    rotation, translation = vae.settings.infer_rotation, vae.settings.infer_translation
    return content.new_tensor([rotation, translation, translation])[:, None, None]


def _normal(residual: Tensor, jacobian: Tensor) -> tuple[Tensor, Tensor]:
    """Curvature (B, 3, 3) and score (B, 3); a direction that nothing depends on is left alone."""
    flat = jacobian.flatten(2)
    curvature = flat @ flat.mT
    return curvature + 1e-9 * torch.eye(3, device=flat.device), (flat @ residual.flatten(1)[..., None])[..., 0]


def _sandwich(residual: Tensor, jacobian: Tensor) -> Tensor:
    inverse = torch.linalg.inv(_normal(residual, jacobian)[0])
    side = round(residual.shape[-1] ** 0.5) // BLOCK
    score = (jacobian * residual[:, None]).sum(2).unflatten(2, (side, BLOCK, side, BLOCK)).sum((3, 5)).flatten(2)
    return inverse @ (score @ score.mT) @ inverse

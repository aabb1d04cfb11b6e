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
# How far off theta (radians) and place (grid units) are held to be where the pixels do not tell them: as far as a fit
# is let turn, and three pixels of 64, more than the inference network is.
UNTOLD = (math.pi / 4, 0.1, 0.1)


class Registered(NamedTuple):
    """Poses of B galaxies, fitted to the pixels within a disc about each.

    Parameters
    ----------
    pose
        Theta and shift that fit best.
    covariance
        Of theta (radians) and the place of the disc's middle in the object frame (grid units), from the noise of the
        pixels alone, and where these do not tell it as `UNTOLD` says, shape (B, 3, 3); None where it was not asked for.
    """

    pose: Pose
    covariance: Tensor | None


@torch.no_grad()
def register(
    canonical: Tensor, view: View, pose: Pose, around: Sky, *, settings: ModelSettings, steps: int = 6,
    errors: bool = True,
) -> Registered:  # fmt: skip
    """Fit theta and shift to the pixels about each galaxy by Levenberg-Marquardt, content held.

    The model is the canonical image, decoded once: with ``u = x R(theta) + shift`` its two slopes at u are the
    derivatives by the shift, and their product with u's own by theta is the third. Poses of which the model infers a
    part only keep the rest, and what a fit would turn by more than 45 degrees or move off the disc keeps all: the
    inference network chooses between rivals.

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
    errors
        Whether to say how well the pixels tell it.
    """
    assert pose.zoom is None  # the window is as wide as the galaxy's own frame
    half = (view.window - 1) / 2
    disc = _disc(half, device=canonical.device)
    middle = _nearest_pixel(to_image(torch.zeros_like(pose.shift[:1]), pose)[:, 0], half)
    if not settings.infer_translation:
        middle = torch.zeros_like(middle)  # theta turns about the window's centre
    points = middle[:, None] + disc
    fit = _Fit(with_slopes(canonical), view.sample(points).mT, disc)
    free = canonical.new_tensor([settings.infer_rotation, settings.infer_translation, settings.infer_translation])
    # About the middle of what is fitted theta and place are nearly independent.
    state = torch.cat([pose.theta[:, None], pose.shift + (middle[:, None] @ rotation(pose.theta))[:, 0]], 1)
    damping = torch.full_like(pose.theta, 1e-3)
    start, at_start = state, _products(fit(state))
    products = at_start
    for _ in range(steps):
        curvature, _ = _curvature(products, free)
        lifted = curvature + torch.diag_embed(damping[:, None] * curvature.diagonal(dim1=1, dim2=2))
        tried = state + torch.linalg.solve(lifted, -products[:, 1:, 0] * free)
        new = _products(fit(tried))
        better = new[:, 0, 0] < products[:, 0, 0]
        state = torch.where(better[:, None], tried, state)
        products = torch.where(better[:, None, None], new, products)
        damping = torch.where(better, damping / 5, damping * 10)
    # What was turned or moved by more fits something else: a nearly round galaxy, anyhow.
    turned, moved = (state - start).split([1, 2], 1)
    near = (turned[:, 0].abs() < UNTOLD[0]) & (moved.norm(dim=1) < REACH)
    state = torch.where(near[:, None], state, start)
    products = torch.where(near[:, None, None], products, at_start)
    theta, place = state[:, 0], state[:, 1:]
    shift = place - (middle[:, None] @ rotation(theta))[:, 0]
    fitted = Pose(theta, torch.where(near[:, None], shift, pose.shift))
    if not errors:
        return Registered(fitted, None)
    grain = around.noise[:, :, None] * around.left_at(view, points)[:, None]
    curvature, lift = _curvature(products, free)
    inverse = torch.linalg.inv(curvature)
    noisy = fit(state)[:, 1:] * (grain[:, None] * free[:, None, None])
    noisy = _products(around.mixing.mT[:, None] @ noisy)
    # Where only the lift holds a fit, what it began with is left.
    untold = free * free.new_tensor(UNTOLD)
    noisy = noisy * around.power[:, None, None]  # slopes of galaxies are as wide as many pixels
    covariance = inverse @ (noisy + torch.diag_embed((lift * untold).square())) @ inverse
    # Nothing is known worse than that, whatever noise does where the curvature is next to none.
    most = (untold / covariance.diagonal(dim1=1, dim2=2).sqrt().clamp(min=1e-12)).clamp(max=1)
    return Registered(fitted, covariance * most[:, :, None] * most[:, None])


def _disc(half: float, *, device: torch.device | None = None) -> Tensor:
    """Pixels within reach of 0, of a square of an even number to a side, grid units, shape (P, 2)."""
    side = 2 * (int(REACH * half) + 1)
    axis = (torch.arange(side, device=device) - (side - 1) / 2) / half
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    points = torch.stack([x.reshape(-1), y.reshape(-1)], 1)
    return points[points.square().sum(1) <= REACH**2]


def with_slopes(canonical: Tensor) -> Tensor:
    """Canonical images (B, n, n, C) and their slopes by grid units along x and y, shape (B, 3 C, n, n)."""
    image = canonical.permute(0, 3, 1, 2)
    along_y, along_x = torch.gradient(image, spacing=2 / (image.shape[-1] - 1), dim=(2, 3))
    return torch.cat([image, along_x, along_y], 1)


class _Fit:
    """The model less the pixels (B, C, P) of a disc, and its derivatives by theta and place: shape (B, 4, C, P)."""

    def __init__(self, light: Tensor, values: Tensor, disc: Tensor) -> None:
        self.light, self.values, self.disc = light, values, disc

    def __call__(self, state: Tensor) -> Tensor:
        arm = self.disc @ rotation(state[:, 0])
        at = arm + state[:, None, 1:]
        found = functional.grid_sample(self.light, at[:, :, None], padding_mode="border", align_corners=True)
        image, along_x, along_y = found[..., 0].chunk(3, 1)
        x, y = arm.mT[:, :, None].unbind(1)
        # Written where they belong: a stack of them would be copied once more.
        fields = image.new_empty(len(image), 4, *image.shape[1:])
        torch.sub(image, self.values, out=fields[:, 0])
        torch.mul(along_y, x, out=fields[:, 1]).addcmul_(along_x, y, value=-1)
        fields[:, 2], fields[:, 3] = along_x, along_y
        return fields


def _nearest_pixel(place: Tensor, half: float) -> Tensor:
    """So that the disc's pixels, an even number to a side, are the window's: what lies between is not invented."""
    off = (half + 0.5) % 1
    return ((place * half - off).round() + off) / half


def _products(fields: Tensor) -> Tensor:
    """Of fields (B, N, C, P) with each other, shape (B, N, N)."""
    flat = fields.flatten(2)
    return flat @ flat.mT


def _curvature(products: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
    """That of the derivatives where they are free, (B, 3, 3), lifted a little, each by its own measure: by (B, 3).

    A fit then leaves what the pixels do not tell, alone or together.
    """
    curvature = products[:, 1:, 1:] * torch.outer(free, free)
    lift = 1e-5 * curvature.diagonal(dim1=1, dim2=2) + 1e-9
    return curvature + torch.diag_embed(lift), lift

"""The galaxy in its own frame: decoded without pose, measured by second moments, carried into the image by the pose.

The canonical frame is a gauge: nothing makes a galaxy's centre its origin or its major axis its +x. Both are measured
on the decoded canonical image, once per galaxy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from galvae.angles import wrap
from galvae.geometry import Pose, pixel_grid, to_image
from galvae.model.vae import SpatialVAE
from galvae.moments import Moments, adaptive_moments, luminance

# Images x pixels x units of a generator's layer at once, in single precision: 2 MiB, which a processor's caches hold,
# and 128 MiB on a device.
PIECE, PIECE_ON_DEVICE = 2**19, 2**25


@dataclass(frozen=True)
class Placement:
    """Where B galaxies lie in their windows.

    Parameters
    ----------
    x, y
        Centre from the window's centre, right and up, window pixels, shape (B,).
    orientation
        Major axis, radians counter-clockwise from right, in [0, pi), shape (B,).
    axis_ratio
        Minor over major axis, shape (B,).
    sigma
        Major-axis standard deviation of the matched Gaussian, window pixels, shape (B,).
    ok
        Where the canonical image could be measured; elsewhere all of the above is NaN.
    axis
        Major axis in the object frame, radians, shape (B,).
    centre
        Centre in the object frame, grid units, shape (B, 2).
    """

    x: np.ndarray
    y: np.ndarray
    orientation: np.ndarray
    axis_ratio: np.ndarray
    sigma: np.ndarray
    ok: np.ndarray
    axis: np.ndarray
    centre: Tensor


def decode_canonical(vae: SpatialVAE, content: Tensor, *, size: int) -> Tensor:
    """Mean images at theta = 0 and shift = 0, shape (B, size, size, C), row 0 at the bottom."""
    # One pose for all: plane waves, and their product, are made once.
    return decode_images(vae, Pose(content.new_zeros(1), content.new_zeros(1, 2)), content, size=size)


def decode_images(vae: SpatialVAE, pose: Pose, content: Tensor, *, size: int) -> Tensor:
    """Mean images of the window at any resolution, shape (B, size, size, C), row 0 at the bottom.

    The poses are of B images, or one of them all.
    """
    grid = vae.grid if size == vae.window else pixel_grid(size, device=content.device)
    if vae.settings.generator == "vanilla":
        decoded = vae.decode(pose, content, grid=None if grid is vae.grid else grid)
    else:
        parts = pieces(vae, len(content), len(grid))
        decoded = torch.cat([vae.decode(pose, content, grid=grid[part]) for part in parts], 1)
    return vae.likelihood.mean(decoded).reshape(len(content), size, size, vae.channels)


def pieces(vae: SpatialVAE, images: int, pixels: int) -> list[slice]:
    """Parts of the pixels of so many images that are decoded at once: memory is that of a layer of one part.

    A vanilla generator decodes all pixels at once, whatever is asked for.
    """
    if vae.settings.generator == "vanilla":
        return [slice(0, pixels)]
    most = PIECE if vae.grid.device.type == "cpu" else PIECE_ON_DEVICE
    step = max(1, most // (max(images, 1) * vae.settings.generator_units))
    return [slice(start, start + step) for start in range(0, pixels, step)]


def decoded_at(canonical: Tensor, points: Tensor, *, beyond: str = "border") -> Tensor:
    """Values of canonical images (B, n, n, C) at points of the object frame (B, P, 2), shape (B, P, C), bilinear.

    What lies `beyond` the image is as its ``border``, or is ``zeros``.
    """
    found = functional.grid_sample(
        canonical.permute(0, 3, 1, 2), points[:, :, None], padding_mode=beyond, align_corners=True
    )
    return found[..., 0].mT


def canonical_moments(images: Tensor, *, start: Moments | None = None, tolerance: float = 1e-5) -> Moments:
    """Adaptive second moments of canonical images (B, n, n, C); see :func:`galvae.moments.adaptive_moments`."""
    return adaptive_moments(luminance(images.cpu().numpy()), start=start, tolerance=tolerance)


def place(moments: Moments, pose: Pose, *, size: int, window: int) -> Placement:
    """Carry what was measured on canonical images of `size` pixels into windows of `window` pixels."""
    half, unit = (size - 1) / 2, (window - 1) / (size - 1)
    centre = torch.from_numpy(np.stack([moments.x / half - 1, moments.y / half - 1], 1)).to(pose.shift)
    x, y = (to_image(centre[:, None], pose)[:, 0].cpu().double().numpy() * ((window - 1) / 2)).T
    orientation = wrap(moments.angle - pose.theta.cpu().double().numpy(), math.pi)
    return Placement(
        x, y, orientation, moments.axis_ratio, moments.sigma * unit, moments.ok, moments.angle, centre
    )  # fmt: skip


def direction(pose: Pose) -> np.ndarray:
    """Direction of the canonical +x axis as displayed, degrees counter-clockwise from right in [0, 360), shape (B,)."""
    return wrap(-np.degrees(pose.theta.cpu().double().numpy()), 360)

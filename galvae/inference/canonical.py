"""The galaxy in its own frame: decoded without pose, measured by second moments, carried into the image by the pose.

The canonical frame is a gauge: nothing makes a galaxy's centre its origin or its major axis its +x. Both are measured
on the decoded canonical image, once per galaxy, and for the errors on images decoded from draws of z.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy.special import ndtri
from scipy.stats import beta
from torch import Tensor

from galvae.angles import wrap
from galvae.covariance import robust_covariance
from galvae.geometry import Pose, pixel_grid, to_image
from galvae.model.posterior import Posterior
from galvae.model.vae import SpatialVAE
from galvae.moments import Moments, adaptive_moments, luminance

# Images x pixels x units of a generator's layer at once: 128 MiB in single precision.
PIECE = 2**25


@dataclass(frozen=True)
class Placement:
    """Where B galaxies lie in their windows, measured.

    Parameters
    ----------
    x, y
        Centre from the window's centre, right and up, window pixels, shape (B,).
    orientation
        Major axis, radians counter-clockwise from right, in [0, pi), shape (B,).
    axis_ratio
        Minor over major axis, shape (B,).
    canonical
        The moments of the canonical images; where they are not ``ok`` all is NaN.
    centre
        Their centre in the object frame, grid units, shape (B, 2).
    """

    x: np.ndarray
    y: np.ndarray
    orientation: np.ndarray
    axis_ratio: np.ndarray
    canonical: Moments
    centre: Tensor


def decode_canonical(vae: SpatialVAE, content: Tensor, *, size: int) -> Tensor:
    """Mean images at theta = 0 and shift = 0, shape (B, size, size, C), row 0 at the bottom."""
    zero = content.new_zeros(len(content))
    return decode_images(vae, Pose(zero, content.new_zeros(len(content), 2)), content, size=size)


def decode_images(vae: SpatialVAE, pose: Pose, content: Tensor, *, size: int) -> Tensor:
    """Mean images of the window at any resolution, shape (B, size, size, C), row 0 at the bottom."""
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
    step = max(1, PIECE // (max(images, 1) * vae.settings.generator_units))
    return [slice(start, start + step) for start in range(0, pixels, step)]


def place(
    vae: SpatialVAE, pose: Pose, content: Tensor, *, size: int, start: Moments | None = None, tolerance: float = 1e-5
) -> Placement:
    """Centre and major axis in the image, from the moments of the canonical image decoded at `size` pixels.

    `start` and `tolerance` are those of :func:`galvae.moments.adaptive_moments`.
    """
    images = decode_canonical(vae, content, size=size).cpu().numpy()
    found = adaptive_moments(luminance(images), start=start, tolerance=tolerance)
    half = (size - 1) / 2
    centre = torch.from_numpy(np.stack([found.x / half - 1, found.y / half - 1], 1)).to(pose.shift)
    in_image = to_image(centre[:, None], pose)[:, 0].cpu().double().numpy() * ((vae.window - 1) / 2)
    orientation = wrap(found.angle - pose.theta.cpu().double().numpy(), math.pi)
    return Placement(in_image[:, 0], in_image[:, 1], orientation, found.axis_ratio, found, centre)


def coarse(vae: SpatialVAE, size: int) -> int:
    """Pixels along a side to decode at where `size` are enough; a vanilla generator has the window's only."""
    return vae.window if vae.settings.generator == "vanilla" else min(size, vae.window)


def direction(pose: Pose) -> np.ndarray:
    """Direction of the canonical +x axis as displayed, degrees counter-clockwise from right in [0, 360), shape (B,)."""
    return wrap(-np.degrees(pose.theta.cpu().double().numpy()), 360)


@dataclass(frozen=True)
class Spread:
    """How what :class:`Placement` holds varies under the posterior.

    Of few draws they are unbiased: half-widths for normal errors, the axial one in its resultant length squared.

    Parameters
    ----------
    centre
        Covariance of (x, y), window pixels squared, its diagonal the squares of 68% half-widths, shape (B, 2, 2).
    orientation
        Axial standard deviation, radians, shape (B,).
    axis_ratio
        68% half-width, shape (B,).
    """

    centre: np.ndarray
    orientation: np.ndarray
    axis_ratio: np.ndarray


def spread(
    vae: SpatialVAE, posterior: Posterior, uniform: Tensor, noise: Tensor, *, size: int, start: Moments
) -> Spread:
    """How centre and axis vary over draws of pose **and** content.

    Parameters
    ----------
    vae
        The model.
    posterior
        Of B images.
    uniform, noise
        Uniform numbers, shape (S, B, K), and standard normal ones, shape (S, B, Z + 3): S draws.
    size
        Canonical images of the draws are decoded at so many pixels along a side: coarsely is enough.
    start
        The moments of the canonical images themselves, decoded at the window's size.
    """
    draws, start = [], start.rescaled(vae.window, size)
    for chances, one in zip(uniform, noise, strict=True):
        pose, content = posterior.draw(posterior.choose(chances, 1), one[:, None])
        draws.append(place(vae, pose, content, size=size, start=start, tolerance=1e-3))
    with np.errstate(invalid="ignore", divide="ignore"):
        ok = np.array([draw.canonical.ok for draw in draws])
        enough = ok.sum(0) >= max(2, len(draws) // 2)
        turn = np.array([np.exp(2j * draw.orientation) for draw in draws])
        count = ok.sum(0)
        # The resultant of n draws is too long: E[R^2] = rho^2 + (1 - rho^2) / n.
        square = (np.abs(np.where(ok, turn, 0).sum(0) / count) ** 2 * count - 1) / (count - 1)
        axial = 0.5 * np.sqrt(-np.log(np.clip(square, 0, 1)))
    x, y, axis_ratio = (np.array([getattr(draw, name) for draw in draws]) for name in ("x", "y", "axis_ratio"))
    return Spread(
        np.where(enough[:, None, None], robust_covariance(x, y, _half_width), np.nan),
        np.where(enough, np.minimum(axial, math.pi / 2), np.nan),
        np.where(enough, _half_width(axis_ratio), np.nan),
    )


def _half_width(values: np.ndarray) -> np.ndarray:
    """Half of what lies between the 16th and the 84th percentile of S draws, NaN left out, (S, B) -> (B,).

    It is over what n normal draws of unit variance give on average, which is 0.68 for n = 4 and 0.90 for n = 16.
    """
    counts = np.isfinite(values).sum(0)
    expected = np.array([_expected_half_width(int(count)) for count in counts])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # where no draw could be measured the answer is NaN
        low, high = np.nanpercentile(values, [15.87, 84.13], axis=0)
    return (high - low) / 2 / expected


@lru_cache
def _expected_half_width(count: int) -> float:
    """Of so many standard normal draws, from the means of their order statistics; NaN for fewer than two."""
    if count < 2:
        return math.nan
    share, rank = math.modf(0.8413 * (count - 1))
    chance = (np.arange(20_000) + 0.5) / 20_000
    low, high = (
        np.average(ndtri(chance), weights=beta.pdf(chance, k, count + 1 - k)) for k in (rank + 1, min(rank + 2, count))
    )
    return float((1 - share) * low + share * high)

"""What a training step sees: windows of fields, turned, moved and made noisier at random, and pixels to decode."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from galvae.geometry import pixels_to_grid
from galvae.keyed import cut, normal, sheet_of_noise, uniform
from galvae.model.vae import SpatialVAE
from galvae.windows import View


@dataclass(frozen=True)
class Batch:
    """What a step sees.

    Parameters
    ----------
    view
        Windows, turned for the inference network alone.
    galaxy
        Index of each galaxy in its store, shape (B,).
    key
        What keys the randomness of each view, shape (B,).
    values
        Pixel values of the *upright* window, shape (B, P, C), row-major where they are all of them.
    pixels, weight
        Row-major indices of the pixels to decode and what each counts, shape (B, P); None for all, each once.
    noise
        Of each image's sky, shape (B, C), where the likelihood asks for it.
    """

    view: View
    galaxy: Tensor
    key: Tensor
    values: Tensor
    pixels: Tensor | None = None
    weight: Tensor | None = None
    noise: Tensor | None = None


def random_pixels(
    density: Tensor, count: int, galaxy: Tensor, *, seed: int, step: int | Tensor
) -> tuple[Tensor, Tensor]:
    """Draw `count` pixels of each image, one from each of `count` equally probable strata.

    A sum over drawn pixels, each counted by its weight ``1 / (count * density)``, has the sum over all for expectation.

    Parameters
    ----------
    density
        Probability of each pixel, positive, sums to 1, shape (B, n * n).
    count
        How many.
    galaxy, seed, step
        The key of the randomness.

    Returns
    -------
    pixels, weight
        Row-major indices and weights, shape (B, count).
    """
    place = torch.arange(count, device=galaxy.device) + uniform("pixels", galaxy, count, seed=seed, step=step)
    edges = density.double().cumsum(1)
    pixels = torch.searchsorted(edges, place * edges[:, -1:] / count, right=True).clamp_(max=density.shape[1] - 1)
    return pixels, 1 / (count * density.gather(1, pixels))


def pixel_density(grid: Tensor, middle: Tensor, *, focus: float, width: float = 0.3) -> Tensor:
    """Uniform, but for the share `focus`: a Gaussian about the cutout's middle, where the galaxy is, (B, n * n).

    Parameters
    ----------
    grid
        The window's pixels, grid units, shape (n * n, 2).
    middle
        The cutout's middle in each window, grid units, shape (B, 2).
    focus
        From 0 to below 1.
    width
        Standard deviation, grid units.
    """
    near = torch.exp(-0.5 * (grid - middle[:, None]).square().sum(-1) / width**2) + 1e-12
    return (1 - focus) / len(grid) + focus * near / near.sum(1, keepdim=True)


def draw_batch(
    vae: SpatialVAE, fields: Tensor, galaxy: Tensor, *,
    oversample: int, crop: Tensor | float, rotate: bool, pixels: int, focus: float, seed: int, step: int | Tensor,
    views: int = 1, unbiased: bool = True, mirror: bool = False, jitter: float = 0.0, noise: float = 0.0,
    sheet: Tensor | None = None,
) -> Batch:  # fmt: skip
    """Draw windows of a batch of fields: all first views, then all second ones.

    Parameters
    ----------
    vae
        Whose window it is.
    fields
        uint8, or floats that are no display values; shape (B, F, F, C).
    galaxy
        Their indices in the store, shape (B,).
    oversample
        Field pixels per window pixel.
    crop
        Centre of the window from the field's in field pixels, shape (B, 2), or the standard deviation in window pixels
        of a random one, cut where the window would leave the field.
    rotate
        Turn what the inference network sees by a random angle about the window's centre.
    pixels
        How many random pixels to decode, 0 for all.
    focus
        Share of them that is drawn about the cutout's middle.
    seed, step
        The key of the randomness.
    views
        Windows of each galaxy, turned and moved independently.
    unbiased
        Weigh pixels by how rarely they are drawn, so that the likelihood is expected to be that of each pixel once;
        otherwise those drawn count alike, and the likelihood is that of pixels weighted by the density.
    mirror
        Half of the galaxies are seen in a mirror, with all their views: nature makes either alike.
    jitter
        Standard deviation, grid units, of where the inference network looks first about the centroid.
    noise
        What the inference network sees is noisier, in each view by another standard deviation of up to this.
    sheet
        What that noise is cut from (:func:`galvae.keyed.sheet_of_noise`), on the device; made where not given.
    """
    key = {"seed": seed, "step": step}
    each = torch.cat([galaxy + 2**40 * view for view in range(views)])
    if mirror:
        mirrored = uniform("mirror", galaxy, 1, **key)[:, 0] < 0.5
        fields = torch.where(mirrored[:, None, None, None], fields.flip(2), fields)
        if isinstance(crop, Tensor):
            crop = torch.where(mirrored[:, None], torch.stack([-crop[:, 0], crop[:, 1]], 1), crop)
    display = fields.dtype == torch.uint8
    whole = View.central(fields, vae.window, oversample, display=display)
    frame = vae.frame(whole.of(whole.values))
    sky = vae.sky_noise(frame)
    sky = None if sky is None else sky.repeat(views, 1)
    fields = frame.values.repeat(views, 1, 1, 1).permute(0, 2, 3, 1)
    width = None if frame.width is None else frame.width.repeat(views)
    galaxy = galaxy.repeat(views)
    if isinstance(crop, Tensor):
        offset = crop.float().repeat(views, 1)
    else:
        margin = max(0, (fields.shape[1] - vae.window * oversample) // 2)
        offset = (normal("crop", each, 2, **key) * (crop * oversample)).round()
        offset = offset.clamp(-margin, margin)
    angle = uniform("turn", each, 1, **key)[:, 0] * (2 * math.pi) if rotate else torch.zeros_like(offset[:, 0])
    place = frame.offset.repeat(views, 1) + offset * (1 if width is None else width[:, None])
    view = View(fields, vae.window, oversample, place, angle, display=display, width=width)
    if jitter:
        # Not the nearest to the window's middle: that is drawn at random, and no hint which galaxy is meant.
        view = replace(view, origin=view.centroid() + jitter * normal("jitter", each, 2, **key))
    seen = _noisier(view, each, noise, sheet, **key) if noise else view
    if not 0 < pixels < vae.window**2:
        return Batch(seen, galaxy, each, view.sample(vae.grid.expand(len(view), -1, -1)).contiguous(), noise=sky)
    middle = -pixels_to_grid(offset / oversample, vae.window)
    density = pixel_density(vae.grid, middle, focus=focus, width=0.3 if width is None else 0.5)
    chosen, weight = random_pixels(density, pixels, each, **key)
    if not unbiased:
        weight = torch.full_like(weight, vae.window**2 / pixels)
    return Batch(seen, galaxy, each, view.sample(vae.grid[chosen]).contiguous(), chosen, weight, sky)


def _noisier(view: View, each: Tensor, noise: float, sheet: Tensor | None, *, seed: int, step: int | Tensor) -> View:
    size, channels = view.fields.shape[1], view.fields.shape[3]
    *place, strength = uniform("noise", each, 3, seed=seed, step=step).unbind(1)
    if sheet is None:
        sheet = sheet_of_noise(size, channels, seed=seed).to(view.fields)
    grain = cut(sheet, torch.stack(place, 1), size) * (noise * strength[:, None, None, None])
    return view.noisier(grain)

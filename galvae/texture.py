"""How whole fields look, whatever galaxy is in them: what artifacts change and a model of galaxies does not see."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from galvae.flags import TEXTURE
from galvae.geometry import pixel_grid
from galvae.quantiles import lower_median
from galvae.windows import View

# Half-widths of the field beyond which there is more sky than galaxy, and beyond which hardly anything else; and within
# which channels are compared.
AROUND, SKY, WITHIN = 0.45, 0.8, 0.6
# Sharp is what differs from its neighbours by so many times the usual.
SHARP = 8
# Blocks along a side of the field, and how many from the middle, in blocks, the galaxy is.
BLOCKS, GALAXY = 8, 2.2
# Standard deviations of what is taken off before neighbours are compared, and of slopes, pixels; of the weight under
# which centroids are compared, half-widths of the field.
COARSE, FINE, WEIGHT = 2.0, 1.0, 0.25
WHITE, SMALLEST = 0.97, 16
LEVEL = 1 / 255  # a grey level


@torch.no_grad()
def texture(view: View) -> Tensor:
    """Ten numbers of whole fields (:data:`galvae.flags.TEXTURE`), shape (B, 10).

    NaN of fields under 16 pixels, and where pixels are no display values but have units of their own.

    All but ``streaked`` and ``smooth`` are natural logarithms of what is said here and a floor: 1e-3, 1e-2 and 1e-4 of
    the three shares, half of a grey level and one of ``uneven`` and ``step``, one of ``noise``; 0.02 and 0.2 pixels of
    the last two. Lengths are in pixels of the field as stored, light in display values. Fields that are turned by
    quarter turns or mirrored have the same numbers. In order:

    - ``noise``: four times the median difference between a pixel and the mean of its four neighbours (Laplacian);
    - ``sharp``: share of pixels in which it is more than eight times that, in the channel where most: cosmic rays,
      grids, letters;
    - ``flat``: share of pixels in which it is 0 in all channels;
    - ``white``: share of pixels that are white;
    - ``uneven``, ``step``: of blocks' medians, an eighth of the field to a side, without the middle: their scatter, and
      how far the farthest is from the others: ghosts, scattered light, edges;
    - ``streaked``, ``smooth``: correlation of pixels one step along a diagonal, or two along a row or a column, apart,
      after what is coarser has been taken off: its range over the four directions, and its mean: moved
      cameras, images magnified or smoothed;
    - ``misregistered``: by how much the correlation of slopes between channels misses 1, where it is least;
    - ``parted``: distance between channels' centroids under a Gaussian weight in the middle.

    All but ``white``, of the whole field, and the last two, of its middle, are of what is around the galaxy, beyond
    0.45 of the field's half-width.
    """
    fields = view.values
    if not view.display or fields.shape[-1] < SMALLEST:
        return fields.new_full((len(fields), len(TEXTURE)), math.nan)
    side = fields.shape[-1]
    points = pixel_grid(side, device=fields.device).unflatten(0, (side, side))
    radius = points.norm(dim=2)
    around = (radius > AROUND).to(fields)
    sky = lower_median(fields.flatten(2)[:, :, (radius > SKY).flatten()])[..., None]
    grey = fields.mean(1, keepdim=True)
    return torch.cat(
        [_pixels(fields, radius), _blocks(fields), _neighbours(grey, around), _channels(fields - sky, radius, points)],
        1,
    )


def _pixels(fields: Tensor, radius: Tensor) -> Tensor:
    """``noise, sharp, flat, white``, shape (B, 4)."""
    middle = fields[..., 1:-1, 1:-1]
    beside = fields[..., :-2, 1:-1] + fields[..., 2:, 1:-1] + fields[..., 1:-1, :-2] + fields[..., 1:-1, 2:]
    off = (4 * middle - beside).abs().flatten(2)[:, :, (radius[1:-1, 1:-1] > AROUND).flatten()]
    usual = lower_median(off) + LEVEL
    sharp = (off > SHARP * usual + LEVEL / 2).float().mean(2).amax(1)  # differences are whole grey levels
    flat = (off.amax(1) < LEVEL / 4).float().mean(1)
    white = (fields.amin(1) > WHITE).float().mean((1, 2))
    shares = [torch.log(share + floor) for share, floor in ((sharp, 1e-3), (flat, 1e-2), (white, 1e-4))]
    return torch.stack([usual[..., 0].mean(1).log(), *shares], 1)


def _blocks(fields: Tensor) -> Tensor:
    """``uneven, step``, shape (B, 2)."""
    side = fields.shape[-1]
    if side % 2:  # without the middle row and column, so that both sides are alike
        fields = torch.cat([fields[..., : side // 2, :], fields[..., side // 2 + 1 :, :]], 2)
        fields = torch.cat([fields[..., : side // 2], fields[..., side // 2 + 1 :]], 3)
    each = side // BLOCKS
    cut = side // 2 - each * BLOCKS // 2
    blocks = fields[..., cut : cut + each * BLOCKS, cut : cut + each * BLOCKS]
    blocks = blocks.unflatten(3, (BLOCKS, each)).unflatten(2, (BLOCKS, each)).transpose(3, 4).flatten(4)
    place = torch.arange(BLOCKS, device=fields.device) - (BLOCKS - 1) / 2
    outer = (place[:, None].square() + place.square() > GALAXY**2).flatten()
    level = lower_median(blocks)[..., 0].flatten(2)[:, :, outer]  # (B, C, blocks)
    uneven = level.mean(1).std(1) + LEVEL / 2
    step = (level - lower_median(level)).abs().amax((1, 2)) + LEVEL
    return torch.stack([uneven.log(), step.log()], 1)


def _neighbours(grey: Tensor, around: Tensor) -> Tensor:
    """``streaked, smooth`` of images (B, 1, F, F), shape (B, 2)."""
    fine = grey - _smoothed(grey, COARSE)
    usual = lower_median(fine.flatten(1)[:, around.flatten() > 0].abs())[..., None]
    fine = fine[:, 0].clamp(-4 * usual - LEVEL, 4 * usual + LEVEL) * around
    total = fine.square().sum((1, 2)) + 1e-9
    pairs = (
        (fine[:, 2:], fine[:, :-2]),
        (fine[..., 2:], fine[..., :-2]),
        (fine[:, 1:, 1:], fine[:, :-1, :-1]),
        (fine[:, 1:, :-1], fine[:, :-1, 1:]),
    )
    found = torch.stack([(one * other).sum((1, 2)) / total for one, other in pairs], 1)
    return torch.stack([found.amax(1) - found.amin(1), found.mean(1)], 1)


def _channels(light: Tensor, radius: Tensor, points: Tensor) -> Tensor:
    """``misregistered, parted`` of light (B, C, F, F) above the sky, shape (B, 2); as if alike of one channel."""
    cut = max(0, round((1 - WITHIN) / 2 * light.shape[-1]) - 3)  # what lies beyond counts for nothing
    inner = slice(cut, light.shape[-1] - cut)
    light, radius, points = light[..., inner, inner], radius[inner, inner], points[inner, inner].flatten(0, 1)
    smooth = _smoothed(light, FINE)
    along, across = smooth[..., 1:-1, 2:] - smooth[..., 1:-1, :-2], smooth[..., 2:, 1:-1] - smooth[..., :-2, 1:-1]
    steep = torch.hypot(along, across).flatten(2)[:, :, (radius[1:-1, 1:-1] < WITHIN).flatten()]
    steep = functional.normalize(steep - steep.mean(2, keepdim=True), dim=2)
    alike = (steep[:, 1:] * steep[:, :-1]).sum(2)
    weight = torch.exp(-0.5 * (radius / WEIGHT).square()) * light.clamp(min=0)
    total = weight.sum((2, 3)) + 1e-6
    centre = weight.flatten(2) @ points.to(light) / total[..., None] / (points[1, 0] - points[0, 0])
    apart = (centre[:, 1:] - centre[:, :-1]).norm(dim=2)
    one = light.new_ones(len(light), 1)  # of one channel
    least, most = torch.cat([alike, one], 1).amin(1), torch.cat([apart, 0 * one], 1).amax(1)
    return torch.stack([torch.log(1.02 - least), torch.log(most + 0.2)], 1)


def _smoothed(images: Tensor, sigma: float) -> Tensor:
    """Images (B, C, F, F) smoothed by a Gaussian, beyond the border the border's pixels.

    As a product of matrices: of images of one channel a processor's convolution takes ten times as long.
    """
    side, reach = images.shape[-1], round(4 * sigma)
    place = torch.arange(side, device=images.device)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=images.device) / sigma).square())
    source = (place[:, None] + torch.arange(-reach, reach + 1, device=images.device)).clamp(0, side - 1)
    bell = torch.zeros(side, side, device=images.device).scatter_add_(
        1, source, (weights / weights.sum()).expand(side, -1)
    )
    return bell.to(images) @ (images @ bell.to(images).mT)
